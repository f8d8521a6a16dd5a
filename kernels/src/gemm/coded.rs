//! Products of coded operands: the left-hand rows are coded first, all of them, then tiles are computed from codes alone.

use super::{
    Block, Epilogue, Grid, MicroKernel, PackedRhs,
    arithmetic::{RowCode, TILE_WORDS, encode, encode_row},
    finish::Finish,
    int4,
    microkernel::{CodedTile, TileFn},
};
use crate::{
    Arithmetic, Cpu, Exec, KernelError, MatMut, MatRef,
    buffer::{LINE, from_line},
};

/// Most rows that a work item takes through a panel together: its accumulators wait in the second-level cache, beside the rows.
const BLOCK_ROWS: usize = 512;

/// Bytes of a panel that stay in the first-level cache while all rows of an item pass by.
const CHUNK_BYTES: usize = 32 << 10;

/// Left-hand rows that a worker codes at a time.
const CODED_ROWS: usize = 32;

/// Where things lie in the scratch, in words.
struct Layout {
    /// From one coded row to the next: an odd number of cache lines, so that the rows of a tile don't fall into the same cache sets.
    stride: usize,
    /// Words of the code alone.
    words: usize,
    /// The coded rows, and so many more that a kernel may read a whole tile from any row.
    rows_len: usize,
    /// What the codes of the rows stand for, [`RowCode::WORDS`] for each.
    scales_len: usize,
    /// Accumulators of one worker.
    acc_len: usize,
    /// With a line to spare, so that coded rows can start at one: tiles whose rows lie across two load at a fifth of the speed.
    len: usize,
}

impl Layout {
    fn new(kernel: &MicroKernel, rows: usize, k: usize, workers: usize) -> Option<Layout> {
        k.checked_add(4 * TILE_WORDS)?.checked_mul(2)?;
        let words = kernel.arithmetic.words(k);
        let stride = ((words / TILE_WORDS) | 1) * TILE_WORDS;
        let rows_len = rows.checked_add(kernel.mr)?.checked_mul(stride)?;
        let scales_len = rows.checked_mul(RowCode::WORDS)?.checked_next_multiple_of(LINE)?;
        let acc_len = rows.min(BLOCK_ROWS).next_multiple_of(kernel.mr) * kernel.nr;
        let len = acc_len.checked_mul(workers)?.checked_add(rows_len)?.checked_add(scales_len)?.checked_add(LINE)?;
        Some(Layout { stride, words, rows_len, scales_len, acc_len, len })
    }
}

/// Number of `f32` that [`gemm`](super::gemm) needs as scratch for products of up to `rows` rows with `rhs`.
///
/// # Errors
/// If the number overflows.
pub fn scratch_len(rhs: &PackedRhs, rows: usize, workers: usize) -> Result<usize, KernelError> {
    let len = match rhs.kernel().tile {
        TileFn::InPlace(_) => Some(0),
        TileFn::Coded { .. } => Layout::new(rhs.kernel(), rows, rhs.k(), workers).map(|layout| layout.len),
        TileFn::Grouped { .. } => int4::scratch_len(rows, rhs.k()),
    };
    len.ok_or(KernelError::TooLarge { what: "GEMM scratch", rows, cols: rhs.k() })
}

