//! Every kernel against the reference, at every edge of its tiles and blocks.

use std::num::NonZeroUsize;

use super::{reference, *};
use crate::{Activation, Team};

/// Deterministic values in `-1 .. 1`.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    /// Extra values between two rows of the left-hand side, the residual and the output.
    gap: usize,
    epilogue: (bool, Option<Activation>, bool),
}

impl Case {
    fn run(&self, cpu: &Cpu, kernel: &'static MicroKernel, exec: Exec<'_>) -> (Vec<f32>, Vec<f64>) {
        let Case { m, n, k, gap, epilogue: (bias, activation, residual) } = *self;
        let lhs = values(m * (k + gap), 1);
        let weight = values(n * k, 2);
        let bias_values = values(n, 3);
        let residual_values = values(m * (n + gap), 4);
        let lhs = MatRef::new(&lhs, m, k, k + gap).unwrap();
        let weight = MatRef::new(&weight, n, k, k).unwrap();
        let epilogue = Epilogue {
            bias: bias.then_some(&bias_values),
            activation,
            residual: residual.then(|| MatRef::new(&residual_values, m, n, n + gap).unwrap()),
        };
        let fill = |i: usize, row: &mut [f32]| row.copy_from_slice(weight.row(i));
        let rhs = PackedRhs::pack_for(kernel, cpu, exec, k, n, &fill).unwrap();
        let mut out = vec![f32::NAN; m * (n + gap)];
        gemm(cpu, exec, lhs, &rhs, &epilogue, MatMut::new(&mut out, m, n, n + gap).unwrap()).unwrap();
        for (i, row) in out.chunks(n + gap).enumerate().take(m) {
            assert!(row[n..].iter().all(|x| x.is_nan()), "row {i}: written beyond its {n} columns");
        }
        let dense = out.chunks((n + gap).max(1)).take(m).flat_map(|row| row[..n].to_vec()).collect();
        (dense, reference::gemm(lhs, weight, &epilogue))
    }

    /// Each product of two values below 1 rounds by at most half an ulp of the running sum, which is below `k`.
    fn tolerance(&self) -> f64 {
        1e-6 + f64::from(f32::EPSILON) * self.k as f64 * 0.5
    }
}

fn assert_close(case: &Case, label: &str, (found, expected): (Vec<f32>, Vec<f64>)) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    let Case { m, n, k, gap, epilogue } = case;
    assert!(
        worst <= case.tolerance(),
        "{label} {m}x{n}x{k} gap {gap} {epilogue:?}: max abs error {worst:.2e} > {:.2e}",
        case.tolerance()
    );
}

/// Every kernel that this machine can run, with its level.
fn kernels() -> Vec<(Cpu, &'static MicroKernel)> {
    let of = |cpu: Cpu| kernels_of(&cpu).map(|kernel| (cpu, kernel)).collect::<Vec<_>>();
    Cpu::available().into_iter().flat_map(of).collect()
}

/// Sizes around every multiple of `edge` that a loop treats specially.
fn around(edge: usize) -> Vec<usize> {
    let mut sizes = vec![1, 2, edge - 1, edge, edge + 1, 2 * edge - 1, 2 * edge, 2 * edge + 1];
    sizes.sort_unstable();
    sizes.dedup();
    sizes.retain(|size| *size > 0);
    sizes
}

#[test]
fn every_kernel_is_right_at_its_tile_edges() {
    for (cpu, kernel) in kernels() {
        for m in around(kernel.mr) {
            for n in around(kernel.nr) {
                for k in [0, 1, 2, 3, 15, 16, 17, 64] {
                    let case = Case { m, n, k, gap: (m + n) % 3, epilogue: (n % 2 == 0, None, m % 2 == 0) };
                    assert_close(&case, kernel.name, case.run(&cpu, kernel, Exec::Serial));
                }
            }
        }
    }
}

#[test]
fn every_kernel_is_right_beyond_the_cache_blocks() {
    for (cpu, kernel) in kernels() {
        let in_cache = LHS_BLOCK_BYTES / (1600 * 4);
        let case =
            Case { m: in_cache + kernel.mr + 1, n: kernel.nr + 3, k: 1600, gap: 1, epilogue: (true, None, false) };
        assert_close(&case, kernel.name, case.run(&cpu, kernel, Exec::Serial));
    }
}

#[test]
fn every_activation_is_right_in_the_epilogue() {
    use Activation::*;
    for (cpu, kernel) in kernels() {
        for activation in [Relu, GeluErf, GeluTanh, Silu, Tanh, Sigmoid] {
            for residual in [false, true] {
                let case = Case { m: 5, n: 37, k: 9, gap: 2, epilogue: (true, Some(activation), residual) };
                assert_close(&case, kernel.name, case.run(&cpu, kernel, Exec::Serial));
            }
        }
    }
}

