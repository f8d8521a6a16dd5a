//! `out = epilogue(lhs · rhs)` with the right-hand side packed once.
//!
//! The left-hand side stays row-major: a tile reads its rows in place and broadcasts them. The right-hand side lies in panels
//! of `nr` columns, `k` rows of `nr` values each, so that a tile streams it front to back. Every output element is one chain of
//! multiply-adds from `k = 0` up, whatever tile it falls in, which is why neither the batch nor the split changes its bits.
//!
//! In other arithmetics than `f32` both sides are coded first: the weights when they are packed, the left-hand rows at the beginning of
//! each product, each row for itself. See [`Arithmetic`]. Weights of four bits: see [`int4`].

mod arithmetic;
mod coded;
mod epilogue;
mod finish;
pub mod int4;
mod int8;
mod microkernel;
mod pack;
pub mod reference;
mod scalar;
mod table;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod bf16;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use arithmetic::Arithmetic;
pub use coded::scratch_len;
pub use epilogue::Epilogue;
pub use microkernel::MicroKernel;
pub use pack::{PackedRhs, RhsShape};
pub use table::{MICROKERNELS, kernel_for, kernels_of};

pub(crate) use arithmetic::TILE_WORDS;
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) use arithmetic::encode;
pub(crate) use microkernel::{CodedTile, Prefetch, Tile, TileFn, split_rows};
pub(crate) use table::ScratchTile;

use crate::{Cpu, Exec, KernelError, MatMut, MatRef, error::expect_eq, view::SharedMat};

/// Bytes of left-hand rows that one pass over the panels keeps in the L2 cache: half of the smallest L2 that the AVX-512
/// machines this is tuned for have, so that the panels which stream by don't evict them.
const LHS_BLOCK_BYTES: usize = 1 << 20;

/// Work items per worker: enough to even out a worker that the machine holds up.
const ITEMS_PER_WORKER: usize = 4;

/// Computes `act(lhs · rhs + bias) + residual`.
///
/// `lhs` is `[m, k]`, `rhs` is packed from `[n, k]` weight rows, `out` is `[m, n]`. `scratch` is [`scratch_len`] values long, of any
/// content; products in `f32` need none.
///
/// # Errors
/// If the shapes disagree, or `rhs` was packed for another level than `cpu`'s.
pub fn gemm(
    cpu: &Cpu,
    exec: Exec<'_>,
    lhs: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let kernel = rhs.kernel_at(cpu)?;
    expect_eq("columns of the left-hand side", lhs.cols(), rhs.k())?;
    expect_eq("rows of the output", out.rows(), lhs.rows())?;
    expect_eq("columns of the output", out.cols(), rhs.n())?;
    epilogue.validate(lhs.rows(), rhs.n())?;
    match kernel.tile {
        TileFn::InPlace(_) => {}
        TileFn::Coded { .. } => return coded::gemm(cpu, exec, lhs, rhs, epilogue, scratch, out),
        TileFn::Grouped { .. } => return int4::gemm(cpu, exec, lhs, rhs, epilogue, scratch, out.shared()),
    }

    let grid = Grid::new(kernel, exec.workers(), lhs.rows(), rhs.k(), rhs.panels());
    let out = out.shared();
    exec.for_each(grid.items(), &|_, item| {
        let block = grid.block(item);
        run_block(cpu, kernel, lhs, rhs, epilogue, out, &block);
    });
    Ok(())
}

/// How a product is cut into blocks of rows × panels, one work item each.
struct Grid {
    rows: usize,
    panels: usize,
    row_blocks: usize,
    panel_blocks: usize,
}

/// One work item.
struct Block {
    row: usize,
    rows: usize,
    panel: usize,
    panels: usize,
}

impl Grid {
    /// `words` is the length of a left-hand row.
    fn new(kernel: &MicroKernel, workers: usize, rows: usize, words: usize, panels: usize) -> Grid {
        let tiles = rows.div_ceil(kernel.mr);
        let tiles_in_cache = (LHS_BLOCK_BYTES / (words.max(1) * kernel.mr * size_of::<f32>())).max(1);
        let mut row_blocks = tiles.div_ceil(tiles_in_cache);
        let mut panel_blocks = usize::from(panels > 0);
        if workers > 1 {
            // Splitting panels lets every worker read its own part of the weights; splitting rows makes each read all of them.
            // So panels first, then rows where there are too few panels to go round.
            let wanted = workers * ITEMS_PER_WORKER;
            panel_blocks = panels.min(wanted.div_ceil(row_blocks.max(1)));
            if row_blocks * panel_blocks < wanted {
                row_blocks = tiles.min(wanted.div_ceil(panel_blocks.max(1)));
            }
        }
        Grid { rows, panels, row_blocks, panel_blocks }
    }

    fn items(&self) -> usize {
        self.row_blocks * self.panel_blocks
    }

    /// Item `item`; neighbours share the rows, so that a worker that takes several finds them in its cache.
    fn block(&self, item: usize) -> Block {
        let share = |total: usize, parts: usize, i: usize| (total * i / parts, total * (i + 1) / parts);
        let (row, row_end) = share(self.rows, self.row_blocks, item / self.panel_blocks);
        let (panel, panel_end) = share(self.panels, self.panel_blocks, item % self.panel_blocks);
        Block { row, rows: row_end - row, panel, panels: panel_end - panel }
    }
}

/// Computes one block: panel by panel, so that a panel is read from memory once and stays in cache for all row tiles.
fn run_block(
    cpu: &Cpu,
    kernel: &MicroKernel,
    lhs: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    out: SharedMat<'_>,
    block: &Block,
) {
    let nr = kernel.nr;
    let tiles = block.rows.div_ceil(kernel.mr);
    let mut scratch = ScratchTile::new();
    for panel in block.panel..block.panel + block.panels {
        let b = rhs.panel(panel);
        // Weights stream from the shared cache or from memory. The hardware's prefetchers stop at page boundaries and begin anew
        // with each panel; asking for the next panel, or for what lies behind the last, keeps the multiply-adds busy.
        let next = b.as_ptr_range().end;
        let col = panel * nr;
        let cols = nr.min(rhs.n() - col);
        for (i, (start, rows)) in split_rows(block.rows, kernel.mr).enumerate() {
            let row = block.row + start;
            // SAFETY: `kernel` is the one of `cpu`'s level, so this machine has what it needs. Rows `row .. row + rows` and `k`
            // columns lie in `lhs`, the panel holds `k × nr` values, and the scratch tile `mr × nr`.
            unsafe {
                kernel.run(&Tile {
                    rows,
                    k: rhs.k(),
                    a: lhs.as_ptr().add(row * lhs.row_stride()),
                    a_stride: lhs.row_stride(),
                    b: b.as_ptr(),
                    b_stride: nr,
                    c: scratch.as_mut_ptr(),
                    c_stride: nr,
                    prefetch: Prefetch::share(next, b.len(), nr, i, tiles),
                });
            }
            epilogue.store(cpu, scratch.values(), nr, out, (row, rows), (col, cols));
        }
    }
}

#[cfg(test)]
mod tests;
