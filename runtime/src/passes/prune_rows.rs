//! Computes only the rows that somebody reads.
//!
//! Where all that is read of the last layer is one token per sequence (`[CLS]` or last-token pooling, BERT's pooler), the selection moves
//! up through everything row-wise and through the queries of the attention. Keys and values still need every token. The rows that are
//! left come out with the same bits, since no kernel's result for a row depends on other rows.

use std::collections::HashMap;

use super::Report;
use crate::graph::{Attention, Graph, Node, NodeId, Op, Rewrite, Rows, Select, Shape};

/// Which rows of a value are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Selected(Select),
    All,
}

impl Need {
    fn join(self, other: Need) -> Need {
        match (self, other) {
            (Need::Nothing, need) | (need, Need::Nothing) => need,
            (a, b) if a == b => a,
            _ => Need::All,
        }
    }
}

pub(super) fn run(graph: &mut Graph) -> Report {
    let mut report = Report::default();
    let needs = needs(graph);
    refusals(graph, &needs, &mut report);
    if !graph.nodes().iter().zip(&needs).any(|(node, need)| prunable(node, *need)) {
        return report;
    }
    let mut rewrite = Rewrite::new(graph);
    let mut selections = HashMap::new();
    for index in 0..rewrite.len() {
        let node = rewrite.old(NodeId(index)).clone();
        match (&node.op, needs[index]) {
            (Op::Select(which), _) if pruned_or_selected(&rewrite, &needs, node.inputs[0]) => {
                let selected = select(&mut rewrite, &needs, &mut selections, node.inputs[0], *which);
                rewrite.map_to(selected);
            }
            (_, Need::Selected(which)) if prunable(&node, needs[index]) => {
                report.apply(&node.name);
                let narrowed = if matches!(node.op, Op::Attention(_)) { 1 } else { node.inputs.len() };
                let inputs = node.inputs.iter().enumerate().map(|(place, &input)| {
                    if place < narrowed {
                        select(&mut rewrite, &needs, &mut selections, input, which)
                    } else {
                        rewrite.mapped(input)
                    }
                });
                let inputs = inputs.collect();
                let shape = Shape { rows: Rows::Sequences, ..node.shape };
                let op = match node.op {
                    Op::Attention(attention) => Op::Attention(Attention { lone: which, ..attention }),
                    op => op,
                };
                rewrite.replace(op, inputs, shape, node.name);
            }
            _ => rewrite.keep(),
        }
    }
    rewrite.finish(graph);
    report
}

/// What is read of each node, from the outputs backwards.
fn needs(graph: &Graph) -> Vec<Need> {
    let mut needs = vec![Need::Nothing; graph.nodes().len()];
    for output in graph.outputs() {
        needs[output.node.index()] = Need::All;
    }
    for index in (0..graph.nodes().len()).rev() {
        let node = &graph.nodes()[index];
        let own = needs[index];
        if own == Need::Nothing {
            continue;
        }
        for (place, input) in node.inputs.iter().enumerate() {
            let need = match &node.op {
                Op::Select(which) => Need::Selected(*which),
                Op::Attention(_) if place == 0 && prunable(node, own) => own,
                op if op.is_row_wise() => own,
                _ => Need::All,
            };
            let joined = &mut needs[input.index()];
            *joined = joined.join(need);
        }
    }
    needs
}

/// Whether the node itself can compute just the rows that are read.
fn prunable(node: &Node, need: Need) -> bool {
    let Need::Selected(which) = need else { return false };
    if node.shape.rows != Rows::Tokens {
        return false;
    }
    match &node.op {
        // A lone query of a causal attention counts as the last one.
        Op::Attention(attention) => !attention.spec.causal || which == Select::Last,
        op => op.is_row_wise(),
    }
}

fn pruned_or_selected(rewrite: &Rewrite, needs: &[Need], input: NodeId) -> bool {
    prunable(rewrite.old(input), needs[input.index()])
}

/// The selected rows of an old node, in the new graph.
fn select(
    rewrite: &mut Rewrite,
    needs: &[Need],
    selections: &mut HashMap<(NodeId, Select), NodeId>,
    input: NodeId,
    which: Select,
) -> NodeId {
    let mapped = rewrite.mapped(input);
    let old = rewrite.old(input);
    if prunable(old, needs[input.index()]) {
        return mapped;
    }
    if let Some(&known) = selections.get(&(input, which)) {
        return known;
    }
    let shape = Shape { rows: Rows::Sequences, ..old.shape };
    let name = format!("{}.rows", old.name);
    let id = rewrite.emit(Node { op: Op::Select(which), inputs: vec![mapped], shape, name });
    selections.insert((input, which), id);
    id
}

fn refusals(graph: &Graph, needs: &[Need], report: &mut Report) {
    for node in graph.nodes() {
        let Op::Select(which) = node.op else { continue };
        let input = graph.node(node.inputs[0]);
        match needs[node.inputs[0].index()] {
            Need::All => {
                let why = format!("all rows of {} are read", input.name);
                report.refuse(&node.name, why);
            }
            need @ Need::Selected(_) if !prunable(input, need) => {
                if let Op::Attention(_) = &input.op {
                    report.refuse(&node.name, format!("{} is causal and {which:?} isn't its last token", input.name));
                }
            }
            _ => {}
        }
    }
}
