//! Passes keep what a graph computes, do what they say, and say what they leave alone.

mod tiny;

use std::num::NonZeroUsize;

use loquat_runtime::{
    Options, Outputs, Pooling, Session,
    graph::{Graph, GraphBuilder, Op, Rows},
    passes::{PASSES, Report},
};
use tiny::{AWKWARD, EVEN, Tiny, bits, max_error};

/// Absolute, for values of order 1: fusing changes at most the order in which a few terms are added.
const TOLERANCE: f32 = 5e-6;

fn session(graph: Graph, disabled: &[&str], outputs: Option<&[&str]>) -> Session {
    let options = Options {
        threads: NonZeroUsize::new(1),
        disabled_passes: disabled.iter().map(|&name| name.to_owned()).collect(),
        outputs: outputs.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        ..Options::default()
    };
    Session::new(graph, AWKWARD.weights(), &options).unwrap()
}

fn run(disabled: &[&str], outputs: Option<&[&str]>) -> Outputs {
    session(AWKWARD.graph(), disabled, outputs).run(&AWKWARD.batch(&[9, 1, 33, 16])).unwrap()
}

fn all_passes() -> Vec<&'static str> {
    PASSES.iter().map(|pass| pass.name).collect()
}

/// The report of one pass in a session with all passes.
fn report(session: &Session, pass: &str) -> Report {
    session.inspect().stages().iter().find(|stage| stage.pass == Some(pass)).unwrap().report.clone()
}

fn kinds(session: &Session) -> Vec<&'static str> {
    session.inspect().graph().unwrap().nodes().iter().map(|node| node.op.kind()).collect()
}

#[test]
fn any_one_pass_and_all_together_agree_with_none() {
    let none = run(&all_passes(), None);
    let mut sets = vec![("all", Vec::new())];
    for only in all_passes() {
        sets.push((only, all_passes().into_iter().filter(|name| *name != only).collect()));
    }
    for (name, disabled) in sets {
        let fused = run(&disabled, None);
        for ((output, a), (_, b)) in none.iter().zip(fused.iter()) {
            let error = max_error(&a.data, &b.data);
            assert!(error <= TOLERANCE, "{name} {output}: {error:e}");
        }
    }
}

#[test]
fn pruned_rows_have_the_same_bits() {
    for outputs in [&["pooled"][..], &["last"]] {
        let pruned = run(&[], Some(outputs));
        let whole = run(&["prune_rows"], Some(outputs));
        for ((name, a), (_, b)) in pruned.iter().zip(whole.iter()) {
            assert_eq!(bits(&a.data), bits(&b.data), "{name}");
        }
    }
}

#[test]
fn a_layer_fuses_into_five_steps() {
    let session = session(AWKWARD.graph(), &[], Some(&["hidden"]));
    let layer = ["linear", "attention", "linear", "linear", "linear"];
    assert_eq!(kinds(&session), [&["embedding"][..], &layer, &layer].concat());
    assert_eq!(report(&session, "merge_qkv").applied.len(), AWKWARD.layers);
    assert_eq!(report(&session, "fuse_epilogue").applied.len(), 3 * AWKWARD.layers);
    assert_eq!(report(&session, "fuse_embedding_norm").applied, ["embeddings"]);
    assert_eq!(report(&session, "fuse_add_norm").applied.len(), 2 * AWKWARD.layers);
}

#[test]
fn sums_with_norms_fuse_where_no_linear_layer_takes_them() {
    let session = session(AWKWARD.graph(), &["fuse_epilogue"], Some(&["hidden"]));
    assert_eq!(kinds(&session).iter().filter(|kind| **kind == "add_norm").count(), 2 * AWKWARD.layers);
}

#[test]
fn first_token_pooling_prunes_the_last_layer_down_to_the_queries() {
    let session = session(AWKWARD.graph(), &[], Some(&["pooled"]));
    let graph = session.inspect().graph().unwrap();
    let sequences = graph.nodes().iter().filter(|node| node.shape.rows == Rows::Sequences);
    let names: Vec<&str> = sequences.map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["0.norm2.rows", "1.query", "1.attention", "1.output", "1.up", "1.down", "pooler"]);
    let keys_and_values = graph.nodes().iter().find(|node| node.name == "1.key + 1.value").unwrap();
    assert_eq!(keys_and_values.shape.rows, Rows::Tokens);
    assert_eq!(keys_and_values.shape.width, 2 * AWKWARD.hidden);
}

