//! Pooling of ragged batches against the definitions.

use super::*;
use crate::testing::{WIDTHS, values, with_teams};

const KINDS: [Pooling; 6] =
    [Pooling::Mean, Pooling::Cls, Pooling::Max, Pooling::MeanSqrtLen, Pooling::Last, Pooling::WeightedMean];

fn cumulative(lengths: &[usize], base: u32) -> Vec<u32> {
    let mut cu = vec![base];
    for len in lengths {
        cu.push(cu[cu.len() - 1] + *len as u32);
    }
    cu
}

fn run(cpu: &Cpu, exec: Exec<'_>, kind: Pooling, lengths: &[usize], cols: usize, base: u32) -> (Vec<f32>, Vec<f64>) {
    let (rows, stride) = (lengths.iter().sum(), cols + 2);
    let data = values(rows * stride, 4);
    let x = MatRef::new(&data, rows, cols, stride).unwrap();
    let cu = cumulative(lengths, base);
    let mut out = vec![f32::NAN; lengths.len() * (cols + 1)];
    let view = MatMut::new(&mut out, lengths.len(), cols, cols + 1).unwrap();
    pool(cpu, exec, kind, x, &cu, view).unwrap();
    assert!(out.chunks(cols + 1).all(|row| row[cols].is_nan()), "{kind:?}: written between rows");
    let found = out.chunks(cols + 1).flat_map(|row| row[..cols].to_vec()).collect();
    let expected = (0..lengths.len())
        .flat_map(|i| {
            let rows: Vec<&[f32]> = range(&cu, i).map(|row| x.row(row)).collect();
            reference::pool(kind, &rows, cols)
        })
        .collect();
    (found, expected)
}

#[test]
fn every_level_matches_the_reference_and_empty_sequences_give_zeros() {
    let lengths = [3, 0, 1, 31, 32, 33, 100, 0];
    for cpu in Cpu::available() {
        for kind in KINDS {
            for cols in WIDTHS {
                let (found, expected) = run(&cpu, Exec::Serial, kind, &lengths, cols, 0);
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    // Sums of up to 100 values below 2, which the square root of the length divides by less.
                    let tolerance = if kind == Pooling::MeanSqrtLen { 3e-6 } else { 1e-6 };
                    let label = format!("{kind:?} {} sequence {} of width {cols}", cpu.level(), i / cols);
                    assert!((f64::from(*found) - expected).abs() <= tolerance, "{label}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn batch_base_and_threads_do_not_change_a_bit() {
    let lengths = [513, 0, 7, 64, 1];
    with_teams(|team| {
        for cpu in Cpu::available() {
            for kind in KINDS {
                for cols in [17, 384, 385] {
                    let label = format!("{kind:?} {} {cols}", cpu.level());
                    let (together, _) = run(&cpu, Exec::Serial, kind, &lengths, cols, 0);
                    assert_eq!(together, run(&cpu, team, kind, &lengths, cols, 0).0, "{label}");
                    assert_eq!(together, run(&cpu, Exec::Serial, kind, &lengths, cols, 31).0, "{label}");
                    // The first sequence alone: its values are the first that the generator gives.
                    assert_eq!(together[..cols], run(&cpu, team, kind, &lengths[..1], cols, 0).0, "{label}");
                }
            }
        }
    });
}

#[test]
fn a_long_mean_keeps_its_digits() {
    for cpu in Cpu::available() {
        let rows = 100_000;
        let data: Vec<f32> = values(rows, 2).iter().map(|x| x + 10.0).collect();
        let x = MatRef::new(&data, rows, 1, 1).unwrap();
        let mut out = [0.0];
        let view = MatMut::new(&mut out, 1, 1, 1).unwrap();
        pool(&cpu, Exec::Serial, Pooling::Mean, x, &[0, rows as u32], view).unwrap();
        let expected = data.iter().map(|x| f64::from(*x)).sum::<f64>() / rows as f64;
        assert!((f64::from(out[0]) - expected).abs() < 1e-3, "{}: {} {expected}", cpu.level(), out[0]);
    }
}

#[test]
fn the_largest_of_values_with_a_nan_is_nan() {
    for cpu in Cpu::available() {
        for place in 0..3 {
            let mut data = values(3 * 20, 1);
            data[place * 20..][..20].fill(f32::NAN);
            let mut out = [0.0; 20];
            let x = MatRef::new(&data, 3, 20, 20).unwrap();
            let view = MatMut::new(&mut out, 1, 20, 20).unwrap();
            pool(&cpu, Exec::Serial, Pooling::Max, x, &[0, 3], view).unwrap();
            assert!(out.iter().all(|x| x.is_nan()), "{} row {place}: {out:?}", cpu.level());
        }
    }
}

#[test]
fn shapes_and_lengths_that_disagree_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let data = [0.0; 12];
    let x = MatRef::new(&data, 4, 3, 3).unwrap();
    let mut out = [0.0; 12];
    for kind in KINDS {
        let mut run = |cu: &[u32], rows: usize, cols: usize| {
            pool(&cpu, Exec::Serial, kind, x, cu, MatMut::new(&mut out, rows, cols, cols).unwrap())
        };
        assert!(run(&[0, 1, 4], 2, 3).is_ok());
        assert!(run(&[0, 1, 4], 3, 3).is_err());
        assert!(run(&[0, 1, 4], 2, 2).is_err());
        assert!(run(&[0, 1, 3], 2, 3).is_err());
        assert!(run(&[0, 5, 4], 2, 3).is_err());
        assert!(run(&[], 0, 3).is_err());
    }
}
