//! Medians and spreads.

use serde::Serialize;

/// The middle and the spread of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The 10th percentile.
    pub p10: f64,
    /// The median.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
}

impl Spread {
    /// Of at least one sample; `None` without any.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Spread {
            min: *sorted.first()?,
            p10: quantile(&sorted, 0.1),
            median: quantile(&sorted, 0.5),
            p90: quantile(&sorted, 0.9),
        })
    }
}

/// The median of nanoseconds; 0 without any.
pub fn median(ns: &[u64]) -> f64 {
    Spread::of(ns.iter().map(|&ns| ns as f64)).map_or(0.0, |spread| spread.median)
}

/// By linear interpolation between the neighbouring samples.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let (low, part) = (position.floor() as usize, position.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + part * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_sorted_samples() {
        let spread = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0]).expect("samples");
        assert_eq!(spread, Spread { min: 1.0, p10: 1.4, median: 3.0, p90: 4.6 });
        assert_eq!(Spread::of([]), None);
        assert_eq!(median(&[4, 2]), 3.0);
    }
}
