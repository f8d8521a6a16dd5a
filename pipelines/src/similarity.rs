//! How alike two embeddings are.

use crate::Error;

/// A measure of likeness; larger is more alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The cosine of the angle between the two, from -1 to 1; 0 if either is all zeros.
    #[default]
    Cosine,
    /// The dot product: the cosine times both lengths.
    Dot,
}

impl Metric {
    /// The likeness of two embeddings of the same model.
    ///
    /// ```
    /// use loquat::Metric;
    ///
    /// assert_eq!(Metric::Cosine.between(&[3.0, 4.0], &[6.0, 8.0])?, 1.0);
    /// assert_eq!(Metric::Dot.between(&[3.0, 4.0], &[6.0, 8.0])?, 50.0);
    /// # Ok::<(), loquat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the lengths differ.
    pub fn between(self, a: &[f32], b: &[f32]) -> Result<f32, Error> {
        if a.len() != b.len() {
            return Err(Error::Dimensions { expected: a.len(), found: b.len() });
        }
        Ok(match self {
            Metric::Dot => dot(a, b),
            Metric::Cosine => {
                let lengths = norm(a) * norm(b);
                if lengths > 0.0 { (f64::from(dot(a, b)) / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
            }
        })
    }
}

/// The cosine of the angle between two embeddings: 1 for the same direction, 0 for unrelated ones.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// let model = loquat::SentenceEmbeddings::builder().build()?;
/// let texts = ["A man is eating food.", "Somebody eats a meal.", "The stock market fell."];
/// let embeddings = model.encode(&texts)?;
/// let rows: Vec<_> = embeddings.iter().collect();
/// assert!(loquat::similarity(rows[0], rows[1])? > loquat::similarity(rows[0], rows[2])?);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
///
/// # Errors
/// If the lengths differ.
pub fn similarity(a: &[f32], b: &[f32]) -> Result<f32, Error> {
    Metric::Cosine.between(a, b)
}

/// The dot product of two slices of one length, summed in one fixed order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen running sums let the compiler use SIMD registers without changing the order from machine to machine.
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Length of a vector, in f64 so that no square overflows or vanishes.
pub(crate) fn norm(a: &[f32]) -> f64 {
    a.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_adds_every_product_once_at_any_length() {
        for len in 0..70 {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected: f32 = (0..len).map(|i| (i * i) as f32).sum();
            assert_eq!(dot(&a, &a), expected, "length {len}");
        }
    }

    #[test]
    fn cosine_of_a_zero_vector_is_zero_and_lengths_must_agree() {
        assert_eq!(similarity(&[0.0, 0.0], &[1.0, 0.0]).unwrap(), 0.0);
        assert_eq!(similarity(&[1.0, 0.0], &[-2.0, 0.0]).unwrap(), -1.0);
        assert!(matches!(similarity(&[1.0], &[1.0, 2.0]), Err(Error::Dimensions { expected: 1, found: 2 })));
    }
}
