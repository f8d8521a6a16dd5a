//! Merges the projections of queries, keys and values that read the same input into one linear layer.
//!
//! The weights are put together along the output dimension, and the attention reads column ranges of the one result: one pass over the
//! input instead of three, and wider work for the team. Where only keys and values share their input, as in cross attention or after
//! pruning, those two are merged.

use loquat_kernels::Arithmetic;

use super::Report;
use crate::graph::{Attention, Graph, Linear, Node, NodeId, Op, Param, ParamId, Rewrite};

pub(super) fn run(graph: &mut Graph) -> Report {
    let mut report = Report::default();
    let plans = plan(graph, &mut report);
    let mut rewrite = Rewrite::new(graph);
    for index in 0..rewrite.len() {
        match plans.iter().find(|plan| plan.attention.index() == index) {
            Some(plan) => apply(plan, &mut rewrite),
            None => rewrite.keep(),
        }
    }
    rewrite.finish(graph);
    report
}

/// Projections to merge: their places among the attention's inputs (0 queries, 1 keys, 2 values).
struct Plan {
    attention: NodeId,
    members: &'static [usize],
}

fn plan(graph: &Graph, report: &mut Report) -> Vec<Plan> {
    let uses = graph.uses();
    let mut plans = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        if !matches!(node.op, Op::Attention(_)) || node.inputs[1] == node.inputs[2] {
            continue;
        }
        let candidates: [&'static [usize]; 2] = [&[0, 1, 2], &[1, 2]];
        let mut reasons = Vec::new();
        let members = candidates.into_iter().find(|members| match mergeable(graph, &uses, node, members) {
            Ok(()) => true,
            Err(why) => {
                reasons.push(why);
                false
            }
        });
        if let Some(members) = members {
            report.apply(&node.name);
            plans.push(Plan { attention: NodeId(index), members });
        }
        if let Some(why) = reasons.into_iter().next() {
            report.refuse(&node.name, why);
        }
    }
    plans
}

fn mergeable(graph: &Graph, uses: &[usize], node: &Node, members: &[usize]) -> Result<(), String> {
    let mut first: Option<(&Node, &Linear)> = None;
    for &member in members {
        let id = node.inputs[member];
        let producer = graph.node(id);
        let Op::Linear(linear) = &producer.op else {
            return Err(format!("{} is no linear layer", producer.name));
        };
        if uses[id.index()] != 1 {
            return Err(format!("{} is read elsewhere too", producer.name));
        }
        if linear.activation.is_some() || linear.residual || linear.norm.is_some() {
            return Err(format!("{} has more than a bias", producer.name));
        }
        match first {
            None => first = Some((producer, linear)),
            Some((other, _)) if other.inputs != producer.inputs => {
                return Err(format!("{} and {} read different inputs", other.name, producer.name));
            }
            Some((other, other_linear)) if other_linear.bias.is_some() != linear.bias.is_some() => {
                return Err(format!("of {} and {} only one has a bias", other.name, producer.name));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn apply(plan: &Plan, rewrite: &mut Rewrite) {
    let Node { op: Op::Attention(attention), inputs, shape, name } = rewrite.old(plan.attention).clone() else {
        return rewrite.keep();
    };
    let producers: Vec<Node> = plan.members.iter().map(|&member| rewrite.old(inputs[member]).clone()).collect();
    let linears = || {
        producers.iter().filter_map(|producer| match &producer.op {
            Op::Linear(linear) => Some(linear),
            _ => None,
        })
    };
    let weights: Vec<ParamId> = linears().map(|linear| linear.weight).collect();
    let biases: Vec<ParamId> = linears().filter_map(|linear| linear.bias).collect();
    let weight = concatenate(rewrite, &weights);
    let bias = (!biases.is_empty()).then(|| concatenate(rewrite, &biases));

    let mut width = 0;
    let mut new_inputs: Vec<NodeId> = inputs.iter().map(|&input| rewrite.mapped(input)).collect();
    let mut columns = attention.columns;
    for (&member, producer) in plan.members.iter().zip(&producers) {
        columns[member] += width;
        width += producer.shape.width;
    }
    let first = &producers[0];
    let merged = rewrite.emit(Node {
        op: Op::Linear(Linear {
            weight,
            bias,
            arithmetic: Arithmetic::F32,
            activation: None,
            residual: false,
            norm: None,
        }),
        inputs: vec![rewrite.mapped(first.inputs[0])],
        shape: crate::graph::Shape { width, ..first.shape },
        name: producers.iter().map(|producer| producer.name.as_str()).collect::<Vec<_>>().join(" + "),
    });
    plan.members.iter().for_each(|&member| new_inputs[member] = merged);
    rewrite.replace(Op::Attention(Attention { columns, ..attention }), new_inputs, shape, name);
}

fn concatenate(rewrite: &mut Rewrite, params: &[ParamId]) -> ParamId {
    let parts = params.iter().flat_map(|&id| rewrite.param(id).parts.clone()).collect();
    let width = rewrite.param(params[0]).width;
    rewrite.add_param(Param { parts, width })
}
