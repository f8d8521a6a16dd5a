//! Softmax against its definition, and its edge cases.

use super::*;
use crate::testing::{WIDTHS, values, with_teams};

/// Values in `-12 .. 12`.
fn inputs(len: usize) -> Vec<f32> {
    values(len, 3).iter().map(|x| x * 6.0).collect()
}

#[test]
fn every_level_matches_the_reference() {
    for cpu in Cpu::available() {
        for cols in WIDTHS {
            let (rows, stride) = (3, cols + 2);
            let before = inputs(rows * stride);
            let mut x = before.clone();
            softmax(&cpu, Exec::Serial, MatMut::new(&mut x, rows, cols, stride).unwrap());
            for (found, before) in x.chunks(stride).zip(before.chunks(stride)) {
                for (found, expected) in found.iter().zip(reference::softmax(&before[..cols])) {
                    let error = (f64::from(*found) - expected).abs();
                    // The argument, up to 27 in size, is rounded.
                    assert!(error <= 2e-6 * expected, "{} {cols}: {found} {expected}", cpu.level());
                }
                assert_eq!(found[cols..], before[cols..], "{}: written between rows", cpu.level());
            }
        }
    }
}

#[test]
fn rows_and_threads_do_not_change_a_bit() {
    let (rows, cols) = (97, 385);
    with_teams(|team| {
        for cpu in Cpu::available() {
            let run = |exec: Exec<'_>| {
                let mut x = inputs(rows * cols);
                softmax(&cpu, exec, MatMut::new(&mut x, rows, cols, cols).unwrap());
                x
            };
            let together = run(Exec::Serial);
            assert_eq!(together, run(team), "{}", cpu.level());
            let mut alone = inputs(rows * cols);
            for row in alone.chunks_mut(cols) {
                softmax(&cpu, Exec::Serial, MatMut::new(row, 1, cols, cols).unwrap());
            }
            assert_eq!(together, alone, "{}", cpu.level());
        }
    });
}

struct ExpRow<'a>(&'a mut [f32], f32);

impl WithSimd for ExpRow<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        exp_row(simd, self.0, self.1)
    }
}

#[test]
fn scores_are_scaled_before_the_largest_is_taken() {
    for cpu in Cpu::available() {
        for scale in [0.125, 0.0, -0.5] {
            for len in [1, 3, 16, 17, 50] {
                let scores = inputs(len);
                let mut found = scores.clone();
                let sum = cpu.arch().dispatch(ExpRow(&mut found, scale));
                let scaled: Vec<f32> = scores.iter().map(|x| x * scale).collect();
                for (found, expected) in found.iter().zip(reference::softmax(&scaled)) {
                    assert!((f64::from(found / sum) - expected).abs() < 1e-6, "{} {scale} {len}", cpu.level());
                }
            }
        }
        assert_eq!(cpu.arch().dispatch(ExpRow(&mut [], 1.0)), 0.0);
    }
}

#[test]
fn extreme_scores_stay_finite() {
    for cpu in Cpu::available() {
        for huge in [1e9, 3e37, f32::MAX] {
            let mut x = [huge, huge * 0.999, -huge, 0.0, f32::NEG_INFINITY];
            softmax(&cpu, Exec::Serial, MatMut::new(&mut x, 1, 5, 5).unwrap());
            assert_eq!(x, [1.0, 0.0, 0.0, 0.0, 0.0], "{}", cpu.level());
        }
    }
}

#[test]
fn undefined_rows_become_nan_as_a_whole() {
    for cpu in Cpu::available() {
        for len in [1, 8, 21] {
            for poison in [f32::NAN, f32::INFINITY] {
                for place in 0..len {
                    let mut x = inputs(len);
                    x[place] = poison;
                    softmax(&cpu, Exec::Serial, MatMut::new(&mut x, 1, len, len).unwrap());
                    assert!(x.iter().all(|x| x.is_nan()), "{} {poison} at {place} of {len}: {x:?}", cpu.level());
                }
            }
            let mut x = vec![f32::NEG_INFINITY; len];
            softmax(&cpu, Exec::Serial, MatMut::new(&mut x, 1, len, len).unwrap());
            assert!(x.iter().all(|x| x.is_nan()), "{} {x:?}", cpu.level());
        }
    }
}
