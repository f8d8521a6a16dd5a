//! The real part of Fourier transforms over sequences and hidden states, as two products with matrices of cosines and sines.

use std::f64::consts::PI;

use crate::{
    Arithmetic, Cpu, Epilogue, Exec, KernelError, MatMut, MatRef, PackedRhs, RhsShape,
    error::expect_eq,
    gemm::{MicroKernel, Prefetch, ScratchTile, Tile, gemm, kernel_for, split_rows},
    ragged::{range, validate_lengths},
};

/// Rows of one work item: enough to pay for the cosines of a sequence's length.
const ROWS: usize = 64;

/// The matrices of a width, packed for one level of CPU.
#[derive(Clone, Debug)]
pub struct Fourier {
    cpu: Cpu,
    cosines: PackedRhs,
    sines: PackedRhs,
}

impl Fourier {
    /// The matrices for hidden states of so many columns.
    ///
    /// # Errors
    /// If they don't fit in memory.
    pub fn new(cpu: &Cpu, exec: Exec<'_>, width: usize) -> Result<Fourier, KernelError> {
        let shape = RhsShape { arithmetic: Arithmetic::F32, k: width, n: width };
        let pack = |of: fn(f64) -> f64| {
            let row = |_: usize, row: usize, values: &mut [f32]| fill(values, width, row, of);
            let packed = PackedRhs::pack_all(cpu, exec, &[shape], &row)?.pop();
            packed.ok_or(KernelError::TooLarge { what: "matrix of cosines", rows: width, cols: width })
        };
        Ok(Fourier { cpu: *cpu, cosines: pack(f64::cos)?, sines: pack(f64::sin)? })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.cosines.n()
    }

