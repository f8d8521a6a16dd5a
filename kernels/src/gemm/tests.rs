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
        let mut scratch = vec![f32::NAN; scratch_len(&rhs, m, exec.workers()).unwrap()];
        let target = MatMut::new(&mut out, m, n, n + gap).unwrap();
        gemm(cpu, exec, lhs, &rhs, &epilogue, &mut scratch, target).unwrap();
        for (i, row) in out.chunks(n + gap).enumerate().take(m) {
            assert!(row[n..].iter().all(|x| x.is_nan()), "row {i}: written beyond its {n} columns");
        }
        let dense = out.chunks((n + gap).max(1)).take(m).flat_map(|row| row[..n].to_vec()).collect();
        (dense, reference::gemm(lhs, weight, &epilogue))
    }

    /// Each product of two values below 1 rounds by at most half an ulp of the running sum, which is below `k`. Codes of the values add
    /// their own errors: half a unit of the last bit of either factor.
    fn tolerance(&self, arithmetic: Arithmetic) -> f64 {
        let k = self.k as f64;
        let coding = match arithmetic {
            Arithmetic::F32 => 0.0,
            // The product of the low parts is left out, and these are rounded themselves.
            Arithmetic::Bf16x3 => 3.0 * 2f64.powi(-18),
            Arithmetic::Bf16 => 2.0 * 2f64.powi(-9),
            Arithmetic::Int8 => 2.0 * 0.5 / 127.0,
            // Half a step of seven for the weights; activations are coded far finer.
            Arithmetic::Int4 => 0.5 / 7.0,
        };
        // Errors of random values seldom point the same way: their sum grows like the root of their number.
        1e-6 + f64::from(f32::EPSILON) * k * 0.5 + coding * (2.0 + 3.0 * k.sqrt()).min(k)
    }
}

fn assert_close(case: &Case, kernel: &MicroKernel, (found, expected): (Vec<f32>, Vec<f64>)) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    let Case { m, n, k, gap, epilogue } = case;
    let tolerance = case.tolerance(kernel.arithmetic);
    assert!(
        worst <= tolerance,
        "{kernel:?} {m}x{n}x{k} gap {gap} {epilogue:?}: max abs error {worst:.2e} > {tolerance:.2e}"
    );
}

/// Every kernel that this machine can run, with the lowest level that has it.
fn kernels() -> Vec<(Cpu, &'static MicroKernel)> {
    let levels = Cpu::available();
    let runs = |cpu: &Cpu, kernel: &MicroKernel| {
        kernels_of(cpu, kernel.arithmetic).any(|candidate| candidate.name == kernel.name)
    };
    let level_of = |kernel: &MicroKernel| levels.iter().copied().find(|cpu| runs(cpu, kernel));
    MICROKERNELS.iter().filter_map(|kernel| Some((level_of(kernel)?, kernel))).collect()
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
                for k in [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 100] {
                    let case = Case { m, n, k, gap: (m + n) % 3, epilogue: (n % 2 == 0, None, m % 2 == 0) };
                    assert_close(&case, kernel, case.run(&cpu, kernel, Exec::Serial));
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
        assert_close(&case, kernel, case.run(&cpu, kernel, Exec::Serial));
    }
}

