//! What a microkernel is, and the call that runs one.

use super::{Arithmetic, int4::CodedGroup};
use crate::Features;

/// One tile of a product: `c[rows, nr] = a[rows, k] · b[k, nr]`.
///
/// All strides are in values.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Rows to compute, `1 ..= mr`.
    pub rows: usize,
    /// Length of the reduction.
    pub k: usize,
    /// First row of the left-hand side.
    pub a: *const f32,
    pub a_stride: usize,
    /// First row of the right-hand side, `nr` values.
    pub b: *const f32,
    pub b_stride: usize,
    /// Where the first row goes; `nr` values of each row are written.
    pub c: *mut f32,
    pub c_stride: usize,
    pub prefetch: Prefetch,
}

/// What a tile fetches for a later one while it computes: with each step of the reduction so many cache lines, each from a place of
/// its own, and in [`GROUP`](Prefetch::GROUP) steps in turn from different places.
///
/// Memory gives one core more from several places at a time than from one, and a line that is asked for twice takes a second
/// time of what the loads need. This is a hint: any address will do, none is read from.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch {
    pub start: *const f32,
    /// From one place to the next.
    pub stride: usize,
    /// How far every place moves on when all have had their turn.
    pub advance: usize,
    /// Lines in each step, `1 ..= nr / 16`.
    pub lines: usize,
}

impl Prefetch {
    /// Steps until all places have had their turn.
    pub(crate) const GROUP: usize = 4;

    /// Nothing to fetch. The address is one that is in use anyway: an unmapped one would cost a page walk each time.
    pub(crate) fn nothing(in_use: *const f32) -> Prefetch {
        Prefetch { start: in_use, stride: 0, advance: 0, lines: 1 }
    }

    /// Share `i` of `shares` of the panel of `len` values at `start`, for kernels of `nr` columns.
    pub(crate) fn share(start: *const f32, len: usize, nr: usize, i: usize, shares: usize) -> Prefetch {
        /// Values of a cache line.
        const LINE: usize = 16;
        let lines = nr.div_ceil(LINE.saturating_mul(shares));
        Prefetch {
            start: start.wrapping_add(len * i / shares),
            stride: len / shares / (Prefetch::GROUP * lines),
            advance: nr.div_ceil(shares * lines),
            lines,
        }
    }
}

/// One tile of a product of coded operands, or a part of its reduction. See [`Arithmetic`] for the codes.
#[derive(Clone, Copy)]
pub(crate) struct CodedTile {
    /// Rows to compute, `1 ..= mr`.
    pub rows: usize,
    /// Steps of the reduction: a step is 64 bytes of a row, or of each part of it.
    pub steps: usize,
    /// First coded row of the left-hand side. Behind the last, so many more that there are `mr` may be read.
    pub a: *const u8,
    /// Bytes.
    pub a_stride: usize,
    /// The panel from this part's first step on: rows of `nr` words.
    pub b: *const u8,
    /// `mr` rows of `nr` accumulators, `f32` or `i32`.
    pub c: *mut u32,
    /// Whether they hold something to add to.
    pub accumulate: bool,
    /// What each step fetches for later: so many cache lines from here on. A hint: nothing is read from there.
    pub prefetch: *const u8,
    pub prefetch_lines: usize,
}

/// One tile of a product of rows with weights in groups that share a scale. See [`int4`](super::int4) for rows and panel.
#[derive(Clone, Copy)]
pub(crate) struct GroupedTile {
    /// Rows to compute, `1 ..= mr`.
    pub rows: usize,
    /// Groups in a row, and in a column of the panel.
    pub groups: usize,
    /// First coded row of the left-hand side; the others follow.
    pub a: *const CodedGroup,
    /// The panel.
    pub b: *const u32,
    /// `mr` rows of `nr` values, written for `rows`.
    pub c: *mut f32,
}

/// The function that computes a tile.
///
/// # Safety
/// The machine has what the kernel needs; `1 <= rows <= mr`; the addresses are valid for what [`Tile`], [`CodedTile`] and [`GroupedTile`] say. A function
/// for coded operands runs between `enter` and `leave`, on one thread.
#[derive(Clone, Copy)]
pub(crate) enum TileFn {
    /// Reads `f32` rows where they lie, and panels of `f32`.
    InPlace(unsafe fn(&Tile)),
    /// Reads rows and panels in coded form.
    Coded {
        run: unsafe fn(&CodedTile),
        /// Prepares a thread.
        enter: unsafe fn(),
        /// Undoes it.
        leave: unsafe fn(),
        /// The least byte of a row: -128, or 0 if the kernel takes bytes without sign.
        least: i32,
    },
    /// Reads rows and panels of integers in groups, with their scales.
    Grouped {
        run: unsafe fn(&GroupedTile),
        /// Columns in a vector of the instruction set.
        lanes: usize,
    },
}

/// A GEMM microkernel: a plain value, listed in [`MICROKERNELS`](super::MICROKERNELS).
#[derive(Clone, Copy)]
pub struct MicroKernel {
    /// For reports: architecture, ISA, arithmetic, tile.
    pub name: &'static str,
    /// What the CPU must have.
    pub needs: Features,
    /// How it computes.
    pub arithmetic: Arithmetic,
    /// Most rows of a tile.
    pub mr: usize,
    /// Columns of a tile and width of a right-hand panel.
    pub nr: usize,
    pub(crate) tile: TileFn,
}

impl MicroKernel {
    /// A kernel that reads `f32` rows where they lie.
    pub(super) const fn f32(
        name: &'static str,
        needs: Features,
        mr: usize,
        nr: usize,
        tile: unsafe fn(&Tile),
    ) -> MicroKernel {
        MicroKernel { name, needs, arithmetic: Arithmetic::F32, mr, nr, tile: TileFn::InPlace(tile) }
    }

    /// Computes one tile of `f32`.
    ///
    /// # Safety
    /// As for [`TileFn`].
    ///
    /// # Panics
    /// If the kernel computes in another arithmetic.
    #[inline]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        debug_assert!((1..=self.mr).contains(&tile.rows));
        let TileFn::InPlace(run) = self.tile else { unreachable!("{self:?} takes other operands") };
        // SAFETY: the caller's.
        unsafe { run(tile) }
    }
}

impl std::fmt::Debug for MicroKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Cuts `rows` into as few tiles of at most `mr` rows as possible, as even as possible: 16 rows with `mr` 14 are 8 + 8, since
/// a 2-row tile would use a seventh of the multiply-add chains that it takes to keep the units busy.
pub(crate) fn split_rows(rows: usize, mr: usize) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.div_ceil(mr);
    (0..tiles).map(move |i| {
        let start = rows * i / tiles;
        (start, rows * (i + 1) / tiles - start)
    })
}

/// The same pointer, its origin hidden. The compiler would otherwise derive every row's address from the first one with a chain
/// of additions, which compete with the multiply-adds for their ports.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(super) fn opaque(mut pointer: *const f32) -> *const f32 {
    // SAFETY: no instructions.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_rows_covers_every_row_evenly() {
        for mr in 1..20 {
            for rows in 0..200 {
                let mut next = 0;
                for (start, len) in split_rows(rows, mr) {
                    assert_eq!(start, next);
                    assert!((1..=mr).contains(&len));
                    next = start + len;
                }
                assert_eq!(next, rows);
            }
        }
    }
}
