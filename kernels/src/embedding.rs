//! Sums of embedding-table rows, straight from the bytes of a weight file.

use pulp::{Simd, WithSimd};

use crate::{
    Cpu, Exec, KernelError, MatMut,
    error::expect_eq,
    norm::{NormParams, normalize_row},
    row,
    view::SharedMat,
};

/// A row-major table as its file holds it: little-endian, at any alignment.
#[derive(Clone, Copy, Debug)]
pub enum EmbeddingTable<'a> {
    /// IEEE 754 single precision.
    F32(&'a [u8]),
    /// IEEE 754 half precision.
    F16(&'a [u8]),
    /// The upper half of a single.
    Bf16(&'a [u8]),
    /// Signed bytes, each row with a scale of its own.
    I8 {
        /// The rows.
        values: &'a [u8],
        /// An `f32` per row, which multiplies it.
        scales: &'a [u8],
    },
}

/// Which row of a table each output row takes.
#[derive(Clone, Copy, Debug)]
pub enum Indices<'a> {
    /// One index per output row.
    Rows(&'a [u32]),
    /// The same for all.
    Constant(u32),
}

/// One table and what is taken from it.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The table, as wide as the output.
    pub table: EmbeddingTable<'a>,
    /// Its number of rows.
    pub rows: usize,
    /// The rows that are taken.
    pub indices: Indices<'a>,
}

impl Lookup<'_> {
    fn validate(&self, place: usize, out_rows: usize, cols: usize) -> Result<(), KernelError> {
        let too_large = || KernelError::TooLarge { what: "an embedding table", rows: self.rows, cols };
        let bytes = |width: usize, cols: usize| {
            self.rows.checked_mul(cols).and_then(|len| len.checked_mul(width)).ok_or_else(too_large)
        };
        match self.table {
            EmbeddingTable::F32(values) => expect_eq("bytes of an f32 embedding table", values.len(), bytes(4, cols)?)?,
            EmbeddingTable::F16(values) => expect_eq("bytes of an f16 embedding table", values.len(), bytes(2, cols)?)?,
            EmbeddingTable::Bf16(values) => {
                expect_eq("bytes of a bf16 embedding table", values.len(), bytes(2, cols)?)?;
            }
            EmbeddingTable::I8 { values, scales } => {
                expect_eq("bytes of an int8 embedding table", values.len(), bytes(1, cols)?)?;
                expect_eq("bytes of an int8 embedding table's scales", scales.len(), bytes(4, 1)?)?;
            }
        }
        let what = match place {
            0 => "index into the first embedding table",
            1 => "index into the second embedding table",
            2 => "index into the third embedding table",
            _ => "index into a later embedding table",
        };
        let out_of_range =
            |position: usize, index: u32| KernelError::Index { what, position, index: index as usize, len: self.rows };
        match self.indices {
            Indices::Rows(indices) => {
                expect_eq("number of embedding indices", indices.len(), out_rows)?;
                match indices.iter().position(|index| *index as usize >= self.rows) {
                    Some(position) => Err(out_of_range(position, indices[position])),
                    None => Ok(()),
                }
            }
            Indices::Constant(index) if out_rows > 0 && index as usize >= self.rows => Err(out_of_range(0, index)),
            Indices::Constant(_) => Ok(()),
        }
    }

    fn index(&self, row: usize) -> usize {
        match self.indices {
            Indices::Rows(indices) => indices[row] as usize,
            Indices::Constant(index) => index as usize,
        }
    }
}

