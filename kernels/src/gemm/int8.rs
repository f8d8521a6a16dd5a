//! Bytes without AMX: vectors of every instruction set, and plain Rust. Sums are exact, so all give the same bits.

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
pub(super) const AVX2: MicroKernel = kernel("x86_64-avx2-int8-4x16", Features::AVX2_FMA, (4, 16), avx2::tile, 0);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX_VNNI: MicroKernel =
    kernel("x86_64-avxvnni-int8-6x16", Features::AVX2_FMA.union(Features::AVX_VNNI), (6, 16), avx_vnni::tile, 0x80);
#[cfg(target_arch = "x86_64")]
pub(super) const VNNI: MicroKernel =
    kernel("x86_64-avx512vnni-int8-14x32", Features::AVX512.union(Features::AVX512_VNNI), (14, 32), vnni::tile, 0x80);
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: MicroKernel = kernel("aarch64-neon-int8-3x16", Features::NEON, (3, 16), neon::tile, 0);
#[cfg(target_arch = "aarch64")]
pub(super) const NEON_DOTPROD: MicroKernel = kernel(
    "aarch64-neondotprod-int8-6x16",
    Features::NEON.union(Features::NEON_DOTPROD),
    (6, 16),
    neon_dotprod::tile,
    0,
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

/// Sums of products of bytes, one for each of a few neighbouring columns.
///
/// # Safety
/// Of all functions: the machine has the instruction set, and pointers are valid for a vector.
trait Sums: Copy {
    const COLUMNS: usize;
    /// Four bytes of a left-hand row, ready to meet every column.
    type Row: Copy;
    /// Four bytes of each column.
    type Columns: Copy;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u32) -> Self;
    unsafe fn store(self, to: *mut u32);
    unsafe fn row(bytes: i32) -> Self::Row;
    unsafe fn columns(from: *const u8) -> Self::Columns;
    unsafe fn add_products(self, row: Self::Row, columns: Self::Columns) -> Self;
    /// A hint to fetch a line that is read later.
    unsafe fn prefetch(_line: *const u8) {}
}

/// A tile of `R` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// As for [`TileFn`], with `R` rows and `VECTORS` times `S::COLUMNS` columns; inlined where the instruction set is enabled.
#[inline(always)]
unsafe fn tile<S: Sums, const VECTORS: usize, const R: usize>(t: &CodedTile) {
    let nr = VECTORS * S::COLUMNS;
    let c = |row: usize, vector: usize| t.c.wrapping_add(row * nr + vector * S::COLUMNS);
    let (mut a, mut b, mut prefetch) = (t.a, t.b, t.prefetch);
    // SAFETY: the caller's: `R` rows of `steps` times 64 bytes lie at `a`, a row of the panel for each of their words at `b`, and `nr`
    // accumulators for each row at `c`.
    unsafe {
        let mut acc = [[S::zero(); VECTORS]; R];
        if t.accumulate {
            for (row, acc) in acc.iter_mut().enumerate() {
                for (vector, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(c(row, vector));
                }
            }
        }
        for _ in 0..t.steps {
            for word in 0..TILE_WORDS {
                let columns: [S::Columns; VECTORS] = std::array::from_fn(
                    #[inline(always)]
                    |vector| S::columns(b.wrapping_add(4 * vector * S::COLUMNS)),
                );
                // Written out, since an accumulator only lives in a register if every index into the array is a constant.
                macro_rules! rows {
                    ($($row:literal)*) => {$(
                        if $row < R {
                            let row = S::row(a.add($row * t.a_stride + 4 * word).cast::<i32>().read_unaligned());
                            for (acc, columns) in acc[$row].iter_mut().zip(columns) {
                                *acc = acc.add_products(row, columns);
                            }
                        }
                    )*};
                }
                rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
                b = b.wrapping_add(4 * nr);
            }
            for line in 0..t.prefetch_lines {
                S::prefetch(prefetch.wrapping_add(64 * line));
            }
            prefetch = prefetch.wrapping_add(64 * t.prefetch_lines);
            a = a.wrapping_add(4 * TILE_WORDS);
        }
        for (row, acc) in acc.iter().enumerate() {
            for (vector, acc) in acc.iter().enumerate() {
                acc.store(c(row, vector));
            }
        }
    }
}