#[test]
fn pruning_is_refused_where_all_rows_are_read() {
    let session = session(AWKWARD.graph(), &[], None);
    let report = report(&session, "prune_rows");
    assert!(report.applied.is_empty());
    assert!(report.refused.iter().all(|refusal| refusal.why.contains("1.norm2")), "{report:?}");
    assert_eq!(report.refused.len(), 2);
}

#[test]
fn a_causal_attention_is_pruned_for_its_last_token_alone() {
    let causal = Tiny { causal: true, ..AWKWARD };
    let report_of = |output: &str| report(&session(causal.graph(), &[], Some(&[output])), "prune_rows");
    assert!(report_of("last").applied.contains(&"1.attention".to_owned()));
    let first = report_of("pooled");
    assert!(!first.applied.contains(&"1.attention".to_owned()), "{first:?}");
    // What follows the attention is pruned all the same.
    assert!(first.applied.contains(&"1.output".to_owned()), "{first:?}");

    let batch = causal.batch(&[9, 1, 33]);
    for output in ["last", "pooled"] {
        let pruned = session(causal.graph(), &[], Some(&[output])).run(&batch).unwrap();
        let whole = session(causal.graph(), &["prune_rows"], Some(&[output])).run(&batch).unwrap();
        assert_eq!(bits(&pruned.get(output).unwrap().data), bits(&whole.get(output).unwrap().data), "{output}");
    }
}

#[test]
fn what_others_read_is_not_fused_away() {
    let mut builder = GraphBuilder::new("test");
    let x = AWKWARD.encoder(&mut builder).unwrap();
    let up = builder.linear(x, AWKWARD.inner, "0.up.weight", Some("0.up.bias")).unwrap();
    let activated = builder.activation(up, loquat_runtime::Activation::Relu).unwrap();
    builder.output("up", up).output("activated", activated);
    let session = session(builder.finish().unwrap(), &[], None);
    let refused = report(&session, "fuse_epilogue").refused;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].why.contains("read elsewhere"), "{refused:?}");
    let outputs = session.run(&AWKWARD.batch(&[5])).unwrap();
    let (up, activated) = (outputs.get("up").unwrap(), outputs.get("activated").unwrap());
    assert!(up.data.iter().zip(&activated.data).all(|(x, y)| x.max(0.0) == *y));
    assert!(up.data.iter().any(|x| *x < 0.0));
}

#[test]
fn two_linear_layers_that_are_added_become_one_epilogue() {
    let mut builder = GraphBuilder::new("test");
    let x = AWKWARD.encoder(&mut builder).unwrap();
    let a = builder.linear(x, AWKWARD.hidden, "0.query.weight", None).unwrap();
    let b = builder.linear(x, AWKWARD.hidden, "0.key.weight", None).unwrap();
    let sum = builder.add(a, b).unwrap();
    let first = builder.pool(sum, Pooling::Cls).unwrap();
    builder.output("sum", sum).output("first", first);
    let graph = builder.finish().unwrap();
    let batch = AWKWARD.batch(&[5, 8]);
    let fused = session(graph.clone(), &[], None);
    let last = fused.inspect().graph().unwrap().nodes().iter().rev().find(|node| matches!(node.op, Op::Linear(_)));
    assert!(matches!(&last.unwrap().op, Op::Linear(linear) if linear.residual));
    let (fused, plain) = (fused.run(&batch).unwrap(), session(graph, &all_passes(), None).run(&batch).unwrap());
    for ((name, a), (_, b)) in fused.iter().zip(plain.iter()) {
        assert!(max_error(&a.data, &b.data) <= TOLERANCE, "{name}");
    }
}

#[test]
fn an_unknown_pass_is_named_with_the_known_ones() {
    let options = Options { disabled_passes: vec!["fuse_all".into()], ..Options::default() };
    let error = Session::new(EVEN.graph(), EVEN.weights(), &options).unwrap_err().to_string();
    assert!(error.contains("fuse_all") && error.contains("merge_qkv"), "{error}");
}

#[test]
fn an_inspection_shows_stages_plan_kernels_and_unused_tensors() {
    let session = session(AWKWARD.graph(), &[], Some(&["hidden"]));
    let text = session.inspect().to_string();
    for expected in
        ["graph as built", "merge_qkv", "0.query + 0.key + 0.value", "bytes per token", "kernels", "pooler.weight"]
    {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}
