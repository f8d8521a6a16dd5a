//! AVX2 with FMA: tiles of up to 6 × 16. Twelve accumulators, two right-hand vectors and two broadcasts are all 16 registers.

use std::arch::x86_64::{
    __m256, _MM_HINT_T1, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps,
};

use super::{MicroKernel, Prefetch, Tile, microkernel::opaque};
use crate::Features;

const MR: usize = 6;
const NR: usize = 16;

pub(super) const KERNEL: MicroKernel = MicroKernel::f32("x86_64-avx2-f32-6x16", Features::AVX2_FMA, MR, NR, tile);

unsafe fn tile(t: &Tile) {
    const BY_ROWS: [unsafe fn(&Tile); MR] = [rows::<1>, rows::<2>, rows::<3>, rows::<4>, rows::<5>, rows::<6>];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_ROWS[t.rows - 1](t) }
}

/// Rows that share a base pointer: `[base]`, `[base + stride]` and `[base + 2 * stride]` are addressing modes.
const GROUP: usize = 3;

/// Steps of the reduction between two advances of the base pointers; within, the step is a displacement.
const UNROLL: usize = Prefetch::GROUP;

#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize>(t: &Tile) {
    let mut acc: [[__m256; 2]; R] = [[_mm256_setzero_ps(); 2]; R];
    let mut b = t.b;
    let mut a: [*const f32; MR / GROUP] = [t.a, t.a.wrapping_add(GROUP * t.a_stride)];
    let Prefetch { start: mut prefetch, stride, advance, .. } = t.prefetch;
    for _ in 0..t.k / UNROLL {
        a = a.map(opaque);
        for step in 0..UNROLL {
            // SAFETY: `k` rows of `nr` values lie at `b`, and `k` values in each row of `a`.
            unsafe { multiply_add(&mut acc, &a, t.a_stride, step, b) };
            b = b.wrapping_add(t.b_stride);
            _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(step * stride).cast());
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
            _mm256_storeu_ps(c, acc[0]);
            _mm256_storeu_ps(c.add(8), acc[1]);
        }
    }
}

/// One step of the reduction: column `step` of the rows at `a`, times the row at `b`.
///
/// # Safety
/// `b` is valid for `nr` reads, each row for `step + 1`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_add<const R: usize>(
    acc: &mut [[__m256; 2]; R],
    a: &[*const f32; MR / GROUP],
    a_stride: usize,
    step: usize,
    b: *const f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let b = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
        for (row, acc) in acc.iter_mut().enumerate() {
            let value = _mm256_set1_ps(*a[row / GROUP].add(row % GROUP * a_stride + step));
            acc[0] = _mm256_fmadd_ps(value, b[0], acc[0]);
            acc[1] = _mm256_fmadd_ps(value, b[1], acc[1]);
        }
    }
}
