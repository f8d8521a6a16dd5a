//! Embeddings in a byte or a bit a value, as sentence-transformers' `quantize_embeddings` makes them.

use crate::{Embeddings, Error};

/// Steps in a range that is coded in a byte.
const STEPS: f32 = 255.0;

/// What each value of an embedding ranges over, so that it can be coded in a byte.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::{EmbeddingRanges, SentenceEmbeddings};
///
/// let model = SentenceEmbeddings::builder().build()?;
/// let calibration = model.encode(&["A cat sleeps.", "It rains.", "Stocks fell on Monday.", "The bridge is closed."])?;
/// let ranges = EmbeddingRanges::of(&calibration)?;
/// let bytes = model.encode(&["A dog barks."])?.to_int8(&ranges)?;
/// assert_eq!(bytes.len(), model.dim());
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRanges {
    least: Vec<f32>,
    step: Vec<f32>,
}

impl EmbeddingRanges {
    /// Ranges from `least[i]` to `greatest[i]`.
    ///
    /// # Errors
    /// If the two aren't of one length, or a range isn't finite or ends before it begins.
    pub fn new(least: &[f32], greatest: &[f32]) -> Result<Self, Error> {
        if least.len() != greatest.len() {
            return Err(invalid(format!("{} least values, but {} greatest ones", least.len(), greatest.len())));
        }
        for (i, (least, greatest)) in least.iter().zip(greatest).enumerate() {
            if !(least.is_finite() && greatest.is_finite() && least <= greatest) {
                return Err(invalid(format!(
                    "value {i} goes from {least} to {greatest}; expected finite numbers in order"
                )));
            }
        }
        let step = least.iter().zip(greatest).map(|(least, greatest)| match (greatest - least) / STEPS {
            step if step > 0.0 => step,
            _ => 1.0,
        });
        Ok(EmbeddingRanges { least: least.to_vec(), step: step.collect() })
    }

    /// What the values of these embeddings range over. They should be many (a hundred at least), and like those that are to be coded.
    ///
    /// # Errors
    /// If there are fewer than two, or a value isn't finite.
    pub fn of(embeddings: &Embeddings) -> Result<Self, Error> {
        if embeddings.len() < 2 {
            return Err(invalid(format!(
                "{} embeddings say nothing of what others range over; take those of a hundred texts or more",
                embeddings.len()
            )));
        }
        let bound = |start: f32, wider: fn(f32, f32) -> bool| {
            embeddings.iter().fold(vec![start; embeddings.dim()], |mut bounds, row| {
                for (bound, &value) in bounds.iter_mut().zip(row) {
                    if wider(value, *bound) || value.is_nan() {
                        *bound = value;
                    }
                }
                bounds
            })
        };
        EmbeddingRanges::new(&bound(f32::INFINITY, |a, b| a < b), &bound(f32::NEG_INFINITY, |a, b| a > b))
    }

    /// Values per embedding.
    pub fn dim(&self) -> usize {
        self.least.len()
    }
}

fn invalid(problem: String) -> Error {
    Error::Setting { setting: "ranges of embeddings", problem }
}

impl Embeddings {
    /// The values in bytes, row after row: 0 for the least of the value's range or less, 255 for the greatest or more.
    ///
    /// # Errors
    /// If the ranges are those of embeddings of another length.
    pub fn to_uint8(&self, ranges: &EmbeddingRanges) -> Result<Vec<u8>, Error> {
        if ranges.dim() != self.dim() {
            return Err(invalid(format!("{} ranges for embeddings of {} values", ranges.dim(), self.dim())));
        }
        let code = |((value, least), step): ((&f32, &f32), &f32)| ((value - least) / step).floor() as u8;
        Ok(self.iter().flat_map(|row| row.iter().zip(&ranges.least).zip(&ranges.step).map(code)).collect())
    }

    /// As [`to_uint8`](Self::to_uint8), less 128.
    ///
    /// # Errors
    /// As there.
    pub fn to_int8(&self, ranges: &EmbeddingRanges) -> Result<Vec<i8>, Error> {
        Ok(signed(self.to_uint8(ranges)?))
    }

    /// A bit for each value, 1 where it is above 0, row after row: rows are whole bytes, `dim.div_ceil(8)`, the first value in a byte's highest
    /// bit.
    pub fn to_ubinary(&self) -> Vec<u8> {
        let byte = |values: &[f32]| {
            values.iter().enumerate().fold(0, |byte, (i, value)| byte | u8::from(*value > 0.0) << (7 - i))
        };
        self.iter().flat_map(|row| row.chunks(8).map(byte)).collect()
    }

    /// As [`to_ubinary`](Self::to_ubinary), each byte less 128.
    pub fn to_binary(&self) -> Vec<i8> {
        signed(self.to_ubinary())
    }
}

fn signed(bytes: Vec<u8>) -> Vec<i8> {
    bytes.into_iter().map(|byte| (byte ^ 0x80) as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embeddings(dim: usize, values: &[f32]) -> Embeddings {
        let mut embeddings = Embeddings::with_capacity(dim, values.len() / dim);
        embeddings.extend(values);
        embeddings
    }

    #[test]
    fn values_are_cut_to_their_range_and_rounded_down() {
        let ranges = EmbeddingRanges::new(&[0.0, -1.0], &[255.0, 1.0]).unwrap();
        let rows = embeddings(2, &[0.0, -1.0, 254.9, 0.0, 300.0, 5.0, -3.0, f32::NAN]);
        assert_eq!(rows.to_uint8(&ranges).unwrap(), [0, 0, 254, 127, 255, 255, 0, 0]);
        assert_eq!(rows.to_int8(&ranges).unwrap(), [-128, -128, 126, -1, 127, 127, -128, -128]);
        assert!(embeddings(1, &[0.0]).to_uint8(&ranges).is_err());
    }

    #[test]
    fn bits_are_packed_from_the_highest_on() {
        let row = [1.0, -1.0, 0.0, 2.0, -0.0, 3.0, f32::NAN, 1.0, 1.0, -1.0];
        assert_eq!(embeddings(10, &row).to_ubinary(), [0b1001_0101, 0b1000_0000]);
        assert_eq!(embeddings(10, &row).to_binary(), [0b0001_0101, 0]);
    }

    #[test]
    fn ranges_come_from_the_values() {
        let ranges = EmbeddingRanges::of(&embeddings(2, &[1.0, 5.0, -1.0, 5.0, 0.5, 5.0])).unwrap();
        assert_eq!(ranges, EmbeddingRanges::new(&[-1.0, 5.0], &[1.0, 5.0]).unwrap());
        // A value that never changes has a step of 1.
        assert_eq!(embeddings(2, &[0.9, 7.0]).to_uint8(&ranges).unwrap(), [242, 2]);
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        assert!(EmbeddingRanges::of(&embeddings(2, &[1.0, 5.0])).is_err());
        assert!(EmbeddingRanges::of(&embeddings(1, &[1.0, f32::NAN, 2.0])).is_err());
        assert!(EmbeddingRanges::new(&[1.0], &[0.0]).is_err());
        assert!(EmbeddingRanges::new(&[1.0], &[]).is_err());
        assert!(EmbeddingRanges::new(&[0.0], &[f32::INFINITY]).is_err());
    }
}
