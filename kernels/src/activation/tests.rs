//! Whole matrices: strides, widths, threads. The functions themselves are swept in `math`.

use super::*;
use crate::testing::{WIDTHS, values, with_teams};

/// Values in `-6 .. 6`.
fn inputs(len: usize) -> Vec<f32> {
    values(len, 5).iter().map(|x| x * 3.0).collect()
}

#[test]
fn every_level_matches_the_reference_and_leaves_the_gaps_alone() {
    for cpu in Cpu::available() {
        for activation in Activation::ALL {
            for cols in WIDTHS {
                let (rows, stride) = (3, cols + 5);
                let before = inputs(rows * stride);
                let mut x = before.clone();
                apply(&cpu, Exec::Serial, activation, MatMut::new(&mut x, rows, cols, stride).unwrap());
                for (i, (found, x)) in x.iter().zip(&before).enumerate() {
                    if i % stride < cols {
                        let expected = reference::apply(activation, f64::from(*x));
                        let error = (f64::from(*found) - expected).abs();
                        assert!(error <= 1e-6 * expected.abs().max(0.1), "{activation:?} {} {cols}: {x}", cpu.level());
                    } else {
                        assert_eq!(found, x, "{activation:?} {}: written between rows", cpu.level());
                    }
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (rows, cols) = (103, 385);
    with_teams(|team| {
        for cpu in Cpu::available() {
            for activation in Activation::ALL {
                let run = |exec: Exec<'_>| {
                    let mut x = inputs(rows * cols);
                    apply(&cpu, exec, activation, MatMut::new(&mut x, rows, cols, cols).unwrap());
                    x
                };
                assert_eq!(run(Exec::Serial), run(team), "{activation:?} {}", cpu.level());
            }
        }
    });
}
