//! Passes that turn the graph a model builds into the graph that runs.
//!
//! A pass takes a consistent graph and leaves one, with the same outputs up to rounding, and reports what it did and what it left
//! alone for which reason. Each can be switched off by name with [`Options::disabled_passes`](crate::Options::disabled_passes).

mod choose_precision;
mod fuse_add_norm;
mod fuse_embedding_norm;
mod fuse_epilogue;
mod merge_qkv;
mod prune_rows;

use crate::{
    Precision,
    graph::{Graph, GraphError},
};

/// A rewriting of graphs.
#[derive(Clone, Copy)]
pub struct Pass {
    /// What it is called in options and reports.
    pub name: &'static str,
    run: fn(&mut Graph, Precision) -> Report,
}

/// All passes, in the order in which they run.
///
/// Rows are pruned first: a selection moves up through single operations, before they are fused, and merging then sees that the last
/// layer's queries no longer read what its keys and values read. Arithmetics are chosen last, for what is left.
pub const PASSES: &[Pass] = &[
    Pass { name: "prune_rows", run: |graph, _| prune_rows::run(graph) },
    Pass { name: "merge_qkv", run: |graph, _| merge_qkv::run(graph) },
    Pass { name: "fuse_embedding_norm", run: |graph, _| fuse_embedding_norm::run(graph) },
    Pass { name: "fuse_epilogue", run: |graph, _| fuse_epilogue::run(graph) },
    Pass { name: "fuse_add_norm", run: |graph, _| fuse_add_norm::run(graph) },
    Pass { name: "choose_precision", run: choose_precision::run },
];

/// What a pass did to a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names of the nodes that it changed.
    pub applied: Vec<String>,
    /// Nodes that looked like candidates but were left alone.
    pub refused: Vec<Refusal>,
}

/// Why a pass left a node alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the node.
    pub node: String,
    /// The reason.
    pub why: String,
}

impl Report {
    fn apply(&mut self, node: &str) {
        self.applied.push(node.to_owned());
    }

    fn refuse(&mut self, node: &str, why: impl Into<String>) {
        self.refused.push(Refusal { node: node.to_owned(), why: why.into() });
    }
}

impl Pass {
    /// Runs the pass, for a session of this precision, and checks that it left a consistent graph.
    ///
    /// # Errors
    /// If it didn't, which is a fault of the pass.
    pub fn run(&self, graph: &mut Graph, precision: Precision) -> Result<Report, GraphError> {
        let report = (self.run)(graph, precision);
        graph.verify()?;
        Ok(report)
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
