//! Loops that do nothing but one thing, as fast as the unit can: what the kernels are measured against.

use pulp::{Simd, WithSimd};

use crate::{Arithmetic, Cpu, Features};

/// Runs `iterations` rounds of independent fused multiply-adds in registers and returns the floating-point operations done.
///
/// Operations over elapsed time is the unit's peak; take the best of many short runs, since other load can only lower it.
///
/// ```
/// use loquat_kernels::{Cpu, peak};
/// let cpu = Cpu::detect()?;
/// let start = std::time::Instant::now();
/// let flop = peak::multiply_adds(&cpu, 10_000);
/// println!("{:.0} GFLOP/s", flop as f64 / start.elapsed().as_nanos() as f64);
/// # Ok::<(), loquat_kernels::CpuError>(())
/// ```
pub fn multiply_adds(cpu: &Cpu, iterations: u64) -> u64 {
    cpu.arch().dispatch(MultiplyAdds(iterations))
}

/// Runs `iterations` rounds of the instructions that a product in this arithmetic is made of, in registers, and returns the operations
/// done: multiplications and additions of values as a caller counts them, so that three products of parts are one.
///
/// Where the level has no unit for the arithmetic, these are [`multiply_adds`].
pub fn products(cpu: &Cpu, arithmetic: Arithmetic, iterations: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let amx = cpu.features().contains(Features::AMX);
        let vnni = cpu.features().contains(Features::AVX512_VNNI);
        match arithmetic {
            // SAFETY: the level has tiles.
            Arithmetic::Bf16 if amx => return unsafe { x86::tiles_of_bf16(iterations) },
            // SAFETY: the level has tiles.
            Arithmetic::Bf16x3 if amx => return unsafe { x86::tiles_of_bf16(iterations) } / 3,
            // SAFETY: the level has tiles.
            Arithmetic::Int8 if amx => return unsafe { x86::tiles_of_bytes(iterations) },
            // SAFETY: the level has VNNI.
            Arithmetic::Int8 if vnni => return unsafe { x86::vectors_of_bytes(iterations) },
            _ => {}
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (arithmetic, Features::NONE);
    multiply_adds(cpu, iterations)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::{
        asm,
        x86_64::{_mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi32},
    };

    use crate::amx;

    /// Four tiles accumulate, so that each has finished when its turn comes again.
    macro_rules! tiles {
        ($name:ident, $instruction:literal, $terms:literal) => {
            /// # Safety
            /// [`amx::is_usable`] has said yes.
            pub(super) unsafe fn $name(iterations: u64) -> u64 {
                // SAFETY: the caller's; the tiles are configured, and no memory is touched.
                unsafe {
                    amx::configure();
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "tilezero tmm4",
                        "tilezero tmm5",
                        "tilezero tmm6",
                        "tilezero tmm7",
                        options(nomem, nostack, preserves_flags)
                    );
                    for _ in 0..iterations {
                        asm!(
                            concat!($instruction, " tmm0, tmm4, tmm6"),
                            concat!($instruction, " tmm1, tmm4, tmm7"),
                            concat!($instruction, " tmm2, tmm5, tmm6"),
                            concat!($instruction, " tmm3, tmm5, tmm7"),
                            options(nomem, nostack, preserves_flags)
                        );
                    }
                    amx::release();
                }
                iterations * 4 * 2 * 16 * 16 * $terms
            }
        };
    }

    tiles!(tiles_of_bf16, "tdpbf16ps", 32);
    tiles!(tiles_of_bytes, "tdpbssd", 64);

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vectors_of_bytes(iterations: u64) -> u64 {
        const CHAINS: usize = 12;
        let ones = _mm512_set1_epi32(std::hint::black_box(0x0101_0101));
        let mut acc = [_mm512_set1_epi32(0); CHAINS];
        for _ in 0..iterations {
            for acc in &mut acc {
                *acc = _mm512_dpbusd_epi32(*acc, ones, ones);
            }
        }
        std::hint::black_box(acc.map(|acc| _mm512_reduce_add_epi32(acc)));
        iterations * 2 * (CHAINS * 64) as u64
    }
}

struct MultiplyAdds(u64);

impl WithSimd for MultiplyAdds {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u64 {
        /// More chains than latency times units of any core (4 cycles times 2 to 4), few enough for 16 registers.
        const CHAINS: usize = 12;
        // Hidden from the optimiser; with these the accumulators converge and never leave the normal range.
        let factor = simd.splat_f32s(std::hint::black_box(0.5));
        let addend = simd.splat_f32s(std::hint::black_box(1.0));
        let mut acc = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.0 {
            for acc in &mut acc {
                // Fused where the level has it; as the kernels do without, in two roundings.
                *acc = simd.mul_add_e_f32s(*acc, factor, addend);
            }
        }
        let sum = acc.into_iter().reduce(|a, b| simd.add_f32s(a, b));
        std::hint::black_box(sum.map(|sum| simd.reduce_sum_f32s(sum)));
        2 * self.0 * (CHAINS * S::F32_LANES) as u64
    }
}

/// Reads every value of `data` with vector loads, several streams at once, and returns their sum.
///
/// Bytes over elapsed time is the read bandwidth of whichever cache `data` fits in.
pub fn read(cpu: &Cpu, data: &[f32]) -> f32 {
    cpu.arch().dispatch(Read(data))
}

struct Read<'a>(&'a [f32]);

impl WithSimd for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        const STREAMS: usize = 4;
        let (vectors, rest) = S::as_simd_f32s(self.0);
        let stream = vectors.len() / STREAMS;
        let mut acc = [simd.splat_f32s(0.0); STREAMS];
        for i in 0..stream {
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = simd.add_f32s(*acc, vectors[j * stream + i]);
            }
        }
        for vector in &vectors[STREAMS * stream..] {
            acc[0] = simd.add_f32s(acc[0], *vector);
        }
        let sum = acc.into_iter().fold(simd.splat_f32s(0.0), |a, b| simd.add_f32s(a, b));
        simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_loop_reads_everything() {
        for cpu in Cpu::available() {
            for len in [0, 1, 63, 64, 1000] {
                assert_eq!(read(&cpu, &vec![1.0; len]), len as f32, "{}", cpu.level());
            }
            assert!(multiply_adds(&cpu, 3) >= 3 * 2 * 12);
            for arithmetic in
                [Arithmetic::F32, Arithmetic::Bf16x3, Arithmetic::Bf16, Arithmetic::Int8, Arithmetic::Int4]
            {
                assert!(products(&cpu, arithmetic, 3) >= 3 * 2 * 12, "{} {arithmetic:?}", cpu.level());
            }
        }
    }
}