    /// The microkernel that computes the products.
    pub fn kernel_name(&self) -> &'static str {
        self.kernel().name
    }

    fn kernel(&self) -> &'static MicroKernel {
        kernel_for(&self.cpu, Arithmetic::F32, self.width())
    }

    fn layout(&self, tokens: usize, longest: usize, workers: usize) -> Option<Layout> {
        let kernel = self.kernel();
        let stride = self.width().checked_next_multiple_of(kernel.nr)?;
        let matrix = stride.checked_mul(tokens)?;
        let row_stride = longest.checked_next_multiple_of(32)?.checked_add(16)?;
        let own = row_stride.checked_mul(2 * (1 + kernel.mr))?;
        let len = own.checked_mul(workers)?.checked_add(matrix.checked_mul(2)?)?;
        Some(Layout { stride, matrix, row_stride, own, len })
    }

    /// Number of `f32` that [`apply`](Self::apply) needs as scratch, for sequences of up to `longest` tokens.
    ///
    /// # Errors
    /// If the number overflows.
    pub fn scratch_len(&self, tokens: usize, longest: usize, workers: usize) -> Result<usize, KernelError> {
        let layout = self.layout(tokens, longest, workers);
        layout.map(|layout| layout.len).ok_or(KernelError::TooLarge {
            what: "scratch of a Fourier transform",
            rows: tokens,
            cols: self.width(),
        })
    }

    /// For each sequence, the real part of the Fourier transform of its rows of `x` in both directions. Sequence `i` is the rows
    /// `cu_seqlens[i] .. cu_seqlens[i + 1]`, counted from `cu_seqlens[0]`. `scratch` is [`scratch_len`](Self::scratch_len) values long, of any
    /// content.
    ///
    /// ```
    /// use loquat_kernels::{Cpu, Exec, MatMut, MatRef, fourier::Fourier};
    ///
    /// let transform = Fourier::new(&Cpu::detect()?, Exec::Serial, 2)?;
    /// let (x, mut out) = ([1.0, 2.0, 3.0, 4.0], [0.0; 4]);
    /// let mut scratch = vec![0.0; transform.scratch_len(2, 2, 1)?];
    /// let target = MatMut::new(&mut out, 2, 2, 2)?;
    /// transform.apply(Exec::Serial, MatRef::new(&x, 2, 2, 2)?, &[0, 2], &mut scratch, target)?;
    /// assert_eq!(out.map(f32::round), [10.0, -2.0, -4.0, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If shapes, lengths or the scratch disagree.
    pub fn apply(
        &self,
        exec: Exec<'_>,
        x: MatRef<'_>,
        cu_seqlens: &[u32],
        scratch: &mut [f32],
        out: MatMut<'_>,
    ) -> Result<(), KernelError> {
        let longest = validate_lengths(cu_seqlens, x.rows())?;
        let (width, tokens, workers) = (self.width(), x.rows(), exec.workers());
        expect_eq("columns of the hidden states", x.cols(), width)?;
        expect_eq("columns of the transform", out.cols(), width)?;
        expect_eq("rows of the transform", out.rows(), tokens)?;
        let needed = self.scratch_len(tokens, longest, workers)?;
        let (found, layout) = (scratch.len(), self.layout(tokens, longest, workers));
        let Some(layout) = layout.filter(|layout| layout.len <= found) else {
            return Err(KernelError::Shape { what: "scratch of a Fourier transform", expected: needed, found });
        };
        let (by_cosines, rest) = scratch.split_at_mut(layout.matrix);
        let (by_sines, own) = rest.split_at_mut(layout.matrix);
        for (matrix, target) in [(&self.cosines, &mut *by_cosines), (&self.sines, &mut *by_sines)] {
            let target = MatMut::new(target, tokens, width, layout.stride)?;
            gemm(&self.cpu, exec, x, matrix, &Epilogue::default(), &mut [], target)?;
        }
        let kernel = self.kernel();
        let blocks = longest.div_ceil(ROWS).max(1);
        let own = MatMut::new(&mut own[..layout.own * workers], workers, layout.own, layout.own)?.shared();
        let out = out.shared();
        let (by_cosines, by_sines) = (&*by_cosines, &*by_sines);
        exec.for_each((cu_seqlens.len() - 1) * blocks, &|worker, item| {
            let tokens = range(cu_seqlens, item / blocks);
            let first = item % blocks * ROWS;
            if first >= tokens.len() {
                return;
            }
            // SAFETY: every worker has a row of the scratch for itself.
            let mut own = unsafe { own.rows_mut(worker, 1) };
            let (tables, tiles) = own.row_mut(0).split_at_mut(2 * layout.row_stride);
            let (cosines, sines) = tables.split_at_mut(layout.row_stride);
            let (lhs_cosines, lhs_sines) = tiles.split_at_mut(kernel.mr * layout.row_stride);
            let len = tokens.len();
            fill(&mut cosines[..len], len, 1, f64::cos);
            fill(&mut sines[..len], len, 1, |angle| -angle.sin());
            let (mut real, mut imaginary) = (ScratchTile::new(), ScratchTile::new());
            for (start, rows) in split_rows(ROWS.min(len - first), kernel.mr) {
                for i in 0..rows {
                    let frequency = first + start + i;
                    let at = i * layout.row_stride;
                    let targets = lhs_cosines[at..][..len].iter_mut().zip(&mut lhs_sines[at..][..len]);
                    let mut angle = 0;
                    for (cosine, sine) in targets {
                        (*cosine, *sine) = (cosines[angle], sines[angle]);
                        angle += frequency;
                        angle -= if angle >= len { len } else { 0 };
                    }
                }
                for panel in (0..width).step_by(kernel.nr) {
                    let sides = [(&*lhs_cosines, by_cosines, &mut real), (&*lhs_sines, by_sines, &mut imaginary)];
                    for (lhs, rhs, tile) in sides {
                        // SAFETY: the kernel is one of the CPU's level. The left side has `rows` rows of `len` values, the right side
                        // `len` rows of whole panels, and the tile room for any kernel's.
                        unsafe {
                            kernel.run(&Tile {
                                rows,
                                k: len,
                                a: lhs.as_ptr(),
                                a_stride: layout.row_stride,
                                b: rhs[tokens.start * layout.stride + panel..].as_ptr(),
                                b_stride: layout.stride,
                                c: tile.as_mut_ptr(),
                                c_stride: kernel.nr,
                                prefetch: Prefetch::nothing(lhs.as_ptr()),
                            });
                        }
                    }
                    let cols = kernel.nr.min(width - panel);
                    for i in 0..rows {
                        let row = tokens.start + first + start + i;
                        // SAFETY: these rows and columns belong to this work item alone.
                        let target = unsafe { std::slice::from_raw_parts_mut(out.element(row, panel), cols) };
                        let sums = real.row(i, kernel.nr).iter().zip(imaginary.row(i, kernel.nr));
                        target.iter_mut().zip(sums).for_each(|(target, (a, b))| *target = a + b);
                    }
                }
            }
        });
        Ok(())
    }
}

