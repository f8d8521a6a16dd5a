//! Layer norm in its three forms against the definition.

use super::*;
use crate::testing::{WIDTHS, values, with_teams};

/// Of the result of a norm with gamma below 2: some roundings of values of order 1.
const TOLERANCE: f64 = 2e-6;

#[derive(Clone, Copy, Debug)]
enum Form {
    InPlace,
    Into,
    Add,
}

const FORMS: [Form; 3] = [Form::InPlace, Form::Into, Form::Add];

/// Runs a form over rows with gaps; gives the output with its gaps, and what is expected of each row.
fn run(form: Form, cpu: &Cpu, exec: Exec<'_>, rows: usize, cols: usize, offset: f32) -> (Vec<f32>, Vec<Vec<f64>>) {
    let stride = cols + 3;
    let x: Vec<f32> = values(rows * stride, 1).iter().map(|x| x + offset).collect();
    let residual = values(rows * (cols + 1), 2);
    let (gamma, beta) = (values(cols, 3), values(cols, 4));
    let params = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
    let residual = MatRef::new(&residual, rows, cols, cols + 1).unwrap();
    let mut out = match form {
        Form::Into => vec![7.0; rows * stride],
        Form::InPlace | Form::Add => x.clone(),
    };
    let view = MatMut::new(&mut out, rows, cols, stride).unwrap();
    let x = MatRef::new(&x, rows, cols, stride).unwrap();
    match form {
        Form::InPlace => layer_norm(cpu, exec, view, params),
        Form::Into => layer_norm_into(cpu, exec, x, view, params),
        Form::Add => add_layer_norm(cpu, exec, view, residual, params),
    }
    .unwrap();
    let expected = (0..rows)
        .map(|i| {
            let row: Vec<f64> = match form {
                Form::Add => x.row(i).iter().zip(residual.row(i)).map(|(a, b)| f64::from(a + b)).collect(),
                _ => x.row(i).iter().map(|x| f64::from(*x)).collect(),
            };
            reference::layer_norm(&row, params)
        })
        .collect();
    (out, expected)
}

#[test]
fn every_level_matches_the_reference_and_leaves_the_gaps_alone() {
    for cpu in Cpu::available() {
        for form in FORMS {
            for cols in WIDTHS {
                let (found, expected) = run(form, &cpu, Exec::Serial, 4, cols, 0.0);
                let label = format!("{form:?} {} {cols}", cpu.level());
                for (found, expected) in found.chunks(cols + 3).zip(&expected) {
                    // A row of one or two values has a variance as small as chance has it, which magnifies roundings.
                    let tolerance = if cols < 4 { 50.0 * TOLERANCE } else { TOLERANCE };
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((f64::from(*found) - expected).abs() <= tolerance, "{label}: {found} {expected}");
                    }
                }
                if matches!(form, Form::Into) {
                    assert!(found.chunks(cols + 3).all(|row| row[cols..].iter().all(|x| *x == 7.0)), "{label}");
                }
            }
        }
    }
}

/// What a sum of squares minus the square of the mean would lose.
#[test]
fn a_large_mean_costs_no_more_digits_than_the_input_has() {
    for cpu in Cpu::available() {
        let (found, expected) = run(Form::InPlace, &cpu, Exec::Serial, 2, 384, 1000.0);
        for (found, expected) in found.chunks(387).zip(&expected) {
            for (found, expected) in found.iter().zip(expected) {
                // The mean is known to half an ulp of 1000, 3e-5, at best; at the scalar level sums have few parts.
                assert!((f64::from(*found) - expected).abs() <= 6e-4, "{}: {found} {expected}", cpu.level());
            }
        }
    }
}

#[test]
fn rows_and_threads_do_not_change_a_bit() {
    with_teams(|team| {
        for cpu in Cpu::available() {
            for form in FORMS {
                let (together, _) = run(form, &cpu, Exec::Serial, 101, 385, 0.0);
                assert_eq!(together, run(form, &cpu, team, 101, 385, 0.0).0, "{form:?} {}", cpu.level());
                let (alone, _) = run(form, &cpu, Exec::Serial, 1, 385, 0.0);
                assert_eq!(together[..385], alone[..385], "{form:?} {}", cpu.level());
            }
        }
    });
}

#[test]
fn a_constant_row_gives_beta() {
    for cpu in Cpu::available() {
        let (gamma, beta) = (values(19, 3), values(19, 4));
        let mut x = [3.25; 19];
        let params = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
        layer_norm(&cpu, Exec::Serial, MatMut::new(&mut x, 1, 19, 19).unwrap(), params).unwrap();
        assert_eq!(x[..], beta[..], "{}", cpu.level());
    }
}

#[test]
fn shapes_that_disagree_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let data = [0.0; 12];
    let mut out = [0.0; 12];
    let good = NormParams { gamma: &data[..3], beta: &data[..3], eps: 1e-5 };
    let mut x = MatMut::new(&mut out, 4, 3, 3).unwrap();
    let short = NormParams { gamma: &data[..2], ..good };
    assert!(layer_norm(&cpu, Exec::Serial, x.reborrow(), short).unwrap_err().to_string().contains("gamma"));
    let short = NormParams { beta: &data[..2], ..good };
    assert!(layer_norm(&cpu, Exec::Serial, x.reborrow(), short).unwrap_err().to_string().contains("beta"));
    for (rows, cols) in [(3, 3), (4, 2)] {
        let other = MatRef::new(&data, rows, cols, cols).unwrap();
        assert!(layer_norm_into(&cpu, Exec::Serial, other, x.reborrow(), good).is_err());
        assert!(add_layer_norm(&cpu, Exec::Serial, x.reborrow(), other, good).is_err());
    }
    // Nothing to do is fine.
    let none = NormParams { gamma: &[], beta: &[], eps: 1e-5 };
    assert!(layer_norm(&cpu, Exec::Serial, MatMut::new(&mut [], 5, 0, 0).unwrap(), none).is_ok());
}
