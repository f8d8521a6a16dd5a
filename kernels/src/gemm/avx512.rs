//! AVX-512: two tiles that fill the 32 registers with accumulators, right-hand vectors and a broadcast.
//!
//! A step of the 9 × 48 tile is 27 multiply-adds, 9 broadcasts and 3 loads; of the 14 × 32 tile 28, 14 and 2. Alone on a core both
//! are limited by the two multiply-add ports. Where a neighbour on the core's other hardware thread takes its part of the front
//! end and the load ports, fewer of the rest count: there the wide tile is a tenth faster.

use std::arch::x86_64::{
    __m512, _MM_HINT_T1, _mm_prefetch, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{MicroKernel, Prefetch, Tile, microkernel::opaque};
use crate::Features;

/// The tallest tile.
const MR: usize = 14;
/// Values of a vector.
const LANES: usize = 16;

/// For products whose columns are not a multiple of 48: heads of 32 or 64 columns, small outputs.
pub(super) const TALL: MicroKernel = MicroKernel::f32("x86_64-avx512-f32-14x32", Features::AVX512, 14, 2 * LANES, tall);

pub(super) const WIDE: MicroKernel = MicroKernel::f32("x86_64-avx512-f32-9x48", Features::AVX512, 9, 3 * LANES, wide);

/// The functions for one number of vectors and of lines to fetch, by rows.
macro_rules! by_rows {
    ($vectors:literal, $lines:literal, $($rows:literal)*) => {
        [$(rows::<$rows, $vectors, $lines>),*]
    };
}

unsafe fn tall(t: &Tile) {
    const BY_LINES: [[unsafe fn(&Tile); TALL.mr]; TALL.nr / LANES] =
        [by_rows!(2, 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14), by_rows!(2, 2, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_LINES[t.prefetch.lines - 1][t.rows - 1](t) }
}

unsafe fn wide(t: &Tile) {
    const BY_LINES: [[unsafe fn(&Tile); WIDE.mr]; WIDE.nr / LANES] =
        [by_rows!(3, 1, 1 2 3 4 5 6 7 8 9), by_rows!(3, 2, 1 2 3 4 5 6 7 8 9), by_rows!(3, 3, 1 2 3 4 5 6 7 8 9)];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_LINES[t.prefetch.lines - 1][t.rows - 1](t) }
}

/// Rows that share a base pointer: `[base]`, `[base + stride]` and `[base + 2 * stride]` are addressing modes, so 14 rows take
/// five pointers and not fourteen, which would not fit in the general registers.
const GROUP: usize = 3;

/// Steps of the reduction between two advances of the base pointers; within, the step is a displacement.
const UNROLL: usize = Prefetch::GROUP;

/// A tile of `R` rows and `V` vectors that fetches `P` lines in each step.
#[target_feature(enable = "avx512f")]
unsafe fn rows<const R: usize, const V: usize, const P: usize>(t: &Tile) {
    let mut acc: [[__m512; V]; R] = [[_mm512_setzero_ps(); V]; R];
    let mut b = t.b;
    let mut a: [*const f32; MR.div_ceil(GROUP)] = std::array::from_fn(|i| t.a.wrapping_add(i * GROUP * t.a_stride));
    let Prefetch { start: mut prefetch, stride, advance, .. } = t.prefetch;
    for _ in 0..t.k / UNROLL {
        a = a.map(opaque);
        for step in 0..UNROLL {
            // SAFETY: `k` rows of `nr` values lie at `b`, and `k` values in each row of `a`.
            unsafe { multiply_add(&mut acc, &a, t.a_stride, step, b) };
            b = b.wrapping_add(t.b_stride);
            for line in 0..P {
                _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add((step * P + line) * stride).cast());
            }
        }
        prefetch = prefetch.wrapping_add(advance);
        a = a.map(|base| base.wrapping_add(UNROLL));
    }
    for step in 0..t.k % UNROLL {
        // SAFETY: as above.
        unsafe { multiply_add(&mut acc, &a, t.a_stride, step, b) };
        b = b.wrapping_add(t.b_stride);
    }
    for (row, acc) in acc.iter().enumerate() {
        // SAFETY: `c` takes `nr` values in each of `rows` rows.
        unsafe {
            let c = t.c.add(row * t.c_stride);
            for (i, acc) in acc.iter().enumerate() {
                _mm512_storeu_ps(c.add(i * LANES), *acc);
            }
        }
    }
}

/// One step of the reduction: column `step` of the rows at `a`, times the row at `b`.
///
/// # Safety
/// `b` is valid for `nr` reads, each row for `step + 1`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply_add<const R: usize, const V: usize>(
    acc: &mut [[__m512; V]; R],
    a: &[*const f32; MR.div_ceil(GROUP)],
    a_stride: usize,
    step: usize,
    b: *const f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let b: [__m512; V] = std::array::from_fn(|i| _mm512_loadu_ps(b.add(i * LANES)));
        // Written out, since an accumulator only lives in a register if every index into the array is a constant, and the
        // compiler gives up unrolling a loop at 14 rows.
        macro_rules! rows {
            ($($row:literal)*) => {$(
                if $row < R {
                    let value = _mm512_set1_ps(*a[$row / GROUP].add($row % GROUP * a_stride + step));
                    acc[$row][0] = _mm512_fmadd_ps(value, b[0], acc[$row][0]);
                    acc[$row][1] = _mm512_fmadd_ps(value, b[1], acc[$row][1]);
                    if V > 2 {
                        acc[$row][V - 1] = _mm512_fmadd_ps(value, b[V - 1], acc[$row][V - 1]);
                    }
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    }
}
