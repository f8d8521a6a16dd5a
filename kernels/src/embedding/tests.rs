//! Lookups in tables of every type against plain decoding.

use super::*;
use crate::{
    norm,
    testing::{WIDTHS, values, with_teams},
};

/// A half-precision value by its definition.
fn half_value(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1F);
    let fraction = f64::from(bits & 0x3FF) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

#[test]
fn every_half_is_converted_exactly() {
    for bits in 0..=u16::MAX {
        let (found, expected) = (f64::from(f16_to_f32(bits)), half_value(bits));
        assert!(found == expected || (found.is_nan() && expected.is_nan()), "{bits:#06x}: {found} {expected}");
        assert_eq!(found.is_sign_negative(), bits >> 15 == 1, "{bits:#06x}");
    }
}

const ROWS: usize = 11;

/// The same table in each type, one byte off any alignment, with its decoded values.
struct Tables {
    cols: usize,
    /// Four tables: f32, f16, bf16, int8; then the scales of the last.
    bytes: [Vec<u8>; 5],
    decoded: [Vec<f64>; 4],
}

impl Tables {
    fn new(cols: usize) -> Tables {
        let singles = values(ROWS * cols, 7);
        // Patterns of finite numbers; the top of the exponent is cleared.
        let halves: Vec<u16> = singles.iter().map(|x| (x.to_bits() >> 7) as u16 & 0xBFFF).collect();
        let brains: Vec<u16> = singles.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        let bytes: Vec<i8> = singles.iter().map(|x| (x * 63.0) as i8).collect();
        let scales = values(ROWS, 9);
        let shift = |bytes: Vec<u8>| [vec![0xAA], bytes].concat();
        Tables {
            cols,
            decoded: [
                singles.iter().map(|x| f64::from(*x)).collect(),
                halves.iter().map(|x| half_value(*x)).collect(),
                brains.iter().map(|x| f64::from(f32::from_bits(u32::from(*x) << 16))).collect(),
                bytes.iter().enumerate().map(|(i, x)| f64::from(f32::from(*x) * scales[i / cols])).collect(),
            ],
            bytes: [
                shift(singles.iter().flat_map(|x| x.to_le_bytes()).collect()),
                shift(halves.iter().flat_map(|x| x.to_le_bytes()).collect()),
                shift(brains.iter().flat_map(|x| x.to_le_bytes()).collect()),
                shift(bytes.iter().map(|x| x.cast_unsigned()).collect()),
                shift(scales.iter().flat_map(|x| x.to_le_bytes()).collect()),
            ],
        }
    }

    fn table(&self, kind: usize) -> EmbeddingTable<'_> {
        let values = &self.bytes[kind][1..];
        match kind {
            0 => EmbeddingTable::F32(values),
            1 => EmbeddingTable::F16(values),
            2 => EmbeddingTable::Bf16(values),
            _ => EmbeddingTable::I8 { values, scales: &self.bytes[4][1..] },
        }
    }

    fn row(&self, kind: usize, index: u32) -> &[f64] {
        &self.decoded[kind][index as usize * self.cols..][..self.cols]
    }
}

fn indices(len: usize) -> Vec<u32> {
    (0..len).map(|i| ((i * 7 + 3) % ROWS) as u32).collect()
}

#[test]
fn single_lookups_are_exact_in_every_type() {
    for cpu in Cpu::available() {
        for cols in WIDTHS {
            let tables = Tables::new(cols);
            let indices = indices(13);
            for kind in 0..4 {
                let lookup = Lookup { table: tables.table(kind), rows: ROWS, indices: Indices::Rows(&indices) };
                let mut out = vec![f32::NAN; 13 * (cols + 1)];
                let view = MatMut::new(&mut out, 13, cols, cols + 1).unwrap();
                embed(&cpu, Exec::Serial, &[lookup], None, view).unwrap();
                for (found, index) in out.chunks(cols + 1).zip(&indices) {
                    let expected: Vec<f32> = tables.row(kind, *index).iter().map(|x| *x as f32).collect();
                    assert_eq!(found[..cols], expected, "type {kind} {} {cols}", cpu.level());
                    assert!(found[cols].is_nan(), "written between rows");
                }
            }
        }
    }
}

