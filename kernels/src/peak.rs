//! Loops that do nothing but one thing, as fast as the unit can: what the kernels are measured against.

use pulp::{Simd, WithSimd};

use crate::Cpu;

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
        }
    }
}
