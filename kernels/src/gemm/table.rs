//! The table of microkernels, and what follows from it.

use super::{Arithmetic, MicroKernel};
use crate::Cpu;

/// Every microkernel of this architecture: levels upwards, and within a level the preferred one last. Dispatch, tests and `hwbench`
/// all read this one table.
pub const MICROKERNELS: &[MicroKernel] = &[
    super::scalar::KERNEL,
    #[cfg(target_arch = "aarch64")]
    super::neon::KERNEL,
    #[cfg(target_arch = "x86_64")]
    super::avx2::KERNEL,
    #[cfg(target_arch = "x86_64")]
    super::avx512::TALL,
    #[cfg(target_arch = "x86_64")]
    super::avx512::WIDE,
    #[cfg(target_arch = "x86_64")]
    super::amx::BF16X3,
    #[cfg(target_arch = "x86_64")]
    super::amx::BF16,
    super::int8::SCALAR,
    #[cfg(target_arch = "aarch64")]
    super::int8::NEON,
    #[cfg(target_arch = "aarch64")]
    super::int8::NEON_DOTPROD,
    #[cfg(target_arch = "x86_64")]
    super::int8::AVX2,
    #[cfg(target_arch = "x86_64")]
    super::int8::AVX_VNNI,
    #[cfg(target_arch = "x86_64")]
    super::int8::VNNI,
    #[cfg(target_arch = "x86_64")]
    super::amx::INT8,
    super::int4::SCALAR,
    #[cfg(target_arch = "aarch64")]
    super::int4::NEON,
    #[cfg(target_arch = "x86_64")]
    super::int4::AVX2,
    #[cfg(target_arch = "x86_64")]
    super::int4::VNNI,
];

/// The microkernels for an arithmetic at the level of `cpu`; none where the level has no instructions for it.
pub fn kernels_of(cpu: &Cpu, arithmetic: Arithmetic) -> impl DoubleEndedIterator<Item = &'static MicroKernel> {
    let candidates = move || MICROKERNELS.iter().filter(move |kernel| kernel.arithmetic == arithmetic);
    let best = candidates().rfind(|kernel| cpu.features().contains(kernel.needs));
    candidates().filter(move |kernel| best.is_some_and(|best| best.needs == kernel.needs))
}

impl Arithmetic {
    /// The arithmetic that stands in for this one at the level of `cpu`: itself where there is a kernel, else [`F32`](Arithmetic::F32).
    pub fn available(self, cpu: &Cpu) -> Arithmetic {
        if super::kernels_of(cpu, self).next().is_some() { self } else { Arithmetic::F32 }
    }
}

/// The microkernel that runs products with `columns` columns at the level of `cpu`: of those that pad the columns least, the preferred.
/// Where the level has none for the arithmetic, one for `f32`.
///
/// All kernels of a level and an arithmetic give the same bits.
pub fn kernel_for(cpu: &Cpu, arithmetic: Arithmetic, columns: usize) -> &'static MicroKernel {
    let padded = |kernel: &&MicroKernel| columns.div_ceil(kernel.nr).saturating_mul(kernel.nr);
    kernels_of(cpu, arithmetic.available(cpu)).rev().min_by_key(padded).unwrap_or(&MICROKERNELS[0])
}

/// Room for the largest tile of any kernel, aligned to a cache line.
#[repr(align(64))]
pub(crate) struct ScratchTile([f32; ScratchTile::LEN]);

impl ScratchTile {
    const LEN: usize = {
        let (mut i, mut len) = (0, 0);
        while i < MICROKERNELS.len() {
            let size = MICROKERNELS[i].mr * MICROKERNELS[i].nr;
            len = if size > len { size } else { len };
            i += 1;
        }
        len
    };

    /// The widest panel of any kernel.
    pub(super) const WIDEST: usize = {
        let (mut i, mut widest) = (0, 0);
        while i < MICROKERNELS.len() {
            let nr = MICROKERNELS[i].nr;
            widest = if nr > widest { nr } else { widest };
            i += 1;
        }
        widest
    };

    pub(crate) fn new() -> ScratchTile {
        ScratchTile([0.0; ScratchTile::LEN])
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr()
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.0
    }

    /// Row `row` of a tile of width `nr`.
    pub(crate) fn row(&self, row: usize, nr: usize) -> &[f32] {
        &self.0[row * nr..][..nr]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kernel_is_forgotten() {
        let runs = |kernel: &MicroKernel| {
            Cpu::available().iter().any(|cpu| kernels_of(cpu, kernel.arithmetic).any(|own| own.name == kernel.name))
        };
        for kernel in MICROKERNELS {
            let can_run = Cpu::available().iter().any(|cpu| cpu.features().contains(kernel.needs));
            assert_eq!(runs(kernel), can_run, "{kernel:?}");
        }
        assert!(Cpu::available().iter().all(|cpu| kernels_of(cpu, Arithmetic::F32).next().is_some()));
    }

    #[test]
    fn columns_are_padded_least() {
        for cpu in Cpu::available() {
            for columns in [0, 1, 2, 31, 32, 33, 48, 64, 96, 384, 1000] {
                let waste = |kernel: &MicroKernel| (kernel.nr - columns % kernel.nr) % kernel.nr;
                let chosen = kernel_for(&cpu, Arithmetic::F32, columns);
                assert!(
                    kernels_of(&cpu, Arithmetic::F32).all(|kernel| waste(chosen) <= waste(kernel)),
                    "{columns}: {chosen:?}"
                );
            }
        }
    }
}
