//! What a run gives.

use crate::graph::{Rows, Shape};

/// The named results of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    pub(crate) tensors: Vec<(String, Tensor)>,
    pub(crate) cu_seqlens: Vec<u32>,
}

/// A dense row-major `f32` matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// What the rows stand for.
    pub rows: Rows,
    /// `[rows, width]`.
    pub shape: [usize; 2],
    /// The values, row after row.
    pub data: Vec<f32>,
}

impl Tensor {
    pub(crate) fn zeroed(shape: Shape, rows: usize, len: usize) -> Tensor {
        Tensor { rows: shape.rows, shape: [rows, shape.width], data: vec![0.0; len] }
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If `i` isn't below the number of rows.
    pub fn row(&self, i: usize) -> &[f32] {
        assert!(i < self.shape[0], "row {i} of {}", self.shape[0]);
        &self.data[i * self.shape[1]..][..self.shape[1]]
    }
}

impl Outputs {
    /// A result by name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// Takes a result out.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        let index = self.tensors.iter().position(|(known, _)| known == name)?;
        Some(self.tensors.swap_remove(index).1)
    }

    /// All results, in the order of the graph's outputs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Token rows `cu_seqlens[i] .. cu_seqlens[i + 1]` belong to sequence `i`; `[sequences + 1]`, from 0.
    pub fn cu_seqlens(&self) -> &[u32] {
        &self.cu_seqlens
    }
}
