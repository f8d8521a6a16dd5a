//! Choice of the arithmetic of each product.

use loquat_kernels::Arithmetic;

use super::Report;
use crate::{
    Precision,
    graph::{Attention, AttentionBias, Graph, Op},
};

/// Outputs below which a layer stays in `f32`: a panel of any coded kernel is wider, and such layers are heads, whose few numbers are
/// the result itself.
const LEAST_COLUMNS: usize = 32;

pub(super) fn run(graph: &mut Graph, precision: Precision) -> Report {
    let mut report = Report::default();
    let arithmetic = precision.arithmetic();
    if arithmetic == Arithmetic::F32 {
        return report;
    }
    let high: Vec<bool> = graph
        .nodes()
        .iter()
        .map(|node| matches!(&node.op, Op::Linear(linear) if graph.keeps_high(linear.weight)))
        .collect();
    for (node, high) in graph.nodes_mut().iter_mut().zip(high) {
        let width = node.shape.width;
        match &mut node.op {
            Op::Linear(_) if width < LEAST_COLUMNS => {
                report.refuse(&node.name, format!("{width} outputs are a head, which stays in f32"));
                continue;
            }
            // With weights alone in few bits, activations are f32: a layer that is kept has no other reason to be anything else.
            Op::Linear(_) if high && arithmetic == Arithmetic::Int4 => {
                report.refuse(&node.name, "its weights are to stay as they are".to_owned());
                continue;
            }
            Op::Linear(linear) if high && arithmetic == Arithmetic::Int8 => linear.arithmetic = Arithmetic::Bf16,
            Op::Linear(linear) => linear.arithmetic = arithmetic,
            // No weights.
            Op::Attention(_) if arithmetic == Arithmetic::Int4 => continue,
            Op::Attention(Attention { bias: Some(AttentionBias::Content { .. }), .. }) => {
                report.refuse(&node.name, "products with vectors for distances are computed in f32");
                continue;
            }
            // Probabilities don't have the even spread that bytes with one scale a row are good for.
            Op::Attention(attention) if arithmetic == Arithmetic::Int8 => attention.spec.arithmetic = Arithmetic::Bf16,
            Op::Attention(attention) => attention.spec.arithmetic = arithmetic,
            _ => continue,
        }
        report.apply(&node.name);
    }
    report
}
