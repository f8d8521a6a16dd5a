//! Folds an activation, and then a residual, into the linear layer before it.
//!
//! The GEMM applies both to its tile of results while that is in L1, which saves a pass over the activations for each.

use super::Report;
use crate::graph::{Graph, Linear, Node, NodeId, Op, Rewrite};

pub(super) fn run(graph: &mut Graph) -> Report {
    let mut report = Report::default();
    let mut rewrite = Rewrite::new(graph);
    for index in 0..rewrite.len() {
        let node = rewrite.old(NodeId(index)).clone();
        let fused = match node.op {
            Op::Activation(activation) => fold_activation(&rewrite, &node, activation),
            Op::Add => fold_residual(&rewrite, &node),
            _ => None,
        };
        match fused {
            Some(Ok(linear)) => {
                report.apply(&linear.name);
                rewrite.replace(linear.op, linear.inputs, linear.shape, linear.name);
            }
            Some(Err(why)) => {
                report.refuse(&node.name, why);
                rewrite.keep();
            }
            None => rewrite.keep(),
        }
    }
    rewrite.finish(graph);
    report
}

type Fold = Option<Result<Node, String>>;

/// The new linear layer that computes the old node `input`, if it is one.
fn linear_of(rewrite: &Rewrite, input: NodeId) -> Option<(&Node, &Linear)> {
    let producer = rewrite.new_node(rewrite.mapped(input));
    match &producer.op {
        Op::Linear(linear) => Some((producer, linear)),
        _ => None,
    }
}

fn fold_activation(rewrite: &Rewrite, node: &Node, activation: loquat_kernels::Activation) -> Fold {
    let (producer, linear) = linear_of(rewrite, node.inputs[0])?;
    if rewrite.uses(node.inputs[0]) != 1 {
        return Some(Err(format!("{} is read elsewhere too", producer.name)));
    }
    if linear.activation.is_some() || linear.residual || linear.norm.is_some() {
        return Some(Err(format!("{} already does something after its bias", producer.name)));
    }
    let op = Op::Linear(Linear { activation: Some(activation), ..linear.clone() });
    Some(Ok(Node { op, ..producer.clone() }))
}

fn fold_residual(rewrite: &Rewrite, node: &Node) -> Fold {
    let mut refusal = None;
    // Where both sides are linear layers, the later one takes the earlier one's result, which is there by then.
    let mut sides = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])];
    sides.sort_by_key(|(own, _)| std::cmp::Reverse(*own));
    for (own, residual) in sides {
        let Some((producer, linear)) = linear_of(rewrite, own) else { continue };
        if rewrite.uses(own) != 1 {
            refusal = Some(Err(format!("{} is read elsewhere too", producer.name)));
        } else if linear.residual || linear.norm.is_some() {
            refusal = Some(Err(format!("{} already adds a residual", producer.name)));
        } else {
            let op = Op::Linear(Linear { residual: true, ..linear.clone() });
            let inputs = vec![producer.inputs[0], rewrite.mapped(residual)];
            return Some(Ok(Node { op, inputs, ..producer.clone() }));
        }
    }
    refusal
}