#[test]
fn a_row_alone_and_any_thread_count_give_the_same_bits() {
    let teams: Vec<Team> = [2, 3].map(|n| Team::new(NonZeroUsize::new(n).unwrap()).unwrap()).into();
    for (cpu, kernel) in kernels() {
        for m in [1, 7, kernel.mr * 3 + 1, 100] {
            let (n, k) = (kernel.nr * 5 + 7, 130);
            let case = Case { m, n, k, gap: 0, epilogue: (true, Some(Activation::GeluErf), true) };
            let (serial, _) = case.run(&cpu, kernel, Exec::Serial);
            for team in &teams {
                let lease = team.lease_blocking();
                let (parallel, _) = case.run(&cpu, kernel, Exec::Team(&lease));
                assert_eq!(serial, parallel, "{} with {} threads, m {m}", kernel.name, team.threads());
            }
            // The generator fills rows in order, so a smaller matrix holds the first rows of the larger one.
            let (first, _) = Case { m: 1, ..case }.run(&cpu, kernel, Exec::Serial);
            assert_eq!(serial[..n], first[..], "{}: row 0 of {m}", kernel.name);
        }
    }
}

#[test]
fn fused_kernels_agree_bit_for_bit_within_and_across_levels() {
    let case = Case { m: 29, n: 70, k: 300, gap: 0, epilogue: (true, None, true) };
    let fused = kernels().into_iter().filter(|(cpu, _)| cpu.level() != crate::Level::Scalar);
    let outputs: Vec<Vec<f32>> = fused.map(|(cpu, kernel)| case.run(&cpu, kernel, Exec::Serial).0).collect();
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn shapes_that_disagree_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let rhs = PackedRhs::pack(&cpu, Exec::Serial, 4, 3, &|_, row| row.fill(1.0)).unwrap();
    let data = [0.0; 64];
    let mut out = [0.0; 64];
    let mut run = |m, k, out_cols, epilogue: &Epilogue<'_>| {
        let lhs = MatRef::new(&data, m, k, k).unwrap();
        gemm(&cpu, Exec::Serial, lhs, &rhs, epilogue, MatMut::new(&mut out, 2, out_cols, out_cols).unwrap())
    };
    let plain = Epilogue::default();
    assert!(run(2, 4, 3, &plain).is_ok());
    assert!(run(2, 5, 3, &plain).is_err());
    assert!(run(1, 4, 3, &plain).is_err());
    assert!(run(2, 4, 4, &plain).is_err());
    assert!(run(2, 4, 3, &Epilogue { bias: Some(&[0.0; 4]), ..plain }).is_err());
    let residual = MatRef::new(&data, 2, 4, 4).unwrap();
    assert!(run(2, 4, 3, &Epilogue { residual: Some(residual), ..plain }).is_err());
}

#[test]
fn weights_packed_for_another_level_are_refused() {
    let levels = Cpu::available();
    let (low, high) = (levels[0], levels[levels.len() - 1]);
    if low.level() == high.level() {
        println!("SKIPPED weights_packed_for_another_level_are_refused: this machine has one level, {}", low.level());
        return;
    }
    let rhs = PackedRhs::pack(&low, Exec::Serial, 2, 2, &|_, row| row.fill(1.0)).unwrap();
    let mut out = [0.0; 4];
    let lhs = MatRef::new(&[0.0; 4], 2, 2, 2).unwrap();
    let error = gemm(&high, Exec::Serial, lhs, &rhs, &Epilogue::default(), MatMut::new(&mut out, 2, 2, 2).unwrap());
    assert!(matches!(error, Err(KernelError::Panel { .. })));
}

#[test]
fn a_matrix_that_fits_no_memory_is_refused() {
    let cpu = Cpu::detect().unwrap();
    assert!(PackedRhs::pack(&cpu, Exec::Serial, usize::MAX / 8, 40, &|_, _| {}).is_err());
}

/// The kernel reads and writes exactly what its contract says: operands end right at an unmapped page.
#[cfg(unix)]
#[test]
fn no_kernel_touches_memory_beyond_its_operands() {
    for (cpu, kernel) in kernels() {
        for m in [1, kernel.mr - 1, kernel.mr, kernel.mr + 1] {
            for n in [1, kernel.nr - 1, kernel.nr, kernel.nr + 5] {
                for k in [1, 7, 16] {
                    let lhs = crate::guard::Guarded::new(&values(m * k, 5));
                    let residual = crate::guard::Guarded::new(&values(m * n, 6));
                    let bias = crate::guard::Guarded::new(&values(n, 7));
                    let mut out = crate::guard::Guarded::new(&vec![0.0; m * n]);
                    let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &|_, row| row.fill(0.5)).unwrap();
                    let epilogue = Epilogue {
                        bias: Some(bias.values()),
                        activation: Some(Activation::GeluErf),
                        residual: Some(MatRef::new(residual.values(), m, n, n).unwrap()),
                    };
                    let target = MatMut::new(out.values_mut(), m, n, n).unwrap();
                    gemm(&cpu, Exec::Serial, MatRef::new(lhs.values(), m, k, k).unwrap(), &rhs, &epilogue, target)
                        .unwrap();
                }
            }
        }
    }
}
