//! A sequence's result is the same, bit for bit, whatever runs beside it and however the work is split.

mod tiny;

use std::num::NonZeroUsize;

use loquat_runtime::{Batch, Options, Outputs, Parallel, Precision, Session};
use tiny::{AWKWARD, EVEN, Tiny, bits};

const PRECISIONS: [Precision; 5] =
    [Precision::F32, Precision::Bf16x3, Precision::Bf16, Precision::Int8, Precision::Int4];

fn session(tiny: &Tiny, threads: usize, parallel: Parallel, shard_tokens: usize) -> Session {
    session_in(Precision::F32, tiny, threads, parallel, shard_tokens)
}

fn session_in(precision: Precision, tiny: &Tiny, threads: usize, parallel: Parallel, shard_tokens: usize) -> Session {
    let threads = NonZeroUsize::new(threads);
    let options = Options { precision, threads, parallel, shard_tokens, ..Options::default() };
    Session::new(tiny.graph(), tiny.weights(), &options).unwrap()
}

fn all_bits(outputs: &Outputs) -> Vec<(String, Vec<u32>)> {
    outputs.iter().map(|(name, tensor)| (name.to_owned(), bits(&tensor.data))).collect()
}

#[test]
fn ragged_batch_equals_each_sequence_alone() {
    for tiny in [AWKWARD, EVEN] {
        let batch = tiny.batch(&[7, 1, 33, 64, 16, 2, 65, 48]);
        let view = batch.view();
        for (threads, precision) in [1, 3].into_iter().flat_map(|threads| PRECISIONS.map(|each| (threads, each))) {
            let session = session_in(precision, &tiny, threads, Parallel::Auto, 256);
            let together = session.run(&batch).unwrap();
            for sequence in 0..batch.sequences() {
                let range = view.token_range(sequence);
                let mut alone = Batch::new();
                alone.push(&view.ids()[range.clone()], Some(&view.type_ids()[range.clone()])).unwrap();
                let alone = session.run(&alone).unwrap();
                for (name, tensor) in alone.iter() {
                    let whole = together.get(name).unwrap();
                    let rows = if name == "hidden" { range.clone() } else { sequence..sequence + 1 };
                    let found: Vec<f32> = rows.flat_map(|row| whole.row(row).to_vec()).collect();
                    assert_eq!(bits(&found), bits(&tensor.data), "{precision:?} {tiny:?} sequence {sequence} {name}");
                }
            }
        }
    }
}

#[test]
fn threads_modes_and_shards_change_no_bit() {
    let tiny = AWKWARD;
    for lengths in [&[60][..], &[5, 40, 3, 3, 17, 1, 1, 28, 66, 30, 2, 9], &[16; 40]] {
        let batch = tiny.batch(lengths);
        let expected = all_bits(&session(&tiny, 1, Parallel::Auto, usize::MAX).run(&batch).unwrap());
        for threads in [1, 2, 3, 5] {
            for parallel in [Parallel::Auto, Parallel::Sharded, Parallel::Team] {
                for shard_tokens in [1, 7, 64, 256] {
                    let outputs = session(&tiny, threads, parallel, shard_tokens).run(&batch).unwrap();
                    assert!(
                        all_bits(&outputs) == expected,
                        "{threads} threads, {parallel:?}, {shard_tokens} tokens a shard, lengths {lengths:?}"
                    );
                }
            }
        }
    }
}

/// Peers lose this with quantised activations: their scales are those of a whole batch.
#[test]
fn threads_modes_and_shards_change_no_bit_in_any_precision() {
    for (tiny, precision) in [AWKWARD, EVEN].into_iter().flat_map(|tiny| PRECISIONS.map(|each| (tiny, each))) {
        let batch = tiny.batch(&[5, 40, 3, 3, 17, 1, 1, 28, 66, 30, 2, 9]);
        let expected = session_in(precision, &tiny, 1, Parallel::Auto, usize::MAX).run(&batch).unwrap();
        for (threads, parallel, shard_tokens) in
            [(1, Parallel::Auto, 7), (2, Parallel::Team, 64), (3, Parallel::Sharded, 1), (3, Parallel::Team, 256)]
        {
            let outputs = session_in(precision, &tiny, threads, parallel, shard_tokens).run(&batch).unwrap();
            assert!(
                all_bits(&outputs) == all_bits(&expected),
                "{precision:?}, {threads} threads, {parallel:?}, {shard_tokens} tokens a shard"
            );
        }
    }
}

#[test]
fn concurrent_runs_of_one_session_agree() {
    let tiny = EVEN;
    let session = session(&tiny, 2, Parallel::Auto, 64);
    let batch = tiny.batch(&[20, 90, 3, 41, 41]);
    let expected = all_bits(&session.run(&batch).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(all_bits(&session.run(&batch).unwrap()) == expected);
                }
            });
        }
    });
}

#[test]
fn an_empty_batch_gives_empty_outputs() {
    for threads in [1, 2] {
        let outputs = session(&AWKWARD, threads, Parallel::Auto, 256).run(&Batch::new()).unwrap();
        assert_eq!(outputs.get("hidden").unwrap().shape, [0, AWKWARD.hidden]);
        assert_eq!(outputs.get("pooled").unwrap().shape, [0, AWKWARD.hidden]);
        assert_eq!(outputs.cu_seqlens(), [0]);
    }
}

#[test]
fn a_profiled_run_gives_the_same_and_counts_every_step() {
    let tiny = EVEN;
    let batch = tiny.batch(&[40; 20]);
    for (threads, parallel, mode) in
        [(1, Parallel::Auto, "serial"), (2, Parallel::Team, "team"), (2, Parallel::Sharded, "sharded")]
    {
        let session = session(&tiny, threads, parallel, 64);
        let (outputs, profile) = session.profile(&batch).unwrap();
        assert!(all_bits(&outputs) == all_bits(&session.run(&batch).unwrap()));
        assert_eq!(profile.mode(), mode);
        assert!(profile.steps().iter().all(|step| step.calls == profile.steps()[0].calls && step.calls > 0));
        let up = profile.steps().iter().find(|step| step.name == "0.up").unwrap();
        assert_eq!(up.flop, 2 * (800 * tiny.hidden * tiny.inner) as u64);
        let trace: serde_json::Value = serde_json::from_str(&profile.chrome_trace()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), profile.steps().iter().map(|step| step.calls).sum::<usize>());
    }
}