#[test]
fn every_activation_is_right_in_the_epilogue() {
    use Activation::*;
    for (cpu, kernel) in kernels() {
        for activation in [Relu, GeluErf, GeluTanh, Silu, Tanh, Sigmoid] {
            for residual in [false, true] {
                let case = Case { m: 5, n: 37, k: 9, gap: 2, epilogue: (true, Some(activation), residual) };
                assert_close(&case, kernel, case.run(&cpu, kernel, Exec::Serial));
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
    let fused = kernels()
        .into_iter()
        .filter(|(cpu, kernel)| cpu.level() != crate::Level::Scalar && kernel.arithmetic == Arithmetic::F32);
    let outputs: Vec<Vec<f32>> = fused.map(|(cpu, kernel)| case.run(&cpu, kernel, Exec::Serial).0).collect();
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn all_kernels_for_bytes_agree_bit_for_bit() {
    for (m, n, k) in [(1, 1, 1), (29, 70, 300), (33, 65, 64), (40, 33, 1537)] {
        let case = Case { m, n, k, gap: 0, epilogue: (true, None, true) };
        let own = kernels().into_iter().filter(|(_, kernel)| kernel.arithmetic == Arithmetic::Int8);
        let outputs: Vec<Vec<f32>> = own.map(|(cpu, kernel)| case.run(&cpu, kernel, Exec::Serial).0).collect();
        assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "{m}x{n}x{k}");
    }
}

/// Weights that are on a grid of four bits: what is left are the roundings of activations to 15 bits and a sign and those of `f32`. All levels
/// with fused multiply-adds agree.
#[test]
fn products_with_four_bits_are_those_of_the_decoded_weights() {
    for (m, n, k) in [(1, 1, 1), (1, 300, 768), (2, 130, 33), (7, 129, 95), (5, 33, 65), (4, 8, 64)] {
        let lhs = values(m * k, 1);
        let scale =
            |row: usize, i: usize| half::f16::from_f32(0.01 * (1 + (row + i / int4::GROUP) % 5) as f32).to_f32();
        let weight: Vec<f32> = (0..n * k)
            .map(|i| (((i * 2_654_435_761) >> 7) % 16) as f32 - 8.0)
            .enumerate()
            .map(|(i, code)| code * scale(i / k, i % k))
            .collect();
        let lhs = MatRef::new(&lhs, m, k, k).unwrap();
        let weight = MatRef::new(&weight, n, k, k).unwrap();
        let expected = reference::gemm(lhs, weight, &Epilogue::default());
        let mut fused: Vec<Vec<f32>> = Vec::new();
        for (cpu, kernel) in kernels().into_iter().filter(|(_, kernel)| kernel.arithmetic == Arithmetic::Int4) {
            let fill = |i: usize, row: &mut [f32]| row.copy_from_slice(weight.row(i));
            let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &fill).unwrap();
            let mut out = vec![f32::NAN; m * n];
            let target = MatMut::new(&mut out, m, n, n).unwrap();
            let mut scratch = vec![f32::NAN; scratch_len(&rhs, m, 1).unwrap()];
            gemm(&cpu, Exec::Serial, lhs, &rhs, &Epilogue::default(), &mut scratch, target).unwrap();
            for (found, expected) in out.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() <= 1e-6 * k as f64, "{kernel:?} {m}x{n}x{k}");
            }
            if cpu.level() != crate::Level::Scalar {
                fused.push(out);
            }
        }
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "{m}x{n}x{k}");
    }
}

/// The largest bytes on both sides: where 16-bit sums of two products would saturate, offsets would show, and a column's sum is at the end of
/// what has two digits, and beyond it.
#[test]
fn bytes_never_saturate() {
    for (cpu, kernel) in kernels().into_iter().filter(|(_, kernel)| kernel.arithmetic == Arithmetic::Int8) {
        let signs = [(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)];
        for ((left, right), k) in
            signs.into_iter().flat_map(|signs| [4096, 1 << 15, (1 << 15) + 64].map(|k| (signs, k)))
        {
            let (m, n) = (3, 5);
            let lhs = vec![left; m * k];
            let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &|_, row| row.fill(right)).unwrap();
            let mut scratch = vec![0.0; scratch_len(&rhs, m, 1).unwrap()];
            let mut out = vec![0.0; m * n];
            let lhs = MatRef::new(&lhs, m, k, k).unwrap();
            let target = MatMut::new(&mut out, m, n, n).unwrap();
            gemm(&cpu, Exec::Serial, lhs, &rhs, &Epilogue::default(), &mut scratch, target).unwrap();
            for value in out {
                let expected = left * right * k as f32;
                assert!((value / expected - 1.0).abs() < 1e-6, "{kernel:?}: {value}, expected {expected}");
            }
        }
    }
}

#[test]
fn codes_are_those_of_the_reference() {
    use arithmetic::{encode, reference};
    let special = [0.0, -0.0, 1e-40, -1e-39, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, 1.0 + 1.0 / 256.0, 3.0];
    for cpu in Cpu::available() {
        for k in [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200] {
            let row: Vec<f32> = values(k, k as u32)
                .into_iter()
                .zip(special.iter().cycle())
                .enumerate()
                .map(|(i, (value, special))| if i % 5 == 0 { *special } else { value })
                .collect();
            let mut words = vec![u32::MAX; Arithmetic::Bf16.words(k)];
            encode(&cpu, Arithmetic::Bf16, &row, &mut words);
            let codes: &[u16] = bytemuck::cast_slice(&words);
            for (i, code) in codes.iter().enumerate() {
                assert_eq!(*code, row.get(i).map_or(0, |value| reference::bf16(*value)), "{} {k} {i}", cpu.level());
            }
            let mut words = vec![u32::MAX; Arithmetic::Bf16x3.words(k)];
            encode(&cpu, Arithmetic::Bf16x3, &row, &mut words);
            let codes: &[u16] = bytemuck::cast_slice(&words);
            for (tile, (codes, row)) in codes.chunks(64).zip(row.chunks(32)).enumerate() {
                for i in 0..32 {
                    let value = row.get(i).copied().unwrap_or(0.0);
                    let high = reference::bf16(value);
                    let low = reference::bf16(value - f32::from_bits(u32::from(high) << 16));
                    let same = |found: u16, expected: u16| {
                        let is_nan = |code: u16| f32::from_bits(u32::from(code) << 16).is_nan();
                        found == expected || is_nan(found) && is_nan(expected)
                    };
                    assert!(same(codes[i], high) && same(codes[32 + i], low), "{} {k} {tile} {i}", cpu.level());
                }
            }
        }
    }
}

