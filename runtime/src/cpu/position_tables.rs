//! What position alone decides, computed once and shared by the steps that need the same: biases for distances, and the sines and
//! cosines of rotations.

use std::sync::Arc;

use crate::graph::{AttentionBias, Rotary};

/// Biases of an attention, `[rows, 2 * reach + 1]`, with a row for each head or one for all.
#[derive(Debug, PartialEq)]
pub(super) struct StepBias {
    pub(super) values: Vec<f32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The turns of a head for every position, each `[positions, head_dim / 2]`.
#[derive(Debug, PartialEq)]
pub(super) struct StepRotary {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
    pub(super) positions: usize,
    pub(super) half: usize,
}

/// Tables that steps share.
#[derive(Default)]
pub(super) struct PositionTables {
    biases: Vec<(AttentionBias, Arc<StepBias>)>,
    rotations: Vec<(Rotary, Arc<StepRotary>)>,
}

impl PositionTables {
    /// The biases of an attention. `table` gives the values of a table of buckets.
    pub(super) fn bias(
        &mut self,
        bias: &AttentionBias,
        heads: usize,
        table: impl FnOnce(crate::graph::ParamId) -> Vec<f32>,
    ) -> Arc<StepBias> {
        if let Some((_, known)) = self.biases.iter().find(|(known, _)| known == bias) {
            return Arc::clone(known);
        }
        let made = Arc::new(match bias {
            AttentionBias::Buckets { table: id, buckets, max_distance, reach } => {
                StepBias::buckets(*buckets, *max_distance, *reach, heads, &table(*id))
            }
            AttentionBias::Window { distance, reach } => StepBias::window(*distance, *reach),
        });
        self.biases.push((bias.clone(), Arc::clone(&made)));
        made
    }

    /// The turns of a rotation.
    pub(super) fn rotary(&mut self, rotary: &Rotary) -> Arc<StepRotary> {
        if let Some((_, known)) = self.rotations.iter().find(|(known, _)| known == rotary) {
            return Arc::clone(known);
        }
        let made = Arc::new(StepRotary::new(rotary));
        self.rotations.push((*rotary, Arc::clone(&made)));
        made
    }
}

impl StepBias {
    /// `table` is `[rows, heads]`.
    fn buckets(buckets: usize, max_distance: usize, reach: usize, heads: usize, table: &[f32]) -> StepBias {
        let columns = 2 * reach + 1;
        let places: Vec<usize> = (0..columns).map(|column| bucket(buckets, max_distance, reach, column)).collect();
        let of = |head: usize| places.iter().map(move |&bucket| (head, bucket));
        let values = (0..heads).flat_map(of).map(|(head, bucket)| table[bucket * heads + head]).collect();
        StepBias { values, rows: heads, columns }
    }

    fn window(distance: usize, reach: usize) -> StepBias {
        let columns = 2 * reach + 1;
        let seen = |column: usize| if column.abs_diff(reach) <= distance { 0.0 } else { f32::NEG_INFINITY };
        StepBias { values: (0..columns).map(seen).collect(), rows: 1, columns }
    }
}

/// The bucket of column `reach + d`, for a key `d` tokens behind its query.
fn bucket(buckets: usize, max_distance: usize, reach: usize, column: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    let distance = column.abs_diff(reach);
    let first = if column > reach { half } else { 0 };
    if distance < exact {
        return first + distance;
    }
    // In f32, as the reference computes it: where a bucket ends depends on the rounding.
    let share = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    let further = (share * (half - exact) as f32) as usize;
    first + (exact + further).min(half - 1)
}

impl StepRotary {
    fn new(rotary: &Rotary) -> StepRotary {
        let half = rotary.head_dim / 2;
        // Frequencies and angles in f32, as the reference has them: at large positions their rounding shows.
        let frequency = |i: usize| 1.0 / rotary.theta.powf((2 * i) as f32 / rotary.head_dim as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let row = |position: usize| frequencies.iter().map(move |frequency| position as f32 * frequency);
        let angles: Vec<f32> = (0..rotary.positions).flat_map(row).collect();
        StepRotary {
            cos: angles.iter().map(|angle| f64::from(*angle).cos() as f32).collect(),
            sin: angles.iter().map(|angle| f64::from(*angle).sin() as f32).collect(),
            positions: rotary.positions,
            half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        let of = |distance: isize| bucket(32, 128, 200, 200usize.checked_add_signed(distance).unwrap());
        let expected = [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (1, 17),
            (7, 23),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (8, 24),
            (-127, 15),
            (-128, 15),
            (200, 31),
        ];
        for (distance, bucket) in expected {
            assert_eq!(of(distance), bucket, "distance {distance}");
        }
    }

    #[test]
    fn each_head_has_its_own_column_of_the_table() {
        let table: Vec<f32> = (0..64).map(|value| value as f32).collect();
        let step = StepBias::buckets(32, 128, 200, 2, &table);
        assert_eq!((step.rows, step.columns, step.values.len()), (2, 401, 802));
        assert_eq!((step.values[200], step.values[401 + 200]), (0.0, 1.0), "distance 0");
        assert_eq!((step.values[201], step.values[401 + 199]), (34.0, 3.0), "behind and before");
    }

    #[test]
    fn a_window_ends_with_its_distance() {
        let step = StepBias::window(2, 4);
        let seen: Vec<bool> = step.values.iter().map(|value| *value == 0.0).collect();
        assert_eq!(seen, [false, false, true, true, true, true, true, false, false]);
    }

    #[test]
    fn steps_that_need_the_same_table_share_it() {
        let mut tables = PositionTables::default();
        let rotary = Rotary { head_dim: 4, theta: 10000.0, positions: 3 };
        let (first, second) = (tables.rotary(&rotary), tables.rotary(&rotary));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((first.cos.len(), first.cos[0], first.sin[0]), (6, 1.0, 0.0));
        assert!((f64::from(first.sin[5]) - 0.02f64.sin()).abs() < 1e-7);
        assert!(!Arc::ptr_eq(&first, &tables.rotary(&Rotary { theta: 5.0, ..rotary })));
    }
}
