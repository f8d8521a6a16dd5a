//! AMX: 32 × 32 outputs in four accumulator tiles, fed by two tiles of left-hand rows and two of columns.
//!
//! A product of tiles takes the unit 16 cycles, loading a tile 8 from the first-level cache and some 20 from the second. Four products to
//! four loads keep the unit busy if the columns' chunk stays in the first-level cache while the rows pass by.

use std::arch::{
    asm,
    x86_64::{_MM_HINT_T1, _mm_prefetch},
};

use super::{
    Arithmetic, MicroKernel,
    microkernel::{CodedTile, TileFn},
};
use crate::{Features, amx};

/// Rows of a tile.
const ROWS: usize = 16;
const MR: usize = 2 * ROWS;
const NR: usize = 32;

/// Bytes from one row of a panel to the next.
const PANEL_STRIDE: usize = 4 * NR;
/// Bytes of a panel that one tile's worth of the reduction takes: 16 rows.
const PANEL_STEP: usize = 16 * PANEL_STRIDE;

const fn kernel(name: &'static str, arithmetic: Arithmetic, run: unsafe fn(&CodedTile)) -> MicroKernel {
    MicroKernel {
        name,
        needs: Features::AMX,
        arithmetic,
        mr: MR,
        nr: NR,
        tile: TileFn::Coded { run, enter: amx::configure, leave: amx::release, least: -128 },
    }
}

pub(super) const BF16: MicroKernel = kernel("x86_64-amx-bf16-32x32", Arithmetic::Bf16, bf16);
pub(super) const BF16X3: MicroKernel = kernel("x86_64-amx-bf16x3-32x32", Arithmetic::Bf16x3, bf16x3);
pub(super) const INT8: MicroKernel = kernel("x86_64-amx-int8-32x32", Arithmetic::Int8, int8);

/// The function of a kernel. `two` is one step for rows in two tiles, `one` for rows in one; a step takes `a_step` bytes of a row
/// and `b_steps` times 16 rows of the panel.
///
/// Tiles 0 to 3 accumulate: rows 0 to 15 times columns 0 to 15 and 16 to 31, then rows 16 to 31 likewise. Tiles 4 and 5 hold rows, 6 and 7
/// columns. Rows are read past the first-level cache, since only the columns are used again.
macro_rules! tile {
    ($name:ident, a_step: $a_step:expr, b_steps: $b_steps:expr, two: [$($two:literal)*], one: [$($one:literal)*]) => {
        unsafe fn $name(t: &CodedTile) {
            let two = t.rows > ROWS;
            let (mut a, mut b, mut prefetch) = (t.a, t.b, t.prefetch);
            // SAFETY: the caller has configured the tiles, and the addresses are those of the contract.
            unsafe {
                begin(t, two);
                for _ in 0..t.steps {
                    if two {
                        asm!(
                            $($two,)*
                            a = in(reg) a, below = in(reg) a.wrapping_add(ROWS * t.a_stride), sa = in(reg) t.a_stride,
                            b = in(reg) b, sb = in(reg) PANEL_STRIDE,
                            options(nostack, readonly, preserves_flags),
                        );
                    } else {
                        asm!(
                            $($one,)*
                            a = in(reg) a, sa = in(reg) t.a_stride,
                            b = in(reg) b, sb = in(reg) PANEL_STRIDE,
                            options(nostack, readonly, preserves_flags),
                        );
                    }
                    for line in 0..t.prefetch_lines {
                        _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(64 * line).cast());
                    }
                    prefetch = prefetch.wrapping_add(64 * t.prefetch_lines);
                    a = a.wrapping_add($a_step);
                    b = b.wrapping_add($b_steps * PANEL_STEP);
                }
                end(t, two);
            }
        }
    };
}

tile! {
    bf16, a_step: 64, b_steps: 1,
    two: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloaddt1 tmm5, [{below} + {sa}*1]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7"
    ],
    one: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
    ]
}

// High and low parts alternate, in rows as in panels. Low times low is left out: it is below what `f32` holds.
tile! {
    bf16x3, a_step: 128, b_steps: 2,
    two: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1 + 64]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloaddt1 tmm5, [{below} + {sa}*1 + 64]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloaddt1 tmm5, [{below} + {sa}*1]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7"
        "tileloadd tmm6, [{b} + {sb}*1 + 2048]"
        "tileloadd tmm7, [{b} + {sb}*1 + 2112]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tdpbf16ps tmm3, tmm5, tmm7"
    ],
    one: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1 + 64]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloadd tmm6, [{b} + {sb}*1 + 2048]"
        "tileloadd tmm7, [{b} + {sb}*1 + 2112]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
    ]
}

tile! {
    int8, a_step: 64, b_steps: 1,
    two: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbssd tmm0, tmm4, tmm6"
        "tdpbssd tmm1, tmm4, tmm7"
        "tileloaddt1 tmm5, [{below} + {sa}*1]"
        "tdpbssd tmm2, tmm5, tmm6"
        "tdpbssd tmm3, tmm5, tmm7"
    ],
    one: [
        "tileloadd tmm6, [{b} + {sb}*1]"
        "tileloadd tmm7, [{b} + {sb}*1 + 64]"
        "tileloaddt1 tmm4, [{a} + {sa}*1]"
        "tdpbssd tmm0, tmm4, tmm6"
        "tdpbssd tmm1, tmm4, tmm7"
    ]
}

/// Fills the accumulators: with zeros, or with what an earlier part of the reduction has left.
///
/// # Safety
/// The tiles are configured; `c` has `MR` rows of `NR` words.
unsafe fn begin(t: &CodedTile, two: bool) {
    // SAFETY: the caller's.
    unsafe {
        if !t.accumulate {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nomem, nostack, preserves_flags)
            );
            return;
        }
        asm!(
            "tileloadd tmm0, [{c} + {stride}*1]",
            "tileloadd tmm1, [{c} + {stride}*1 + 64]",
            c = in(reg) t.c, stride = in(reg) PANEL_STRIDE,
            options(nostack, readonly, preserves_flags),
        );
        if two {
            asm!(
                "tileloadd tmm2, [{c} + {stride}*1 + 2048]",
                "tileloadd tmm3, [{c} + {stride}*1 + 2112]",
                c = in(reg) t.c, stride = in(reg) PANEL_STRIDE,
                options(nostack, readonly, preserves_flags),
            );
        }
    }
}

/// Stores the accumulators.
///
/// # Safety
/// As for [`begin`].
unsafe fn end(t: &CodedTile, two: bool) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tilestored [{c} + {stride}*1], tmm0",
            "tilestored [{c} + {stride}*1 + 64], tmm1",
            c = in(reg) t.c, stride = in(reg) PANEL_STRIDE,
            options(nostack, preserves_flags),
        );
        if two {
            asm!(
                "tilestored [{c} + {stride}*1 + 2048], tmm2",
                "tilestored [{c} + {stride}*1 + 2112], tmm3",
                c = in(reg) t.c, stride = in(reg) PANEL_STRIDE,
                options(nostack, preserves_flags),
            );
        }
    }
}