/// Every level gives a row the same bytes and the same code, and finite values come back within half a step.
#[test]
fn bytes_of_a_row_are_the_same_on_every_level() {
    use arithmetic::{RowCode, encode_row};
    let rows = |k: usize| {
        let row = values(k, k as u32);
        let ending = |end: f32| [&row[..k.saturating_sub(1)], &[end][..k.min(1)]].concat();
        let mapped = |map: fn(f32) -> f32| row.iter().map(|value| map(*value)).collect::<Vec<_>>();
        let finite = [
            row.clone(),
            ending(-1e-40),
            ending(f32::MAX),
            mapped(f32::abs),
            mapped(|value| -value.abs()),
            mapped(|value| value.max(-0.17)),
            // Halves, where both ends are rounded.
            mapped(|value| if value > 0.0 { 127.5 } else { -126.5 }),
            mapped(|value| f32::MAX.copysign(value)),
            mapped(|value| value * 1e-39),
            vec![0.0; k],
        ];
        finite
            .map(|row| (row, true))
            .into_iter()
            .chain([f32::NAN, -f32::NAN, f32::INFINITY].map(|bad| (ending(bad), k == 0)))
    };
    for (row, finite) in [0, 1, 2, 15, 16, 17, 63, 64, 65, 200].into_iter().flat_map(rows) {
        for least in [-128, 0] {
            let coded = Cpu::available().into_iter().map(|cpu| {
                let mut words = vec![u32::MAX; Arithmetic::Int8.words(row.len())];
                let RowCode { scale, zero } = encode_row(&cpu, &row, least, &mut words);
                (scale.to_bits(), zero, words)
            });
            let coded: Vec<_> = coded.collect();
            assert!(coded.windows(2).all(|pair| pair[0] == pair[1]), "{row:?}");
            let (scale, zero, words) = &coded[0];
            let scale = f32::from_bits(*scale);
            assert_eq!(scale.is_finite(), finite, "{row:?}");
            let bytes: &[u8] = bytemuck::cast_slice(words);
            assert!(bytes[row.len()..].iter().all(|byte| *byte == 0), "{row:?}");
            for (value, byte) in row.iter().zip(bytes).filter(|_| finite) {
                let byte = if least == 0 { i32::from(*byte) } else { i32::from(*byte as i8) };
                let found = f64::from(scale) * f64::from(byte - zero);
                let error = (found - f64::from(*value)).abs();
                let half = 0.5 * f64::from(scale.max(f32::MIN_POSITIVE)) * (1.0 + 1e-3);
                assert!(error <= half, "{value} became {found}, of steps of {scale}: {row:?}");
            }
        }
    }
}

/// A value that isn't finite must not turn into one that is.
#[test]
fn what_is_not_finite_stays_so() {
    for (cpu, kernel) in kernels() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (k, n) = (70, 3);
            let mut lhs = vec![0.5; 2 * k];
            lhs[k + 66] = bad;
            let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &|_, row| row.fill(0.25)).unwrap();
            let mut scratch = vec![0.0; scratch_len(&rhs, 2, 1).unwrap()];
            let mut out = vec![0.0; 2 * n];
            let lhs = MatRef::new(&lhs, 2, k, k).unwrap();
            let target = MatMut::new(&mut out, 2, n, n).unwrap();
            gemm(&cpu, Exec::Serial, lhs, &rhs, &Epilogue::default(), &mut scratch, target).unwrap();
            assert!(out[..n].iter().all(|value| value.is_finite()), "{kernel:?} {out:?}");
            assert!(out[n..].iter().all(|value| !value.is_finite()), "{kernel:?} {out:?}");
        }
    }
}

#[test]
fn shapes_that_disagree_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let rhs = PackedRhs::pack(&cpu, Exec::Serial, 4, 3, &|_, row| row.fill(1.0)).unwrap();
    let data = [0.0; 64];
    let mut out = [0.0; 64];
    let mut run = |m, k, out_cols, epilogue: &Epilogue<'_>| {
        let lhs = MatRef::new(&data, m, k, k).unwrap();
        let target = MatMut::new(&mut out, 2, out_cols, out_cols).unwrap();
        gemm(&cpu, Exec::Serial, lhs, &rhs, epilogue, &mut [], target)
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
    let target = MatMut::new(&mut out, 2, 2, 2).unwrap();
    let error = gemm(&high, Exec::Serial, lhs, &rhs, &Epilogue::default(), &mut [], target);
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
                    let lhs = MatRef::new(lhs.values(), m, k, k).unwrap();
                    let mut scratch = crate::guard::Guarded::new(&vec![0.0; scratch_len(&rhs, m, 1).unwrap()]);
                    gemm(&cpu, Exec::Serial, lhs, &rhs, &epilogue, scratch.values_mut(), target).unwrap();
                }
            }
        }
    }
}
