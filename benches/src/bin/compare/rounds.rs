//! The measurement: rounds in which every contender has one block, in an order shuffled anew each time.

use std::time::Duration;

use loquat_benches::Result;
use loquat_benches::workload::Workload;
use serde::Serialize;

use crate::calibration::{Calibrated, Reference, calibrate};
use crate::contender::Contender;
use crate::statistics::{Spread, median};

/// Runs before anything is timed, besides those that calibration made.
const WARMUPS: usize = 3;

/// One contender's samples of one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The contender's id.
    pub id: &'static str,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it did the work.
    pub calibrated: Calibrated,
    /// Nanoseconds of every timed run, round by round.
    pub rounds: Vec<Vec<u64>>,
}

impl Measured {
    /// Milliseconds of a run, over the rounds' medians.
    pub fn milliseconds(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|ns| median(ns) / 1e6))
    }

    /// How many times as long this contender takes as `other`, round by round, so that what slows the machine
    /// down for a while slows both.
    pub fn times_of(&self, other: &Measured) -> Option<Spread> {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(own, other)| median(own) / median(other)))
    }
}

/// One workload with one number of threads.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The workload's name.
    pub workload: String,
    /// Its number of real tokens.
    pub tokens: u64,
    /// Its floating-point operations.
    pub flops: u64,
    /// How many threads computed.
    pub threads: usize,
    /// Whose outputs the others were compared with.
    pub reference: String,
    /// The contenders that gave the right outputs.
    pub measured: Vec<Measured>,
    /// The others: name and reason.
    pub skipped: Vec<(String, String)>,
}

/// How long and in which order.
pub struct Plan {
    /// The number of rounds.
    pub rounds: usize,
    /// How long a block lasts at least.
    pub block: Duration,
    /// What the order of contenders follows from.
    pub shuffle: Shuffle,
}

/// Checks, calibrates and measures `contenders` on `workload`, whose right outputs are `reference`.
pub fn compare(
    contenders: &mut [Contender],
    reference: &Reference,
    workload: &Workload,
    threads: usize,
    flops: u64,
    plan: &mut Plan,
) -> Result<Comparison> {
    let mut comparison = Comparison {
        workload: workload.name.clone(),
        tokens: workload.tokens(),
        flops,
        threads,
        reference: reference.name.clone(),
        measured: Vec::new(),
        skipped: Vec::new(),
    };
    let mut running = Vec::new();
    for contender in contenders {
        match calibrate(contender, workload, reference, plan.block) {
            Ok(calibrated) => {
                comparison.measured.push(Measured {
                    id: contender.id,
                    name: contender.name.clone(),
                    version: contender.version.clone(),
                    calibrated,
                    rounds: Vec::new(),
                });
                running.push(contender);
            }
            Err(error) => comparison.skipped.push((contender.name.clone(), error.to_string())),
        }
    }
    for round in 0..plan.rounds {
        let mut failed = Vec::new();
        for index in plan.shuffle.order(running.len()) {
            let Calibrated { strategy, warmups, repeats, .. } = comparison.measured[index].calibrated;
            let warmups = if round == 0 { WARMUPS } else { warmups };
            match running[index].awake(|contender| contender.time(strategy, warmups, repeats)) {
                Ok(ns) => comparison.measured[index].rounds.push(ns),
                Err(error) => failed.push((index, error.to_string())),
            }
        }
        failed.sort_unstable();
        for (index, reason) in failed.into_iter().rev() {
            running.remove(index);
            comparison.skipped.push((comparison.measured.remove(index).name, reason));
        }
    }
    Ok(comparison)
}

/// A small generator (xorshift64*), so that a seed gives the same order everywhere.
pub struct Shuffle(u64);

impl Shuffle {
    /// Any seed will do.
    pub fn new(seed: u64) -> Shuffle {
        Shuffle(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// `0..count` in a random order (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            // The upper bits are the better ones.
            order.swap(last, ((self.next() >> 32) % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_contender_once_and_orders_differ() {
        let mut shuffle = Shuffle::new(1);
        let orders: Vec<Vec<usize>> = (0..100).map(|_| shuffle.order(5)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!((0..5).all(|first| orders.iter().any(|order| order[0] == first)));
        assert_eq!(Shuffle::new(1).order(5), orders[0]);
    }
}
