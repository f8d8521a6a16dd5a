//! A BERT small enough to make in a test, and to break in one place at a time.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use crate::run::scratch;

/// Tokens of the vocabulary before the letters.
const WORDS: [&str; 10] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat"];

pub const HIDDEN: usize = 12;
pub const POSITIONS: usize = 24;

/// The files of a model before they are written.
pub struct TinyModel {
    pub config: Value,
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub vocabulary: String,
    /// Further files.
    pub files: BTreeMap<String, String>,
}

impl TinyModel {
    /// Two layers, three heads of four.
    pub fn new() -> Self {
        let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
        let vocabulary: Vec<String> = WORDS.iter().map(|word| word.to_string()).chain(letters).collect();
        let mut model = TinyModel {
            config: json!({
                "model_type": "bert",
                "architectures": ["BertModel"],
                "vocab_size": vocabulary.len(),
                "hidden_size": HIDDEN,
                "num_hidden_layers": 2,
                "num_attention_heads": 3,
                "intermediate_size": 20,
                "hidden_act": "gelu",
                "max_position_embeddings": POSITIONS,
                "type_vocab_size": 2,
                "layer_norm_eps": 1e-12,
                "pad_token_id": 0
            }),
            tensors: BTreeMap::new(),
            vocabulary: vocabulary.join("\n") + "\n",
            files: BTreeMap::new(),
        };
        model.tensor("embeddings.word_embeddings.weight", &[vocabulary.len(), HIDDEN]);
        model.tensor("embeddings.position_embeddings.weight", &[POSITIONS, HIDDEN]);
        model.tensor("embeddings.token_type_embeddings.weight", &[2, HIDDEN]);
        model.norm("embeddings.LayerNorm");
        for layer in 0..2 {
            let layer = format!("encoder.layer.{layer}");
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                model.linear(&format!("{layer}.{part}"), HIDDEN, HIDDEN);
            }
            model.norm(&format!("{layer}.attention.output.LayerNorm"));
            model.linear(&format!("{layer}.intermediate.dense"), 20, HIDDEN);
            model.linear(&format!("{layer}.output.dense"), HIDDEN, 20);
            model.norm(&format!("{layer}.output.LayerNorm"));
        }
        model.linear("pooler.dense", HIDDEN, HIDDEN);
        model
    }

    /// The model as a folder of its own for the test `name`.
    pub fn write(&self, name: &str) -> PathBuf {
        let folder = scratch(name);
        self.write_weights(&folder.join("model.safetensors"));
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        fs::write(folder.join("vocab.txt"), &self.vocabulary).unwrap();
        for (path, content) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn write_weights(&self, path: &Path) {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                (name.clone(), shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views =
            bytes.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn linear(&mut self, name: &str, out: usize, input: usize) {
        self.tensor(&format!("{name}.weight"), &[out, input]);
        self.tensor(&format!("{name}.bias"), &[out]);
    }

    fn norm(&mut self, name: &str) {
        self.tensors.insert(format!("{name}.weight"), (vec![HIDDEN], vec![1.0; HIDDEN]));
        self.tensors.insert(format!("{name}.bias"), (vec![HIDDEN], vec![0.0; HIDDEN]));
    }

    /// Values in -0.5..0.5 that differ from tensor to tensor and are the same on every run.
    fn tensor(&mut self, name: &str, shape: &[usize]) {
        let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ (self.tensors.len() as u64) << 32;
        let values = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }
}
