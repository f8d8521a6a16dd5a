//! The right-hand side of a GEMM, packed once for one microkernel.

use super::{MicroKernel, kernel_for};
use crate::{AlignedBuf, Cpu, Exec, KernelError, MatMut, MatRef, transpose::transpose};

/// Weights in panels of `nr` output columns: panel after panel, in each the `k` rows of `nr` values, the last panel padded
/// with zeros.
pub struct PackedRhs {
    kernel: &'static MicroKernel,
    k: usize,
    n: usize,
    data: AlignedBuf,
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
        let kernel = kernel_for(cpu);
        let nr = kernel.nr;
        let too_large = KernelError::TooLarge { what: "a packed weight matrix", rows: n, cols: k };
        let panel_len = k.checked_mul(nr).ok_or_else(|| too_large.clone())?;
        let panels = n.div_ceil(nr);
        let mut data = AlignedBuf::zeroed(panels.checked_mul(panel_len).ok_or(too_large)?)?;
        if panel_len > 0 {
            let packed = MatMut::new(&mut data, panels, panel_len, panel_len)?.shared();
            exec.for_each(panels, &|_, panel| {
                // SAFETY: each item takes the one row that is its panel.
                let mut target = unsafe { packed.rows_mut(panel, 1) };
                let first = panel * nr;
                pack_panel(cpu, k, nr, first..n.min(first + nr), fill, target.row_mut(0));
            });
        }
        Ok(PackedRhs { kernel, k, n, data })
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
        self.data.len() * size_of::<f32>()
    }

    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(self.kernel.nr)
    }

    pub(super) fn panel(&self, index: usize) -> &[f32] {
        let len = self.k * self.kernel.nr;
        &self.data[index * len..][..len]
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
