//! Folds a layer norm into what produces its input: a linear layer, or a sum.
//!
//! Behind a linear layer the norm runs in place in the same step; with a sum, adding and normalising are one pass over the rows.

use super::Report;
use crate::graph::{Graph, Linear, Node, NodeId, Op, Rewrite};

pub(super) fn run(graph: &mut Graph) -> Report {
    let mut report = Report::default();
    let mut rewrite = Rewrite::new(graph);
    for index in 0..rewrite.len() {
        let node = rewrite.old(NodeId(index)).clone();
        let Op::LayerNorm(norm) = &node.op else {
            rewrite.keep();
            continue;
        };
        let producer = rewrite.new_node(rewrite.mapped(node.inputs[0])).clone();
        let op = match &producer.op {
            Op::Linear(linear) if linear.norm.is_none() => {
                Op::Linear(Linear { norm: Some(norm.clone()), ..linear.clone() })
            }
            Op::Add => Op::AddNorm(norm.clone()),
            _ => {
                rewrite.keep();
                continue;
            }
        };
        if rewrite.uses(node.inputs[0]) != 1 {
            report.refuse(&node.name, format!("{} is read elsewhere too", producer.name));
            rewrite.keep();
            continue;
        }
        report.apply(&node.name);
        let Node { inputs, shape, name, .. } = producer;
        rewrite.replace(op, inputs, shape, name);
    }
    rewrite.finish(graph);
    report
}
