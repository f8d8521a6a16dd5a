//! Batches that a model can't take: an error that names sequence and position, and nothing computed.

mod tiny;

use std::num::NonZeroUsize;

use loquat_runtime::{
    Batch, Options, Parallel, RunError, Session,
    cpu::{Arena, Program},
    graph::GraphError,
};
use tiny::AWKWARD;

fn session(threads: usize, parallel: Parallel) -> Session {
    let options = Options { threads: NonZeroUsize::new(threads), parallel, shard_tokens: 8, ..Options::default() };
    Session::new(AWKWARD.graph(), AWKWARD.weights(), &options).unwrap()
}

#[test]
fn positions_in_messages_count_in_the_whole_batch() {
    let vocab = AWKWARD.vocab as u32;
    for parallel in [Parallel::Team, Parallel::Sharded] {
        let session = session(2, parallel);
        let mut sequences = vec![vec![1; 20]; 6];
        sequences[4][13] = vocab;
        let error = session.run(&Batch::from_ids(&sequences).unwrap()).unwrap_err();
        assert!(
            matches!(&error, RunError::Index { sequence: 4, position: 13, found, limit, table, .. }
                if *found == vocab && *limit == AWKWARD.vocab && table == "words.weight"),
            "{error}"
        );
        let mut batch = Batch::from_ids(&[vec![1; 3]]).unwrap();
        batch.push(&[1, 2], Some(&[2, 3])).unwrap();
        let error = session.run(&batch).unwrap_err().to_string();
        assert!(error.contains("sequence 1, position 1: token type id 3"), "{error}");
        let lengths = [vec![1; AWKWARD.positions], vec![1; AWKWARD.positions + 1]];
        let error = session.run(&Batch::from_ids(&lengths).unwrap()).unwrap_err().to_string();
        assert!(error.contains("sequence 1 has 71 tokens, expected at most 70"), "{error}");
        assert!(session.run(&Batch::from_ids(&lengths[..1]).unwrap()).is_ok());
    }
}

#[test]
fn memory_for_outputs_must_fit() {
    let session = session(1, Parallel::Auto);
    let program: &Program = session.program();
    let batch = AWKWARD.batch(&[3]);
    let mut short = vec![0.0; 5];
    let mut arena = Arena::new();
    let exec = loquat_kernels::Exec::Serial;
    let error = program.run(batch.view(), &mut arena, exec, &mut [&mut short]).unwrap_err();
    assert!(matches!(error, RunError::Output { expected: 4, found: 1, .. }), "{error}");
    let mut memory: Vec<Vec<f32>> = (0..4).map(|_| vec![0.0; 3]).collect();
    let mut outputs: Vec<&mut [f32]> = memory.iter_mut().map(Vec::as_mut_slice).collect();
    let error = program.run(batch.view(), &mut arena, exec, &mut outputs).unwrap_err();
    assert!(matches!(&error, RunError::Output { output, expected: 108, found: 3 } if output == "hidden"), "{error}");
}

#[test]
fn an_output_that_does_not_exist_is_refused() {
    let options = Options { outputs: Some(vec!["logits".into()]), ..Options::default() };
    let error = Session::new(AWKWARD.graph(), AWKWARD.weights(), &options).unwrap_err();
    let loquat_runtime::SessionError::Graph(GraphError::UnknownOutput { name, available }) = error else {
        panic!("another error: {error}");
    };
    assert_eq!((name.as_str(), available.as_str()), ("logits", "hidden, pooled, mean, last"));
}

#[test]
fn a_number_of_threads_beyond_reason_is_refused() {
    let options = Options { threads: NonZeroUsize::new(usize::MAX), ..Options::default() };
    let error = Session::new(AWKWARD.graph(), AWKWARD.weights(), &options).unwrap_err().to_string();
    assert!(error.contains("at most 1024"), "{error}");
}
