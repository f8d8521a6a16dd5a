//! RTen as a contender: the ONNX exports, weights packed ahead.

use std::collections::HashMap;
use std::sync::Arc;

use loquat_benches::manifest::OnnxGraphs;
use loquat_benches::padded::{Cut, PaddedModel};
use loquat_benches::worker::{Engine, Run, serve};
use loquat_benches::{Result, batching::PaddedBatch, versions};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

fn main() -> Result<()> {
    serve(std::env::args().skip(1), |setup| {
        let graphs = setup.manifest.onnx_graphs(setup.precision)?;
        Ok(Rten { graphs, models: HashMap::new(), threads: setup.threads, dim: setup.size()?.hidden_size })
    })
}

struct Rten {
    graphs: OnnxGraphs,
    models: HashMap<bool, Arc<Model>>,
    threads: usize,
    dim: usize,
}

impl Engine for Rten {
    type Strategy = Cut;

    fn name(&self) -> String {
        "RTen".into()
    }

    fn version(&self) -> String {
        versions::locked("rten")
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn strategies(&self, sequences: &[Vec<u32>]) -> Vec<Cut> {
        Cut::all(&[""], sequences.len(), self.threads)
    }

    fn prepare(&mut self, cut: &Cut, sequences: &[Vec<u32>]) -> Result<Run> {
        let graph = self.graph(cut.needs_mask(sequences), cut.streams)?;
        cut.prepare(Arc::new(graph), sequences, self.dim)
    }
}

impl Rten {
    /// The masked or the unmasked graph, with as many pools of threads as streams.
    fn graph(&mut self, masked: bool, streams: usize) -> Result<Graph> {
        let model = match self.models.get(&masked) {
            Some(model) => Arc::clone(model),
            None => {
                let path = if masked { &self.graphs.masked } else { &self.graphs.unmasked };
                let model = Arc::new(ModelOptions::with_all_ops().prepack_weights(true).load_file(path)?);
                self.models.insert(masked, Arc::clone(&model));
                model
            }
        };
        let names: &[&str] = if masked { &["input_ids", "attention_mask"] } else { &["input_ids"] };
        Ok(Graph {
            inputs: names.iter().map(|name| model.node_id(name)).collect::<std::result::Result<_, _>>()?,
            output: model.node_id("sentence_embedding")?,
            pools: (0..streams).map(|_| Arc::new(ThreadPool::with_num_threads(self.threads / streams))).collect(),
            model,
        })
    }
}

struct Graph {
    model: Arc<Model>,
    inputs: Vec<NodeId>,
    output: NodeId,
    pools: Vec<Arc<ThreadPool>>,
}

impl PaddedModel for Graph {
    type Inputs = Vec<Tensor<i32>>;

    fn streams(&self) -> usize {
        self.pools.len()
    }

    fn prepare(&self, batch: &PaddedBatch) -> Result<Self::Inputs> {
        let shape = [batch.rows.len(), batch.longest];
        let tensor = |values: Vec<u32>| -> Result<Tensor<i32>> {
            let values = values.into_iter().map(i32::try_from).collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(Tensor::from_data(&shape, values))
        };
        let mut inputs = vec![tensor(batch.ids.clone())?];
        if self.inputs.len() > 1 {
            inputs.push(tensor(batch.mask())?);
        }
        Ok(inputs)
    }

    fn embed(&self, stream: usize, inputs: &Self::Inputs) -> Result<Vec<f32>> {
        let inputs =
            self.inputs.iter().zip(inputs).map(|(&id, tensor)| (id, ValueOrView::from(tensor.view()))).collect();
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pools[stream])));
        let [output] = self.model.run_n(inputs, [self.output], Some(options))?;
        let output = output.into_tensor::<f32>().ok_or("the graph's output isn't f32")?;
        Ok(output.into_data())
    }
}
