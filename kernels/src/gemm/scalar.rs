//! The kernel without explicit SIMD.

use super::{MicroKernel, Tile};
use crate::Features;

const MR: usize = 4;
const NR: usize = 8;

pub(super) const KERNEL: MicroKernel = MicroKernel::f32("scalar-f32-4x8", Features::NONE, MR, NR, tile);

/// Multiplies and adds in two roundings: a fused multiply-add without hardware for it is a library call, some fifty times slower.
unsafe fn tile(t: &Tile) {
    let mut acc = [[0.0f32; NR]; MR];
    for kk in 0..t.k {
        // SAFETY: `kk < k`, so the row of `nr` values is inside `b`.
        let b: &[f32; NR] = unsafe { &*t.b.add(kk * t.b_stride).cast() };
        for (row, acc) in acc.iter_mut().enumerate().take(t.rows) {
            // SAFETY: `row < rows` and `kk < k`.
            let a = unsafe { *t.a.add(row * t.a_stride + kk) };
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc += a * b;
            }
        }
    }
    for (row, acc) in acc.iter().enumerate().take(t.rows) {
        // SAFETY: `row < rows`, and `c` takes `nr` values a row.
        unsafe { *t.c.add(row * t.c_stride).cast() = *acc };
    }
}
