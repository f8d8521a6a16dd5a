//! From logits to scores.

use std::cmp::Ordering;

/// `exp(x) / Σ exp(x)`, safe from overflow.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut scores: Vec<f32> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The place of the largest score, of several equal ones the first; 0 for none.
pub(crate) fn arg_max(scores: &[f32]) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
    }
    best
}

/// Largest first; for a stable sort.
pub(crate) fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_add_up_to_one_however_large_the_logits() {
        let scores = softmax(&[1000.0, 1001.0, -1000.0]);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((scores[1] / scores[0] - 1f32.exp()).abs() < 1e-5);
        assert_eq!(scores[2], 0.0);
    }

    #[test]
    fn of_equal_scores_the_first_is_the_largest() {
        assert_eq!(arg_max(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(arg_max(&[]), 0);
        assert_eq!((sigmoid(0.0), sigmoid(f32::NEG_INFINITY)), (0.5, 0.0));
    }
}
