//! Bytes without AMX: VNNI, AVX2 and plain Rust. Sums are exact, so all give the same bits.

use super::{
    Arithmetic, MicroKernel,
    arithmetic::TILE_WORDS,
    microkernel::{CodedTile, TileFn},
};
use crate::Features;

const fn kernel(
    name: &'static str,
    needs: Features,
    (mr, nr): (usize, usize),
    run: unsafe fn(&CodedTile),
    offset: u8,
) -> MicroKernel {
    const fn nothing() {}
    let tile = TileFn::Coded { run, enter: nothing, leave: nothing, offset };
    MicroKernel { name, needs, arithmetic: Arithmetic::Int8, mr, nr, tile }
}

pub(super) const SCALAR: MicroKernel = kernel("scalar-int8-4x8", Features::NONE, (4, 8), scalar, 0);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: MicroKernel =
    kernel("x86_64-avx2-int8-4x16", Features::AVX2_FMA, (x86::AVX2_MR, 16), x86::avx2, 0);
#[cfg(target_arch = "x86_64")]
pub(super) const VNNI: MicroKernel = kernel(
    "x86_64-avx512vnni-int8-14x32",
    Features::AVX512.union(Features::AVX512_VNNI),
    (x86::VNNI_MR, 32),
    x86::vnni,
    0x80,
);

unsafe fn scalar(t: &CodedTile) {
    const NR: usize = 8;
    for row in 0..t.rows {
        // SAFETY: the contract gives `rows` coded rows of `steps` times 64 bytes, as many rows of the panel as they have words, and
        // `NR` accumulators for each row.
        let (a, b, acc) = unsafe {
            (
                std::slice::from_raw_parts(t.a.add(row * t.a_stride).cast::<[i8; 4]>(), t.steps * TILE_WORDS),
                std::slice::from_raw_parts(t.b.cast::<[[i8; 4]; NR]>(), t.steps * TILE_WORDS),
                &mut *t.c.add(row * NR).cast::<[i32; NR]>(),
            )
        };
        let mut sums = if t.accumulate { *acc } else { [0; NR] };
        for (a, b) in a.iter().zip(b) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
            }
        }
        *acc = sums;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CodedTile, TILE_WORDS};

    pub(super) const VNNI_MR: usize = 14;
    pub(super) const AVX2_MR: usize = 4;

    pub(super) unsafe fn vnni(t: &CodedTile) {
        macro_rules! by_rows {
            ($($rows:literal)*) => { [$(vnni_rows::<$rows>),*] };
        }
        const BY_ROWS: [unsafe fn(&CodedTile); VNNI_MR] = by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
        unsafe { BY_ROWS[t.rows - 1](t) }
    }

    /// `R` rows times 32 columns. The rows' bytes have 128 added, since the instruction takes one side without signs; what that adds to
    /// the sums is taken off when they are scaled.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_rows<const R: usize>(t: &CodedTile) {
        const NR: usize = 32;
        // SAFETY: `c` has `NR` accumulators in each row.
        let c = |row: usize, half: usize| unsafe { t.c.add(row * NR + half * 16).cast::<__m512i>() };
        let mut acc = [[_mm512_setzero_si512(); 2]; R];
        if t.accumulate {
            for (row, acc) in acc.iter_mut().enumerate() {
                // SAFETY: as above.
                *acc = unsafe { [_mm512_loadu_si512(c(row, 0)), _mm512_loadu_si512(c(row, 1))] };
            }
        }
        let (mut a, mut b, mut prefetch) = (t.a, t.b, t.prefetch);
        for _ in 0..t.steps {
            for word in 0..TILE_WORDS {
                // SAFETY: `rows` rows of `steps` times 64 bytes lie at `a`, and a row of the panel for each word at `b`.
                unsafe {
                    let columns = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(64).cast())];
                    // Written out, since an accumulator only lives in a register if every index into the array is a constant.
                    macro_rules! rows {
                        ($($row:literal)*) => {$(
                            if $row < R {
                                let bytes = a.add($row * t.a_stride + 4 * word).cast::<i32>().read_unaligned();
                                let bytes = _mm512_set1_epi32(bytes);
                                acc[$row][0] = _mm512_dpbusd_epi32(acc[$row][0], bytes, columns[0]);
                                acc[$row][1] = _mm512_dpbusd_epi32(acc[$row][1], bytes, columns[1]);
                            }
                        )*};
                    }
                    rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
                }
                b = b.wrapping_add(4 * NR);
            }
            for line in 0..t.prefetch_lines {
                _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(64 * line).cast());
            }
            prefetch = prefetch.wrapping_add(64 * t.prefetch_lines);
            a = a.wrapping_add(4 * TILE_WORDS);
        }
        for (row, acc) in acc.iter().enumerate() {
            // SAFETY: as above.
            unsafe {
                _mm512_storeu_si512(c(row, 0), acc[0]);
                _mm512_storeu_si512(c(row, 1), acc[1]);
            }
        }
    }

    pub(super) unsafe fn avx2(t: &CodedTile) {
        const BY_ROWS: [unsafe fn(&CodedTile); AVX2_MR] =
            [avx2_rows::<1>, avx2_rows::<2>, avx2_rows::<3>, avx2_rows::<4>];
        // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
        unsafe { BY_ROWS[t.rows - 1](t) }
    }

    /// `R` rows times 16 columns. The instruction adds two products of a byte without sign and one with into 16 bits, where they would
    /// saturate if the first were above 127: so it gets the magnitudes of the rows' bytes, and their signs go to the columns'.
    #[target_feature(enable = "avx2")]
    unsafe fn avx2_rows<const R: usize>(t: &CodedTile) {
        const NR: usize = 16;
        let ones = _mm256_set1_epi16(1);
        // SAFETY: `c` has `NR` accumulators in each row.
        let c = |row: usize, half: usize| unsafe { t.c.add(row * NR + half * 8).cast::<__m256i>() };
        let mut acc = [[_mm256_setzero_si256(); 2]; R];
        if t.accumulate {
            for (row, acc) in acc.iter_mut().enumerate() {
                // SAFETY: as above.
                *acc = unsafe { [_mm256_loadu_si256(c(row, 0)), _mm256_loadu_si256(c(row, 1))] };
            }
        }
        let (mut a, mut b, mut prefetch) = (t.a, t.b, t.prefetch);
        for _ in 0..t.steps {
            for word in 0..TILE_WORDS {
                // SAFETY: `rows` rows of `steps` times 64 bytes lie at `a`, and a row of the panel for each word at `b`.
                unsafe {
                    let columns = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(32).cast())];
                    for (row, acc) in acc.iter_mut().enumerate() {
                        let bytes = a.add(row * t.a_stride + 4 * word).cast::<i32>().read_unaligned();
                        let bytes = _mm256_set1_epi32(bytes);
                        let magnitudes = _mm256_abs_epi8(bytes);
                        for (acc, columns) in acc.iter_mut().zip(columns) {
                            let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(columns, bytes));
                            *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(pairs, ones));
                        }
                    }
                }
                b = b.wrapping_add(4 * NR);
            }
            for line in 0..t.prefetch_lines {
                _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(64 * line).cast());
            }
            prefetch = prefetch.wrapping_add(64 * t.prefetch_lines);
            a = a.wrapping_add(4 * TILE_WORDS);
        }
        for (row, acc) in acc.iter().enumerate() {
            // SAFETY: as above.
            unsafe {
                _mm256_storeu_si256(c(row, 0), acc[0]);
                _mm256_storeu_si256(c(row, 1), acc[1]);
            }
        }
    }
}
