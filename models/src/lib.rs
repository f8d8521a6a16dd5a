//! Transformer architectures as loquat graphs: one file per architecture, which holds its `config.json` and the graph it makes.
//!
//! ```no_run
//! use loquat_models::{Task, load};
//! use loquat_runtime::{Batch, Options, Session};
//!
//! let loaded = load("all-MiniLM-L6-v2")?;
//! let graph = loaded.model.graph(Task::FeatureExtraction, &loaded.weights)?;
//! let session = Session::new(graph, loaded.weights, &Options::default())?;
//! let outputs = session.run(&Batch::from_ids(&[[101, 7592, 102]])?)?;
//! println!("{:?}", outputs.get("last_hidden_state").map(|hidden| hidden.shape));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod albert;
pub mod bert;
mod blocks;
mod config;
pub mod deberta;
pub mod deberta_v2;
pub mod distilbert;
pub mod electra;
mod embeddings;
mod error;
pub mod fnet;
mod labels;
pub mod longformer;
pub mod mobilebert;
mod model;
pub mod modernbert;
pub mod mpnet;
pub mod nomic_bert;
mod registry;
pub mod roberta;
mod task;
pub mod xlnet;

pub use config::{Common, Source};
pub use error::ModelError;
pub use labels::{Labels, ProblemType};
pub use model::{Encoder, Facts, HeadBuilder, HeadError, Model};
pub(crate) use model::{MaskedLm, Pooler};
pub use registry::{ARCHITECTURES, Architecture, Loaded, load, load_config, parse_config};
pub use task::Task;
