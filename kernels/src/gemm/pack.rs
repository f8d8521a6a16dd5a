//! The right-hand side of a GEMM, packed once for one microkernel.

use std::sync::Arc;

use super::{
    Arithmetic, MicroKernel,
    arithmetic::{TILE_WORDS, encode},
    int4, kernel_for,
    microkernel::TileFn,
};
use crate::{Cpu, Exec, KernelError, MatMut, MatRef, slab::Slab, transpose::transpose, view::SharedMat};

/// Weights in panels of `nr` output columns: panel after panel, in each the `k` rows of `nr` values, the last panel padded
/// with zeros. In other arithmetics than `f32` the rows are of words of their code, and behind them may be one of the columns' scales;
/// [`int4`] says how weights of four bits lie.
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

/// A weight matrix to pack: `n` rows of `k` values, as PyTorch's `Linear.weight` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RhsShape {
    /// How products with it are computed; `f32` where the level has no kernel for it.
    pub arithmetic: Arithmetic,
    /// Inputs: the length of the reduction.
    pub k: usize,
    /// Outputs: columns of the product.
    pub n: usize,
}

impl PackedRhs {
    /// Packs `n` weight rows of `k` values each for products in `f32`; `fill(row, values)` writes one of them, and may be called from any worker.
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
        PackedRhs::pack_for(kernel_for(cpu, Arithmetic::F32, n), cpu, exec, k, n, fill)
    }

    /// As [`pack`](PackedRhs::pack), for a microkernel that the caller chooses.
    ///
    /// # Errors
    /// If the packed matrix doesn't fit in memory, or the microkernel isn't one of `cpu`'s level.
    pub fn pack_for(
        kernel: &'static MicroKernel,
        cpu: &Cpu,
        exec: Exec<'_>,
        k: usize,
        n: usize,
        fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Result<PackedRhs, KernelError> {
        let shape = RhsShape { arithmetic: kernel.arithmetic, k, n };
        check_level(kernel, cpu)?;
        let mut packed = pack_each(cpu, exec, &[(kernel, shape)], &|_, row, out| fill(row, out))?;
        Ok(packed.swap_remove(0))
    }

    /// Packs all matrices of a model together: one stretch of memory, in huge pages where the system has them, and one round of
    /// the workers. `fill(matrix, row, values)` writes one weight row.
    ///
    /// ```
    /// use loquat_kernels::{Arithmetic, Cpu, Exec, PackedRhs, RhsShape};
    ///
    /// let arithmetic = Arithmetic::Bf16x3;
    /// let shapes = [RhsShape { arithmetic, k: 4, n: 3 }, RhsShape { arithmetic, k: 3, n: 40 }];
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
        let matrices: Vec<_> =
            shapes.iter().map(|shape| (kernel_for(cpu, shape.arithmetic, shape.n), *shape)).collect();
        pack_each(cpu, exec, &matrices, fill)
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

    /// Whether this is a clone of `other`, or the other way round.
    pub fn shares_panels_with(&self, other: &PackedRhs) -> bool {
        Arc::ptr_eq(&self.slab, &other.slab) && self.start == other.start && self.bytes() == other.bytes()
    }

    pub(super) fn kernel(&self) -> &'static MicroKernel {
        self.kernel
    }

    /// How products with it are computed.
    pub fn arithmetic(&self) -> Arithmetic {
        self.kernel.arithmetic
    }

    /// Bytes that the panels take, padding included.
    pub fn bytes(&self) -> usize {
        self.panels() * panel_len(self.kernel, self.k) * size_of::<f32>()
    }

    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(self.kernel.nr)
    }

    pub(super) fn panel(&self, index: usize) -> &[f32] {
        let len = panel_len(self.kernel, self.k);
        &self.slab[self.start + index * len..][..len]
    }

    /// The microkernel that the panels are laid out for; an error unless it is one of `cpu`'s level.
    pub(super) fn kernel_at(&self, cpu: &Cpu) -> Result<&'static MicroKernel, KernelError> {
        check_level(self.kernel, cpu)?;
        Ok(self.kernel)
    }
}

/// An error unless the kernel is what `cpu`'s level uses for its arithmetic.
fn check_level(kernel: &'static MicroKernel, cpu: &Cpu) -> Result<(), KernelError> {
    let used = kernel_for(cpu, kernel.arithmetic, kernel.nr);
    if kernel.needs == used.needs && kernel.arithmetic == used.arithmetic {
        Ok(())
    } else {
        Err(KernelError::Panel { packed: kernel.name, used: used.name })
    }
}

/// Words of a panel for `k` inputs.
fn panel_len(kernel: &MicroKernel, k: usize) -> usize {
    if let TileFn::Grouped { .. } = kernel.tile {
        return int4::panel_len(kernel.nr, k);
    }
    (kernel.arithmetic.words(k) + kernel.arithmetic.trailing_rows()) * kernel.nr
}

impl std::fmt::Debug for PackedRhs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedRhs").field("kernel", &self.kernel).field("k", &self.k).field("n", &self.n).finish()
    }
}

