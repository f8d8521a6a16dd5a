//! From a model's files to something that runs. Tokenizer and weights load at the same time, since both take a while.

use std::{num::NonZeroUsize, sync::Arc};

use loquat_models::{Labels, Model, ModelError, Source, Task};
use loquat_runtime::{
    Options, Precision, Session,
    graph::{Graph, GraphBuilder},
    weights::{Quantization, Weights},
};
use loquat_tokenizer::Tokenizer;

use super::{
    ModelSource,
    files::{ModelFiles, join},
    head::{Head, HeadProblem, SENTENCE_EMBEDDING},
    modules::{Modules, Step},
    resolve::resolve,
};
use crate::Error;

/// How a model runs, as far as users choose it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunOptions {
    pub(crate) threads: Option<usize>,
    pub(crate) precision: Precision,
    pub(crate) keep_high: Vec<String>,
}

impl RunOptions {
    pub(crate) fn session(&self, outputs: Option<Vec<String>>) -> Result<Options, Error> {
        let threads = match self.threads {
            None => None,
            Some(threads) => Some(NonZeroUsize::new(threads).ok_or_else(|| Error::Setting {
                setting: "threads",
                problem: "0 threads can't do any work: give at least 1, or leave it out for one per core".into(),
            })?),
        };
        let keep_high = self.keep_high.clone();
        Ok(Options { threads, precision: self.precision, keep_high, outputs, ..Options::default() })
    }
}

/// A sentence embedding model in parts.
pub(crate) struct SentenceModel {
    pub(crate) session: Session,
    pub(crate) head: Head,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) positions: usize,
}

/// An encoder in parts.
pub(crate) struct LoadedEncoder {
    pub(crate) session: Session,
    pub(crate) weights: Arc<Weights>,
    pub(crate) config: String,
    pub(crate) model: Box<dyn Model>,
}

/// A model with a head, in parts.
pub(crate) struct LoadedTask {
    pub(crate) session: Session,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) labels: Labels,
    pub(crate) positions: usize,
}

/// A config and its weights, checked against each other.
pub(crate) struct Checkpoint {
    pub(crate) config: Source,
    pub(crate) model: Box<dyn Model>,
    pub(crate) weights: Weights,
}

pub(crate) fn sentence_model(files: &ModelFiles, modules: &Modules, run: &RunOptions) -> Result<SentenceModel, Error> {
    let (tokenizer, session) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| tokenizer(files, &modules.transformer));
        let session = sentence_session(files, modules, run);
        let tokenizer = tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (tokenizer, session)
    });
    let (session, head, positions) = session?;
    Ok(SentenceModel { session, head, tokenizer: tokenizer?, positions })
}

fn sentence_session(files: &ModelFiles, modules: &Modules, run: &RunOptions) -> Result<(Session, Head, usize), Error> {
    let checkpoint = Checkpoint::open(files, &modules.transformer)?.with_modules(files, modules)?;
    let (graph, head) = checkpoint.sentence_graph(files, modules)?;
    let session = Session::new(graph, checkpoint.weights, &run.session(Some(head.outputs()))?)?;
    Ok((session, head, checkpoint.model.max_positions()))
}

/// A sentence embedding model that gives what every linear layer reads and makes as well.
pub(crate) fn layers_session(files: &ModelFiles, modules: &Modules, options: &Options) -> Result<Session, Error> {
    let checkpoint = Checkpoint::open(files, &modules.transformer)?.with_modules(files, modules)?;
    let (graph, _) = checkpoint.sentence_graph(files, modules)?;
    Ok(Session::new(graph.with_layer_outputs(), checkpoint.weights, options)?)
}

/// The encoder with the outputs of a task, or with `sentence_embedding` where that is asked for.
pub(crate) fn encoder(
    files: &ModelFiles,
    modules: &Modules,
    run: &RunOptions,
    task: Task,
    outputs: Option<Vec<String>>,
) -> Result<LoadedEncoder, Error> {
    let mut checkpoint = Checkpoint::open(files, &modules.transformer)?;
    let mut names = outputs;
    let graph = match &mut names {
        Some(names) if names.iter().any(|name| name == SENTENCE_EMBEDDING) => {
            checkpoint = checkpoint.with_modules(files, modules)?;
            let (graph, head) = checkpoint.sentence_graph(files, modules)?;
            names.retain(|name| name != SENTENCE_EMBEDDING);
            names.extend(head.outputs());
            graph
        }
        _ => checkpoint.model.graph(task, &checkpoint.weights)?,
    };
    let Checkpoint { config, model, weights } = checkpoint;
    let weights = Arc::new(weights);
    let session = Session::new(graph, Arc::clone(&weights), &run.session(names)?)?;
    Ok(LoadedEncoder { session, weights, config: config.text, model })
}

