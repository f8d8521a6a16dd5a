//! AVX-512: tiles of up to 14 × 32. 28 accumulators, two right-hand vectors and two broadcasts are all 32 registers; 28
//! multiply-adds stand against 16 loads, so the two multiply-add ports are the limit and the load ports have room.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{MicroKernel, Tile};
use crate::Features;

const MR: usize = 14;
const NR: usize = 32;

pub(super) const KERNEL: MicroKernel =
    MicroKernel { name: "x86_64-avx512-f32-14x32", needs: Features::AVX512, mr: MR, nr: NR, tile };

unsafe fn tile(t: &Tile) {
    const BY_ROWS: [unsafe fn(&Tile); MR] = [
        rows::<1>, rows::<2>, rows::<3>, rows::<4>, rows::<5>, rows::<6>, rows::<7>, rows::<8>, rows::<9>, rows::<10>,
        rows::<11>, rows::<12>, rows::<13>, rows::<14>,
    ];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_ROWS[t.rows - 1](t) }
}

#[target_feature(enable = "avx512f")]
unsafe fn rows<const R: usize>(t: &Tile) {
    /// Rows that share a base pointer: `[base]`, `[base + stride]` and `[base + 2 * stride]` are addressing modes, so 14 rows
    /// take five pointers and not fourteen, which would not fit in the general registers.
    const GROUP: usize = 3;
    let mut acc: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
    let mut b = t.b;
    let mut a: [*const f32; MR.div_ceil(GROUP)] = std::array::from_fn(|i| t.a.wrapping_add(i * GROUP * t.a_stride));
    for _ in 0..t.k {
        // SAFETY: `k` rows of `nr` values lie at `b`, and `k` values in each row of `a`.
        unsafe {
            let b0 = _mm512_loadu_ps(b);
            let b1 = _mm512_loadu_ps(b.add(16));
            for (row, acc) in acc.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*a[row / GROUP].add(row % GROUP * t.a_stride));
                acc[0] = _mm512_fmadd_ps(value, b0, acc[0]);
                acc[1] = _mm512_fmadd_ps(value, b1, acc[1]);
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
            _mm512_storeu_ps(c, acc[0]);
            _mm512_storeu_ps(c.add(16), acc[1]);
        }
    }
}
