//! AVX-512: tiles of up to 14 × 32. 28 accumulators, two right-hand vectors and two broadcasts are all 32 registers; 28
//! multiply-adds stand against 16 loads, so the two multiply-add ports are the limit and the load ports have room.

use std::arch::x86_64::{
    __m512, _MM_HINT_T1, _mm_prefetch, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{MicroKernel, Prefetch, Tile, microkernel::opaque};
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

/// Rows that share a base pointer: `[base]`, `[base + stride]` and `[base + 2 * stride]` are addressing modes, so 14 rows take
/// five pointers and not fourteen, which would not fit in the general registers.
const GROUP: usize = 3;

/// Steps of the reduction between two advances of the base pointers; within, the step is a displacement.
const UNROLL: usize = Prefetch::PLACES;

#[target_feature(enable = "avx512f")]
unsafe fn rows<const R: usize>(t: &Tile) {
    let mut acc: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
    let mut b = t.b;
    let mut a: [*const f32; MR.div_ceil(GROUP)] = std::array::from_fn(|i| t.a.wrapping_add(i * GROUP * t.a_stride));
    let Prefetch { start: mut prefetch, stride, advance } = t.prefetch;
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
            _mm512_storeu_ps(c, acc[0]);
            _mm512_storeu_ps(c.add(16), acc[1]);
        }
    }
}

/// One step of the reduction: column `step` of the rows at `a`, times the row at `b`.
///
/// # Safety
/// `b` is valid for `nr` reads, each row for `step + 1`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply_add<const R: usize>(
    acc: &mut [[__m512; 2]; R],
    a: &[*const f32; MR.div_ceil(GROUP)],
    a_stride: usize,
    step: usize,
    b: *const f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let b = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
        // Written out, since an accumulator only lives in a register if every index into the array is a constant, and the
        // compiler gives up unrolling a loop at 14 rows.
        macro_rules! rows {
            ($($row:literal)*) => {$(
                if $row < R {
                    let value = _mm512_set1_ps(*a[$row / GROUP].add($row % GROUP * a_stride + step));
                    acc[$row][0] = _mm512_fmadd_ps(value, b[0], acc[$row][0]);
                    acc[$row][1] = _mm512_fmadd_ps(value, b[1], acc[$row][1]);
                }
            )*};
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    }
}
