//! Choice of the arithmetic of each product.

use loquat_kernels::Arithmetic;

use super::Report;
use crate::{
    Precision,
    graph::{Graph, Op},
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
    for node in graph.nodes_mut() {
        let width = node.shape.width;
        let Op::Linear(linear) = &mut node.op else { continue };
        if width < LEAST_COLUMNS {
            report.refuse(&node.name, format!("{width} outputs are a head, which stays in f32"));
        } else {
            linear.arithmetic = arithmetic;
            report.apply(&node.name);
        }
    }
    report
}