/// A model with the head for a task, its tokenizer, and what its configuration says about labels.
pub(crate) fn task_model(files: &ModelFiles, run: &RunOptions, task: Task) -> Result<LoadedTask, Error> {
    let modules = Modules::read(files)?;
    let (tokenizer, model) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| tokenizer(files, &modules.transformer));
        let model = task_session(files, &modules.transformer, run, task);
        let tokenizer = tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (tokenizer, model)
    });
    let (session, labels, positions) = model?;
    Ok(LoadedTask { session, tokenizer: tokenizer?, labels, positions })
}

fn task_session(
    files: &ModelFiles,
    folder: &str,
    run: &RunOptions,
    task: Task,
) -> Result<(Session, Labels, usize), Error> {
    let checkpoint = Checkpoint::open(files, folder)?;
    let graph = checkpoint.model.graph(task, &checkpoint.weights)?;
    let labels = Labels::parse(&checkpoint.config)?;
    let positions = checkpoint.model.max_positions();
    let session = Session::new(graph, checkpoint.weights, &run.session(None)?)?;
    Ok((session, labels, positions))
}

impl Checkpoint {
    pub(crate) fn open(files: &ModelFiles, folder: &str) -> Result<Self, Error> {
        let path = join(folder, "config.json");
        let Some(bytes) = files.read(&path)? else {
            return Err(Error::Config {
                path: files.label(&path),
                problem: "there is no such file, but every model folder needs one".into(),
            });
        };
        let text = String::from_utf8(bytes.into_owned())
            .map_err(|error| Error::Json { path: files.label(&path), source: Box::new(error) })?;
        let config = Source { file: files.label(&path), text };
        let model = loquat_models::parse_config(&config)?;
        let quantization = Quantization::from_config(&config.file, &config.text)?;
        let weights = weights(files, folder)?.with_quantization(quantization);
        model.check_weights(&weights)?;
        Ok(Checkpoint { config, model, weights })
    }

    /// The weights of the modules after the encoder too, each tensor under its folder's name.
    fn with_modules(mut self, files: &ModelFiles, modules: &Modules) -> Result<Self, Error> {
        for step in &modules.steps {
            if let Step::Dense(dense) = step {
                self.weights = self.weights.join(&join(&dense.folder, ""), weights(files, &dense.folder)?)?;
            }
        }
        Ok(self)
    }

    /// The encoder with the modules after it; its own hidden states are an output too.
    fn sentence_graph(&self, files: &ModelFiles, modules: &Modules) -> Result<(Graph, Head), Error> {
        let problem = |problem: HeadProblem| match problem {
            HeadProblem::Graph(source) => Error::Model(ModelError::Graph { file: self.config.file.clone(), source }),
            HeadProblem::Module { folder, problem } => {
                Error::Config { path: files.label(&join(&folder, "config.json")), problem }
            }
        };
        let mut builder = GraphBuilder::new(files.name());
        let encoder = self.model.encoder(&mut builder).map_err(|error| problem(error.into()))?;
        builder.output("last_hidden_state", encoder.last_hidden_state);
        let head = Head::build(&mut builder, encoder.last_hidden_state, modules).map_err(problem)?;
        let graph = builder.finish().map_err(|error| problem(error.into()))?;
        Ok((graph, head))
    }
}

fn weights(files: &ModelFiles, folder: &str) -> Result<Weights, Error> {
    let path = join(folder, "model.safetensors");
    match files {
        ModelFiles::Folder(root) => Ok(Weights::open(root.join(folder))?),
        ModelFiles::Embedded { files: embedded, .. } => match embedded.iter().find(|(name, _)| *name == path) {
            Some((_, bytes)) => Ok(Weights::from_static(files.label(&path), bytes)?),
            None => Err(Error::Config { path: files.label(&path), problem: "there is no such file".into() }),
        },
    }
}

fn tokenizer(files: &ModelFiles, folder: &str) -> Result<Tokenizer, Error> {
    match files {
        ModelFiles::Folder(root) => Ok(Tokenizer::from_folder(&root.join(folder))?),
        ModelFiles::Embedded { files: embedded, .. } => {
            let path = join(folder, "tokenizer.json");
            match embedded.iter().find(|(name, _)| *name == path) {
                Some((_, bytes)) => Ok(Tokenizer::from_json(&files.label(&path), bytes)?),
                None => Err(Error::Config { path: files.label(&path), problem: "there is no such file".into() }),
            }
        }
    }
}

/// The tokenizer of a model, without the model.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// let tokenizer = loquat::load_tokenizer(loquat::ModelSource::Embedded)?;
/// let encoding = tokenizer.encode("Hello world", None, &loquat::EncodeOptions::default())?;
/// assert_eq!(encoding.ids, [101, 7592, 2088, 102]);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
///
/// # Errors
/// If the model can't be found, or its tokenizer can't be read.
pub fn load_tokenizer(source: impl Into<ModelSource>) -> Result<Tokenizer, Error> {
    let files = resolve(&source.into())?;
    // A folder of tokenizer files alone has no modules.json, and needs none.
    let modules = Modules::read(&files)?;
    tokenizer(&files, &modules.transformer)
}
