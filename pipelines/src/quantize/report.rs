//! How far a quantised model is from its original.

use loquat_runtime::{Batch, Options, Precision, Session, graph::Op};

use crate::{
    Corpus, Embeddings, Error, Progress, SentenceEmbeddings,
    model::{
        files::ModelFiles,
        load::{self, RunOptions},
        modules::Modules,
    },
    quantize::source_of,
    similarity,
};

/// Texts that layers are compared on: their results take far more room than embeddings.
const LAYER_TEXTS: usize = 64;

/// Texts that are run at once there.
const LAYER_BATCH: usize = 8;

/// What [`Quantizer::write`](crate::Quantizer::write) made, and how far it is from the original on the texts that were given.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizationReport {
    /// Every tensor of the original's weights.
    pub tensors: Vec<TensorReport>,
    /// Every linear layer in the order in which they run.
    pub layers: Vec<LayerReport>,
    /// Modules that calibration kept in half precision.
    pub kept: Vec<String>,
    /// Texts that embeddings were compared on.
    pub texts: usize,
    /// Mean over the texts of the cosine between the two embeddings.
    pub mean_cosine: f64,
    /// The least of them.
    pub least_cosine: f64,
    /// The largest difference of a value of an embedding.
    pub max_error: f32,
    /// The share of texts whose closest other text is the same; 1 for a single text.
    pub top1_agreement: f64,
    /// Bytes of the original's tensors.
    pub bytes_before: u64,
    /// Bytes of the new weights file.
    pub bytes_after: u64,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// `I8`, `I4`, `F16`, `BF16`, `F32`, or `as it is`.
    pub stored_as: &'static str,
    /// Bytes that it took.
    pub bytes_before: u64,
    /// Bytes that it takes, scales included.
    pub bytes_after: u64,
    /// Cosine between old and new values.
    pub cosine: f64,
    /// The largest difference of a value.
    pub max_error: f32,
}

/// How far the results of a layer are from the original's, with what the layers before it have contributed.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Cosine between old and new results, over all tokens.
    pub cosine: f64,
    /// The largest difference of a value.
    pub max_error: f32,
    /// The largest magnitude among the original's.
    pub largest: f32,
}

/// Sums that say how far values are from others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Difference {
    dot: f64,
    squares: [f64; 2],
    max_error: f32,
    largest: f32,
}

impl Difference {
    pub(super) fn add(&mut self, expected: &[f32], found: &[f32]) {
        for (&expected, &found) in expected.iter().zip(found) {
            self.dot += f64::from(expected) * f64::from(found);
            self.squares[0] += f64::from(expected).powi(2);
            self.squares[1] += f64::from(found).powi(2);
            self.max_error = self.max_error.max((expected - found).abs());
            self.largest = self.largest.max(expected.abs());
        }
    }

    /// 1 where both are zero.
    pub(super) fn cosine(&self) -> f64 {
        let norms = (self.squares[0] * self.squares[1]).sqrt();
        if norms > 0.0 { self.dot / norms } else { f64::from(u8::from(self.squares == [0.0; 2])) }
    }

    pub(super) fn max_error(&self) -> f32 {
        self.max_error
    }
}

