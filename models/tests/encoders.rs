//! Every architecture with every head, under `tests/goldens/encoders/<architecture>/<task>`: outputs equal the reference's, and are the same,
//! bit for bit, whatever the batch, the threads and the split.

mod golden;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use golden::{Table, batches, goldens, name, session};
use loquat_models::{ARCHITECTURES, ModelError, Task, load};
use loquat_runtime::{
    Batch, Options, Outputs, Parallel, Precision,
    graph::{Node, Op, Rows},
};

/// Architecture, task and folder of each golden model.
fn models() -> Vec<(String, Task, PathBuf)> {
    let mut models = Vec::new();
    for architecture in golden::folders(&goldens("encoders")) {
        for folder in golden::folders(&architecture) {
            let task =
                Task::ALL.into_iter().find(|task| task.name() == name(&folder)).expect("folders are named for tasks");
            models.push((name(&architecture), task, folder));
        }
    }
    models
}

fn batches_of(folder: &Path) -> Vec<(String, Batch)> {
    batches(folder.parent().unwrap())
}

#[test]
fn outputs_of_every_head_equal_the_reference() {
    let models = models();
    let tested = |model_type: &str| models.iter().any(|(architecture, ..)| architecture.starts_with(model_type));
    for architecture in ARCHITECTURES {
        assert!(tested(architecture.model_type), "no golden model of {architecture:?}");
    }
    let mut table = Table::default();
    for (architecture, task, folder) in &models {
        table.compare(&format!("{architecture} {task}"), folder, *task, &batches_of(folder));
    }
    table.assert_all_fit();
}

fn bits(outputs: &Outputs) -> Vec<(String, Vec<u32>)> {
    outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.data.iter().map(|x| x.to_bits()).collect())).collect()
}

#[test]
fn a_ragged_batch_equals_each_sequence_alone() {
    for (architecture, task, folder) in models() {
        let session = session(&folder, task, &Options::default());
        for (case, batch) in batches_of(&folder) {
            let view = batch.view();
            let together = session.run(&batch).unwrap();
            for sequence in 0..batch.sequences() {
                let range = view.token_range(sequence);
                let mut alone = Batch::new();
                alone.push(&view.ids()[range.clone()], Some(&view.type_ids()[range.clone()])).unwrap();
                for (output, tensor) in session.run(&alone).unwrap().iter() {
                    let whole = together.get(output).unwrap();
                    let per_token = whole.shape[0] == batch.tokens();
                    let rows = if per_token { range.clone() } else { sequence..sequence + 1 };
                    let expected: Vec<u32> = rows.flat_map(|row| whole.row(row)).map(|x| x.to_bits()).collect();
                    let found: Vec<u32> = tensor.data.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(found, expected, "{architecture} {task} {case} {output}, sequence {sequence}");
                }
            }
        }
    }
}

#[test]
fn threads_modes_and_shards_change_no_bit() {
    for (architecture, task, folder) in models() {
        let batches = batches_of(&folder);
        let run = |threads: usize, parallel, shard_tokens| -> Vec<_> {
            let threads = NonZeroUsize::new(threads);
            let session = session(&folder, task, &Options { threads, parallel, shard_tokens, ..Options::default() });
            batches.iter().map(|(_, batch)| bits(&session.run(batch).unwrap())).collect()
        };
        let expected = run(1, Parallel::Auto, usize::MAX);
        for (threads, parallel, shard_tokens) in
            [(1, Parallel::Auto, 7), (2, Parallel::Team, 64), (3, Parallel::Sharded, 1), (3, Parallel::Team, 256)]
        {
            let found = run(threads, parallel, shard_tokens);
            assert!(
                found == expected,
                "{architecture} {task}: {threads} threads, {parallel:?}, {shard_tokens} a shard"
            );
        }
    }
}

#[test]
fn products_of_split_values_stay_near_those_of_whole_ones() {
    for (architecture, task, folder) in models().into_iter().filter(|(_, task, _)| *task == Task::FeatureExtraction) {
        let run = |precision| {
            let session = session(&folder, task, &Options { precision, ..Options::default() });
            let hidden =
                |(_, batch): &(_, Batch)| session.run(batch).unwrap().get("last_hidden_state").unwrap().data.to_vec();
            batches_of(&folder).iter().flat_map(hidden).collect::<Vec<f32>>()
        };
        let errors = run(Precision::F32).into_iter().zip(run(Precision::Bf16x3)).map(|(a, b)| (a - b).abs());
        let worst = errors.fold(0.0, |worst: f32, error| if error.is_nan() { f32::NAN } else { worst.max(error) });
        assert!(worst <= 2e-3, "{architecture}: {worst:e}");
    }
}

#[test]
fn rows_that_no_head_reads_are_left_out_without_changing_a_bit() {
    for (architecture, task, folder) in models().into_iter().filter(|(_, task, _)| *task == Task::TextClassification) {
        let run = |disabled_passes: Vec<String>| {
            let session = session(&folder, task, &Options { disabled_passes, ..Options::default() });
            let outputs: Vec<_> =
                batches_of(&folder).iter().map(|(_, batch)| bits(&session.run(batch).unwrap())).collect();
            let graph = session.inspect().graph().unwrap();
            let lone = |node: &&Node| matches!(node.op, Op::Attention(_)) && node.shape.rows == Rows::Sequences;
            (outputs, graph.nodes().iter().filter(lone).count())
        };
        let ((pruned, lone), (whole, _)) = (run(Vec::new()), run(vec!["prune_rows".to_owned()]));
        assert!(pruned == whole, "{architecture}");
        // With biases for distances as without; FNet has no attention, and where all rows are pooled, all are read.
        let read_at_once = ["fnet", "modernbert-mean", "xlnet-clamped"].contains(&&*architecture);
        assert_eq!(lone == 0, read_at_once, "{architecture} has {lone} attentions of one query a sequence");
    }
}

#[test]
fn a_head_that_is_not_there_is_said_plainly() {
    for (architecture, _, folder) in models().into_iter().filter(|(_, task, _)| *task == Task::FeatureExtraction) {
        let loaded = load(&folder).unwrap();
        for task in Task::ALL.into_iter().filter(|task| *task != Task::FeatureExtraction) {
            let error = loaded.model.graph(task, &loaded.weights).expect_err("a bare encoder has no head");
            assert!(matches!(error, ModelError::NoHead { .. }), "{architecture} {task}: {error}");
            let message = error.to_string();
            let expected = format!("model.safetensors: this checkpoint has no {task} head: ");
            assert!(message.contains(&expected), "{message}");
        }
    }
}

#[test]
fn the_class_that_a_checkpoint_was_saved_from_tells_classifiers_apart() {
    let loaded = load(goldens("encoders/bert/token-classification")).unwrap();
    let error = loaded.model.graph(Task::TextClassification, &loaded.weights).unwrap_err().to_string();
    for part in ["no text-classification head", "BertForTokenClassification", "config.json"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn tensors_that_a_head_has_no_use_for_are_reported() {
    let folder = goldens("encoders/bert/question-answering");
    let session = session(&folder, Task::FeatureExtraction, &Options::default());
    assert_eq!(session.program().unused_tensors(), ["qa_outputs.bias", "qa_outputs.weight"]);
}
