//! Products of coded operands: the left-hand rows are coded first, all of them, then tiles are computed from codes alone.

use super::{
    Block, Epilogue, Grid, MicroKernel, PackedRhs,
    arithmetic::{RowCode, TILE_WORDS, encode, encode_row},
    int4,
    microkernel::{CodedTile, TileFn},
};
use crate::{Arithmetic, Cpu, Exec, KernelError, MatMut, MatRef, view::SharedMat};

/// Most rows that a work item takes through a panel together: its accumulators wait in the second-level cache, beside the rows.
const BLOCK_ROWS: usize = 512;

/// Bytes of a panel that stay in the first-level cache while all rows of an item pass by.
const CHUNK_BYTES: usize = 32 << 10;

/// Left-hand rows that a worker codes at a time.
const CODED_ROWS: usize = 32;

/// Where things lie in the scratch, in words.
struct Layout {
    /// From one coded row to the next: the code, and what it stands for in a cache line of its own. An odd number of lines, so that the rows of
    /// a tile don't fall into the same cache sets.
    stride: usize,
    /// Words of the code alone.
    words: usize,
    /// The coded rows, and so many more that a kernel may read a whole tile from any row.
    rows_len: usize,
    /// Accumulators of one worker.
    acc_len: usize,
    len: usize,
}

impl Layout {
    fn new(kernel: &MicroKernel, rows: usize, k: usize, workers: usize) -> Option<Layout> {
        k.checked_add(4 * TILE_WORDS)?.checked_mul(2)?;
        let words = kernel.arithmetic.words(k);
        let stride = ((words / TILE_WORDS + 1) | 1) * TILE_WORDS;
        let rows_len = rows.checked_add(kernel.mr)?.checked_mul(stride)?;
        let acc_len = rows.min(BLOCK_ROWS).next_multiple_of(kernel.mr) * kernel.nr;
        let len = acc_len.checked_mul(workers)?.checked_add(rows_len)?;
        Some(Layout { stride, words, rows_len, acc_len, len })
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
    let (coded, accumulators) = scratch.split_at_mut(layout.rows_len);
    let coded_rows = rows + kernel.mr;
    let target = MatMut::new(coded, coded_rows, layout.stride, layout.stride)?.shared();
    exec.for_each(rows.div_ceil(CODED_ROWS), &|_, item| {
        let first = item * CODED_ROWS;
        let count = CODED_ROWS.min(rows - first);
        // SAFETY: the rows of this item are its own.
        let mut target = unsafe { target.rows_mut(first, count) };
        for i in 0..count {
            let (words, rest) = target.row_mut(i).split_at_mut(layout.words);
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            let values = lhs.row(first + i);
            if kernel.arithmetic == Arithmetic::Int8 {
                let RowCode { scale, zero } = encode_row(cpu, values, least, words);
                (rest[0], rest[1]) = (scale, f32::from_bits(zero as u32));
            } else {
                encode(cpu, kernel.arithmetic, values, words);
            }
        }
    });

    let coded = MatRef::new(coded, coded_rows, layout.stride, layout.stride)?;
    let accumulators = MatMut::new(accumulators, workers, layout.acc_len, layout.acc_len)?.shared();
    let grid = Grid::new(kernel, workers, rows, layout.words, rhs.panels());
    let out = out.shared();
    exec.for_each(grid.items(), &|worker, item| {
        let block = grid.block(item);
        // SAFETY: every worker has accumulators for itself.
        let mut own = unsafe { accumulators.rows_mut(worker, 1) };
        run_block(cpu, coded, rhs, epilogue, out, &block, own.row_mut(0));
    });
    Ok(())
}

/// Computes one block: panel by panel, each in chunks that stay in cache while the rows pass by.
fn run_block(
    cpu: &Cpu,
    coded: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    out: SharedMat<'_>,
    block: &Block,
    acc: &mut [f32],
) {
    let kernel = rhs.kernel();
    let TileFn::Coded { run, enter, leave, .. } = kernel.tile else { return };
    let (nr, mr) = (kernel.nr, kernel.mr);
    let words = kernel.arithmetic.words(rhs.k());
    // A step is what a tile's row of 64 bytes holds, of each part.
    let steps = words / kernel.arithmetic.parts() / TILE_WORDS;
    let step_words = kernel.arithmetic.parts() * TILE_WORDS;
    let chunk = (CHUNK_BYTES / (step_words * nr * size_of::<f32>())).max(1);
    // SAFETY: the panels are packed for a kernel of `cpu`'s level, so the machine has what it needs.
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
            for from in (0..steps).step_by(chunk) {
                let count = chunk.min(steps - from);
                for tile in 0..tiles {
                    let row = tile * mr;
                    let a = &coded.row(first + row)[from * step_words..];
                    // SAFETY: rows `first + row` and the `mr` from there on lie in the coded matrix, which has `mr` rows to spare; the
                    // panel has `words` rows of `nr`; there are accumulators for all rows. The thread is prepared.
                    unsafe {
                        run(&CodedTile {
                            rows: mr.min(rows - row),
                            steps: count,
                            a: a.as_ptr().cast(),
                            a_stride: coded.row_stride() * size_of::<f32>(),
                            b: b[from * step_words * nr..].as_ptr().cast(),
                            c: acc[row * nr..].as_mut_ptr().cast(),
                            accumulate: from > 0,
                            prefetch,
                            prefetch_lines,
                        });
                    }
                    prefetch = prefetch.wrapping_add(count * prefetch_lines * 64);
                }
            }
            if steps == 0 {
                acc.fill(0.0);
            }
            let col = panel * nr;
            let cols = nr.min(rhs.n() - col);
            for row in (0..rows).step_by(mr) {
                let count = mr.min(rows - row);
                let acc = &mut acc[row * nr..][..count * nr];
                if kernel.arithmetic == Arithmetic::Int8 {
                    let (scales, sums) = b[words * nr..].split_at(nr);
                    let codes = |i: usize| {
                        let code = &coded.row(first + row + i)[words..];
                        RowCode { scale: code[0], zero: code[1].to_bits() as i32 }
                    };
                    dequantise(cpu, Dequantise { acc, nr, codes, scales, sums });
                }
                epilogue.store(cpu, acc, nr, out, (first + row, count), (col, cols));
            }
        }
    }
    // SAFETY: as above.
    unsafe { leave() };
}

