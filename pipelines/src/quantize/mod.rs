//! Model folders with quantised weights, made from folders with weights as they were trained.

mod calibrate;
mod codes;
mod config;
mod folder;
mod report;
mod tensors;

use std::path::{Path, PathBuf};

use loquat_models::Task;
use loquat_runtime::weights::write_safetensors;

use crate::{
    Error, ModelSource, Progress,
    model::{
        files::{ModelFiles, join},
        load::Checkpoint,
        modules::Modules,
        resolve,
    },
};
use folder::NewFolder;
use tensors::Plan;

pub use report::{LayerReport, QuantizationReport, TensorReport};

/// Texts that models are compared on when the caller has none.
const DEFAULT_TEXTS: &str = include_str!("texts.txt");

/// What weights become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightFormat {
    /// Bytes with a scale for each output, and activations coded as bytes too, row by row, when the model runs.
    Int8,
    /// 4 bits with an `f16` scale for each group of neighbouring inputs; activations stay as they are.
    Int4,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE half precision.
    F16,
}

/// What tables of embeddings become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableFormat {
    /// They stay `f32`.
    F32,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE half precision.
    F16,
    /// Bytes with a scale for each row.
    Int8,
}

/// Writes a quantised copy of a model folder, one that every loader of this library takes as it takes the original.
///
/// Weights of linear layers become what [`WeightFormat`] says, in the layout of compressed-tensors; layers of few outputs, norms and biases stay
/// as they are. Tokenizer, modules and licences are copied.
///
/// ```no_run
/// use loquat::{Quantizer, SentenceEmbeddings, WeightFormat};
///
/// let report = Quantizer::new("all-MiniLM-L6-v2", WeightFormat::Int8).write("all-MiniLM-L6-v2-int8")?;
/// println!("{} to {} bytes, cosine {}", report.bytes_before, report.bytes_after, report.mean_cosine);
/// let model = SentenceEmbeddings::builder().model("all-MiniLM-L6-v2-int8").build()?;
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quantizer {
    source: ModelSource,
    format: WeightFormat,
    group: usize,
    tables: Option<TableFormat>,
    calibration: Option<Vec<String>>,
    least_cosine: f64,
    texts: Option<Vec<String>>,
    force: bool,
    threads: Option<usize>,
}

impl Quantizer {
    /// Begins with a model, which must not be quantised itself, and what its weights shall become.
    pub fn new(model: impl Into<ModelSource>, format: WeightFormat) -> Self {
        Quantizer {
            source: model.into(),
            format,
            group: 32,
            tables: None,
            calibration: None,
            least_cosine: 0.995,
            texts: None,
            force: false,
            threads: None,
        }
    }

    /// Inputs that share a scale in [`WeightFormat::Int4`]: 32, which is the default, or 64.
    pub fn group(mut self, inputs: usize) -> Self {
        self.group = inputs;
        self
    }

    /// What tables of embeddings become. By default bytes with bytes, half precision with 4 bits, and otherwise what the weights become.
    pub fn tables(mut self, format: TableFormat) -> Self {
        self.tables = Some(format);
        self
    }

    /// Texts like those that the model will see. With them, roundings are chosen that move the layers' results least, and, for
    /// [`WeightFormat::Int8`], as few layers as needed stay in half precision for every text to keep
    /// [`least_cosine`](Quantizer::least_cosine).
    pub fn calibrate(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.calibration = Some(texts.into_iter().map(Into::into).collect());
        self
    }

    /// The cosine to the original's embedding that calibration wants for each of its texts, 0.995 by default.
    pub fn least_cosine(mut self, cosine: f64) -> Self {
        self.least_cosine = cosine;
        self
    }

    /// Texts to compare the two models on; by default a few dozen of various kinds.
    pub fn texts(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.texts = Some(texts.into_iter().map(Into::into).collect());
        self
    }

    /// Whether a model folder that is there already is replaced.
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// How many threads work. By default as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Writes the folder and compares it with the original. `out` appears when it is whole; after an error there is none.
    ///
    /// # Errors
    /// If the model can't be read, is quantised already, or holds what the format can't; if `out` can't be written, or is there and not
    /// empty.
    pub fn write(&self, out: impl AsRef<Path>) -> Result<QuantizationReport, Error> {
        self.write_with(out, &mut |_, _| {})
    }

