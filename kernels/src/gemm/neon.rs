//! AArch64 Advanced SIMD: tiles of up to 6 × 16. 24 accumulators, four right-hand vectors and the broadcasts fit in the 32
//! registers.

use std::arch::{
    aarch64::{float32x4_t, vdupq_n_f32, vfmaq_n_f32, vld1q_f32, vst1q_f32},
    asm,
};

use super::{MicroKernel, Prefetch, Tile};
use crate::Features;

const MR: usize = 6;
const NR: usize = 16;

pub(super) const KERNEL: MicroKernel = MicroKernel::f32("aarch64-neon-f32-6x16", Features::NEON, MR, NR, tile);

unsafe fn tile(t: &Tile) {
    const BY_ROWS: [unsafe fn(&Tile); MR] = [rows::<1>, rows::<2>, rows::<3>, rows::<4>, rows::<5>, rows::<6>];
    // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
    unsafe { BY_ROWS[t.rows - 1](t) }
}

#[target_feature(enable = "neon")]
unsafe fn rows<const R: usize>(t: &Tile) {
    let mut acc: [[float32x4_t; 4]; R] = [[vdupq_n_f32(0.0); 4]; R];
    let Prefetch { start, stride, advance, lines } = t.prefetch;
    debug_assert_eq!(lines, 1, "panels are a cache line wide");
    for kk in 0..t.k {
        let fetch = start.wrapping_add(kk % Prefetch::GROUP * stride + kk / Prefetch::GROUP * advance);
        // SAFETY: a hint, which reads nothing and never faults.
        unsafe { asm!("prfm pldl2keep, [{0}]", in(reg) fetch, options(readonly, nostack, preserves_flags)) };
        // SAFETY: `k` rows of `nr` values lie at `b`, and `k` values in each row of `a`.
        unsafe {
            let b = t.b.add(kk * t.b_stride);
            let b: [float32x4_t; 4] = [vld1q_f32(b), vld1q_f32(b.add(4)), vld1q_f32(b.add(8)), vld1q_f32(b.add(12))];
            for (row, acc) in acc.iter_mut().enumerate() {
                let value = *t.a.add(row * t.a_stride + kk);
                for (acc, b) in acc.iter_mut().zip(b) {
                    *acc = vfmaq_n_f32(*acc, b, value);
                }
            }
        }
    }
    for (row, acc) in acc.iter().enumerate() {
        for (i, acc) in acc.iter().enumerate() {
            // SAFETY: `c` takes `nr` values in each of `rows` rows.
            unsafe { vst1q_f32(t.c.add(row * t.c_stride + 4 * i), *acc) };
        }
    }
}
