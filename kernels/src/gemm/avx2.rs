//! AVX2 with FMA: tiles of up to 6 × 16. Twelve accumulators, two right-hand vectors and two broadcasts are all 16 registers.

use std::arch::x86_64::{
    __m256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{MicroKernel, Tile};
use crate::Features;

const MR: usize = 6;
const NR: usize = 16;

pub(super) const KERNEL: MicroKernel =
    MicroKernel { name: "x86_64-avx2-f32-6x16", needs: Features::AVX2_FMA, mr: MR, nr: NR, tile };

unsafe fn tile(t: &Tile) {
    const BY_ROWS: [unsafe fn(&Tile); MR] = [rows::<1>, rows::<2>, rows::<3>, rows::<4>, rows::<5>, rows::<6>];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_ROWS[t.rows - 1](t) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const R: usize>(t: &Tile) {
    let mut acc: [[__m256; 2]; R] = [[_mm256_setzero_ps(); 2]; R];
    let mut b = t.b;
    let mut a: [*const f32; 2] = [t.a, t.a.wrapping_add(3 * t.a_stride)];
    for _ in 0..t.k {
        // SAFETY: `k` rows of `nr` values lie at `b`, and `k` values in each row of `a`.
        unsafe {
            let b0 = _mm256_loadu_ps(b);
            let b1 = _mm256_loadu_ps(b.add(8));
            for (row, acc) in acc.iter_mut().enumerate() {
                let value = _mm256_set1_ps(*a[row / 3].add(row % 3 * t.a_stride));
                acc[0] = _mm256_fmadd_ps(value, b0, acc[0]);
                acc[1] = _mm256_fmadd_ps(value, b1, acc[1]);
            }
        }
        b = b.wrapping_add(t.b_stride);
        for base in &mut a {
            *base = base.wrapping_add(1);
        }
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