    /// The same, telling `progress` what is being done and how far it has come.
    ///
    /// # Errors
    /// As [`write`](Quantizer::write).
    pub fn write_with(
        &self,
        out: impl AsRef<Path>,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<QuantizationReport, Error> {
        self.check()?;
        let files = resolve::resolve(&self.source)?;
        let ModelFiles::Folder(source) = &files else {
            return Err(Error::Setting {
                setting: "model",
                problem: "the embedded model is quantised already: give the folder of an original".into(),
            });
        };
        let new = NewFolder::beside(out.as_ref(), source, self.force)?;
        let modules = Modules::read(&files)?;
        let checkpoint = Checkpoint::open(&files, &modules.transformer)?;
        if let Some(quantization) = checkpoint.weights.quantization() {
            return Err(Error::Config {
                path: checkpoint.config.file.clone(),
                problem: format!("the weights are quantised already ({quantization}): give the folder of the original"),
            });
        }
        let comparison = report::Comparison::new(&files, &modules, self.threads, self.compared_texts()?)?;
        let calibration = match &self.calibration {
            Some(texts) => Some(calibrate::Calibration::new(&files, &modules, self.threads, texts, progress)?),
            None => None,
        };
        let graph = checkpoint.model.graph(Task::FeatureExtraction, &checkpoint.weights)?;
        let mut plan = Plan::new(&graph, &checkpoint.weights, self.format, self.group, self.table_format());
        new.copy_files(&modules)?;
        let target = new.path().join(&modules.transformer);
        let write = |plan: &Plan<'_>, progress: &mut dyn FnMut(&str, Progress)| {
            let (tensors, reports) = plan.run(self.thread_count(), calibration.as_ref(), progress)?;
            new.write(&join(&modules.transformer, "model.safetensors"), |file| write_safetensors(file, tensors))?;
            let config = config::quantized(&checkpoint.config, self.format, self.group, plan)?;
            new.write(&join(&modules.transformer, "config.json"), |file| std::io::Write::write_all(file, &config))?;
            Ok::<_, Error>(reports)
        };
        let mut reports = write(&plan, progress)?;
        if let (Some(calibration), WeightFormat::Int8) = (&calibration, self.format) {
            let kept = calibration.layers_to_keep(new.path(), self.threads, self.least_cosine, progress)?;
            if !kept.is_empty() {
                plan.keep(&kept);
                reports = write(&plan, progress)?;
            }
        }
        let size = |folder: &Path| folder.join("model.safetensors").metadata().map_or(0, |metadata| metadata.len());
        let mut report = comparison.with(new.path(), progress)?;
        report.tensors = reports;
        report.kept = plan.kept();
        report.bytes_before = checkpoint.weights.bytes() as u64;
        report.bytes_after = size(&target);
        new.publish()?;
        Ok(report)
    }

    fn check(&self) -> Result<(), Error> {
        let error = |setting, problem: String| Err(Error::Setting { setting, problem });
        if self.format == WeightFormat::Int4 && ![32, 64].contains(&self.group) {
            return error("group", format!("{} inputs, expected 32 or 64", self.group));
        }
        if !(0.0..1.0).contains(&self.least_cosine) {
            return error("least_cosine", format!("{}, expected a number from 0 to below 1", self.least_cosine));
        }
        if self.calibration.is_some() && matches!(self.format, WeightFormat::Bf16 | WeightFormat::F16) {
            return error(
                "calibrate",
                "bf16 and f16 are roundings to the nearest value, with nothing to choose".into(),
            );
        }
        if self.calibration.as_ref().is_some_and(Vec::is_empty) {
            return error("calibrate", "no texts: give at least one".into());
        }
        Ok(())
    }

    fn table_format(&self) -> TableFormat {
        self.tables.unwrap_or(match self.format {
            WeightFormat::Int8 => TableFormat::Int8,
            WeightFormat::Bf16 => TableFormat::Bf16,
            WeightFormat::Int4 | WeightFormat::F16 => TableFormat::F16,
        })
    }

    fn compared_texts(&self) -> Result<Vec<String>, Error> {
        match &self.texts {
            None => Ok(DEFAULT_TEXTS.lines().map(str::to_owned).collect()),
            Some(texts) if texts.is_empty() => {
                Err(Error::Setting { setting: "texts", problem: "no texts: give at least one".into() })
            }
            Some(texts) => Ok(texts.clone()),
        }
    }

    fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }
}

/// A folder as the source of a model.
fn source_of(folder: &Path) -> ModelFiles {
    ModelFiles::Folder(PathBuf::from(folder))
}
