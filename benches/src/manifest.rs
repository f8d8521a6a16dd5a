//! `manifest.json`: where `benches/peers/setup.py` put the forms of the model.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Result, precision::Precision};

/// The file's content. A peer whose form could not be made is absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The Python interpreter that has the peers installed.
    pub python: Option<PathBuf>,
    /// The Hugging Face model folder.
    pub model: Option<PathBuf>,
    /// The ONNX graphs.
    pub onnx: Option<OnnxGraphs>,
    /// The ONNX graphs with `int8` products, by ONNX Runtime's dynamic quantisation.
    pub onnx_int8: Option<OnnxGraphs>,
    /// ONNX Runtime's shared library.
    pub onnxruntime: Option<PathBuf>,
}

/// ONNX exports of the model with mean pooling and L2 normalisation, `[batch, sequence]` ids to `[batch, dim]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OnnxGraphs {
    /// Takes `input_ids` and `attention_mask`.
    pub masked: PathBuf,
    /// Takes `input_ids` of one length.
    pub unmasked: PathBuf,
    /// `masked` with the fusions of `onnxruntime.transformers`.
    pub masked_fused: PathBuf,
    /// `unmasked` with the fusions of `onnxruntime.transformers`.
    pub unmasked_fused: PathBuf,
}

impl Manifest {
    /// The ONNX graphs for a precision.
    pub fn onnx_graphs(&self, precision: Precision) -> Result<OnnxGraphs> {
        let graphs = match precision {
            Precision::F32 | Precision::Bf16x3 => &self.onnx,
            Precision::Int8 => &self.onnx_int8,
            Precision::Bf16 => return Err("has no bf16 products on CPUs".into()),
        };
        graphs
            .clone()
            .ok_or_else(|| format!("there is no ONNX export in {precision}: run benches/peers/setup.py").into())
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Manifest> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}
