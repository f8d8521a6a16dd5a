//! Transformer architectures as loquat graphs: one file per architecture, which holds its `config.json` and the graph it makes.
//!
//! ```no_run
//! use loquat_models::load;
//! use loquat_runtime::{Batch, Options, Session};
//!
//! let loaded = load("all-MiniLM-L6-v2")?;
//! let graph = loaded.model.graph(&loaded.weights)?;
//! let session = Session::new(graph, loaded.weights, &Options::default())?;
//! let outputs = session.run(&Batch::from_ids(&[[101, 7592, 102]])?)?;
//! println!("{:?}", outputs.get("last_hidden_state").map(|hidden| hidden.shape));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod bert;
mod blocks;
mod config;
mod error;
mod registry;

pub use config::Source;
pub use error::ModelError;
pub use registry::{ARCHITECTURES, Architecture, Encoder, Loaded, Model, load, load_config, parse_config};