/// What [`gemm`](super::gemm) does for kernels that read codes. The shapes have been checked.
pub(super) fn gemm(
    cpu: &Cpu,
    exec: Exec<'_>,
    lhs: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let (rows, workers) = (lhs.rows(), exec.workers());
    let needed = scratch_len(rhs, rows, workers)?;
    if scratch.len() < needed {
        return Err(KernelError::Shape { what: "GEMM scratch", expected: needed, found: scratch.len() });
    }
    let kernel = rhs.kernel();
    let (TileFn::Coded { least, .. }, Some(layout)) = (kernel.tile, Layout::new(kernel, rows, rhs.k(), workers)) else {
        unreachable!("the kernel reads codes, and the layout has a length");
    };
    let (coded, rest) = from_line(scratch).split_at_mut(layout.rows_len);
    let (scales, accumulators) = rest.split_at_mut(layout.scales_len);
    let coded_rows = rows + kernel.mr;
    let target = MatMut::new(coded, coded_rows, layout.stride, layout.stride)?.shared();
    let row_codes = MatMut::new(scales, rows, RowCode::WORDS, RowCode::WORDS)?.shared();
    exec.for_each(rows.div_ceil(CODED_ROWS), &|_, item| {
        let first = item * CODED_ROWS;
        let count = CODED_ROWS.min(rows - first);
        // SAFETY: the rows of this item are its own.
        let (mut target, mut row_codes) = unsafe { (target.rows_mut(first, count), row_codes.rows_mut(first, count)) };
        for i in 0..count {
            let words: &mut [u32] = bytemuck::cast_slice_mut(&mut target.row_mut(i)[..layout.words]);
            let values = lhs.row(first + i);
            if kernel.arithmetic == Arithmetic::Int8 {
                encode_row(cpu, values, least, words).put(row_codes.row_mut(i));
            } else {
                encode(cpu, kernel.arithmetic, values, words);
            }
        }
    });

    let coded = MatRef::new(coded, coded_rows, layout.stride, layout.stride)?;
    let accumulators = MatMut::new(accumulators, workers, layout.acc_len, layout.acc_len)?.shared();
    let grid = Grid::new(kernel, workers, rows, layout.words, rhs.panels());
    let row_codes = MatRef::new(scales, rows, RowCode::WORDS, RowCode::WORDS)?;
    let finish = Finish { cpu, coded, row_codes, rhs, epilogue, out: out.shared() };
    exec.for_each(grid.items(), &|worker, item| {
        let block = grid.block(item);
        // SAFETY: every worker has accumulators for itself.
        let mut own = unsafe { accumulators.rows_mut(worker, 1) };
        run_block(&finish, &block, own.row_mut(0));
    });
    Ok(())
}

/// Computes one block: panel by panel, each in chunks that stay in cache while the rows pass by.
fn run_block(finish: &Finish<'_>, block: &Block, acc: &mut [f32]) {
    let Finish { coded, rhs, .. } = *finish;
    let kernel = rhs.kernel();
    let TileFn::Coded { run, enter, leave, .. } = kernel.tile else { return };
    let (nr, mr) = (kernel.nr, kernel.mr);
    let words = kernel.arithmetic.words(rhs.k());
    // A step is what a tile's row of 64 bytes holds, of each part.
    let steps = words / kernel.arithmetic.parts() / TILE_WORDS;
    let step_words = kernel.arithmetic.parts() * TILE_WORDS;
    let chunk = (CHUNK_BYTES / (step_words * nr * size_of::<f32>())).max(1);
    // SAFETY: the panels are packed for a kernel of the CPU's level, so the machine has what it needs.
    unsafe { enter() };
    for first in (0..block.rows).step_by(BLOCK_ROWS) {
        let rows = BLOCK_ROWS.min(block.rows - first);
        let first = block.row + first;
        let tiles = rows.div_ceil(mr);
        for panel in block.panel..block.panel + block.panels {
            let b = rhs.panel(panel);
            // Weights come from the shared cache or from memory: each step asks for its share of the next panel.
            let mut prefetch: *const u8 = b.as_ptr_range().end.cast();
            let prefetch_lines = (b.len() / TILE_WORDS).div_ceil((tiles * steps).max(1));
            for from in (0..steps.max(1)).step_by(chunk) {
                let count = chunk.min(steps - from);
                for tile in 0..tiles {
                    let row = tile * mr;
                    let tile_rows = mr.min(rows - row);
                    let a = &coded.row(first + row)[from * step_words..];
                    let acc = &mut acc[row * nr..][..mr * nr];
                    // SAFETY: rows `first + row` and the `mr` from there on lie in the coded matrix, which has `mr` rows to spare; the
                    // panel has `words` rows of `nr`; there are accumulators for a tile. The thread is prepared.
                    unsafe {
                        run(&CodedTile {
                            rows: tile_rows,
                            steps: count,
                            a: a.as_ptr().cast(),
                            a_stride: coded.row_stride() * size_of::<f32>(),
                            b: b[from * step_words * nr..].as_ptr().cast(),
                            c: acc.as_mut_ptr().cast(),
                            accumulate: from > 0,
                            prefetch,
                            prefetch_lines,
                        });
                    }
                    prefetch = prefetch.wrapping_add(count * prefetch_lines * 64);
                }
            }
            // Not each tile at once: what the unit has just stored would have to be waited for.
            for row in (0..rows).step_by(mr) {
                finish.tile((first + row, mr.min(rows - row)), panel, &mut acc[row * nr..]);
            }
        }
    }
    // SAFETY: as above.
    unsafe { leave() };
}