/// Where things lie in the scratch.
struct Layout {
    /// Row stride of the products with the matrices: whole panels.
    stride: usize,
    /// Values of such a product.
    matrix: usize,
    /// Row stride of a worker's cosines and sines.
    row_stride: usize,
    /// Values of a worker: two tables, and two tiles.
    own: usize,
    len: usize,
}

/// `of(2π · row · column / period)`.
fn fill(values: &mut [f32], period: usize, row: usize, of: impl Fn(f64) -> f64) {
    let mut turns = 0;
    for value in values {
        *value = of(2.0 * PI * turns as f64 / period as f64) as f32;
        turns = (turns + row) % period.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{values, with_teams};

    /// The definition, in `f64`.
    fn reference(x: MatRef<'_>, cu: &[u32]) -> Vec<f64> {
        let width = x.cols();
        let mut out = Vec::new();
        for sequence in 0..cu.len() - 1 {
            let tokens = range(cu, sequence);
            for frequency in 0..tokens.len() {
                for column in 0..width {
                    let mut sum = 0.0;
                    for (position, row) in tokens.clone().enumerate() {
                        for (i, value) in x.row(row).iter().enumerate() {
                            let turns = (frequency * position) as f64 / tokens.len() as f64
                                + (column * i) as f64 / width as f64;
                            sum += (2.0 * PI * turns).cos() * f64::from(*value);
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn every_level_and_any_threads_match_the_definition() {
        let lengths = [1usize, 0, 7, 70, 2];
        let tokens: usize = lengths.iter().sum();
        let mut cu = vec![9];
        lengths.iter().for_each(|&len| cu.push(cu[cu.len() - 1] + len as u32));
        for width in [1, 5, 18, 40] {
            let data = values(tokens * (width + 3), 1);
            let x = MatRef::new(&data, tokens, width, width + 3).unwrap();
            let expected = reference(x, &cu);
            for cpu in Cpu::available() {
                let transform = Fourier::new(&cpu, Exec::Serial, width).unwrap();
                let run = |exec: Exec<'_>| {
                    // The scratch's content must not matter.
                    let mut scratch = vec![f32::NAN; transform.scratch_len(tokens, 70, exec.workers()).unwrap()];
                    let mut out = vec![f32::NAN; tokens * width];
                    let target = MatMut::new(&mut out, tokens, width, width).unwrap();
                    transform.apply(exec, x, &cu, &mut scratch, target).unwrap();
                    out
                };
                let found = run(Exec::Serial);
                with_teams(|team| assert_eq!(run(team), found, "{} {width}", cpu.level()));
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 2e-4, "{} {width}: {found} {expected}", cpu.level());
                }
            }
        }
    }

    #[test]
    fn shapes_that_disagree_are_refused() {
        let cpu = Cpu::detect().unwrap();
        let transform = Fourier::new(&cpu, Exec::Serial, 3).unwrap();
        let (data, mut out) = ([0.0; 12], [0.0; 12]);
        let mut run = |rows: usize, cols: usize, cu: &[u32], spare: usize| {
            let mut scratch = vec![0.0; transform.scratch_len(4, 4, 1).unwrap() - spare];
            let x = MatRef::new(&data, rows, cols, cols).unwrap();
            let out = MatMut::new(&mut out, rows, cols, cols).unwrap();
            transform.apply(Exec::Serial, x, cu, &mut scratch, out)
        };
        assert!(run(4, 3, &[0, 4], 0).is_ok());
        assert!(run(4, 2, &[0, 4], 0).is_err());
        assert!(run(4, 3, &[0, 3], 0).is_err());
        assert!(run(4, 3, &[0, 4], 1).is_err());
        assert!(transform.scratch_len(usize::MAX / 2, 4, 1).is_err());
    }
}