/// A model with what it makes of some texts, to hold another against it.
pub(super) struct Comparison<'a> {
    modules: &'a Modules,
    threads: Option<usize>,
    texts: Vec<String>,
    embeddings: Embeddings,
    original: Session,
    batches: Vec<Batch>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        files: &ModelFiles,
        modules: &'a Modules,
        threads: Option<usize>,
        texts: Vec<String>,
    ) -> Result<Self, Error> {
        let model = sentence_embeddings(files, threads, Precision::F32)?;
        let embeddings = model.encode(&texts)?;
        let batches = texts[..texts.len().min(LAYER_TEXTS)]
            .chunks(LAYER_BATCH)
            .map(|texts| batch(&model, texts))
            .collect::<Result<_, _>>()?;
        let options = Options { precision: Precision::F32, ..options(threads)? };
        let original = load::layers_session(files, modules, &options)?;
        Ok(Comparison { modules, threads, texts, embeddings, original, batches })
    }

    /// Holds the model of a folder against this one.
    pub(super) fn with(
        &self,
        folder: &std::path::Path,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<QuantizationReport, Error> {
        let files = source_of(folder);
        let found = sentence_embeddings(&files, self.threads, Precision::Auto)?.encode(&self.texts)?;
        let mut difference = Difference::default();
        difference.add(self.embeddings.as_flat(), found.as_flat());
        let (mean_cosine, least_cosine) = cosines(&self.embeddings, &found)?;
        Ok(QuantizationReport {
            tensors: Vec::new(),
            layers: self.layers(&files, progress)?,
            kept: Vec::new(),
            texts: self.texts.len(),
            mean_cosine,
            least_cosine,
            max_error: difference.max_error,
            top1_agreement: top1_agreement(&self.embeddings, &found)?,
            bytes_before: 0,
            bytes_after: 0,
        })
    }

    fn layers(&self, files: &ModelFiles, progress: &mut dyn FnMut(&str, Progress)) -> Result<Vec<LayerReport>, Error> {
        let session = load::layers_session(files, self.modules, &options(self.threads)?)?;
        let mut names: Vec<String> = Vec::new();
        if let Some(stage) = session.inspect().stages().first() {
            let linears = stage.graph.nodes().iter().filter(|node| matches!(node.op, Op::Linear(_)));
            names.extend(linears.map(|node| node.name.clone()));
        }
        let mut differences = vec![Difference::default(); names.len()];
        for (index, batch) in self.batches.iter().enumerate() {
            let (expected, found) = (self.original.run(batch)?, session.run(batch)?);
            for (name, difference) in names.iter().zip(&mut differences) {
                if let (Some(expected), Some(found)) = (expected.get(name), found.get(name)) {
                    difference.add(&expected.data, &found.data);
                }
            }
            progress("batches compared", Progress { done: index + 1, total: self.batches.len() });
        }
        let reports = names.into_iter().zip(differences).map(|(name, difference)| LayerReport {
            name,
            cosine: difference.cosine(),
            max_error: difference.max_error,
            largest: difference.largest,
        });
        Ok(reports.collect())
    }
}

pub(super) fn options(threads: Option<usize>) -> Result<Options, Error> {
    RunOptions { threads, ..RunOptions::default() }.session(None)
}

pub(super) fn sentence_embeddings(
    files: &ModelFiles,
    threads: Option<usize>,
    precision: Precision,
) -> Result<SentenceEmbeddings, Error> {
    let ModelFiles::Folder(folder) = files else { return Err(Error::NoEmbeddedModel) };
    let mut builder = SentenceEmbeddings::builder().model(folder.as_path()).precision(precision);
    if let Some(threads) = threads {
        builder = builder.threads(threads);
    }
    builder.build()
}

/// The ids of texts.
pub(super) fn batch(model: &SentenceEmbeddings, texts: &[String]) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    for (index, text) in texts.iter().enumerate() {
        let mut ids = Vec::new();
        let encoded = model.tokenizer().encode_ids(text, Some(model.max_length()), &mut ids);
        encoded.map_err(|problem| Error::Text { index, problem: problem.into() })?;
        batch.push(&ids, None)?;
    }
    Ok(batch)
}

/// Mean and least cosine between embeddings of the same texts.
pub(super) fn cosines(expected: &Embeddings, found: &Embeddings) -> Result<(f64, f64), Error> {
    let mut least = 1.0f64;
    let mut sum = 0.0;
    for (expected, found) in expected.iter().zip(found) {
        let cosine = f64::from(similarity(expected, found)?);
        least = least.min(cosine);
        sum += cosine;
    }
    Ok((sum / expected.len().max(1) as f64, least))
}

/// The share of texts whose closest other text is the same in both.
fn top1_agreement(expected: &Embeddings, found: &Embeddings) -> Result<f64, Error> {
    let closest = |embeddings: &Embeddings| -> Result<Vec<Option<usize>>, Error> {
        let corpus = Corpus::new(embeddings.clone());
        let others = embeddings.iter().enumerate().map(|(own, row)| {
            let hits = corpus.search(row, 2)?;
            Ok(hits.into_iter().map(|hit| hit.index).find(|&index| index != own))
        });
        others.collect()
    };
    let (expected, found) = (closest(expected)?, closest(found)?);
    let same = expected.iter().zip(&found).filter(|(expected, found)| expected == found).count();
    Ok(same as f64 / expected.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up_over_parts() {
        let mut difference = Difference::default();
        difference.add(&[3.0, 0.0], &[3.0, 0.5]);
        difference.add(&[4.0], &[3.0]);
        assert_eq!((difference.max_error(), difference.largest), (1.0, 4.0));
        assert!((difference.cosine() - 21.0 / (25.0f64 * 18.25).sqrt()).abs() < 1e-12);
        assert_eq!(Difference::default().cosine(), 1.0);
        let mut lost = Difference::default();
        lost.add(&[1.0], &[0.0]);
        assert_eq!(lost.cosine(), 0.0);
    }
}