/// Sets each row of `out` to the sum of its lookups, in their order, and normalises it if `norm` says so while it is in cache.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, embedding::{EmbeddingTable, Indices, Lookup, embed}};
///
/// let words: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let types = [1, 2];
/// let lookups = [
///     Lookup { table: EmbeddingTable::F32(&words), rows: 2, indices: Indices::Rows(&[1, 0, 1]) },
///     Lookup {
///         table: EmbeddingTable::I8 { values: &types, scales: &0.5_f32.to_le_bytes() },
///         rows: 1,
///         indices: Indices::Constant(0),
///     },
/// ];
/// let mut out = [0.0; 6];
/// embed(&Cpu::detect()?, Exec::Serial, &lookups, None, MatMut::new(&mut out, 3, 2, 2)?)?;
/// assert_eq!(out, [3.5, 5.0, 1.5, 3.0, 3.5, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If there are no lookups, a table's bytes aren't `rows` of the output's width, an index is outside its table, or the parameters
/// of the norm don't have the output's width. Nothing is written then.
pub fn embed(
    cpu: &Cpu,
    exec: Exec<'_>,
    lookups: &[Lookup<'_>],
    norm: Option<NormParams<'_>>,
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let (rows, cols) = (out.rows(), out.cols());
    if lookups.is_empty() {
        return Err(KernelError::Shape { what: "number of embedding lookups", expected: 1, found: 0 });
    }
    for (place, lookup) in lookups.iter().enumerate() {
        lookup.validate(place, rows, cols)?;
    }
    if let Some(norm) = norm {
        norm.validate(cols)?;
    }
    let out = out.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Rows { lookups, norm, out, start, len });
    });
    Ok(())
}

struct Rows<'a> {
    lookups: &'a [Lookup<'a>],
    norm: Option<NormParams<'a>>,
    out: SharedMat<'a>,
    start: usize,
    len: usize,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { self.out.rows_mut(self.start, self.len) };
        for i in 0..self.len {
            let row = block.row_mut(i);
            for (place, lookup) in self.lookups.iter().enumerate() {
                let index = lookup.index(self.start + i);
                match place {
                    0 => decode(
                        lookup.table,
                        index,
                        row,
                        #[inline(always)]
                        |to, value| *to = value,
                    ),
                    _ => decode(
                        lookup.table,
                        index,
                        row,
                        #[inline(always)]
                        |to, value| *to += value,
                    ),
                }
            }
            if let Some(norm) = self.norm {
                normalize_row(simd, row, norm);
            }
        }
    }
}

/// Hands each value of a table row to `put`, with the element it goes to. Plain loops over bytes: the compiler turns them into
/// vector code of the level this is inlined into, and each element is on its own, so its bits don't depend on how.
#[inline(always)]
fn decode(table: EmbeddingTable<'_>, index: usize, row: &mut [f32], put: impl Fn(&mut f32, f32)) {
    let cols = row.len();
    match table {
        EmbeddingTable::F32(values) => {
            let (values, _) = values[index * cols * 4..][..cols * 4].as_chunks::<4>();
            for (to, bytes) in row.iter_mut().zip(values) {
                put(to, f32::from_le_bytes(*bytes));
            }
        }
        EmbeddingTable::F16(values) => {
            let (values, _) = values[index * cols * 2..][..cols * 2].as_chunks::<2>();
            for (to, bytes) in row.iter_mut().zip(values) {
                put(to, f16_to_f32(u16::from_le_bytes(*bytes)));
            }
        }
        EmbeddingTable::Bf16(values) => {
            let (values, _) = values[index * cols * 2..][..cols * 2].as_chunks::<2>();
            for (to, bytes) in row.iter_mut().zip(values) {
                put(to, f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16));
            }
        }
        EmbeddingTable::I8 { values, scales } => {
            let scale = f32::from_le_bytes(scales.as_chunks::<4>().0[index]);
            let values = &values[index * cols..][..cols];
            for (to, byte) in row.iter_mut().zip(values) {
                put(to, f32::from(byte.cast_signed()) * scale);
            }
        }
    }
}

/// Exact, subnormals included; a `NaN` keeps its payload.
#[inline(always)]
fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7FFF);
    // With the mantissas aligned, the exponent is 112 short, for subnormals too.
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let bits = if magnitude >= 0x7C00 { (magnitude << 13) | 0x7F80_0000 } else { finite.to_bits() };
    f32::from_bits(bits | sign)
}

#[cfg(test)]
mod tests;
