//! Folds the layer norm after an embedding into it: each row is summed and normalised while it is in registers and L1.

use super::Report;
use crate::graph::{Graph, Node, NodeId, Op, Rewrite};

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
        match &producer.op {
            Op::Embedding { lookups, norm: None } if rewrite.uses(node.inputs[0]) == 1 => {
                report.apply(&producer.name);
                let op = Op::Embedding { lookups: lookups.clone(), norm: Some(norm.clone()) };
                let Node { inputs, shape, name, .. } = producer;
                rewrite.replace(op, inputs, shape, name);
            }
            Op::Embedding { .. } => {
                report.refuse(&node.name, format!("the sum of {} is read elsewhere too", producer.name));
                rewrite.keep();
            }
            _ => rewrite.keep(),
        }
    }
    rewrite.finish(graph);
    report
}