/// `tile` of a module: the generic tile for one instruction set, by the number of rows.
macro_rules! tile_by_rows {
    ($features:literal, $sums:ty, $vectors:literal, $($rows:literal)*) => {
        #[target_feature(enable = $features)]
        unsafe fn rows<const R: usize>(t: &CodedTile) {
            // SAFETY: the caller's.
            unsafe { super::tile::<$sums, $vectors, R>(t) }
        }

        pub(super) unsafe fn tile(t: &CodedTile) {
            const BY_ROWS: &[unsafe fn(&CodedTile)] = &[$(rows::<$rows>),*];
            // SAFETY: the caller's; `rows` is the row count that the function is compiled for.
            unsafe { BY_ROWS[t.rows - 1](t) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{CodedTile, Sums};

    #[derive(Clone, Copy)]
    struct Avx2(__m256i);

    /// The instruction adds two products of a byte without sign and one with into 16 bits, where they would saturate if the first were
    /// above 127: so it gets the magnitudes of the rows' bytes, and their signs go to the columns'.
    impl Sums for Avx2 {
        const COLUMNS: usize = 8;
        type Row = (__m256i, __m256i);
        type Columns = __m256i;

        #[inline(always)]
        unsafe fn zero() -> Avx2 {
            // SAFETY: the caller's, here and below.
            Avx2(unsafe { _mm256_setzero_si256() })
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> Avx2 {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_loadu_si256(from.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(to.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn row(bytes: i32) -> (__m256i, __m256i) {
            // SAFETY: as above.
            unsafe {
                let bytes = _mm256_set1_epi32(bytes);
                (bytes, _mm256_abs_epi8(bytes))
            }
        }

        #[inline(always)]
        unsafe fn columns(from: *const u8) -> __m256i {
            // SAFETY: as above.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn add_products(self, (row, magnitudes): (__m256i, __m256i), columns: __m256i) -> Avx2 {
            // SAFETY: as above.
            unsafe {
                let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(columns, row));
                Avx2(_mm256_add_epi32(self.0, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const u8) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
        }
    }

    tile_by_rows!("avx2", Avx2, 2, 1 2 3 4);
}

/// Vectors of 256 or 512 bits with VNNI. The rows' bytes have 128 added, since the instruction takes one side without signs; what that adds
/// to the sums is taken off when they are scaled.
#[cfg(target_arch = "x86_64")]
macro_rules! vnni {
    ($module:ident, $sums:ident, $vector:ident, $columns:literal, $zero:ident, $load:ident, $store:ident, $set:ident,
        $products:ident, $features:literal, $($rows:literal)*) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::{CodedTile, Sums};

            #[derive(Clone, Copy)]
            struct $sums($vector);

            impl Sums for $sums {
                const COLUMNS: usize = $columns;
                type Row = $vector;
                type Columns = $vector;

                #[inline(always)]
                unsafe fn zero() -> $sums {
                    // SAFETY: the caller's, here and below.
                    $sums(unsafe { $zero() })
                }

                #[inline(always)]
                unsafe fn load(from: *const u32) -> $sums {
                    // SAFETY: as above.
                    $sums(unsafe { $load(from.cast()) })
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut u32) {
                    // SAFETY: as above.
                    unsafe { $store(to.cast(), self.0) }
                }

                #[inline(always)]
                unsafe fn row(bytes: i32) -> $vector {
                    // SAFETY: as above.
                    unsafe { $set(bytes) }
                }

                #[inline(always)]
                unsafe fn columns(from: *const u8) -> $vector {
                    // SAFETY: as above.
                    unsafe { $load(from.cast()) }
                }

                #[inline(always)]
                unsafe fn add_products(self, row: $vector, columns: $vector) -> $sums {
                    // SAFETY: as above.
                    $sums(unsafe { $products(self.0, row, columns) })
                }

                #[inline(always)]
                unsafe fn prefetch(line: *const u8) {
                    // SAFETY: a hint, which reads nothing.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
                }
            }

            tile_by_rows!($features, $sums, 2, $($rows)*);
        }
    };
}

#[cfg(target_arch = "x86_64")]
vnni!(
    avx_vnni, AvxVnni, __m256i, 8, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi32,
    _mm256_dpbusd_avx_epi32, "avx2,avxvnni", 1 2 3 4 5 6
);
#[cfg(target_arch = "x86_64")]
vnni!(
    vnni, Vnni, __m512i, 16, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi32,
    _mm512_dpbusd_epi32, "avx512f,avx512vnni", 1 2 3 4 5 6 7 8 9 10 11 12 13 14
);

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{CodedTile, Sums};

    /// Two sums for each column, of its first two bytes and of its last two, which are added up when they are stored.
    #[derive(Clone, Copy)]
    struct Neon(int32x4_t, int32x4_t);

    impl Sums for Neon {
        const COLUMNS: usize = 4;
        type Row = int8x8_t;
        type Columns = int8x16_t;

        #[inline(always)]
        unsafe fn zero() -> Neon {
            // SAFETY: the caller's, here and below.
            unsafe { Neon(vdupq_n_s32(0), vdupq_n_s32(0)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> Neon {
            // SAFETY: as above.
            unsafe {
                let (sums, zero) = (vld1q_s32(from.cast()), vdupq_n_s32(0));
                Neon(vzip1q_s32(sums, zero), vzip2q_s32(sums, zero))
            }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u32) {
            // SAFETY: as above.
            unsafe { vst1q_s32(to.cast(), vpaddq_s32(self.0, self.1)) }
        }

        #[inline(always)]
        unsafe fn row(bytes: i32) -> int8x8_t {
            // SAFETY: as above.
            unsafe { vreinterpret_s8_s32(vdup_n_s32(bytes)) }
        }

        #[inline(always)]
        unsafe fn columns(from: *const u8) -> int8x16_t {
            // SAFETY: as above.
            unsafe { vld1q_s8(from.cast()) }
        }

        #[inline(always)]
        unsafe fn add_products(self, row: int8x8_t, columns: int8x16_t) -> Neon {
            // SAFETY: as above.
            unsafe {
                Neon(
                    vpadalq_s16(self.0, vmull_s8(vget_low_s8(columns), row)),
                    vpadalq_s16(self.1, vmull_s8(vget_high_s8(columns), row)),
                )
            }
        }
    }

    tile_by_rows!("neon", Neon, 4, 1 2 3);
}

#[cfg(target_arch = "aarch64")]
mod neon_dotprod {
    use std::arch::{aarch64::*, asm};

    use super::{CodedTile, Sums};

    #[derive(Clone, Copy)]
    struct Dotprod(int32x4_t);

    impl Sums for Dotprod {
        const COLUMNS: usize = 4;
        type Row = int8x16_t;
        type Columns = int8x16_t;

        #[inline(always)]
        unsafe fn zero() -> Dotprod {
            // SAFETY: the caller's, here and below.
            Dotprod(unsafe { vdupq_n_s32(0) })
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> Dotprod {
            // SAFETY: as above.
            Dotprod(unsafe { vld1q_s32(from.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u32) {
            // SAFETY: as above.
            unsafe { vst1q_s32(to.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn row(bytes: i32) -> int8x16_t {
            // SAFETY: as above.
            unsafe { vreinterpretq_s8_s32(vdupq_n_s32(bytes)) }
        }

        #[inline(always)]
        unsafe fn columns(from: *const u8) -> int8x16_t {
            // SAFETY: as above.
            unsafe { vld1q_s8(from.cast()) }
        }

        /// The instruction itself, since its intrinsic isn't stable.
        #[inline(always)]
        unsafe fn add_products(mut self, row: int8x16_t, columns: int8x16_t) -> Dotprod {
            // SAFETY: as above; registers alone.
            unsafe {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sums:v}.4s, {columns:v}.16b, {row:v}.16b",
                    sums = inout(vreg) self.0, columns = in(vreg) columns, row = in(vreg) row,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            self
        }
    }

    tile_by_rows!("neon", Dotprod, 4, 1 2 3 4 5 6);
}