/// Packs each matrix for its microkernel.
fn pack_each(
    cpu: &Cpu,
    exec: Exec<'_>,
    matrices: &[(&'static MicroKernel, RhsShape)],
    fill: &(dyn Fn(usize, usize, &mut [f32]) + Sync),
) -> Result<Vec<PackedRhs>, KernelError> {
    // Panels without words need no filling.
    let panels_of = |kernel: &MicroKernel, shape: RhsShape| {
        if panel_len(kernel, shape.k) == 0 { 0 } else { shape.n.div_ceil(kernel.nr) }
    };
    // Where each matrix starts: values before it, and panels before it.
    let mut starts = Vec::with_capacity(matrices.len());
    let (mut values, mut panels) = (0_usize, 0_usize);
    for &(kernel, shape) in matrices {
        starts.push((values, panels));
        let too_large = KernelError::TooLarge { what: "a packed weight matrix", rows: shape.n, cols: shape.k };
        // A panel has never more rows than there are inputs, and a few tiles.
        let bound = shape.k.checked_add(4 * TILE_WORDS).and_then(|rows| rows.checked_mul(kernel.nr));
        bound.ok_or(too_large.clone())?;
        let own = panels_of(kernel, shape);
        let len = panel_len(kernel, shape.k).checked_mul(own);
        values = len.and_then(|len| len.checked_add(values)).ok_or(too_large)?;
        panels += own;
    }
    let mut slab = Slab::zeroed(values)?;
    let mut targets: Vec<SharedMat<'_>> = Vec::with_capacity(matrices.len());
    let mut rest = &mut slab[..];
    for &(kernel, shape) in matrices {
        let (panels, len) = (panels_of(kernel, shape), panel_len(kernel, shape.k));
        let (own, after) = rest.split_at_mut(panels * len);
        targets.push(MatMut::new(own, panels, len, len)?.shared());
        rest = after;
    }
    exec.for_each(panels, &|_, item| {
        // The last matrix that starts at or before this panel; one without panels starts where the next does.
        let matrix = starts.partition_point(|&(_, first)| first <= item) - 1;
        let panel = item - starts[matrix].1;
        let (kernel, RhsShape { k, n, .. }) = matrices[matrix];
        // SAFETY: each item takes the one row that is its panel.
        let mut target = unsafe { targets[matrix].rows_mut(panel, 1) };
        let columns = panel * kernel.nr..n.min((panel + 1) * kernel.nr);
        let fill = |row: usize, out: &mut [f32]| fill(matrix, row, out);
        match kernel.tile {
            TileFn::Grouped { lanes, .. } => int4::pack_panel(lanes, k, columns, &fill, target.row_mut(0)),
            _ => pack_panel(cpu, kernel, k, columns, &fill, target.row_mut(0)),
        }
    });
    let slab = Arc::new(slab);
    let packed = matrices.iter().zip(&starts).map(|(&(kernel, RhsShape { k, n, .. }), &(start, _))| {
        let slab = Arc::clone(&slab);
        PackedRhs { kernel, k, n, slab, start }
    });
    Ok(packed.collect())
}

/// Rows that are transposed together: one cache line of the target.
const GROUP: usize = 16;

/// Writes `panel[kk * nr + c]` = word `kk` of weight row `rows.start + c`, and what belongs behind the words.
fn pack_panel(
    cpu: &Cpu,
    kernel: &MicroKernel,
    k: usize,
    rows: std::ops::Range<usize>,
    fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    panel: &mut [f32],
) {
    let (arithmetic, nr) = (kernel.arithmetic, kernel.nr);
    let words = arithmetic.words(k);
    let (panel, trailing) = panel.split_at_mut(words * nr);
    // An odd number of cache lines, so that the group's rows don't fall into the same cache sets.
    let stride = words.next_multiple_of(32) + 16;
    let mut group = vec![0.0; stride * GROUP];
    let mut values = vec![0.0; if arithmetic == Arithmetic::F32 { 0 } else { k }];
    for first in rows.clone().step_by(GROUP) {
        let count = GROUP.min(rows.end - first);
        for (i, row) in group.chunks_exact_mut(stride).take(count).enumerate() {
            let row = &mut row[..words];
            if arithmetic == Arithmetic::F32 {
                fill(first + i, row);
                continue;
            }
            fill(first + i, &mut values);
            let scale = encode(cpu, arithmetic, &values, bytemuck::cast_slice_mut(row));
            if let Some((scales, sums)) = trailing.split_at_mut_checked(nr) {
                let column = first + i - rows.start;
                scales[column] = scale;
                if let Some(sum) = sums.get_mut(column) {
                    let codes: &[i8] = bytemuck::cast_slice(row);
                    *sum = f32::from_bits(codes.iter().map(|&code| i32::from(code)).sum::<i32>() as u32);
                }
            }
        }
        if let (Ok(source), Some(target)) =
            (MatRef::new(&group, count, words, stride), panel.get_mut(first - rows.start..))
        {
            transpose(cpu, source, target, nr);
        }
    }
}
