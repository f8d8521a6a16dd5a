//! The ids of many texts in one flat list, made by several threads.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::batch::in_parallel;
use crate::{Tokenizer, TokenizerError};

/// Bytes of text that a thread takes at a time: enough to be worth the trouble, few enough to spread.
const CHUNK_BYTES: usize = 1 << 16;

/// Ids that are worth copying on several threads.
const PARALLEL_COPY: usize = 1 << 16;

/// The ids of many texts, one after the other, as a ragged batch takes them.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// let batch = tokenizer.encode_ids_batch(&["hello", "worlds, hello"], Some(4), None)?;
/// assert_eq!(batch.ids, [2, 5, 3, 2, 6, 9, 3]);
/// assert_eq!(batch.cu_seqlens, [0, 3, 7]);
/// assert_eq!(batch.tokens, [3, 6]);
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdsBatch {
    /// The ids of all texts, special tokens included.
    pub ids: Vec<u32>,
    /// Where each text begins in `ids`, and, at last, where the last one ends: one element more than there are texts.
    pub cu_seqlens: Vec<u32>,
    /// How many ids each whole text has, special tokens included: more than `ids` has of it where it was cut.
    pub tokens: Vec<usize>,
}

/// The ids of neighbouring texts.
#[derive(Default)]
struct Chunk {
    ids: Vec<u32>,
    /// For each text, where it ends in `ids` and how many tokens it has.
    texts: Vec<(usize, usize)>,
}

impl Tokenizer {
    /// The ids of many texts, each as [`encode_ids`](Self::encode_ids) gives them, on `threads` threads (`None`: as many as
    /// the machine has). The result does not depend on the number of threads.
    ///
    /// # Errors
    /// The first in the order of the texts, see [`encode_ids`](Self::encode_ids); or that there are 2^32 ids and more.
    pub fn encode_ids_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        max_length: Option<usize>,
        threads: Option<NonZeroUsize>,
    ) -> Result<IdsBatch, TokenizerError> {
        let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = threads.map_or_else(available, NonZeroUsize::get);
        if threads == 1 {
            return joined(vec![self.chunk(texts, max_length)?], 1);
        }
        let ranges = ranges(texts);
        let threads = threads.min(ranges.len());
        let chunks =
            in_parallel(&ranges, NonZeroUsize::new(threads), 1, |range| self.chunk(&texts[range.clone()], max_length))?;
        joined(chunks, threads)
    }

    fn chunk<T: AsRef<str>>(&self, texts: &[T], max_length: Option<usize>) -> Result<Chunk, TokenizerError> {
        // About as many as most text has: growing bit by bit would copy.
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let most = max_length.map_or(usize::MAX, |length| length.saturating_mul(texts.len()));
        let mut chunk =
            Chunk { ids: Vec::with_capacity((bytes / 4).min(most)), texts: Vec::with_capacity(texts.len()) };
        for text in texts {
            let encoded = self.encode_ids(text.as_ref(), max_length, &mut chunk.ids)?;
            chunk.texts.push((chunk.ids.len(), encoded.tokens));
        }
        Ok(chunk)
    }

    /// How many ids a text has, special tokens included, without keeping them.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// assert_eq!(tokenizer.count_tokens("hello, worlds")?, 6);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`encode_ids`](Self::encode_ids).
    pub fn count_tokens(&self, text: &str) -> Result<usize, TokenizerError> {
        let template = &self.processor.single;
        let sequences = template.pieces().len() - template.special_tokens();
        Ok(template.special_tokens() + sequences * self.pipeline.count(text)?)
    }
}

/// Runs of neighbouring texts of about so many bytes each.
fn ranges<T: AsRef<str>>(texts: &[T]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        bytes += text.as_ref().len();
        if bytes >= CHUNK_BYTES {
            ranges.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    if start < texts.len() {
        ranges.push(start..texts.len());
    }
    ranges
}

fn joined(mut chunks: Vec<Chunk>, threads: usize) -> Result<IdsBatch, TokenizerError> {
    let total: usize = chunks.iter().map(|chunk| chunk.ids.len()).sum();
    if u32::try_from(total).is_err() {
        return Err(TokenizerError::BatchTooLarge { tokens: total });
    }
    let texts = chunks.iter().map(|chunk| chunk.texts.len()).sum::<usize>();
    let mut batch =
        IdsBatch { ids: Vec::new(), cu_seqlens: Vec::with_capacity(texts + 1), tokens: Vec::with_capacity(texts) };
    batch.cu_seqlens.push(0);
    let mut before = 0;
    for chunk in &chunks {
        batch.cu_seqlens.extend(chunk.texts.iter().map(|&(end, _)| (before + end) as u32));
        batch.tokens.extend(chunk.texts.iter().map(|&(_, tokens)| tokens));
        before += chunk.ids.len();
    }
    batch.ids = match &mut chunks[..] {
        [only] => std::mem::take(&mut only.ids),
        chunks if total < PARALLEL_COPY || threads == 1 => {
            chunks.iter().flat_map(|chunk| &chunk.ids).copied().collect()
        }
        chunks => copied(chunks, total, threads),
    };
    Ok(batch)
}

/// Copies the ids of all chunks to one list. The memory is fresh, so that most of the time goes into having it mapped, which the
/// threads share.
fn copied(chunks: &[Chunk], total: usize, threads: usize) -> Vec<u32> {
    let mut ids = vec![0; total];
    let mut places = Vec::with_capacity(chunks.len());
    let mut rest = &mut ids[..];
    for chunk in chunks {
        let (place, after) = rest.split_at_mut(chunk.ids.len());
        places.push((place, &chunk.ids));
        rest = after;
    }
    let share = places.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for places in places.chunks_mut(share) {
            scope.spawn(move || {
                for (place, ids) in places {
                    place.copy_from_slice(ids);
                }
            });
        }
    });
    ids
}
