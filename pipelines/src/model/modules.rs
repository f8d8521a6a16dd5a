//! How sentence-transformers writes down a model: `modules.json` and a folder per module.
//!
//! What is read here, and the defaults of what isn't written, follow sentence-transformers 6.2: the modules
//! `Transformer`, `Pooling`, `Dense`, `Normalize` and `Dropout` (which does nothing after training).

use serde::Deserialize;

use super::files::{ModelFiles, join, stays_inside};
use crate::Error;

/// A sentence embedding model: an encoder, then steps from its hidden states to one vector per text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Modules {
    /// The folder of `config.json` and weights inside the model, empty for the model's own folder.
    pub(crate) transformer: String,
    pub(crate) max_seq_length: Option<usize>,
    pub(crate) lower_case: bool,
    /// Several are put side by side, in this order.
    pub(crate) pooling: Vec<PoolingMode>,
    /// Whether a prompt's tokens take part in pooling.
    pub(crate) pool_prompt: bool,
    pub(crate) steps: Vec<Step>,
    /// Folders of the modules after the transformer, inside the model.
    pub(crate) folders: Vec<String>,
}

/// What happens to the pooled vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Dense(Dense),
    Normalize,
}

/// A linear layer with an activation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    /// The folder of its weights inside the model.
    pub(crate) folder: String,
    pub(crate) in_features: usize,
    pub(crate) out_features: usize,
    pub(crate) bias: bool,
    pub(crate) activation: Option<DenseActivation>,
    pub(crate) residual: bool,
}

/// The activations that a `Dense` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Tanh,
    Relu,
    Gelu,
    Silu,
    Sigmoid,
}

/// How a text's hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolingMode {
    Cls,
    Max,
    Mean,
    MeanSqrtLen,
    Last,
}

impl Modules {
    /// What sentence-transformers makes of a folder without `modules.json`: the mean of the hidden states, as it is.
    pub(crate) fn plain() -> Self {
        Modules {
            transformer: String::new(),
            max_seq_length: None,
            lower_case: false,
            pooling: vec![PoolingMode::Mean],
            pool_prompt: true,
            steps: Vec::new(),
            folders: Vec::new(),
        }
    }

    pub(crate) fn read(files: &ModelFiles) -> Result<Self, Error> {
        let mut modules = Modules::plain();
        let Some(entries) = files.json::<Vec<ModuleEntry>>("modules.json")? else {
            modules.read_transformer(files)?;
            return Ok(modules);
        };
        modules.pooling.clear();
        let invalid = |problem: String| Error::Config { path: files.label("modules.json"), problem };
        for (position, entry) in entries.iter().enumerate() {
            let path = entry.path.clone();
            if !stays_inside(&path) {
                return Err(invalid(format!("the path {path:?} of module {position} leaves the model's folder")));
            }
            if position > 0 && !path.is_empty() {
                modules.folders.push(path.clone());
            }
            let class = entry.class.rsplit('.').next().unwrap_or_default();
            let known = entry.class.starts_with("sentence_transformers.");
            match class {
                "Transformer" if known && position == 0 => {
                    modules.transformer = path;
                    modules.read_transformer(files)?;
                }
                "Pooling" if known && position == 1 => modules.read_pooling(files, &path)?,
                "Dense" if known && position > 1 => modules.steps.push(Step::Dense(Dense::read(files, path)?)),
                "Normalize" if known && position > 1 => modules.steps.push(Step::Normalize),
                "Dropout" if known && position > 1 => {}
                _ => {
                    return Err(invalid(format!(
                        "module {position} is {:?}; supported are sentence_transformers' Transformer, then Pooling, then any of Dense, Normalize, Dropout",
                        entry.class
                    )));
                }
            }
        }
        if modules.pooling.is_empty() {
            return Err(invalid(format!("{} modules, expected at least a Transformer and a Pooling", entries.len())));
        }
        Ok(modules)
    }

    fn read_transformer(&mut self, files: &ModelFiles) -> Result<(), Error> {
        for file in TRANSFORMER_CONFIGS {
            let path = join(&self.transformer, file);
            let Some(config) = files.json::<TransformerConfig>(&path)? else { continue };
            if config.max_seq_length == Some(0) {
                let problem = "max_seq_length is 0, expected at least 1".into();
                return Err(Error::Config { path: files.label(&path), problem });
            }
            self.max_seq_length = config.max_seq_length;
            self.lower_case = config.do_lower_case.unwrap_or(false);
            return Ok(());
        }
        Ok(())
    }

