//! What `encode` gives back: one row per text, and which texts were cut.

use std::slice::ChunksExact;

/// A text that was longer than the model takes, so that only its beginning counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Which of the texts, from 0.
    pub index: usize,
    /// How many tokens it has, special tokens included.
    pub tokens: usize,
    /// How many of them the model saw, special tokens included.
    pub kept: usize,
}

/// One embedding per text, in the order of the texts.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// let model = loquat::SentenceEmbeddings::builder().build()?;
/// let embeddings = model.encode(&["A cat sits on the mat.", "Rain is likely tomorrow."])?;
/// assert_eq!((embeddings.len(), embeddings.dim()), (2, 384));
/// assert!(embeddings.truncated().is_empty());
/// for row in &embeddings {
///     assert_eq!(row.len(), 384);
/// }
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    dim: usize,
    rows: Vec<f32>,
    truncated: Vec<Truncated>,
}

impl Embeddings {
    pub(crate) fn with_capacity(dim: usize, len: usize) -> Self {
        Embeddings { dim, rows: Vec::with_capacity(dim.saturating_mul(len)), truncated: Vec::new() }
    }

    /// Adds whole rows.
    pub(crate) fn extend(&mut self, rows: &[f32]) {
        debug_assert_eq!(rows.len() % self.dim.max(1), 0);
        self.rows.extend_from_slice(rows);
    }

    pub(crate) fn push_truncated(&mut self, truncated: Truncated) {
        self.truncated.push(truncated);
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dim.max(1)
    }

    /// Whether there were no texts.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Values per embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The embedding of text `index`, `dim` values.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let start = index.checked_mul(self.dim)?;
        self.rows.get(start..start.checked_add(self.dim)?)
    }

    /// The embeddings in the order of the texts.
    pub fn iter(&self) -> ChunksExact<'_, f32> {
        self.rows.chunks_exact(self.dim.max(1))
    }

    /// All values, row after row: `len × dim`.
    pub fn as_flat(&self) -> &[f32] {
        &self.rows
    }

    /// All values, row after row, without copying.
    pub fn into_flat(self) -> Vec<f32> {
        self.rows
    }

    /// The texts that were cut to the model's length, in order. Empty if every text was seen whole.
    pub fn truncated(&self) -> &[Truncated] {
        &self.truncated
    }
}

impl<'a> IntoIterator for &'a Embeddings {
    type Item = &'a [f32];
    type IntoIter = ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_chunks_of_the_flat_values() {
        let mut embeddings = Embeddings::with_capacity(2, 2);
        assert!(embeddings.is_empty());
        embeddings.extend(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(embeddings.len(), 2);
        assert_eq!(embeddings.row(1), Some(&[3.0, 4.0][..]));
        assert_eq!(embeddings.row(2), None);
        assert_eq!(embeddings.row(usize::MAX), None);
        assert_eq!(embeddings.iter().collect::<Vec<_>>(), [[1.0, 2.0], [3.0, 4.0]]);
    }
}
