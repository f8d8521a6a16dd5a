//! From a graph to steps.

use std::sync::Arc;

use loquat_kernels::{Cpu, Exec};

use super::{
    check::IndexLimits,
    load::{PackedWeights, Params},
    memory::Operand,
    position_tables::PositionTables,
    program::{Program, ProgramError},
    step::{Step, StepKind, StepTable},
};
use crate::{
    graph::{Attention, Graph, Index, Node, NodeId, Op},
    plan::{Place, Plan, row_stride},
    weights::Weights,
};

impl Program {
    /// Lowers a graph, packs its weights for `cpu`, and plans its memory. `exec` says which threads pack.
    ///
    /// # Errors
    /// If weights are missing or misshapen, or don't fit in memory once packed.
    pub fn new(graph: &Graph, weights: Arc<Weights>, cpu: Cpu, exec: Exec<'_>) -> Result<Program, ProgramError> {
        let plan = Plan::new(graph);
        let (params, unused) = Params::find(graph, &weights)?;
        let packed = params.packed(graph, &cpu, exec)?;
        let mut limits = IndexLimits::default();
        let mut tables = PositionTables::new(&params, cpu, exec);
        let mut steps = Vec::with_capacity(graph.nodes().len());
        for (index, node) in graph.nodes().iter().enumerate() {
            let kind = lower(graph, node, &params, &packed, &mut limits, &mut tables)?;
            let out = operand(graph, &plan, NodeId(index));
            let inputs: Vec<Operand> = node.inputs.iter().map(|&input| operand(graph, &plan, input)).collect();
            let in_place = inputs.iter().position(|input| input.place == out.place);
            steps.push(Step { name: node.name.clone(), kind, out, inputs, in_place });
        }
        let outputs =
            graph.outputs().iter().map(|output| (output.name.clone(), graph.node(output.node).shape)).collect();
        Ok(Program::from_parts(cpu, Arc::clone(&weights), steps, plan, outputs, limits, graph.leading(), unused))
    }
}

fn lower(
    graph: &Graph,
    node: &Node,
    params: &Params<'_>,
    packed: &PackedWeights,
    limits: &mut IndexLimits,
    tables: &mut PositionTables<'_>,
) -> Result<StepKind, ProgramError> {
    Ok(match &node.op {
        Op::Embedding { lookups, norm } => {
            let tables = lookups.iter().map(|lookup| {
                let param = graph.param(lookup.table);
                limits.add(lookup.index, param.rows(), &param.parts[0].name);
                StepTable { source: params.table(lookup.table).clone(), index: lookup.index }
            });
            StepKind::Embed { tables: tables.collect(), norm: norm.as_ref().map(|norm| params.norm(norm)) }
        }
        Op::Linear(linear) => StepKind::Linear {
            weight: packed[&(linear.weight, linear.arithmetic)].clone(),
            bias: linear.bias.map(|bias| params.vector(bias)),
            activation: linear.activation,
            norm: linear.norm.as_ref().map(|norm| params.norm(norm)),
        },
        Op::Attention(attention) => {
            let Attention { spec, columns, bias, lone } = attention;
            let bias = bias.as_ref().map(|bias| tables.bias(bias, spec.heads)).transpose()?;
            if let Some(bias) = &bias {
                limits.add(Index::Positions, bias.reach() + 1, &node.name);
            }
            let leads = node.op.leading().is_some();
            StepKind::Attention { spec: *spec, columns: *columns, bias, lone: *lone, leads }
        }
        Op::Rotary(rotary) => {
            limits.add(Index::Positions, rotary.positions, &node.name);
            StepKind::Rotary(tables.rotary(rotary))
        }
        Op::LayerNorm(norm) => StepKind::LayerNorm(params.norm(norm)),
        Op::AddNorm(norm) => StepKind::AddNorm(params.norm(norm)),
        Op::Add => StepKind::Add,
        Op::Mul => StepKind::Mul,
        Op::Affine(affine) => StepKind::Affine { gamma: params.vector(affine.gamma), beta: params.vector(affine.beta) },
        Op::Lead(_) => StepKind::Lead,
        Op::Fourier => StepKind::Fourier(tables.fourier(node.shape.width)?),
        Op::Columns { first, .. } => StepKind::Columns { first: *first },
        Op::Neighbours(neighbours) => StepKind::Neighbours(neighbours.clone()),
        Op::Activation(activation) => StepKind::Activation(*activation),
        Op::Pool(kind) => StepKind::Pool(*kind),
        Op::Select(which) => StepKind::Select(*which),
        Op::L2Normalize => StepKind::L2Normalize,
    })
}

fn operand(graph: &Graph, plan: &Plan, id: NodeId) -> Operand {
    let shape = graph.node(id).shape;
    let place = plan.place(id);
    let row_stride = match place {
        Place::Buffer(_) => row_stride(shape.width),
        // The caller's memory is dense.
        Place::Output(_) => shape.width,
    };
    Operand { place, rows: shape.rows, width: shape.width, row_stride }
}
