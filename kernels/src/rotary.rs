//! Rotary position embeddings (Su et al., 2021), <https://arxiv.org/abs/2104.09864>.

use crate::{Cpu, Exec, KernelError, MatMut, MatRef, error::expect_eq, row, view::SharedMat};
use pulp::{Simd, WithSimd};

/// Turns each head of each row of `x` by the row's position: with `c` and `s` from rows `positions[i]` of `cos` and `sin`, the halves `a` and
/// `b` of a head become `a·c - b·s` and `b·c + a·s`. `cos` and `sin` are half as wide as a head.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, MatRef, rotary::rotate};
///
/// let (cos, sin) = ([1.0, 0.0], [0.0, 1.0]);
/// let (cos, sin) = (MatRef::new(&cos, 2, 1, 1)?, MatRef::new(&sin, 2, 1, 1)?);
/// let mut x = [1.0, 2.0, 1.0, 2.0];
/// rotate(&Cpu::detect()?, Exec::Serial, cos, sin, &[0, 1], MatMut::new(&mut x, 2, 2, 2)?)?;
/// assert_eq!(x, [1.0, 2.0, -2.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If shapes disagree, or a position is beyond the tables.
pub fn rotate(
    cpu: &Cpu,
    exec: Exec<'_>,
    cos: MatRef<'_>,
    sin: MatRef<'_>,
    positions: &[u32],
    x: MatMut<'_>,
) -> Result<(), KernelError> {
    expect_eq("rows of the sines", sin.rows(), cos.rows())?;
    expect_eq("columns of the sines", sin.cols(), cos.cols())?;
    expect_eq("number of positions", positions.len(), x.rows())?;
    let head_dim = 2 * cos.cols();
    if head_dim == 0 || !x.cols().is_multiple_of(head_dim) {
        return Err(KernelError::Shape { what: "columns of a head", expected: x.cols(), found: head_dim });
    }
    if let Some(position) = positions.iter().position(|position| *position as usize >= cos.rows()) {
        let index = positions[position] as usize;
        return Err(KernelError::Index { what: "position of a rotation", position, index, len: cos.rows() });
    }
    let (rows, cols) = (x.rows(), x.cols());
    let x = x.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Rotate { cos, sin, positions, x, start, len });
    });
    Ok(())
}

struct Rotate<'a> {
    cos: MatRef<'a>,
    sin: MatRef<'a>,
    positions: &'a [u32],
    x: SharedMat<'a>,
    start: usize,
    len: usize,
}

impl WithSimd for Rotate<'_> {
    type Output = ();

    /// Plain loops, which the compiler turns into vector code of the level that this is inlined into. Each element is on its own: its bits don't
    /// depend on how.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { self.x.rows_mut(self.start, self.len) };
        let half = self.cos.cols();
        for i in 0..self.len {
            let position = self.positions[self.start + i] as usize;
            let (cos, sin) = (self.cos.row(position), self.sin.row(position));
            for head in block.row_mut(i).chunks_exact_mut(2 * half) {
                let (first, second) = head.split_at_mut(half);
                for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                }
            }
        }
    }
}
