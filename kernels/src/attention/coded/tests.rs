//! The vectors' work against plain definitions, bit for bit.

use pulp::Arch;

use super::vectors::{self, NR};
use crate::{
    Arithmetic, Cpu, Level, MatRef,
    gemm::{TILE_WORDS, encode},
    softmax::exp_row,
};

/// The machine's vectors, if it has tiles.
fn vectors_beside_tiles() -> Option<(Cpu, pulp::x86::V4)> {
    let Some(cpu) = Cpu::available().into_iter().find(|cpu| cpu.level() == Level::Amx) else {
        eprintln!("skipped: coded attention, which needs the level amx");
        return None;
    };
    match cpu.arch() {
        Arch::V4(simd) => Some((cpu, simd)),
        _ => unreachable!("a machine with tiles has vectors of 512 bits"),
    }
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 37 % 101) as f32 / 16.0 - 3.0).collect()
}

fn coded(cpu: &Cpu, arithmetic: Arithmetic, row: &[f32]) -> Vec<u32> {
    let mut words = vec![0; arithmetic.words(row.len())];
    encode(cpu, arithmetic, row, &mut words);
    words
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn weights_are_those_of_the_softmax() {
    let Some((cpu, simd)) = vectors_beside_tiles() else { return };
    for (arithmetic, keys) in
        [Arithmetic::Bf16, Arithmetic::Bf16x3].into_iter().flat_map(|each| (0..200).map(move |keys| (each, keys)))
    {
        let panels = usize::div_ceil(keys, NR);
        for seen in [0, 1, keys / 2, keys.saturating_sub(1), keys].map(|seen| seen.min(keys)) {
            for stride in [NR, 3 * NR] {
                let scores = values(panels * stride);
                let mut row: Vec<f32> = scores.chunks(stride).flat_map(|panel| &panel[..NR]).copied().collect();
                row.truncate(keys);
                row[seen..].fill(0.0);
                let expected_sum = exp_row(simd, &mut row[..seen], 0.3);
                let mut codes = vec![f32::NAN; arithmetic.words(keys)];
                // SAFETY: the machine has the instructions.
                let sum = unsafe {
                    match arithmetic.parts() {
                        1 => vectors::weigh::<1>(simd, &scores, stride, seen, 0.3, &mut codes),
                        _ => vectors::weigh::<2>(simd, &scores, stride, seen, 0.3, &mut codes),
                    }
                };
                let at = format!("{arithmetic:?}: {seen} of {keys} keys");
                assert_eq!(sum.to_bits(), expected_sum.to_bits(), "{at}");
                assert_eq!(bits(&codes), coded(&cpu, arithmetic, &row), "{at}");
            }
        }
    }
}

#[test]
fn panels_hold_the_codes_of_keys_and_values() {
    let Some((cpu, _)) = vectors_beside_tiles() else { return };
    for arithmetic in [Arithmetic::Bf16, Arithmetic::Bf16x3] {
        for (count, width) in [(1, 1), (3, 32), (16, 33), (31, 64), (33, 20), (64, 48), (70, 80)] {
            let stride = width + 9;
            let data = values((count + 2) * stride);
            let source = MatRef::new(&data, count + 2, stride, stride).unwrap();
            let (rows, columns) = (2..2 + count, 4..4 + width);
            let words = [width, count].map(|len| arithmetic.words(len));
            let mut keys = vec![f32::NAN; count.div_ceil(NR) * NR * words[0]];
            let mut panels = vec![f32::NAN; width.div_ceil(NR) * NR * words[1]];
            let code_stride = words[0] + TILE_WORDS;
            let mut queries = vec![f32::NAN; count * code_stride];
            // SAFETY: the machine has the instructions.
            unsafe {
                if arithmetic.parts() == 1 {
                    vectors::pack_keys::<1>(source, &rows, &columns, &mut keys);
                    vectors::pack_values::<1>(source, &rows, &columns, &mut panels);
                    vectors::code_rows::<1>(source, rows.clone(), &columns, &mut queries, code_stride);
                } else {
                    vectors::pack_keys::<2>(source, &rows, &columns, &mut keys);
                    vectors::pack_values::<2>(source, &rows, &columns, &mut panels);
                    vectors::code_rows::<2>(source, rows.clone(), &columns, &mut queries, code_stride);
                }
            }
            let code_of = |values: Vec<f32>| coded(&cpu, arithmetic, &values);
            for key in 0..count.next_multiple_of(NR) {
                let expected = match key < count {
                    true => code_of(source.row(2 + key)[columns.clone()].to_vec()),
                    false => vec![0; words[0]],
                };
                let panel = &keys[key / NR * NR * words[0]..][..NR * words[0]];
                let found: Vec<u32> = panel.iter().skip(key % NR).step_by(NR).map(|word| word.to_bits()).collect();
                assert_eq!(found, expected, "{arithmetic:?} {count}x{width}: key {key}");
                if key < count {
                    assert_eq!(bits(&queries[key * code_stride..][..words[0]]), expected, "query {key}");
                }
            }
            for column in 0..width.next_multiple_of(NR) {
                let expected = match column < width {
                    true => code_of((2..2 + count).map(|row| source.row(row)[4 + column]).collect()),
                    false => vec![0; words[1]],
                };
                let panel = &panels[column / NR * NR * words[1]..][..NR * words[1]];
                let found: Vec<u32> = panel.iter().skip(column % NR).step_by(NR).map(|word| word.to_bits()).collect();
                assert_eq!(found, expected, "{arithmetic:?} {count}x{width}: column {column}");
            }
        }
    }
}
