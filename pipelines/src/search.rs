//! Semantic search: the texts of a corpus that are most like a query.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::{
    Embeddings, Error, Metric,
    similarity::{dot, norm},
};

/// A text of the corpus, and how alike it is to the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which text of the corpus, from 0.
    pub index: usize,
    /// The likeness under the corpus's [`Metric`].
    pub score: f32,
}

/// Embeddings to search in.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::{Corpus, SentenceEmbeddings};
///
/// let model = SentenceEmbeddings::builder().build()?;
/// let corpus = Corpus::new(model.encode(&["A cat sleeps.", "Stocks fell today.", "Rain is likely."])?);
/// let query = model.encode(&["What will the weather be like?"])?;
/// let hits = corpus.search(query.as_flat(), 2)?;
/// assert_eq!(hits[0].index, 2);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Corpus {
    embeddings: Embeddings,
    /// One factor per row: the row's inverse length for cosine, 1 for the dot product.
    scales: Vec<f32>,
    metric: Metric,
}

impl Corpus {
    /// A corpus that is searched by cosine.
    pub fn new(embeddings: Embeddings) -> Self {
        Corpus::with_metric(embeddings, Metric::Cosine)
    }

    /// A corpus that is searched by `metric`.
    pub fn with_metric(embeddings: Embeddings, metric: Metric) -> Self {
        let scales = embeddings.iter().map(|row| scale(metric, row)).collect();
        Corpus { embeddings, scales, metric }
    }

    /// The embeddings.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// The `top_k` rows most like `query`, best first; equal scores in the order of the corpus.
    ///
    /// # Errors
    /// If `query` hasn't as many values as the corpus's embeddings.
    pub fn search(&self, query: &[f32], top_k: usize) -> Result<Vec<Hit>, Error> {
        if query.len() != self.embeddings.dim() {
            return Err(Error::Dimensions { expected: self.embeddings.dim(), found: query.len() });
        }
        let query_scale = scale(self.metric, query);
        // The heap holds the best so far with the worst of them on top.
        let mut best: BinaryHeap<Ranked> = BinaryHeap::with_capacity(top_k.min(self.scales.len()) + 1);
        for (index, (row, row_scale)) in self.embeddings.iter().zip(&self.scales).enumerate() {
            let score = dot(query, row) * query_scale * row_scale;
            best.push(Ranked(Hit { index, score }));
            if best.len() > top_k {
                best.pop();
            }
        }
        Ok(best.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect())
    }
}

fn scale(metric: Metric, row: &[f32]) -> f32 {
    match metric {
        Metric::Dot => 1.0,
        Metric::Cosine => match norm(row) {
            length if length > 0.0 => (1.0 / length) as f32,
            _ => 0.0,
        },
    }
}

/// Ordered from best to worst, so that a max-heap gives up the worst.
struct Ranked(Hit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |hit: &Hit| if hit.score.is_nan() { f32::NEG_INFINITY } else { hit.score };
        key(&other.0).total_cmp(&key(&self.0)).then(self.0.index.cmp(&other.0.index))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(rows: &[[f32; 2]], metric: Metric) -> Corpus {
        let mut embeddings = Embeddings::with_capacity(2, rows.len());
        embeddings.extend(rows.as_flattened());
        Corpus::with_metric(embeddings, metric)
    }

    fn indices(hits: &[Hit]) -> Vec<usize> {
        hits.iter().map(|hit| hit.index).collect()
    }

    #[test]
    fn hits_come_best_first_and_ties_in_corpus_order() {
        let corpus = corpus(&[[0.0, 1.0], [2.0, 0.0], [1.0, 1.0], [5.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], Metric::Cosine);
        assert_eq!(indices(&corpus.search(&[3.0, 0.0], 4).unwrap()), [1, 3, 4, 2]);
        assert_eq!(indices(&corpus.search(&[3.0, 0.0], 2).unwrap()), [1, 3]);
        assert_eq!(indices(&corpus.search(&[3.0, 0.0], 100).unwrap()), [1, 3, 4, 2, 0, 5]);
        assert!(corpus.search(&[3.0, 0.0], 0).unwrap().is_empty());
    }

    #[test]
    fn the_dot_product_counts_lengths() {
        let corpus = corpus(&[[1.0, 0.0], [5.0, 0.0]], Metric::Dot);
        assert_eq!(corpus.search(&[2.0, 0.0], 1).unwrap(), [Hit { index: 1, score: 10.0 }]);
    }

    #[test]
    fn values_that_are_no_numbers_come_last() {
        let corpus = corpus(&[[f32::NAN, 0.0], [-1.0, 0.0]], Metric::Dot);
        assert_eq!(indices(&corpus.search(&[1.0, 0.0], 2).unwrap()), [1, 0]);
    }

    #[test]
    fn a_query_of_another_model_is_refused() {
        let corpus = corpus(&[[1.0, 0.0]], Metric::Cosine);
        assert!(matches!(corpus.search(&[1.0], 1), Err(Error::Dimensions { expected: 2, found: 1 })));
    }
}
