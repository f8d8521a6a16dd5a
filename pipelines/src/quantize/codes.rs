//! Rows of weights as integers with scales.

use half::f16;

/// The integers that a tensor is rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integers {
    /// -127 to 127, an `f32` scale for each row.
    Int8,
    /// -8 to 7, an `f16` scale for each group of so many values along a row; the last group of a row may be shorter.
    Int4 { group: usize },
}

impl Integers {
    /// Values of a row that share a scale.
    pub(super) fn group(self, width: usize) -> usize {
        match self {
            Integers::Int8 => width,
            Integers::Int4 { group } => group,
        }
        .max(1)
    }

    fn range(self) -> (f32, f32) {
        match self {
            Integers::Int8 => (-127.0, 127.0),
            Integers::Int4 { .. } => (-8.0, 7.0),
        }
    }

    /// The scale as it will be stored: never zero, never infinite.
    fn stored(self, scale: f32) -> f32 {
        match self {
            Integers::Int8 => scale.clamp(f32::MIN_POSITIVE, f32::MAX),
            Integers::Int4 { .. } => {
                f16::from_f32(scale).to_f32().clamp(f16::MIN_POSITIVE_SUBNORMAL.to_f32(), f16::MAX.to_f32())
            }
        }
    }

    pub(super) fn code(self, value: f32, scale: f32) -> f32 {
        // Adding it leaves no bits for a fraction: the nearest integer, ties to even, where baseline x86-64 would call a function.
        const ROUND: f32 = 1.5 * (1 << 23) as f32;
        let (least, most) = self.range();
        ((value / scale).clamp(least, most) + ROUND) - ROUND
    }
}

/// A matrix of integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coded {
    /// Row after row.
    pub(super) codes: Vec<i8>,
    /// `[rows, groups]`.
    pub(super) scales: Vec<f32>,
    pub(super) width: usize,
    pub(super) group: usize,
}

impl Coded {
    /// Each value to the nearest step of its scale.
    pub(super) fn nearest(values: &[f32], width: usize, integers: Integers) -> Coded {
        let group = integers.group(width);
        let mut coded = Coded { codes: Vec::with_capacity(values.len()), scales: Vec::new(), width, group };
        for row in values.chunks(width.max(1)) {
            for values in row.chunks(group) {
                let scale = best_scale(values, integers);
                coded.scales.push(scale);
                coded.codes.extend(values.iter().map(|&value| integers.code(value, scale) as i8));
            }
        }
        coded
    }

    /// What the integers stand for.
    pub(super) fn values(&self) -> Vec<f32> {
        let rows = self.codes.chunks(self.width.max(1));
        let groups = rows.flat_map(|row| row.chunks(self.group));
        groups
            .zip(&self.scales)
            .flat_map(|(codes, &scale)| codes.iter().map(move |&code| f32::from(code) * scale))
            .collect()
    }

    /// The codes as compressed-tensors packs 4 bits: 8 added, eight to a word of 32, the first in the lowest bits, each row filled up
    /// with zeros.
    pub(super) fn packed4(&self) -> Vec<u8> {
        let words = self.width.div_ceil(8);
        let mut packed = Vec::with_capacity(words * 4 * self.codes.len() / self.width.max(1));
        for row in self.codes.chunks(self.width.max(1)) {
            let start = packed.len();
            packed.extend(row.chunks(2).map(|pair| {
                let nibble = |i: usize| pair.get(i).map_or(0, |code| (code + 8).cast_unsigned());
                nibble(0) | nibble(1) << 4
            }));
            packed.resize(start + 4 * words, 0);
        }
        packed
    }
}

/// The scale with the least squared error of rounding.
///
/// The largest magnitude over the largest code is seldom it: with one outlier, most of the range would go to waste. Clips down to
/// 60 % are tried, and for the best of them the scale that fits its codes best. A row of bytes keeps a code of ±127 in any case, so
/// that coding its values anew, by their largest magnitude, gives the same bytes.
pub(super) fn best_scale(values: &[f32], integers: Integers) -> f32 {
    let peak = values.iter().fold(0.0f32, |peak, value| peak.max(value.abs()));
    let (_, most) = integers.range();
    if peak == 0.0 {
        return 1.0;
    }
    let error = |scale: f32| -> f32 {
        let mut sum = 0.0;
        for &value in values {
            let difference = integers.code(value, scale) * scale - value;
            sum += difference * difference;
        }
        sum
    };
    let mut best = (f32::INFINITY, integers.stored(peak / most));
    for percent in (60..=100).rev().step_by(2) {
        let scale = integers.stored(peak / most * (percent as f32 / 100.0));
        let found = error(scale);
        if found < best.0 {
            best = (found, scale);
        }
    }
    let (mut dot, mut energy) = (0.0f32, 0.0f32);
    for &value in values {
        let code = integers.code(value, best.1);
        dot += code * value;
        energy += code * code;
    }
    let fitted = integers.stored(dot / energy);
    let keeps_its_peak = integers != Integers::Int8 || peak / fitted >= most - 0.49;
    if fitted > 0.0 && keeps_its_peak && error(fitted) < best.0 { fitted } else { best.1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| next() * next() + next() * 0.1).collect()
    }

    #[test]
    fn no_value_is_further_off_than_the_clip_allows() {
        let values = noise(7 * 50);
        for (integers, limit) in [(Integers::Int8, 0.004), (Integers::Int4 { group: 32 }, 0.04)] {
            let coded = Coded::nearest(&values, 50, integers);
            let error: f32 = coded.values().iter().zip(&values).map(|(a, b)| (a - b).powi(2)).sum();
            let energy: f32 = values.iter().map(|value| value * value).sum();
            assert!((error / energy).sqrt() < limit * 4.0, "{integers:?}: {}", (error / energy).sqrt());
            assert_eq!(coded.scales.len(), 7 * 50usize.div_ceil(coded.group));
        }
    }

    #[test]
    fn rows_of_bytes_keep_a_largest_code_so_that_coding_them_anew_changes_nothing() {
        let values = noise(64 * 40);
        let coded = Coded::nearest(&values, 40, Integers::Int8);
        for (codes, row) in coded.codes.chunks(40).zip(coded.values().chunks(40)) {
            assert_eq!(codes.iter().map(|code| code.unsigned_abs()).max(), Some(127));
            let scale = row.iter().fold(0.0f32, |peak, value| peak.max(value.abs())) / 127.0;
            let again: Vec<i8> = row.iter().map(|value| (value / scale).round_ties_even() as i8).collect();
            assert_eq!(again, codes);
        }
    }

    #[test]
    fn zeros_and_extremes_have_usable_scales() {
        for values in [vec![0.0; 8], vec![f32::MIN_POSITIVE / 4.0; 8], vec![1e-9, -1e-8], vec![3e38, -1.0]] {
            for integers in [Integers::Int8, Integers::Int4 { group: 4 }] {
                let coded = Coded::nearest(&values, values.len(), integers);
                assert!(coded.scales.iter().all(|&scale| scale > 0.0 && scale.is_finite()), "{values:?} {integers:?}");
            }
        }
    }

    #[test]
    fn nibbles_lie_lowest_first_and_rows_are_filled_up() {
        let coded = Coded { codes: vec![-8, 7, 0, 1, 2, -1], scales: vec![1.0; 2], width: 3, group: 3 };
        assert_eq!(coded.packed4(), [0xf0, 0x08, 0, 0, 0xa9, 0x07, 0, 0]);
    }
}
