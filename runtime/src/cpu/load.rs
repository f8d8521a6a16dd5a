//! Parameters on their way from the weights into the form that kernels read.

use loquat_kernels::{Cpu, Exec, KernelError, PackedRhs};

use super::step::StepNorm;
use crate::{
    graph::{Graph, Norm, ParamId},
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

    /// A weight is converted and packed row by row, without a copy in between.
    pub(super) fn packed(&self, cpu: &Cpu, exec: Exec<'_>, id: ParamId) -> Result<PackedRhs, KernelError> {
        let param = &self.resolved[id.index()];
        let rows = param.sources.iter().map(|source| source.rows).sum();
        PackedRhs::pack(cpu, exec, param.width, rows, &|row, out| param.read_row(self.weights, row, out))
    }
}
