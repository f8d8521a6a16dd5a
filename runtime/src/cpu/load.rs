//! Parameters on their way from the weights into the form that kernels read.

use std::collections::HashMap;

use loquat_kernels::{Cpu, Exec, KernelError, PackedRhs, RhsShape};

use super::step::StepNorm;
use crate::{
    graph::{Graph, Norm, Op, ParamId},
    weights::{Resolved, Resolver, Source, Weights, WeightsError},
};

/// All parameters of a graph, found and checked.
pub(super) struct Params<'a> {
    weights: &'a Weights,
    resolved: Vec<Resolved>,
}

impl<'a> Params<'a> {
    /// Finds every parameter. Also gives the names of the tensors that the graph has no use for.
    pub(super) fn find(graph: &Graph, weights: &'a Weights) -> Result<(Params<'a>, Vec<String>), WeightsError> {
        let mut resolver = Resolver::new(weights, graph);
        let resolved: Vec<Option<Resolved>> = graph.params().iter().map(|param| resolver.resolve(param)).collect();
        let unused = resolver.finish()?;
        Ok((Params { weights, resolved: resolved.into_iter().flatten().collect() }, unused))
    }

    pub(super) fn vector(&self, id: ParamId) -> Vec<f32> {
        self.resolved[id.index()].to_vec(self.weights)
    }

    pub(super) fn norm(&self, norm: &Norm) -> StepNorm {
        StepNorm { gamma: self.vector(norm.gamma), beta: self.vector(norm.beta), eps: norm.eps }
    }

    /// A table stays where it is.
    pub(super) fn table(&self, id: ParamId) -> &Source {
        &self.resolved[id.index()].sources[0]
    }

    /// Packs the weights of all linear layers; one that several layers share is packed once. Each is converted row by row,
    /// without a copy in between.
    pub(super) fn packed(
        &self,
        graph: &Graph,
        cpu: &Cpu,
        exec: Exec<'_>,
    ) -> Result<HashMap<ParamId, PackedRhs>, KernelError> {
        let mut ids: Vec<ParamId> = Vec::new();
        for node in graph.nodes() {
            if let Op::Linear(linear) = &node.op
                && !ids.contains(&linear.weight)
            {
                ids.push(linear.weight);
            }
        }
        let params: Vec<&Resolved> = ids.iter().map(|id| &self.resolved[id.index()]).collect();
        let shape =
            |param: &&Resolved| RhsShape { k: param.width, n: param.sources.iter().map(|source| source.rows).sum() };
        let shapes: Vec<RhsShape> = params.iter().map(shape).collect();
        let packed = PackedRhs::pack_all(cpu, exec, &shapes, &|matrix, row, out| {
            params[matrix].read_row(self.weights, row, out);
        })?;
        Ok(ids.into_iter().zip(packed).collect())
    }
}
