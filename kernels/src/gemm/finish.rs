//! What happens to sums of products of codes on their way to the output.

use super::{Epilogue, PackedRhs, arithmetic::RowCode};
#[cfg(target_arch = "x86_64")]
use crate::Features;
use crate::{Arithmetic, Cpu, MatRef, view::SharedMat};

/// How sums become output.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    pub(super) cpu: &'a Cpu,
    /// The coded left-hand rows.
    pub(super) coded: MatRef<'a>,
    /// What the bytes of each row stand for, if they are bytes.
    pub(super) row_codes: MatRef<'a>,
    pub(super) rhs: &'a PackedRhs,
    pub(super) epilogue: &'a Epilogue<'a>,
    pub(super) out: SharedMat<'a>,
}

impl Finish<'_> {
    /// Writes the `rows` rows of a panel's tile from `row` on. `acc` are its sums, which are used up.
    pub(super) fn tile(&self, (row, rows): (usize, usize), panel: usize, acc: &mut [f32]) {
        let nr = self.rhs.kernel().nr;
        let acc = &mut acc[..rows * nr];
        let col = panel * nr;
        let cols = nr.min(self.rhs.n() - col);
        #[cfg(target_arch = "x86_64")]
        if self.cpu.features().contains(Features::AVX512_VNNI) && nr == x86::WIDTH && self.rhs.k() <= x86::MOST_INPUTS {
            // SAFETY: the machine has the instructions; the tile's rows and columns lie in the output, and this work item alone writes
            // them.
            unsafe {
                x86::dequantise(self, row, panel, acc);
                if cols == nr && self.epilogue.activation.is_none() {
                    return x86::store(self, row, panel, acc);
                }
            }
            return self.epilogue.store(self.cpu, acc, nr, self.out, (row, rows), (col, cols));
        }
        if let Some(Columns { scales, sums }) = self.columns(panel) {
            let codes = |i: usize| self.row_code(row + i);
            self.cpu.arch().dispatch(Dequantise { acc: &mut *acc, nr, codes, scales, sums });
        }
        self.epilogue.store(self.cpu, acc, nr, self.out, (row, rows), (col, cols));
    }

    /// What the sums of a panel of bytes need to become values.
    #[inline]
    fn columns(&self, panel: usize) -> Option<Columns<'_>> {
        let kernel = self.rhs.kernel();
        if kernel.arithmetic != Arithmetic::Int8 {
            return None;
        }
        let words = kernel.arithmetic.words(self.rhs.k());
        let (scales, sums) = self.rhs.panel(panel)[words * kernel.nr..].split_at(kernel.nr);
        Some(Columns { scales, sums })
    }

    /// What the bytes of a row stand for.
    #[inline(always)]
    fn row_code(&self, row: usize) -> RowCode {
        RowCode::get(self.row_codes.row(row))
    }
}

/// Of a panel's columns.
struct Columns<'a> {
    scales: &'a [f32],
    /// Sums of the columns' codes, `i32`: what each unit of a row's zero has added.
    sums: &'a [f32],
}

/// Sums of products of codes, turned into the values they stand for, in place.
struct Dequantise<'a, F> {
    acc: &'a mut [f32],
    nr: usize,
    /// What each row's bytes stand for.
    codes: F,
    scales: &'a [f32],
    sums: &'a [f32],
}

impl<F: Fn(usize) -> RowCode> pulp::WithSimd for Dequantise<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (i, row) in self.acc.chunks_exact_mut(self.nr).enumerate() {
            let RowCode { scale: row_scale, zero } = (self.codes)(i);
            for ((value, scale), sum) in row.iter_mut().zip(self.scales).zip(self.sums) {
                let sum = (value.to_bits() as i32).wrapping_sub(zero.wrapping_mul(sum.to_bits() as i32));
                *value = sum as f32 * row_scale * scale;
            }
        }
    }
}

/// The same in whole vectors, which the compiler doesn't make of the plain loops.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Columns, Finish};
    use crate::gemm::arithmetic::RowCode;

    /// Columns of a tile of the level's kernels.
    pub(super) const WIDTH: usize = 32;

    /// Up to so many inputs, the sum of a column's codes, 127 at most each, has two digits of 16 bits to the base of 128.
    pub(super) const MOST_INPUTS: usize = 1 << 15;

    const LANES: usize = 16;

    /// Two vectors: a row of a tile.
    type Row = [__m512; 2];

    /// Writes the values `acc` as rows of a panel's tile from `row` on, the bias and the residual added.
    ///
    /// # Safety
    /// The output has the rows and the panel's columns, and nobody else accesses them.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn store(finish: &Finish<'_>, row: usize, panel: usize, acc: &[f32]) {
        let col = panel * WIDTH;
        let bias = finish.epilogue.bias.map_or([_mm512_setzero_ps(); 2], |bias| load(&bias[col..]));
        let (acc, _) = acc.as_chunks::<WIDTH>();
        for (i, acc) in acc.iter().enumerate() {
            let mut values = add(load(acc), bias);
            if let Some(residual) = finish.epilogue.residual {
                values = add(values, load(&residual.row(row + i)[col..]));
            }
            // SAFETY: the caller's: the row has `WIDTH` columns from `col` on.
            let target = unsafe { std::slice::from_raw_parts_mut(finish.out.element(row + i, col), WIDTH) };
            put(target, values);
        }
    }

    /// Turns the sums of a tile's rows into the values they stand for, in place.
    ///
    /// What a row's zero has added is taken away by one instruction, which multiplies words of 16 bits in pairs: a column's sum is two digits to
    /// the base of 128.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn dequantise(finish: &Finish<'_>, row: usize, panel: usize, acc: &mut [f32]) {
        let Some(Columns { scales, sums }) = finish.columns(panel) else { return };
        let scales = load(scales);
        let digits = |sums: __m512| {
            let sums = _mm512_castps_si512(sums);
            let low = _mm512_and_si512(sums, _mm512_set1_epi32(127));
            _mm512_or_si512(low, _mm512_slli_epi32::<16>(_mm512_srai_epi32::<7>(sums)))
        };
        let [low, high] = load(sums);
        let sums = [digits(low), digits(high)];
        let (acc, _) = acc.as_chunks_mut::<WIDTH>();
        for (i, acc) in acc.iter_mut().enumerate() {
            let RowCode { scale, zero } = finish.row_code(row + i);
            let (row_scale, zeros) = (_mm512_set1_ps(scale), _mm512_set1_epi32(-zero & 0xFFFF | -zero << (16 + 7)));
            let value = |sum: __m512, digits: __m512i, scale: __m512| {
                let sum = _mm512_dpwssd_epi32(_mm512_castps_si512(sum), digits, zeros);
                _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), row_scale), scale)
            };
            let [low, high] = load(acc);
            put(acc, [value(low, sums[0], scales[0]), value(high, sums[1], scales[1])]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(a: Row, b: Row) -> Row {
        [_mm512_add_ps(a[0], b[0]), _mm512_add_ps(a[1], b[1])]
    }

    /// The first `WIDTH` values.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(values: &[f32]) -> Row {
        let values = &values[..WIDTH];
        // SAFETY: there are two vectors of values.
        unsafe { [_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(LANES))] }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn put(target: &mut [f32], values: Row) {
        let target = &mut target[..WIDTH];
        // SAFETY: there is room for two vectors.
        unsafe {
            _mm512_storeu_ps(target.as_mut_ptr(), values[0]);
            _mm512_storeu_ps(target.as_mut_ptr().add(LANES), values[1]);
        }
    }
}
