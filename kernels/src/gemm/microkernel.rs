//! The table of microkernels and the call that runs one.

use crate::{Cpu, Features};

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

/// What a tile fetches for a later one while it computes: with each step of the reduction a cache line, from [`PLACES`](Prefetch::PLACES)
/// places in turn.
///
/// Memory gives one core more from several places at a time than from one. This is a hint: any address will do, none is read from.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch {
    pub start: *const f32,
    /// From one place to the next.
    pub stride: usize,
    /// How far every place moves on when all have had their turn.
    pub advance: usize,
}

impl Prefetch {
    pub(crate) const PLACES: usize = 4;

    /// Nothing to fetch. The address is one that is in use anyway: an unmapped one would cost a page walk each time.
    pub(crate) fn nothing(in_use: *const f32) -> Prefetch {
        Prefetch { start: in_use, stride: 0, advance: 0 }
    }

    /// Share `i` of `shares` of the panel of `len` values at `start`, for kernels of `nr` columns.
    pub(crate) fn share(start: *const f32, len: usize, nr: usize, i: usize, shares: usize) -> Prefetch {
        Prefetch {
            start: start.wrapping_add(len * i / shares),
            stride: len / shares / Prefetch::PLACES,
            // Each place covers a quarter of the share in a quarter of the steps. With panels two lines wide and a single share
            // that skips every other line, which the hardware fetches along with its neighbour; a second request for each step
            // costs more than it brings.
            advance: nr.div_ceil(shares),
        }
    }
}

/// The signature of a tile function.
///
/// # Safety
/// The machine has what the kernel needs; `1 <= rows <= mr`; `a`, `b` and `c` are valid for `rows × k`, `k × nr` reads and
/// `rows × nr` writes at their strides.
pub(crate) type TileFn = unsafe fn(&Tile);

/// A GEMM microkernel: a plain value, listed in [`MICROKERNELS`].
#[derive(Clone, Copy)]
pub struct MicroKernel {
    /// For reports: architecture, ISA, arithmetic, tile.
    pub name: &'static str,
    /// What the CPU must have.
    pub needs: Features,
    /// Most rows of a tile.
    pub mr: usize,
    /// Columns of a tile and width of a right-hand panel.
    pub nr: usize,
    pub(super) tile: TileFn,
}

impl MicroKernel {
    /// Computes one tile.
    ///
    /// # Safety
    /// As for [`TileFn`].
    #[inline]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        debug_assert!((1..=self.mr).contains(&tile.rows));
        // SAFETY: the caller's.
        unsafe { (self.tile)(tile) }
    }
}

impl std::fmt::Debug for MicroKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every microkernel of this architecture, best last. Dispatch, tests and `hwbench` all read this one table.
pub const MICROKERNELS: &[MicroKernel] = &[
    super::scalar::KERNEL,
    #[cfg(target_arch = "aarch64")]
    super::neon::KERNEL,
    #[cfg(target_arch = "x86_64")]
    super::avx2::KERNEL,
    #[cfg(target_arch = "x86_64")]
    super::avx512::KERNEL,
];

/// The microkernel that runs at the level of `cpu`.
pub fn kernel_for(cpu: &Cpu) -> &'static MicroKernel {
    let mut best = &MICROKERNELS[0];
    for kernel in MICROKERNELS {
        if cpu.features().contains(kernel.needs) {
            best = kernel;
        }
    }
    best
}

/// Room for the largest tile of any kernel, aligned to a cache line.
#[repr(align(64))]
pub(crate) struct ScratchTile([f32; ScratchTile::LEN]);

impl ScratchTile {
    const LEN: usize = {
        let (mut i, mut len) = (0, 0);
        while i < MICROKERNELS.len() {
            let size = MICROKERNELS[i].mr * MICROKERNELS[i].nr;
            if size > len {
                len = size;
            }
            i += 1;
        }
        len
    };

    pub(crate) fn new() -> ScratchTile {
        ScratchTile([0.0; ScratchTile::LEN])
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr()
    }

    /// Row `row` of a tile of width `nr`.
    pub(crate) fn row(&self, row: usize, nr: usize) -> &[f32] {
        &self.0[row * nr..][..nr]
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

    #[test]
    fn every_level_gets_its_own_kernel() {
        let names: Vec<&str> = Cpu::available().iter().map(|cpu| kernel_for(cpu).name).collect();
        let mut distinct = names.clone();
        distinct.dedup();
        assert_eq!(names, distinct);
    }
}
