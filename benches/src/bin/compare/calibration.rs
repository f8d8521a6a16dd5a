//! Before the rounds: each contender's strategies are checked against the reference and tried, and its fastest is kept.

use std::time::Duration;

use loquat_benches::Result;
use loquat_benches::precision::Precision;
use loquat_benches::workload::Workload;
use serde::Serialize;

use crate::agreement::Agreement;
use crate::contender::Contender;
use crate::statistics::median;

/// A strategy is tried again while it is within this factor of the best: wide after the first run, which noise may have
/// hit, narrower after a block. Each keeps its best median, since noise only ever adds time.
const WITHIN: [f64; 2] = [1.4, 1.12];
/// No block has more runs than this, however short they are.
const MOST_REPEATS: usize = 1000;

/// A strategy that gives the right outputs.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    #[serde(skip)]
    strategy: usize,
    /// What sets it apart.
    pub name: String,
    /// Its outputs against the reference's.
    pub agreement: Agreement,
    /// The best median so far, in nanoseconds.
    pub ns: f64,
}

/// How a contender will do a workload in the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Calibrated {
    /// Index of the strategy.
    #[serde(skip)]
    pub strategy: usize,
    /// The strategy's name; empty where there was nothing to choose.
    pub name: String,
    /// Its outputs against the reference's.
    pub agreement: Agreement,
    /// Timed runs in a block.
    pub repeats: usize,
    /// Untimed runs before them, which warm again what a stopped process has let go cold.
    pub warmups: usize,
    /// Everything that was tried.
    pub tried: Vec<Candidate>,
}

/// The outputs that all others are compared with.
pub struct Reference {
    /// Whose outputs they are.
    pub name: String,
    precision: Precision,
    dim: usize,
    values: Vec<f32>,
}

impl Reference {
    /// The outputs of `contender`'s first strategy, for contenders that compute in `precision`.
    pub fn of(contender: &mut Contender, workload: &Workload, precision: Precision) -> Result<Reference> {
        contender.awake(|contender| {
            contender.load(&workload.sequences)?;
            let (dim, values) = contender.outputs(0)?;
            Ok(Reference { name: contender.name.clone(), precision, dim, values })
        })
    }

    fn check(&self, contender: &mut Contender, strategy: usize) -> Result<Agreement> {
        let (dim, values) = contender.outputs(strategy)?;
        if dim != self.dim {
            return Err(format!("embeddings of length {dim}, {} gives {}", self.name, self.dim).into());
        }
        let agreement = Agreement::of(&self.values, &values, dim)?;
        if agreement.holds(self.precision) {
            return Ok(agreement);
        }
        let Agreement { min_cosine, max_abs_error } = agreement;
        let (name, needed) = (&self.name, self.precision.least_cosine());
        Err(format!("cosine {min_cosine:.6} with {name}, {needed} is needed; error {max_abs_error:.1e}").into())
    }
}

/// Loads the workload, checks every strategy's outputs and finds the fastest.
pub fn calibrate(
    contender: &mut Contender,
    workload: &Workload,
    reference: &Reference,
    block: Duration,
) -> Result<Calibrated> {
    contender.awake(|contender| {
        let (mut candidates, mut refused) = (Vec::new(), Vec::new());
        let names = contender.load(&workload.sequences)?;
        for (strategy, name) in names.into_iter().enumerate() {
            match reference.check(contender, strategy) {
                Ok(agreement) => {
                    // Computing the outputs has warmed it up.
                    let ns = median(&contender.time(strategy, 0, 1)?);
                    candidates.push(Candidate { strategy, name, agreement, ns });
                }
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
        if candidates.len() > 1 {
            retry(contender, &mut candidates, block)?;
        }
        let Some(best) = candidates.iter().min_by(|a, b| a.ns.total_cmp(&b.ns)).cloned() else {
            return Err(refused.join("; ").into());
        };
        for refusal in refused {
            eprintln!("    {} leaves out {refusal}", contender.name);
        }
        let repeats = repeats(block, best.ns);
        Ok(Calibrated {
            strategy: best.strategy,
            name: if candidates.len() > 1 { best.name } else { String::new() },
            agreement: best.agreement,
            repeats,
            warmups: usize::from(repeats > 1),
            tried: candidates,
        })
    })
}

fn retry(contender: &mut Contender, candidates: &mut [Candidate], block: Duration) -> Result<()> {
    for within in WITHIN {
        let best = candidates.iter().map(|candidate| candidate.ns).fold(f64::INFINITY, f64::min);
        for candidate in candidates.iter_mut().filter(|candidate| candidate.ns <= best * within) {
            let ns = contender.time(candidate.strategy, 0, repeats(block, candidate.ns))?;
            candidate.ns = candidate.ns.min(median(&ns));
        }
    }
    Ok(())
}

/// How many runs of `ns` nanoseconds fill a block.
fn repeats(block: Duration, ns: f64) -> usize {
    let runs = (block.as_nanos() as f64 / ns.max(1.0)).ceil();
    (runs as usize).clamp(1, MOST_REPEATS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_filled_and_long_work_runs_once() {
        let block = Duration::from_millis(150);
        assert_eq!(repeats(block, 1e6), 150);
        assert_eq!(repeats(block, 100e6), 2);
        assert_eq!(repeats(block, 900e6), 1);
        assert_eq!(repeats(block, 0.0), MOST_REPEATS);
    }
}
