//! How a batch is cut and which way it goes parallel. All rules depend on the batch and the options alone, never on time.

use std::ops::Range;

use crate::{batch::BatchView, graph::Rows, options::Parallel};

/// Consecutive sequences that are run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) sequences: Range<usize>,
    pub(crate) tokens: Range<usize>,
}

/// The way in which a batch is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Shard after shard on the caller's thread.
    Serial(Vec<Shard>),
    /// Shard after shard, the team working on each together.
    Team(Vec<Shard>),
    /// Each worker takes the next shard until there are none.
    Sharded(Vec<Shard>),
}

/// Tokens that a shard isn't shrunk below for the sake of balance: under this, a GEMM has too few rows to pay for reading the weights.
const LEAST_TOKENS: usize = 64;

/// Tokens per worker from which sharding is considered. With fewer, each worker would stream all weights for a handful of rows, where a team
/// reads them once between all.
const LEAST_TOKENS_PER_WORKER: usize = 96;

/// How much longer than the mean the busiest worker may be before the team, which is always even but waits at each step, does better.
const WORST_BALANCE: f64 = 1.15;

impl Schedule {
    pub(crate) fn new(batch: BatchView<'_>, workers: usize, parallel: Parallel, shard_tokens: usize) -> Schedule {
        if workers <= 1 {
            return Schedule::Serial(cut(batch, shard_tokens, 1));
        }
        let team = || Schedule::Team(cut(batch, shard_tokens.saturating_mul(workers), 1));
        match parallel {
            Parallel::Team => team(),
            Parallel::Sharded => Schedule::Sharded(cut(batch, shard_tokens, workers)),
            Parallel::Auto => {
                let shards = cut(batch, shard_tokens, workers);
                if batch.tokens() >= workers * LEAST_TOKENS_PER_WORKER
                    && imbalance(batch, &shards, workers) <= WORST_BALANCE
                {
                    Schedule::Sharded(shards)
                } else {
                    team()
                }
            }
        }
    }

    pub(crate) fn shards(&self) -> &[Shard] {
        match self {
            Schedule::Serial(shards) | Schedule::Team(shards) | Schedule::Sharded(shards) => shards,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Schedule::Serial(_) => "serial",
            Schedule::Team(_) => "team",
            Schedule::Sharded(_) => "sharded",
        }
    }
}

impl Shard {
    /// The rows that a shard gives, among those of the whole batch.
    pub(crate) fn rows(&self, rows: Rows) -> Range<usize> {
        match rows {
            Rows::Tokens => self.tokens.clone(),
            Rows::Sequences => self.sequences.clone(),
        }
    }
}

/// Cuts a batch at sequence boundaries, in order, into shards of about `target` tokens.
///
/// With several workers, shards shrink towards the end of the batch (each takes at most half a worker's share of what is left), so that the
/// workers finish close together. A sequence is never cut, so one that is longer than the target is a shard of its own.
fn cut(batch: BatchView<'_>, target: usize, workers: usize) -> Vec<Shard> {
    let total = batch.tokens();
    let mut shards: Vec<Shard> = Vec::new();
    let mut shard = Shard { sequences: 0..0, tokens: 0..0 };
    for sequence in 0..batch.sequences() {
        let tokens = batch.token_range(sequence);
        let share = (total - shard.tokens.start).div_ceil(2 * workers);
        let limit = if workers == 1 { target } else { share.max(LEAST_TOKENS).min(target) };
        if !shard.sequences.is_empty() && tokens.end - shard.tokens.start > limit.max(1) {
            let next = Shard { sequences: sequence..sequence, tokens: tokens.start..tokens.start };
            shards.push(std::mem::replace(&mut shard, next));
        }
        shard.sequences.end = sequence + 1;
        shard.tokens.end = tokens.end;
    }
    if !shard.sequences.is_empty() {
        shards.push(shard);
    }
    shards
}

/// Load of the busiest worker over the mean, if each takes the next shard as soon as it is free.
fn imbalance(batch: BatchView<'_>, shards: &[Shard], workers: usize) -> f64 {
    /// Keys that cost a token as much attention as the rest of a layer costs it; of this order for the usual encoders.
    const EQUAL_KEYS: f64 = 2048.0;
    let cost = |shard: &Shard| -> f64 {
        let lengths = shard.sequences.clone().map(|sequence| batch.token_range(sequence).len() as f64);
        lengths.map(|len| len * (1.0 + len / EQUAL_KEYS)).sum()
    };
    let mut loads = vec![0.0f64; workers];
    for shard in shards {
        if let Some(least) = loads.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *least += cost(shard);
        }
    }
    let mean = loads.iter().sum::<f64>() / workers as f64;
    let worst = loads.iter().copied().fold(0.0, f64::max);
    if mean > 0.0 { worst / mean } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use proptest::prelude::*;

    fn batch_of(lengths: &[usize]) -> Batch {
        let sequences: Vec<Vec<u32>> = lengths.iter().map(|&len| vec![1; len]).collect();
        Batch::from_ids(&sequences).unwrap()
    }

    proptest! {
        #[test]
        fn shards_cover_the_batch_in_order(
            lengths in prop::collection::vec(1usize..300, 0..60),
            workers in 1usize..6,
            target in 1usize..600,
        ) {
            let batch = batch_of(&lengths);
            let shards = cut(batch.view(), target, workers);
            let (mut sequence, mut token) = (0, 0);
            for shard in &shards {
                prop_assert_eq!((shard.sequences.start, shard.tokens.start), (sequence, token));
                prop_assert_eq!(batch.view().slice(shard.sequences.clone()).tokens(), shard.tokens.len());
                prop_assert!(shard.sequences.len() == 1 || shard.tokens.len() <= target);
                (sequence, token) = (shard.sequences.end, shard.tokens.end);
            }
            prop_assert_eq!((sequence, token), (batch.sequences(), batch.tokens()));
        }
    }

    #[test]
    fn even_batches_are_sharded_and_lone_sequences_are_not() {
        let schedule = |lengths: &[usize]| Schedule::new(batch_of(lengths).view(), 2, Parallel::Auto, 256).name();
        assert_eq!(schedule(&[128; 32]), "sharded");
        assert_eq!(schedule(&[20; 256]), "sharded");
        assert_eq!(schedule(&[512]), "team");
        assert_eq!(schedule(&[500, 30, 20]), "team");
        assert_eq!(schedule(&[16, 16]), "team");
    }

    #[test]
    fn shards_shrink_towards_the_end() {
        let batch = batch_of(&[16; 256]);
        let shards = cut(batch.view(), 256, 2);
        assert_eq!(shards[0].tokens.len(), 256);
        assert!(shards[shards.len() - 1].tokens.len() <= LEAST_TOKENS);
    }
}
