//! The scales of quantised tensors, and the checks that make them safe to multiply with.

use std::sync::Arc;

use super::{
    TensorView,
    convert::{RowScales, Storage, convert_row},
    quantization::Scheme,
};

/// What the integers of a tensor are multiplied with: a scale for each row, or for each group of values along it.
#[derive(Clone, Debug)]
pub(crate) struct Scales {
    /// `f32`s, little-endian, `[rows, per_row]`.
    bytes: Arc<[u8]>,
    per_row: usize,
    /// Values that share one.
    group: usize,
}

/// The integers that scales are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integers<'a> {
    pub(super) rows: usize,
    /// Values in a row.
    pub(super) width: usize,
    /// What the configuration allows; nothing if there is none.
    pub(super) schemes: &'a [Scheme],
}

impl Scales {
    /// The scales of one row.
    pub(crate) fn row(&self, row: usize) -> RowScales<'_> {
        let scales = self.bytes.as_chunks::<4>().0;
        let row = scales.get(row * self.per_row..(row + 1) * self.per_row).unwrap_or_default();
        RowScales { scales: row, group: self.group }
    }

    /// Those of so many rows from `first` on.
    pub(super) fn rows(self, first: usize, rows: usize) -> Scales {
        let row_bytes = self.per_row * size_of::<f32>();
        let range = first * row_bytes..(first + rows) * row_bytes;
        if range == (0..self.bytes.len()) {
            return self;
        }
        let bytes = self.bytes.get(range).unwrap_or_default().into();
        Scales { bytes, ..self }
    }

    /// All of them, `f32`, little-endian.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether each row has one.
    pub(super) fn are_per_row(&self) -> bool {
        self.per_row == 1
    }

    /// Reads a tensor `[rows, groups]`, `[rows]`, or of one value. The error says what is expected and what was found.
    pub(super) fn read(tensor: &TensorView<'_>, integers: Integers<'_>) -> Result<Scales, String> {
        let values = values(tensor)?;
        let rows = integers.rows;
        let (per_row, values) = match *tensor.shape {
            [] | [1] if rows != 1 && values.len() == 1 => (1, vec![values[0]; rows]),
            [found] if found == rows => (1, values),
            [found, per_row] if found == rows => (per_row, values),
            _ => return Err(integers.mismatch(tensor)),
        };
        let group = integers.group(per_row).ok_or_else(|| integers.mismatch(tensor))?;
        match values.iter().position(|&scale| !(scale > 0.0 && scale.is_finite())) {
            None => Ok(Scales::new(&values, per_row, group)),
            Some(bad) => Err(format!(
                "expected finite scales above 0, found {} for row {}{}",
                values[bad],
                bad / per_row,
                if per_row == 1 { String::new() } else { format!(", group {}", bad % per_row) }
            )),
        }
    }

    /// Reads bitsandbytes' largest magnitudes, `[rows]`, of which each step is a 127th. A row of zeros has 0.
    pub(super) fn read_peaks(tensor: &TensorView<'_>, integers: Integers<'_>) -> Result<Scales, String> {
        let values = values(tensor)?;
        if values.len() != integers.rows {
            return Err(format!("expected [{}], found {:?}", integers.rows, tensor.shape));
        }
        match values.iter().position(|&peak| !(peak >= 0.0 && peak.is_finite())) {
            None => {
                let scales: Vec<f32> = values.iter().map(|peak| peak / 127.0).collect();
                Ok(Scales::new(&scales, 1, integers.width))
            }
            Some(row) => Err(format!("expected finite magnitudes from 0 up, found {} for row {row}", values[row])),
        }
    }

    fn new(values: &[f32], per_row: usize, group: usize) -> Scales {
        Scales { bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(), per_row, group }
    }
}

impl Integers<'_> {
    /// Values that share a scale where a row has so many of them.
    fn group(&self, per_row: usize) -> Option<usize> {
        if self.schemes.is_empty() {
            let even = per_row > 0 && self.width.is_multiple_of(per_row);
            return even.then(|| self.width / per_row);
        }
        let fits = |scheme: &&Scheme| per_row == scheme.group.map_or(1, |group| self.width.div_ceil(group));
        self.schemes.iter().find(fits).map(|scheme| scheme.group.unwrap_or(self.width))
    }

    fn mismatch(&self, tensor: &TensorView<'_>) -> String {
        let mut expected: Vec<String> = self
            .schemes
            .iter()
            .map(|scheme| match scheme.group {
                None => format!("[{}, 1]", self.rows),
                Some(group) => {
                    format!("[{}, {}] for groups of {group}", self.rows, self.width.div_ceil(group))
                }
            })
            .collect();
        if expected.is_empty() {
            expected.push(format!("[{}, 1] or [{}, groups]", self.rows, self.rows));
        }
        format!("expected {}, found {:?}", expected.join(" or "), tensor.shape)
    }
}

fn values(tensor: &TensorView<'_>) -> Result<Vec<f32>, String> {
    match Storage::of(tensor.dtype) {
        Some(storage) if !storage.is_quantized() => {
            let mut values = vec![0.0; tensor.shape.iter().product()];
            convert_row(storage, tensor.bytes, RowScales::NONE, &mut values);
            Ok(values)
        }
        _ => Err(format!("expected scales of F32, F16 or BF16, found {}", tensor.dtype)),
    }
}
