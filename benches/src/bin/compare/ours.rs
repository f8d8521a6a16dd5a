//! loquat as a contender: a session with its defaults, fed one ragged batch.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use loquat_benches::worker::{Engine, Run, Setup};
use loquat_benches::{Result, precision};
use loquat_runtime::graph::GraphBuilder;
use loquat_runtime::{Batch, Options, Pooling, Precision, Session};

const OUTPUT: &str = "sentence_embedding";

/// The model, packed.
pub struct Loquat {
    session: Arc<Session>,
    dim: usize,
}

impl Loquat {
    /// Loads the model folder: the encoder, mean pooling, and L2 normalisation.
    pub fn new(setup: &Setup) -> Result<Loquat> {
        let folder: &PathBuf = setup.manifest.model.as_ref().ok_or("there is no model: give --model DIR")?;
        let loaded = loquat_models::load(folder)?;
        let mut graph = GraphBuilder::new("sentence embeddings");
        let encoder = loaded.model.encoder(&mut graph)?;
        let pooled = graph.pool(encoder.last_hidden_state, Pooling::Mean)?;
        let normalized = graph.l2_normalize(pooled)?;
        graph.output(OUTPUT, normalized);
        let precision = match setup.precision {
            precision::Precision::F32 => Precision::F32,
            precision::Precision::Bf16x3 => Precision::Bf16x3,
            precision::Precision::Bf16 => Precision::Bf16,
            precision::Precision::Int8 => Precision::Int8,
        };
        let options = Options { threads: NonZeroUsize::new(setup.threads), precision, ..Options::default() };
        let session = Arc::new(Session::new(graph.finish()?, loaded.weights, &options)?);
        Ok(Loquat { session, dim: loaded.model.hidden_size() })
    }
}

impl Engine for Loquat {
    type Strategy = &'static str;

    fn name(&self) -> String {
        "loquat".into()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn strategies(&self, _sequences: &[Vec<u32>]) -> Vec<&'static str> {
        vec!["one ragged batch"]
    }

    fn prepare(&mut self, _strategy: &&'static str, sequences: &[Vec<u32>]) -> Result<Run> {
        let session = Arc::clone(&self.session);
        let batch = Batch::from_ids(sequences)?;
        Ok(Box::new(move |out: &mut [f32]| {
            let outputs = session.run(&batch)?;
            let embeddings = outputs.get(OUTPUT).ok_or("the session has lost its output")?;
            out.copy_from_slice(&embeddings.data);
            Ok(())
        }))
    }
}
