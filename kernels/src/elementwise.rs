//! Sums and products, element by element.

use pulp::{Simd, WithSimd};

use crate::{Cpu, Exec, KernelError, MatMut, MatRef, error::expect_eq, row, view::SharedMat};

/// What is done to each element of a matrix.
#[derive(Clone, Copy, Debug)]
pub enum Elementwise<'a> {
    /// The other matrix is added.
    Add(MatRef<'a>),
    /// It is multiplied with the other matrix.
    Multiply(MatRef<'a>),
    /// It is multiplied with its column's `scale`, and its column's `shift` is added.
    Affine {
        /// One a column.
        scale: &'a [f32],
        /// One a column.
        shift: &'a [f32],
    },
}

/// Changes `x` in place.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, elementwise::{Elementwise, apply}};
///
/// let mut x = [1.0, 2.0, 3.0, 4.0];
/// let affine = Elementwise::Affine { scale: &[2.0, 10.0], shift: &[1.0, 0.0] };
/// apply(&Cpu::detect()?, Exec::Serial, affine, MatMut::new(&mut x, 2, 2, 2)?)?;
/// assert_eq!(x, [3.0, 20.0, 7.0, 40.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If shapes disagree.
pub fn apply(cpu: &Cpu, exec: Exec<'_>, what: Elementwise<'_>, x: MatMut<'_>) -> Result<(), KernelError> {
    match what {
        Elementwise::Add(other) | Elementwise::Multiply(other) => {
            expect_eq("rows of the other matrix", other.rows(), x.rows())?;
            expect_eq("columns of the other matrix", other.cols(), x.cols())?;
        }
        Elementwise::Affine { scale, shift } => {
            expect_eq("length of the scale", scale.len(), x.cols())?;
            expect_eq("length of the shift", shift.len(), x.cols())?;
        }
    }
    let (rows, cols) = (x.rows(), x.cols());
    let x = x.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Block { what, x, start, len });
    });
    Ok(())
}

struct Block<'a> {
    what: Elementwise<'a>,
    x: SharedMat<'a>,
    start: usize,
    len: usize,
}

impl WithSimd for Block<'_> {
    type Output = ();

    /// Plain loops, which the compiler turns into vector code of the level that this is inlined into. Each element is on its own: its bits don't
    /// depend on how.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { self.x.rows_mut(self.start, self.len) };
        for i in 0..self.len {
            let x = block.row_mut(i);
            match self.what {
                Elementwise::Add(other) => {
                    x.iter_mut().zip(other.row(self.start + i)).for_each(|(x, other)| *x += other);
                }
                Elementwise::Multiply(other) => {
                    x.iter_mut().zip(other.row(self.start + i)).for_each(|(x, other)| *x *= other);
                }
                Elementwise::Affine { scale, shift } => {
                    x.iter_mut().zip(scale).zip(shift).for_each(|((x, scale), shift)| *x = *x * scale + shift);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{values, with_teams};

    #[test]
    fn every_level_and_any_threads_give_the_definition() {
        for (rows, cols) in [(1, 1), (3, 17), (130, 33)] {
            let (x, other) = (values(rows * (cols + 2), 1), values(rows * (cols + 5), 2));
            let other = MatRef::new(&other, rows, cols, cols + 5).unwrap();
            let (scale, shift) = (values(cols, 3), values(cols, 4));
            let affine = Elementwise::Affine { scale: &scale, shift: &shift };
            for what in [Elementwise::Add(other), Elementwise::Multiply(other), affine] {
                let expected = |row: usize, col: usize| {
                    let x = x[row * (cols + 2) + col];
                    match what {
                        Elementwise::Add(other) => x + other.row(row)[col],
                        Elementwise::Multiply(other) => x * other.row(row)[col],
                        Elementwise::Affine { scale, shift } => x * scale[col] + shift[col],
                    }
                };
                for cpu in Cpu::available() {
                    let run = |exec: Exec<'_>| {
                        let mut found = x.clone();
                        let view = MatMut::new(&mut found, rows, cols, cols + 2).unwrap();
                        apply(&cpu, exec, what, view).unwrap();
                        found
                    };
                    let serial = run(Exec::Serial);
                    with_teams(|team| assert_eq!(run(team), serial, "{}", cpu.level()));
                    for (row, found) in serial.chunks(cols + 2).enumerate() {
                        let row: Vec<f32> = (0..cols).map(|col| expected(row, col)).collect();
                        assert_eq!(found[..cols], row[..], "{} {what:?}", cpu.level());
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_disagree_are_refused() {
        let (cpu, data, mut x) = (Cpu::detect().unwrap(), [0.0; 12], [0.0; 12]);
        let mut run = |what| apply(&cpu, Exec::Serial, what, MatMut::new(&mut x, 3, 4, 4).unwrap());
        let view = |rows, cols| MatRef::new(&data, rows, cols, cols).unwrap();
        assert!(run(Elementwise::Add(view(3, 4))).is_ok());
        assert!(run(Elementwise::Add(view(2, 4))).is_err());
        assert!(run(Elementwise::Multiply(view(3, 3))).is_err());
        assert!(run(Elementwise::Affine { scale: &data[..4], shift: &data[..3] }).is_err());
    }
}
