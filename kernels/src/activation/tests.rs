//! Whole matrices: strides, widths, threads. The functions themselves are swept in `math`.

use std::num::NonZeroUsize;

use super::*;
use crate::Team;

fn inputs(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + 11) % 101) as f32 * 0.13 - 6.5).collect()
}

#[test]
fn every_level_matches_the_reference_and_leaves_the_gaps_alone() {
    for cpu in Cpu::available() {
        for activation in Activation::ALL {
            for cols in [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 385] {
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
    for threads in [2, 3] {
        let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        let lease = team.lease_blocking();
        for cpu in Cpu::available() {
            for activation in Activation::ALL {
                let (rows, cols) = (103, 385);
                let run = |exec: Exec<'_>| {
                    let mut x = inputs(rows * cols);
                    apply(&cpu, exec, activation, MatMut::new(&mut x, rows, cols, cols).unwrap());
                    x
                };
                assert_eq!(run(Exec::Serial), run(Exec::Team(&lease)), "{activation:?} {}", cpu.level());
            }
        }
    }
}
