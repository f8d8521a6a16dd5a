//! Outputs are compared before anything is timed: a contender that computes something else isn't a contender.

use loquat_benches::precision::Precision;
use serde::Serialize;

/// How close a contender's embeddings are to the reference's.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Agreement {
    /// The worst row's cosine.
    pub min_cosine: f64,
    /// The largest difference of a component.
    pub max_abs_error: f64,
}

impl Agreement {
    /// Compares `[rows, dim]` values, or says what makes them incomparable.
    pub fn of(reference: &[f32], values: &[f32], dim: usize) -> Result<Agreement, String> {
        if reference.len() != values.len() || dim == 0 {
            return Err(format!("gave {} values, the reference {}", values.len(), reference.len()));
        }
        let mut agreement = Agreement { min_cosine: f64::INFINITY, max_abs_error: 0.0 };
        for (row, (expected, found)) in reference.chunks(dim).zip(values.chunks(dim)).enumerate() {
            let cosine = dot(expected, found) / (dot(expected, expected) * dot(found, found)).sqrt();
            let error = expected.iter().zip(found).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
            if !cosine.is_finite() {
                return Err(format!("gave an embedding without a direction in row {row}"));
            }
            agreement.min_cosine = agreement.min_cosine.min(cosine);
            agreement.max_abs_error = error.fold(agreement.max_abs_error, f64::max);
        }
        Ok(agreement)
    }

    /// Whether it may be timed.
    pub fn holds(&self, precision: Precision) -> bool {
        self.min_cosine >= precision.least_cosine()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_row_decides() {
        let reference = [1.0, 0.0, 0.0, 1.0];
        let agreement = Agreement::of(&reference, &[1.0, 0.0, 1.0, 0.0], 2).expect("comparable");
        assert_eq!((agreement.min_cosine, agreement.max_abs_error), (0.0, 1.0));
        assert!(!agreement.holds(Precision::F32));
        assert!(Agreement::of(&reference, &reference, 2).expect("comparable").holds(Precision::F32));
    }

    #[test]
    fn missing_rows_and_nans_are_refused() {
        assert!(Agreement::of(&[1.0, 0.0], &[1.0], 2).is_err());
        assert!(Agreement::of(&[1.0, 0.0], &[f32::NAN, 0.0], 2).is_err());
        assert!(Agreement::of(&[1.0, 0.0], &[0.0, 0.0], 2).is_err());
    }
}
