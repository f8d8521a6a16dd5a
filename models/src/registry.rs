//! From a folder to a model: which architecture a configuration asks for.

use std::path::Path;

use loquat_runtime::{Weights, weights::Quantization};
use serde::Deserialize;

use crate::{
    Model, ModelError, albert::Albert, bert::Bert, config::Source, deberta::Deberta, deberta_v2::DebertaV2,
    distilbert::DistilBert, electra::Electra, fnet::Fnet, longformer::Longformer, mobilebert::MobileBert,
    modernbert::ModernBert, mpnet::Mpnet, nomic_bert::NomicBert, roberta::Roberta, xlnet::Xlnet,
};

/// An architecture that can be loaded.
#[derive(Clone, Copy)]
pub struct Architecture {
    /// Value of `model_type` in `config.json`.
    pub model_type: &'static str,
    /// How the names in `architectures` begin, for files without a `model_type`.
    pub class_prefix: &'static str,
    parse: fn(&Source) -> Result<Box<dyn Model>, ModelError>,
}

/// An entry of the table: the type's own `parse`, boxed.
macro_rules! architecture {
    ($model_type:literal, $class_prefix:literal, $model:ty) => {
        Architecture {
            model_type: $model_type,
            class_prefix: $class_prefix,
            parse: |source| Ok(Box::new(<$model>::parse(source)?)),
        }
    };
}

/// All architectures.
pub const ARCHITECTURES: &[Architecture] = &[
    architecture!("bert", "Bert", Bert),
    architecture!("distilbert", "DistilBert", DistilBert),
    architecture!("roberta", "Roberta", Roberta),
    architecture!("xlm-roberta", "XLMRoberta", Roberta),
    architecture!("camembert", "Camembert", Roberta),
    architecture!("albert", "Albert", Albert),
    architecture!("electra", "Electra", Electra),
    architecture!("mpnet", "MPNet", Mpnet),
    architecture!("modernbert", "ModernBert", ModernBert),
    architecture!("deberta-v2", "DebertaV2", DebertaV2),
    architecture!("deberta", "Deberta", Deberta),
    architecture!("nomic_bert", "NomicBert", NomicBert),
    architecture!("mobilebert", "MobileBert", MobileBert),
    architecture!("fnet", "FNet", Fnet),
    architecture!("longformer", "Longformer", Longformer),
    architecture!("xlnet", "XLNet", Xlnet),
];

/// A model and its weights.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Box<dyn Model>,
    /// The weights.
    pub weights: Weights,
}

/// Loads the `config.json` and the weights of a folder and checks them against each other.
///
/// # Errors
/// If a file is missing or damaged, the architecture is unknown, or the two files contradict each other.
pub fn load(folder: impl AsRef<Path>) -> Result<Loaded, ModelError> {
    let folder = folder.as_ref();
    let config = Source::read(&folder.join("config.json"))?;
    let model = parse_config(&config)?;
    let quantization = Quantization::from_config(&config.file, &config.text)?;
    let weights = Weights::open(folder)?.with_quantization(quantization);
    model.check_weights(&weights)?;
    Ok(Loaded { model, weights })
}

/// Reads a `config.json`, given by its own path or by its folder's.
///
/// # Errors
/// If it can't be read, the architecture is unknown, or a field asks for what isn't supported.
pub fn load_config(path: impl AsRef<Path>) -> Result<Box<dyn Model>, ModelError> {
    let path = path.as_ref();
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    parse_config(&Source::read(&file)?)
}

/// The fields that say which architecture a configuration is for.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Kind {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
}

/// Parses the text of a `config.json`.
///
/// # Errors
/// If the architecture is unknown, or a field asks for what isn't supported.
pub fn parse_config(source: &Source) -> Result<Box<dyn Model>, ModelError> {
    let kind: Kind = source.parse()?;
    let class = kind.architectures.unwrap_or_default().into_iter().next();
    let architecture = ARCHITECTURES.iter().find(|architecture| match (&kind.model_type, &class) {
        (Some(model_type), _) => architecture.model_type == model_type,
        (None, Some(class)) => class.starts_with(architecture.class_prefix),
        (None, None) => false,
    });
    match architecture {
        Some(architecture) => (architecture.parse)(source),
        None => Err(ModelError::Architecture {
            file: source.file.clone(),
            found: match (kind.model_type, class) {
                (Some(model_type), _) => format!("model_type {model_type:?}"),
                (None, Some(class)) => format!("architectures {class:?} without a model_type"),
                (None, None) => "a configuration with neither model_type nor architectures".to_owned(),
            },
            known: ARCHITECTURES.iter().map(|known| known.model_type).collect::<Vec<_>>().join(", "),
        }),
    }
}

impl std::fmt::Debug for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.model_type)
    }
}
