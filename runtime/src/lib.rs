//! Graph compiler and executor for ragged transformer inference.
//!
//! A model is a [`graph::Graph`] of high-level operations. [`Session::new`] runs the [`passes`] over it, plans its memory once in values
//! per token, and packs its [`weights`] for the CPU; [`Session::run`] then takes any [`Batch`] of sequences of any lengths.
//!
//! * There is no padding. Activations are `[tokens, width]` or `[sequences, width]`, and attention alone reads where sequences start.
//! * Results never depend on what else is in the batch, on the number of threads or on how the work is split: they are equal bit for bit.
//! * A failure is a typed error. Weights, ids and lengths are checked before anything runs.
//!
//! ```
//! use loquat_runtime::{
//!     Batch, Options, Session,
//!     graph::{GraphBuilder, Index, Table},
//!     weights::Weights,
//! };
//!
//! // Three tokens, each with a row of two values.
//! let header = br#"{"words.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend_from_slice(header);
//! file.extend([0.0f32, 1.0, 3.0, 4.0, 5.0, 12.0].iter().flat_map(|value| value.to_le_bytes()));
//! let weights = Weights::from_vec("tiny.safetensors", file)?;
//!
//! let mut builder = GraphBuilder::new("tiny");
//! let words = Table { name: "words.weight", rows: 3, index: Index::TokenIds };
//! let hidden = builder.embedding("words", &[words], 2)?;
//! builder.output("hidden", hidden);
//!
//! let session = Session::new(builder.finish()?, weights, &Options::default())?;
//! let outputs = session.run(&Batch::from_ids(&[vec![2], vec![0, 1]])?)?;
//! let hidden = outputs.get("hidden").expect("it was named above");
//! assert_eq!(hidden.row(0), [5.0, 12.0]);
//! assert_eq!(hidden.row(2), [3.0, 4.0]);
//! assert_eq!(outputs.cu_seqlens(), [0, 1, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod batch;
pub mod cpu;
pub mod graph;
mod inspect;
mod options;
mod outputs;
pub mod passes;
pub mod plan;
mod profile;
mod session;
pub mod weights;

pub use batch::{Batch, BatchError, BatchView};
pub use cpu::RunError;
pub use inspect::{Inspection, Stage};
pub use loquat_kernels::{Activation, Arithmetic, AttentionSpec, Level, pooling::Pooling};
pub use options::{Options, Parallel, Precision};
pub use outputs::{Outputs, Tensor};
pub use profile::{Profile, StepProfile};
pub use session::{Session, SessionError};
pub use weights::{Weights, WeightsError};