/// Sums of products of codes, turned into the values they stand for, in place.
struct Dequantise<'a, F> {
    acc: &'a mut [f32],
    nr: usize,
    /// What each row's bytes stand for.
    codes: F,
    /// The columns' scales.
    scales: &'a [f32],
    /// Sums of the columns' codes, `i32`: what each unit of a row's zero has added.
    sums: &'a [f32],
}

impl<F: Fn(usize) -> RowCode> pulp::WithSimd for Dequantise<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (i, row) in self.acc.chunks_exact_mut(self.nr).enumerate() {
            let RowCode { scale: row_scale, zero } = (self.codes)(i);
            for ((value, scale), sum) in row.iter_mut().zip(self.scales).zip(self.sums) {
                let sum = (value.to_bits() as i32).wrapping_sub(zero.wrapping_mul(sum.to_bits() as i32));
                *value = sum as f32 * row_scale * scale;
            }
        }
    }
}

fn dequantise<F: Fn(usize) -> RowCode>(cpu: &Cpu, job: Dequantise<'_, F>) {
    #[cfg(target_arch = "x86_64")]
    if cpu.features().contains(crate::Features::AVX512) && job.nr.is_multiple_of(16) {
        // SAFETY: the level has the instructions.
        unsafe { dequantise_avx512(job) };
        return;
    }
    cpu.arch().dispatch(job);
}

/// The same in whole vectors, which the compiler makes of the plain loops only half as wide and with checks for each row.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dequantise_avx512<F: Fn(usize) -> RowCode>(job: Dequantise<'_, F>) {
    use std::arch::x86_64::*;
    let Dequantise { acc, nr, codes, scales, sums } = job;
    for (i, row) in acc.chunks_exact_mut(nr).enumerate() {
        let RowCode { scale, zero } = codes(i);
        let (row_scale, zero) = (_mm512_set1_ps(scale), _mm512_set1_epi32(zero));
        let columns = scales.chunks_exact(16).zip(sums.chunks_exact(16));
        for (values, (scales, sums)) in row.chunks_exact_mut(16).zip(columns) {
            // SAFETY: all three slices have 16 values.
            unsafe {
                let added = _mm512_mullo_epi32(_mm512_loadu_si512(sums.as_ptr().cast()), zero);
                let sum = _mm512_sub_epi32(_mm512_loadu_si512(values.as_ptr().cast()), added);
                let value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), row_scale);
                _mm512_storeu_ps(values.as_mut_ptr(), _mm512_mul_ps(value, _mm512_loadu_ps(scales.as_ptr())));
            }
        }
    }
}
