//! ONNX Runtime as a contender: the library of its PyPI wheel under the `ort` crate, the graphs as exported and as its own
//! transformer optimiser fuses them, all graph optimisations on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use loquat_benches::batching::PaddedBatch;
use loquat_benches::manifest::OnnxGraphs;
use loquat_benches::padded::{Cut, PaddedModel};
use loquat_benches::worker::{Engine, Run, Setup, serve};
use loquat_benches::{Error, Result};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

fn main() -> Result<()> {
    serve(std::env::args().skip(1), OnnxRuntime::new)
}

const AS_EXPORTED: &str = "as exported";
const FUSED: &str = "fused";

struct OnnxRuntime {
    environment: Environment,
    version: String,
    graphs: OnnxGraphs,
    opened: HashMap<(bool, bool, usize), Arc<Graph>>,
    threads: usize,
    dim: usize,
}

impl OnnxRuntime {
    fn new(setup: &Setup) -> Result<OnnxRuntime> {
        let library = setup.manifest.onnxruntime.as_ref();
        let library = library.ok_or("the onnxruntime wheel isn't installed: run benches/peers/setup.py")?;
        let graphs = setup.manifest.onnx_graphs(setup.precision)?;
        let name = library.to_string_lossy();
        Ok(OnnxRuntime {
            environment: ort::init_from(library)?.with_telemetry(false).build()?,
            version: name.rsplit_once(".so.").map_or_else(String::new, |(_, version)| version.to_owned()),
            graphs,
            opened: HashMap::new(),
            threads: setup.threads,
            dim: setup.size()?.hidden_size,
        })
    }

    /// A graph with as many sessions as streams, each with its share of the threads.
    fn graph(&mut self, masked: bool, fused: bool, streams: usize) -> Result<Arc<Graph>> {
        if let Some(graph) = self.opened.get(&(masked, fused, streams)) {
            return Ok(Arc::clone(graph));
        }
        let path = match (masked, fused) {
            (true, false) => &self.graphs.masked,
            (true, true) => &self.graphs.masked_fused,
            (false, false) => &self.graphs.unmasked,
            (false, true) => &self.graphs.unmasked_fused,
        };
        let sessions = (0..streams).map(|_| self.session(path, self.threads / streams).map(Mutex::new));
        let graph = Arc::new(Graph { sessions: sessions.collect::<Result<_>>()?, masked });
        self.opened.insert((masked, fused, streams), Arc::clone(&graph));
        Ok(graph)
    }

    fn session(&self, path: &Path, threads: usize) -> Result<Session> {
        // The builder's own errors hold the builder, which isn't `Send`: their text is enough.
        let text = |error: &dyn std::fmt::Display| Error::from(error.to_string());
        Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| text(&error))?
            .with_intra_threads(threads)
            .map_err(|error| text(&error))?
            .commit_from_file(path)
            .map_err(|error| text(&error))
    }
}

impl Engine for OnnxRuntime {
    type Strategy = Cut;

    fn name(&self) -> String {
        "ONNX Runtime".into()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn strategies(&self, sequences: &[Vec<u32>]) -> Vec<Cut> {
        Cut::all(&[AS_EXPORTED, FUSED], sequences.len(), self.threads)
    }

    fn prepare(&mut self, cut: &Cut, sequences: &[Vec<u32>]) -> Result<Run> {
        let graph = self.graph(cut.needs_mask(sequences), cut.variant == FUSED, cut.streams)?;
        cut.prepare(graph, sequences, self.dim)
    }
}

struct Graph {
    sessions: Vec<Mutex<Session>>,
    masked: bool,
}

impl PaddedModel for Graph {
    type Inputs = Vec<Tensor<i64>>;

    fn streams(&self) -> usize {
        self.sessions.len()
    }

    fn prepare(&self, batch: &PaddedBatch) -> Result<Self::Inputs> {
        let shape = [batch.rows.len(), batch.longest];
        let tensor = |values: Vec<u32>| {
            let values: Vec<i64> = values.into_iter().map(i64::from).collect();
            Tensor::from_array((shape, values))
        };
        let mut inputs = vec![tensor(batch.ids.clone())?];
        if self.masked {
            inputs.push(tensor(batch.mask())?);
        }
        Ok(inputs)
    }

    fn embed(&self, stream: usize, inputs: &Self::Inputs) -> Result<Vec<f32>> {
        let mut session = self.sessions[stream].lock().map_err(|_| "another run of this session panicked")?;
        let outputs = match &inputs[..] {
            [ids, mask] => session.run(ort::inputs![ids, mask])?,
            [ids, ..] => session.run(ort::inputs![ids])?,
            [] => return Err("a batch without ids".into()),
        };
        let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(values.to_vec())
    }
}
