//! Learned biases for distances, spread out from buckets to every distance.

use crate::graph::AttentionBias;

/// Biases of one attention, `[heads, 2 * reach + 1]`.
#[derive(Debug)]
pub(super) struct StepBias {
    pub(super) values: Vec<f32>,
    pub(super) columns: usize,
}

impl StepBias {
    /// `table` is `[rows, heads]`.
    pub(super) fn new(bias: &AttentionBias, heads: usize, table: &[f32]) -> StepBias {
        let columns = 2 * bias.reach + 1;
        let buckets: Vec<usize> = (0..columns).map(|column| bucket(bias, column)).collect();
        let of = |head: usize| buckets.iter().map(move |&bucket| (head, bucket));
        let values = (0..heads).flat_map(of).map(|(head, bucket)| table[bucket * heads + head]).collect();
        StepBias { values, columns }
    }
}

/// The bucket of column `reach + d`, for a key `d` tokens behind its query.
fn bucket(bias: &AttentionBias, column: usize) -> usize {
    let half = bias.buckets / 2;
    let exact = half / 2;
    let distance = column.abs_diff(bias.reach);
    let first = if column > bias.reach { half } else { 0 };
    if distance < exact {
        return first + distance;
    }
    // In f32, as the reference computes it: where a bucket ends depends on the rounding.
    let share = (distance as f32 / exact as f32).ln() / (bias.max_distance as f64 / exact as f64).ln() as f32;
    let further = (share * (half - exact) as f32) as usize;
    first + (exact + further).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, Index, Op, Table};
    use loquat_kernels::{Arithmetic, AttentionSpec};

    fn bias() -> AttentionBias {
        let mut builder = GraphBuilder::new("test");
        let x = builder.embedding("x", &[Table { name: "x", rows: 3, index: Index::TokenIds }], 4).unwrap();
        let spec = AttentionSpec { heads: 2, head_dim: 2, scale: 1.0, causal: false, arithmetic: Arithmetic::F32 };
        let table = crate::graph::BiasTable { name: "bias", rows: 32, buckets: 32, max_distance: 128, reach: 200 };
        let y = builder.biased_attention("attention", x, x, x, spec, Some(table)).unwrap();
        builder.output("y", y);
        let graph = builder.finish().unwrap();
        let Op::Attention(attention) = &graph.nodes()[1].op else { panic!("it is an attention") };
        attention.bias.clone().unwrap()
    }

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        let bias = bias();
        let of = |distance: isize| bucket(&bias, bias.reach.checked_add_signed(distance).unwrap());
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
        let bias = bias();
        let table: Vec<f32> = (0..64).map(|value| value as f32).collect();
        let step = StepBias::new(&bias, 2, &table);
        assert_eq!((step.columns, step.values.len()), (401, 802));
        assert_eq!((step.values[200], step.values[401 + 200]), (0.0, 1.0), "distance 0");
        assert_eq!((step.values[201], step.values[401 + 199]), (34.0, 3.0), "behind and before");
    }
}
