//! Transposition into panels: what packing weights and attention keys spend their time on.

use crate::{Cpu, MatRef};

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::transposed_16x16;

/// Writes `target[column * stride + row]` for every value of `source`; what lies between is left alone.
///
/// # Panics
/// If a value falls outside of `target`.
pub(crate) fn transpose(cpu: &Cpu, source: MatRef<'_>, target: &mut [f32], stride: usize) {
    let (rows, cols) = (source.rows(), source.cols());
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(rows <= stride && (cols - 1) * stride + rows <= target.len(), "{rows} x {cols} into {}", target.len());
    let (block_rows, block_cols) = match cpu.vector_level() {
        #[cfg(target_arch = "x86_64")]
        crate::Level::Avx512 => {
            blocks(source, 16, |row, col, from| {
                // SAFETY: a `Cpu` of this level exists only where the machine has AVX-512. The block lies in `source`, and its
                // transpose in `target`, as the assertion above has it.
                unsafe {
                    x86::block_16x16(from, source.row_stride(), target.as_mut_ptr().add(col * stride + row), stride)
                }
            })
        }
        #[cfg(target_arch = "x86_64")]
        crate::Level::Avx2 => {
            blocks(source, 8, |row, col, from| {
                // SAFETY: as above, with AVX2.
                unsafe {
                    x86::block_8x8(from, source.row_stride(), target.as_mut_ptr().add(col * stride + row), stride)
                }
            })
        }
        _ => (0, 0),
    };
    for row in 0..rows {
        let from = if row < block_rows { block_cols } else { 0 };
        for (col, value) in source.row(row).iter().enumerate().skip(from) {
            target[col * stride + row] = *value;
        }
    }
}

/// Calls `body(row, col, address)` for each whole `size × size` block, and says how many rows and columns they cover.
#[cfg(target_arch = "x86_64")]
fn blocks(source: MatRef<'_>, size: usize, mut body: impl FnMut(usize, usize, *const f32)) -> (usize, usize) {
    let covered = (source.rows() / size * size, source.cols() / size * size);
    for row in (0..covered.0).step_by(size) {
        for col in (0..covered.1).step_by(size) {
            body(row, col, source.row(row)[col..].as_ptr());
        }
    }
    covered
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Transposes 16 rows of 16 values.
    ///
    /// # Safety
    /// The machine has AVX-512; 16 rows of 16 values at `source` are readable, and at `target` writable, at their strides.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn block_16x16(source: *const f32, source_stride: usize, target: *mut f32, stride: usize) {
        let mut rows = [_mm512_setzero_ps(); 16];
        for (i, row) in rows.iter_mut().enumerate() {
            // SAFETY: row `i` of the source, by the contract.
            *row = unsafe { _mm512_loadu_ps(source.add(i * source_stride)) };
        }
        for (i, column) in transposed_16x16(rows).into_iter().enumerate() {
            // SAFETY: row `i` of the target, by the contract.
            unsafe { _mm512_storeu_ps(target.add(i * stride), column) };
        }
    }

    /// The columns of 16 rows.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn transposed_16x16(rows: [__m512; 16]) -> [__m512; 16] {
        let mut quads = [_mm512_setzero_ps(); 16];
        for group in 0..4 {
            let (a, b, c, d) = (rows[4 * group], rows[4 * group + 1], rows[4 * group + 2], rows[4 * group + 3]);
            let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let pairs = |low, high| {
                let (low, high) = (_mm512_castps_pd(low), _mm512_castps_pd(high));
                (_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)), _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)))
            };
            // Lane `l` of `quads[4 * group + j]`: column `4 * l + j` of these four rows.
            (quads[4 * group], quads[4 * group + 1]) = pairs(ab_low, cd_low);
            (quads[4 * group + 2], quads[4 * group + 3]) = pairs(ab_high, cd_high);
        }
        let mut columns = quads;
        for j in 0..4 {
            let (a, b, c, d) = (quads[j], quads[4 + j], quads[8 + j], quads[12 + j]);
            let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            columns[j] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
            columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
            columns[8 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
            columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
        }
        columns
    }

    /// Transposes 8 rows of 8 values.
    ///
    /// # Safety
    /// The machine has AVX2; 8 rows of 8 values at `source` are readable, and at `target` writable, at their strides.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn block_8x8(source: *const f32, source_stride: usize, target: *mut f32, stride: usize) {
        // SAFETY: row `i` of the source, by the contract.
        let row = |i: usize| unsafe { _mm256_loadu_ps(source.add(i * source_stride)) };
        let mut quads = [_mm256_setzero_ps(); 8];
        for group in 0..2 {
            let (a, b, c, d) = (row(4 * group), row(4 * group + 1), row(4 * group + 2), row(4 * group + 3));
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            // Lane `l` of `quads[4 * group + j]`: column `4 * l + j` of these four rows.
            quads[4 * group] = _mm256_shuffle_ps::<0x44>(ab_low, cd_low);
            quads[4 * group + 1] = _mm256_shuffle_ps::<0xee>(ab_low, cd_low);
            quads[4 * group + 2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
            quads[4 * group + 3] = _mm256_shuffle_ps::<0xee>(ab_high, cd_high);
        }
        for j in 0..4 {
            let (low, high) = (quads[j], quads[4 + j]);
            // SAFETY: rows `j` and `4 + j` of the target, by the contract.
            unsafe {
                _mm256_storeu_ps(target.add(j * stride), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(target.add((4 + j) * stride), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_transposes_every_size() {
        for cpu in Cpu::available() {
            for rows in [0, 1, 7, 8, 9, 15, 16, 17, 32, 33] {
                for cols in [0, 1, 7, 8, 9, 16, 24, 31, 32, 40] {
                    let (source_stride, stride) = (cols + 3, rows + 2);
                    let data: Vec<f32> = (0..rows * source_stride).map(|i| i as f32).collect();
                    let source = MatRef::new(&data, rows, cols, source_stride).unwrap();
                    let mut target = vec![-1.0; cols * stride];
                    transpose(&cpu, source, &mut target, stride);
                    for (i, value) in target.iter().enumerate() {
                        let (col, row) = (i / stride, i % stride);
                        let expected = if row < rows { source.row(row)[col] } else { -1.0 };
                        assert_eq!(*value, expected, "{} {rows}x{cols} at {row},{col}", cpu.level());
                    }
                }
            }
        }
    }
}
