//! candle as a contender: `candle-transformers`' own BERT. Build it for the processor it runs on (`-Ctarget-cpu=native`, as
//! setup.py does): its kernels are chosen at compile time.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use loquat_benches::batching::PaddedBatch;
use loquat_benches::padded::{Cut, PaddedModel};
use loquat_benches::precision::Precision;
use loquat_benches::worker::{Engine, Run, Setup, serve};
use loquat_benches::{Result, versions};

fn main() -> Result<()> {
    serve(std::env::args().skip(1), Candle::new)
}

struct Candle {
    encoder: Arc<Encoder>,
    dim: usize,
}

impl Candle {
    fn new(setup: &Setup) -> Result<Candle> {
        if setup.precision != Precision::F32 {
            return Err(format!("computes no faster in {} on CPUs", setup.precision).into());
        }
        let folder = setup.manifest.model.as_ref().ok_or("there is no model: give compare --model DIR")?;
        let config: Config = serde_json::from_str(&std::fs::read_to_string(folder.join("config.json"))?)?;
        // Read rather than mapped: mapping is `unsafe` in candle, and only loading would differ.
        let weights = std::fs::read(folder.join("model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
        let encoder = Arc::new(Encoder { model: BertModel::load(weights, &config)? });
        Ok(Candle { encoder, dim: config.hidden_size })
    }
}

impl Engine for Candle {
    type Strategy = Cut;

    fn name(&self) -> String {
        "candle".into()
    }

    fn version(&self) -> String {
        versions::locked("candle-core")
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn strategies(&self, sequences: &[Vec<u32>]) -> Vec<Cut> {
        // Its threads are rayon's global ones: one stream.
        Cut::all(&[""], sequences.len(), 1)
    }

    fn prepare(&mut self, cut: &Cut, sequences: &[Vec<u32>]) -> Result<Run> {
        cut.prepare(Arc::clone(&self.encoder), sequences, self.dim)
    }
}

struct Encoder {
    model: BertModel,
}

/// The tensors of a batch; no mask where nothing is padded.
struct Inputs {
    ids: Tensor,
    types: Tensor,
    mask: Option<Tensor>,
    weights: Option<(Tensor, Tensor)>,
}

impl PaddedModel for Encoder {
    type Inputs = Inputs;

    fn streams(&self) -> usize {
        1
    }

    fn prepare(&self, batch: &PaddedBatch) -> Result<Inputs> {
        let shape = (batch.rows.len(), batch.longest);
        let ids = Tensor::from_slice(&batch.ids, shape, &Device::Cpu)?;
        let types = ids.zeros_like()?;
        if batch.uniform() {
            return Ok(Inputs { ids, types, mask: None, weights: None });
        }
        let mask = Tensor::from_vec(batch.mask(), shape, &Device::Cpu)?;
        let weights = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let counts = weights.sum(1)?;
        Ok(Inputs { ids, types, mask: Some(mask), weights: Some((weights, counts)) })
    }

    fn embed(&self, _stream: usize, inputs: &Inputs) -> Result<Vec<f32>> {
        let hidden = self.model.forward(&inputs.ids, &inputs.types, inputs.mask.as_ref())?;
        let mean = match &inputs.weights {
            None => hidden.mean(1)?,
            Some((weights, counts)) => hidden.broadcast_mul(weights)?.sum(1)?.broadcast_div(counts)?,
        };
        let norm = mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        Ok(mean.broadcast_div(&norm)?.flatten_all()?.to_vec1()?)
    }
}