/// The sum of all four tables, normalised if asked.
fn embed_all(cpu: &Cpu, exec: Exec<'_>, tables: &Tables, rows: usize, norm: Option<NormParams<'_>>) -> Vec<f32> {
    let indices = indices(rows);
    let lookups: Vec<Lookup<'_>> = (0..4)
        .map(|kind| Lookup {
            table: tables.table(kind),
            rows: ROWS,
            indices: if kind == 2 { Indices::Constant(5) } else { Indices::Rows(&indices) },
        })
        .collect();
    let mut out = vec![f32::NAN; rows * tables.cols];
    embed(cpu, exec, &lookups, norm, MatMut::new(&mut out, rows, tables.cols, tables.cols).unwrap()).unwrap();
    out
}

#[test]
fn sums_and_norms_match_the_reference() {
    for cpu in Cpu::available() {
        for cols in [7, 16, 33, 384] {
            let tables = Tables::new(cols);
            let (gamma, beta) = (values(cols, 1), values(cols, 2));
            let params = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
            let plain = embed_all(&cpu, Exec::Serial, &tables, 13, None);
            let normed = embed_all(&cpu, Exec::Serial, &tables, 13, Some(params));
            for (i, index) in indices(13).into_iter().enumerate() {
                let sums: Vec<f64> = (0..cols)
                    .map(|j| (0..4).map(|kind| tables.row(kind, if kind == 2 { 5 } else { index })[j]).sum())
                    .collect();
                let expected = norm::reference::layer_norm(&sums, params);
                for j in 0..cols {
                    let (plain, normed) = (f64::from(plain[i * cols + j]), f64::from(normed[i * cols + j]));
                    // Sums of up to 256, with three roundings.
                    assert!((plain - sums[j]).abs() <= 3e-5, "{} {cols}: {plain} {}", cpu.level(), sums[j]);
                    assert!((normed - expected[j]).abs() <= 5e-6, "{} {cols}: {normed} {}", cpu.level(), expected[j]);
                }
            }
        }
    }
}

#[test]
fn rows_and_threads_do_not_change_a_bit() {
    let tables = Tables::new(385);
    let (gamma, beta) = (values(385, 1), values(385, 2));
    let params = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
    with_teams(|team| {
        for cpu in Cpu::available() {
            let together = embed_all(&cpu, Exec::Serial, &tables, 150, Some(params));
            assert_eq!(together, embed_all(&cpu, team, &tables, 150, Some(params)), "{}", cpu.level());
            assert_eq!(together[..385], embed_all(&cpu, Exec::Serial, &tables, 1, Some(params)), "{}", cpu.level());
        }
    });
}

#[test]
fn an_index_outside_its_table_is_named() {
    let cpu = Cpu::detect().unwrap();
    let tables = Tables::new(3);
    let good = Lookup { table: tables.table(0), rows: ROWS, indices: Indices::Constant(0) };
    let mut out = [1.0; 9];
    let mut run =
        |lookup: Lookup<'_>| embed(&cpu, Exec::Serial, &[good, lookup], None, MatMut::new(&mut out, 3, 3, 3).unwrap());
    let error = run(Lookup { indices: Indices::Rows(&[10, 0, 11]), ..good }).unwrap_err();
    let expected =
        KernelError::Index { what: "index into the second embedding table", position: 2, index: 11, len: ROWS };
    assert_eq!(error, expected);
    assert!(run(Lookup { indices: Indices::Constant(11), ..good }).is_err());
    assert!(run(Lookup { indices: Indices::Constant(u32::MAX), ..good }).is_err());
    assert!(run(Lookup { indices: Indices::Rows(&[0, 0]), ..good }).is_err());
    assert_eq!(out, [1.0; 9], "written in spite of the error");
}

#[test]
fn tables_of_another_size_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let tables = Tables::new(3);
    let mut out = [0.0; 3];
    let mut run = |table: EmbeddingTable<'_>, rows: usize| {
        let lookup = Lookup { table, rows, indices: Indices::Constant(0) };
        embed(&cpu, Exec::Serial, &[lookup], None, MatMut::new(&mut out, 1, 3, 3).unwrap())
    };
    for kind in 0..4 {
        assert!(run(tables.table(kind), ROWS).is_ok());
        assert!(run(tables.table(kind), ROWS + 1).is_err());
        assert!(run(tables.table(kind), ROWS - 1).is_err());
        // A number of bytes that overflows.
        assert!(run(tables.table(kind), usize::MAX / 2).is_err());
    }
    let EmbeddingTable::I8 { values, scales } = tables.table(3) else { unreachable!() };
    assert!(run(EmbeddingTable::I8 { values, scales: &scales[1..] }, ROWS).is_err());
    assert!(embed(&cpu, Exec::Serial, &[], None, MatMut::new(&mut out, 1, 3, 3).unwrap()).is_err());
}
