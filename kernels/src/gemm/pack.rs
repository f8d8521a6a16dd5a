//! The right-hand side of a GEMM, packed once for one microkernel.

use std::sync::Arc;

use super::{MicroKernel, kernel_for};
use crate::{Cpu, Exec, KernelError, MatMut, MatRef, slab::Slab, transpose::transpose, view::SharedMat};

/// Weights in panels of `nr` output columns: panel after panel, in each the `k` rows of `nr` values, the last panel padded
/// with zeros.
///
/// A clone shares the panels.
#[derive(Clone)]
pub struct PackedRhs {
    kernel: &'static MicroKernel,
    k: usize,
    n: usize,
    /// Holds the panels of all matrices that were packed together.
    slab: Arc<Slab>,
    /// Where this matrix's panels start in it.
    start: usize,
}

/// The shape of a weight matrix: `n` rows of `k` values, as PyTorch's `Linear.weight` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RhsShape {
    /// Inputs: the length of the reduction.
    pub k: usize,
    /// Outputs: columns of the product.
    pub n: usize,
}

impl PackedRhs {
    /// Packs `n` weight rows of `k` values each; `fill(row, values)` writes one of them, and may be called from any worker.
    ///
    /// A weight row is what PyTorch's `Linear.weight[row]` holds: all inputs of one output column. Taking rows from a function
    /// lets the caller convert or concatenate them on the way, without another copy of the matrix.
    ///
    /// # Errors
    /// If the packed matrix doesn't fit in memory.
    pub fn pack(
        cpu: &Cpu,
        exec: Exec<'_>,
        k: usize,
        n: usize,
        fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Result<PackedRhs, KernelError> {
        let mut packed = Self::pack_all(cpu, exec, &[RhsShape { k, n }], &|_, row, out| fill(row, out))?;
        let missing = KernelError::Shape { what: "packed matrices", expected: 1, found: 0 };
        packed.pop().ok_or(missing)
    }

    /// Packs all matrices of a model together: one stretch of memory, in huge pages where the system has them, and one round of
    /// the workers. `fill(matrix, row, values)` writes one weight row.
    ///
    /// ```
    /// use loquat_kernels::{Cpu, Exec, PackedRhs, RhsShape};
    ///
    /// let shapes = [RhsShape { k: 4, n: 3 }, RhsShape { k: 3, n: 40 }];
    /// let packed = PackedRhs::pack_all(&Cpu::detect()?, Exec::Serial, &shapes, &|matrix, row, values| {
    ///     values.fill((matrix * 100 + row) as f32);
    /// })?;
    /// assert_eq!((packed[1].k(), packed[1].n()), (3, 40));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the packed matrices don't fit in memory.
    pub fn pack_all(
        cpu: &Cpu,
        exec: Exec<'_>,
        shapes: &[RhsShape],
        fill: &(dyn Fn(usize, usize, &mut [f32]) + Sync),
    ) -> Result<Vec<PackedRhs>, KernelError> {
        let kernel = kernel_for(cpu);
        let nr = kernel.nr;
        // Where each matrix starts: values before it, and panels before it.
        let mut starts = Vec::with_capacity(shapes.len());
        let (mut values, mut panels) = (0_usize, 0_usize);
        for &RhsShape { k, n } in shapes {
            starts.push((values, panels));
            let own = if k == 0 { 0 } else { n.div_ceil(nr) };
            let end = k.checked_mul(nr).and_then(|len| len.checked_mul(own)).and_then(|len| len.checked_add(values));
            values = end.ok_or(KernelError::TooLarge { what: "a packed weight matrix", rows: n, cols: k })?;
            panels += own;
        }
        let mut slab = Slab::zeroed(values)?;
        let mut matrices: Vec<SharedMat<'_>> = Vec::with_capacity(shapes.len());
        let mut rest = &mut slab[..];
        for &RhsShape { k, n } in shapes {
            let panels = if k == 0 { 0 } else { n.div_ceil(nr) };
            let (own, after) = rest.split_at_mut(panels * k * nr);
            matrices.push(MatMut::new(own, panels, k * nr, k * nr)?.shared());
            rest = after;
        }
        exec.for_each(panels, &|_, item| {
            // The last matrix that starts at or before this panel; one without panels starts where the next does.
            let matrix = starts.partition_point(|&(_, first)| first <= item) - 1;
            let panel = item - starts[matrix].1;
            let RhsShape { k, n } = shapes[matrix];
            // SAFETY: each item takes the one row that is its panel.
            let mut target = unsafe { matrices[matrix].rows_mut(panel, 1) };
            let columns = panel * nr..n.min(panel * nr + nr);
            pack_panel(cpu, k, nr, columns, &|row, out| fill(matrix, row, out), target.row_mut(0));
        });
        let slab = Arc::new(slab);
        let packed = shapes.iter().zip(&starts);
        Ok(packed
            .map(|(&RhsShape { k, n }, &(start, _))| PackedRhs { kernel, k, n, slab: Arc::clone(&slab), start })
            .collect())
    }

    /// Length of the reduction: inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Output columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The microkernel that the panels are laid out for.
    pub fn kernel_name(&self) -> &'static str {
        self.kernel.name
    }

    /// Bytes that the panels take, padding included.
    pub fn bytes(&self) -> usize {
        self.panels() * self.k * self.kernel.nr * size_of::<f32>()
    }

    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(self.kernel.nr)
    }

    pub(super) fn panel(&self, index: usize) -> &[f32] {
        let len = self.k * self.kernel.nr;
        &self.slab[self.start + index * len..][..len]
    }

    /// An error unless `kernel` is what the panels were laid out for.
    pub(super) fn validate(&self, kernel: &MicroKernel) -> Result<(), KernelError> {
        if self.kernel.name == kernel.name {
            Ok(())
        } else {
            Err(KernelError::Panel { packed: self.kernel.name, used: kernel.name })
        }
    }
}

impl std::fmt::Debug for PackedRhs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedRhs").field("kernel", &self.kernel).field("k", &self.k).field("n", &self.n).finish()
    }
}

/// Rows that are transposed together: one cache line of the target.
const GROUP: usize = 16;

/// Writes `panel[kk * nr + c]` = value `kk` of weight row `rows.start + c`.
fn pack_panel(
    cpu: &Cpu,
    k: usize,
    nr: usize,
    rows: std::ops::Range<usize>,
    fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    panel: &mut [f32],
) {
    // An odd number of cache lines, so that the group's rows don't fall into the same cache sets.
    let stride = k.next_multiple_of(32) + 16;
    let mut group = vec![0.0; stride * GROUP];
    for first in rows.clone().step_by(GROUP) {
        let count = GROUP.min(rows.end - first);
        for (i, row) in group.chunks_exact_mut(stride).take(count).enumerate() {
            fill(first + i, &mut row[..k]);
        }
        if let Ok(source) = MatRef::new(&group, count, k, stride) {
            transpose(cpu, source, &mut panel[first - rows.start..], nr);
        }
    }
}
