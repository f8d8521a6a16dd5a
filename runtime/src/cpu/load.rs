//! Parameters on their way from the weights into the form that kernels read.

use std::collections::{HashMap, HashSet};

use loquat_kernels::{Arithmetic, Cpu, Exec, KernelError, PackedRhs, RhsShape};

use super::step::StepNorm;
use crate::{
    graph::{Graph, Norm, Op, ParamId},
    weights::{Resolved, Resolver, Source, Weights, WeightsError},
};

/// Weights of linear layers, packed for the arithmetic that each is used in.
pub(super) type PackedWeights = HashMap<(ParamId, Arithmetic), PackedRhs>;

/// All parameters of a graph, found and checked.
pub(super) struct Params<'a> {
    weights: &'a Weights,
    resolved: Vec<Resolved>,
}

impl<'a> Params<'a> {
    #[cfg(test)]
    pub(super) fn none(weights: &'a Weights) -> Params<'a> {
        Params { weights, resolved: Vec::new() }
    }

    /// Finds every parameter. Also gives the names of the tensors that the graph has no use for.
    pub(super) fn find(graph: &Graph, weights: &'a Weights) -> Result<(Params<'a>, Vec<String>), WeightsError> {
        let mut resolver = Resolver::new(weights, graph);
        let tables: HashSet<ParamId> = graph
            .nodes()
            .iter()
            .flat_map(|node| match &node.op {
                Op::Embedding { lookups, .. } => lookups.as_slice(),
                _ => &[],
            })
            .map(|lookup| lookup.table)
            .collect();
        let resolve = |(index, param)| match tables.contains(&ParamId(index)) {
            true => resolver.resolve_table(param),
            false => resolver.resolve(param),
        };
        let resolved: Vec<Option<Resolved>> = graph.params().iter().enumerate().map(resolve).collect();
        let unused = resolver.finish()?;
        Ok((Params { weights, resolved: resolved.into_iter().flatten().collect() }, unused))
    }

    pub(super) fn vector(&self, id: ParamId) -> Vec<f32> {
        self.resolved[id.index()].to_vec(self.weights)
    }

    pub(super) fn norm(&self, norm: &Norm) -> StepNorm {
        let gamma = self.vector(norm.gamma);
        let beta = norm.beta.map_or_else(|| vec![0.0; gamma.len()], |beta| self.vector(beta));
        StepNorm { gamma, beta, eps: norm.eps }
    }

    /// Columns of a matrix.
    pub(super) fn width(&self, id: ParamId) -> usize {
        self.resolved[id.index()].width
    }

    /// The values of a matrix, row after row.
    pub(super) fn matrix(&self, id: ParamId) -> Vec<f32> {
        let resolved = &self.resolved[id.index()];
        let rows: usize = resolved.sources.iter().map(|source| source.rows).sum();
        let mut values = vec![0.0; rows * resolved.width];
        for (row, values) in values.chunks_exact_mut(resolved.width.max(1)).enumerate() {
            resolved.read_row(self.weights, row, values);
        }
        values
    }

    /// A table stays where it is.
    pub(super) fn table(&self, id: ParamId) -> &Source {
        &self.resolved[id.index()].sources[0]
    }

    /// Packs the weights of all linear layers; one that several layers share is packed once for each arithmetic. Each is converted row by row,
    /// without a copy in between.
    pub(super) fn packed(&self, graph: &Graph, cpu: &Cpu, exec: Exec<'_>) -> Result<PackedWeights, KernelError> {
        let mut keys: Vec<(ParamId, Arithmetic)> = Vec::new();
        for node in graph.nodes() {
            if let Op::Linear(linear) = &node.op
                && !keys.contains(&(linear.weight, linear.arithmetic))
            {
                keys.push((linear.weight, linear.arithmetic));
            }
        }
        let params: Vec<&Resolved> = keys.iter().map(|(id, _)| &self.resolved[id.index()]).collect();
        let shape = |(param, &(_, arithmetic)): (&&Resolved, &(ParamId, Arithmetic))| RhsShape {
            arithmetic,
            k: param.width,
            n: param.sources.iter().map(|source| source.rows).sum(),
        };
        let shapes: Vec<RhsShape> = params.iter().zip(&keys).map(shape).collect();
        let packed = PackedRhs::pack_all(cpu, exec, &shapes, &|matrix, row, out| {
            params[matrix].read_row(self.weights, row, out);
        })?;
        Ok(keys.into_iter().zip(packed).collect())
    }
}