    fn read_pooling(&mut self, files: &ModelFiles, folder: &str) -> Result<(), Error> {
        let path = join(folder, "config.json");
        let config: PoolingConfig = files.json(&path)?.ok_or_else(|| missing(files, &path))?;
        self.pooling = config.modes().map_err(|problem| Error::Config { path: files.label(&path), problem })?;
        self.pool_prompt = config.include_prompt.unwrap_or(true);
        Ok(())
    }
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct ModuleEntry {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

/// What the settings of the module `Transformer` are called; older folders name them after the architecture.
const TRANSFORMER_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// One of [`TRANSFORMER_CONFIGS`].
#[derive(Deserialize)]
struct TransformerConfig {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

/// `1_Pooling/config.json`, its older form (a flag per mode) and its newer one (`pooling_mode`).
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode: Option<OneOrMany>,
    pooling_mode_cls_token: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
    include_prompt: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl PoolingConfig {
    fn modes(&self) -> Result<Vec<PoolingMode>, String> {
        let named: Vec<&str> = match &self.pooling_mode {
            Some(OneOrMany::One(mode)) => vec![mode],
            Some(OneOrMany::Many(modes)) => modes.iter().map(String::as_str).collect(),
            // The order in which sentence-transformers puts several side by side.
            None => [
                (self.pooling_mode_cls_token, "cls"),
                (self.pooling_mode_max_tokens, "max"),
                (self.pooling_mode_mean_tokens, "mean"),
                (self.pooling_mode_mean_sqrt_len_tokens, "mean_sqrt_len_tokens"),
                (self.pooling_mode_weightedmean_tokens, "weightedmean"),
                (self.pooling_mode_lasttoken, "lasttoken"),
            ]
            .into_iter()
            .filter_map(|(set, mode)| set.then_some(mode))
            .collect(),
        };
        if named.is_empty() {
            return Ok(vec![PoolingMode::Mean]);
        }
        let parse = |mode: &str| match mode {
            "cls" => Ok(PoolingMode::Cls),
            "max" => Ok(PoolingMode::Max),
            "mean" => Ok(PoolingMode::Mean),
            "mean_sqrt_len_tokens" => Ok(PoolingMode::MeanSqrtLen),
            "lasttoken" => Ok(PoolingMode::Last),
            other => {
                Err(format!("pooling mode {other:?}; supported are cls, max, mean, mean_sqrt_len_tokens and lasttoken"))
            }
        };
        named.into_iter().map(parse).collect()
    }
}

/// `2_Dense/config.json`.
#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    bias: Option<bool>,
    activation_function: Option<String>,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    use_residual: Option<bool>,
}

impl Dense {
    fn read(files: &ModelFiles, folder: String) -> Result<Self, Error> {
        let path = join(&folder, "config.json");
        let config: DenseConfig = files.json(&path)?.ok_or_else(|| missing(files, &path))?;
        let invalid = |problem: String| Error::Config { path: files.label(&path), problem };
        for name in [&config.module_input_name, &config.module_output_name].into_iter().flatten() {
            if name != "sentence_embedding" {
                return Err(invalid(format!("the layer works on {name:?}; supported is \"sentence_embedding\"")));
            }
        }
        Ok(Dense {
            in_features: config.in_features,
            out_features: config.out_features,
            bias: config.bias.unwrap_or(true),
            activation: activation(config.activation_function.as_deref()).map_err(invalid)?,
            residual: config.use_residual.unwrap_or(false),
            folder,
        })
    }
}

/// The activation that a class path of PyTorch names; none written is `Tanh`, sentence-transformers' default.
fn activation(path: Option<&str>) -> Result<Option<DenseActivation>, String> {
    let path = path.unwrap_or("torch.nn.modules.activation.Tanh");
    let class = if path.starts_with("torch.") { path.rsplit('.').next() } else { None };
    match class {
        Some("Identity") => Ok(None),
        Some("Tanh") => Ok(Some(DenseActivation::Tanh)),
        Some("ReLU") => Ok(Some(DenseActivation::Relu)),
        Some("GELU") => Ok(Some(DenseActivation::Gelu)),
        Some("SiLU") => Ok(Some(DenseActivation::Silu)),
        Some("Sigmoid") => Ok(Some(DenseActivation::Sigmoid)),
        _ => Err(format!(
            "activation_function {path:?}; supported are torch.nn's Identity, Tanh, ReLU, GELU, SiLU and Sigmoid"
        )),
    }
}

fn missing(files: &ModelFiles, path: &str) -> Error {
    Error::Config { path: files.label(path), problem: "there is no such file, but modules.json needs it".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::files::EmbeddedFiles;

    fn modes(json: &str) -> Result<Vec<PoolingMode>, String> {
        serde_json::from_str::<PoolingConfig>(json).unwrap().modes()
    }

    #[test]
    fn pooling_is_read_from_flags_and_from_names() {
        use PoolingMode::*;
        assert_eq!(modes(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#).unwrap(), [Cls]);
        assert_eq!(
            modes(r#"{"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true, "pooling_mode_cls_token": true}"#).unwrap(),
            [Cls, Max, Mean, Last]
        );
        assert_eq!(modes(r#"{"pooling_mode": "lasttoken"}"#).unwrap(), [Last]);
        assert_eq!(modes(r#"{"pooling_mode": ["mean", "cls"]}"#).unwrap(), [Mean, Cls]);
        assert_eq!(modes(r#"{"pooling_mode": "max", "pooling_mode_cls_token": true}"#).unwrap(), [Max]);
        assert_eq!(modes("{}").unwrap(), [Mean]);
        assert!(modes(r#"{"pooling_mode_weightedmean_tokens": true}"#).unwrap_err().contains("weightedmean"));
    }

    #[test]
    fn activations_are_class_paths_of_torch() {
        assert_eq!(activation(None), Ok(Some(DenseActivation::Tanh)));
        assert_eq!(activation(Some("torch.nn.modules.linear.Identity")), Ok(None));
        assert_eq!(activation(Some("torch.nn.modules.activation.ReLU")), Ok(Some(DenseActivation::Relu)));
        assert_eq!(activation(Some("torch.nn.GELU")), Ok(Some(DenseActivation::Gelu)));
        assert!(activation(Some("torch.nn.modules.activation.Mish")).unwrap_err().contains("Mish"));
        assert!(activation(Some("mine.Tanh")).unwrap_err().contains("mine.Tanh"));
    }

    #[test]
    fn a_folder_without_modules_is_mean_pooled_and_not_normalised() {
        let files = ModelFiles::Embedded { name: "test", files: &[] };
        let modules = Modules::read(&files).unwrap();
        assert_eq!((modules.pooling, modules.steps), (vec![PoolingMode::Mean], vec![]));
    }

    #[test]
    fn modules_are_read_in_their_order() {
        let files = ModelFiles::Embedded {
            name: "test",
            files: &[
                (
                    "modules.json",
                    br#"[{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
                         {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                         {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.base.modules.dense.Dense"},
                         {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
                ),
                ("0_Transformer/sentence_bert_config.json", br#"{"max_seq_length": 128, "do_lower_case": true}"#),
                ("1_Pooling/config.json", br#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": true}"#),
                ("2_Dense/config.json", br#"{"in_features": 8, "out_features": 4, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"}"#),
            ],
        };
        let modules = Modules::read(&files).unwrap();
        assert_eq!(modules.transformer, "0_Transformer");
        assert_eq!((modules.max_seq_length, modules.lower_case), (Some(128), true));
        assert_eq!(modules.pooling, [PoolingMode::Cls]);
        let dense = Dense {
            folder: "2_Dense".into(),
            in_features: 8,
            out_features: 4,
            bias: false,
            activation: None,
            residual: false,
        };
        assert_eq!(modules.steps, [Step::Dense(dense), Step::Normalize]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases: [(EmbeddedFiles, &str); 4] = [
            (&[("modules.json", br#"[{"path": "", "type": "sentence_transformers.models.CLIPModel"}]"#)], "CLIPModel"),
            (
                &[("modules.json", br#"[{"path": "../x", "type": "sentence_transformers.models.Transformer"}]"#)],
                "leaves the model's folder",
            ),
            (
                &[("modules.json", br#"[{"path": "", "type": "sentence_transformers.models.Transformer"}]"#)],
                "at least a Transformer and a Pooling",
            ),
            (&[("modules.json", b"[{]")], "modules.json"),
        ];
        for (files, expected) in cases {
            let error = Modules::read(&ModelFiles::Embedded { name: "test", files }).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
