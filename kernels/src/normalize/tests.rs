//! L2 normalisation against the definition.

use super::*;
use crate::testing::{WIDTHS, values, with_teams};

#[test]
fn every_level_matches_the_reference() {
    for cpu in Cpu::available() {
        for cols in WIDTHS {
            let stride = cols + 2;
            let before = values(3 * stride, 8);
            let mut x = before.clone();
            l2_normalize(&cpu, Exec::Serial, MatMut::new(&mut x, 3, cols, stride).unwrap());
            for (found, before) in x.chunks(stride).zip(before.chunks(stride)) {
                for (found, expected) in found.iter().zip(reference::l2_normalize(&before[..cols])) {
                    assert!((f64::from(*found) - expected).abs() <= 3e-7 * expected.abs(), "{} {cols}", cpu.level());
                }
                assert_eq!(found[cols..], before[cols..], "{}: written between rows", cpu.level());
            }
        }
    }
}

#[test]
fn tiny_rows_are_divided_by_the_least_norm_and_nan_stays() {
    for cpu in Cpu::available() {
        let mut x = [0.0, 0.0, 1e-14, 0.0, f32::NAN, 1.0];
        l2_normalize(&cpu, Exec::Serial, MatMut::new(&mut x, 3, 2, 2).unwrap());
        assert_eq!(x[..4], [0.0, 0.0, 1e-14_f32 / 1e-12_f32, 0.0], "{}", cpu.level());
        assert!(x[4..].iter().all(|x| x.is_nan()), "{}", cpu.level());
    }
}

#[test]
fn rows_and_threads_do_not_change_a_bit() {
    with_teams(|team| {
        for cpu in Cpu::available() {
            let run = |exec: Exec<'_>, rows: usize| {
                let mut x = values(rows * 385, 6);
                l2_normalize(&cpu, exec, MatMut::new(&mut x, rows, 385, 385).unwrap());
                x
            };
            let together = run(Exec::Serial, 99);
            assert_eq!(together, run(team, 99), "{}", cpu.level());
            assert_eq!(together[..385], run(Exec::Serial, 1), "{}", cpu.level());
        }
    });
}
