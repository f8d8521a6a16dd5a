//! What can be wrong with a model folder.

use std::{io, path::PathBuf};

use loquat_runtime::{WeightsError, graph::GraphError};

use crate::Task;

/// A model that can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration can't be read.
    #[error("can't read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration isn't JSON, or a field has the wrong type.
    #[error("{file}: {what}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong, and where.
        what: String,
    },
    /// A field holds what this library has no implementation for, or what makes no sense.
    #[error("{file}: {field} is {found}, expected {expected}")]
    Field {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// No architecture of that name.
    #[error("{file}: no architecture for {found}: the supported values of model_type are {known}")]
    Architecture {
        /// The file.
        file: String,
        /// What the configuration says.
        found: String,
        /// What there is.
        known: String,
    },
    /// The configuration and the weights are of different models.
    #[error("{file}: {field} is {value}, but {weights} holds {found}: one of the two is of another model")]
    Contradiction {
        /// The configuration file.
        file: String,
        /// Its field.
        field: &'static str,
        /// The field's value.
        value: usize,
        /// The weights file.
        weights: String,
        /// What the weights hold.
        found: String,
    },
    /// The checkpoint has no head for the task.
    #[error("{weights}: this checkpoint has no {task} head: {what}")]
    NoHead {
        /// The weights.
        weights: String,
        /// The task.
        task: Task,
        /// How that is known.
        what: String,
    },
    /// The graph isn't consistent.
    #[error("{file}: {source}")]
    Graph {
        /// The configuration file that asks for this graph.
        file: String,
        /// What doesn't fit.
        source: GraphError,
    },
    /// The weights can't be opened.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
