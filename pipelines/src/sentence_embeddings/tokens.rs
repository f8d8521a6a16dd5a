//! Texts to ids, on several threads when there are many.

use loquat_tokenizer::Tokenizer;

use crate::{Error, TextProblem, Truncated};

/// Bytes of text that are worth a thread of their own: starting one takes as long as tokenizing some kilobytes.
const BYTES_PER_THREAD: usize = 1 << 15;

/// A guess at the bytes per token that only has to be right within a small factor: it says how many texts are held as ids at once.
const BYTES_PER_TOKEN: usize = 4;

/// A tokenizer and what the model asks of texts.
#[derive(Debug)]
pub(super) struct TextTokenizer {
    pub(super) tokenizer: Tokenizer,
    pub(super) max_length: usize,
    pub(super) lower_case: bool,
    /// Whether a text that is too long is an error.
    pub(super) refuse_overlong: bool,
    pub(super) threads: usize,
}

/// The ids of some neighbouring texts.
#[derive(Default)]
pub(super) struct Shard {
    ids: Vec<u32>,
    texts: Vec<(usize, Option<Truncated>)>,
}

/// The ids of one text.
pub(super) struct TextIds<'a> {
    pub(super) ids: &'a [u32],
    pub(super) truncated: Option<Truncated>,
}

impl Shard {
    pub(super) fn texts(&self) -> impl Iterator<Item = TextIds<'_>> {
        let mut start = 0;
        self.texts.iter().map(move |&(end, truncated)| {
            let ids = &self.ids[start..end];
            start = end;
            TextIds { ids, truncated }
        })
    }
}

impl TextTokenizer {
    /// How many of `texts` to tokenize at once for a batch of `token_budget` tokens; at least one.
    pub(super) fn window<T: AsRef<str>>(&self, texts: &[T], token_budget: usize) -> usize {
        let limit = token_budget.saturating_mul(BYTES_PER_TOKEN);
        let mut bytes = 0usize;
        let fits = texts.iter().take_while(|text| {
            // Special tokens make even an empty text count for something.
            bytes = bytes.saturating_add(text.as_ref().len() + BYTES_PER_TOKEN);
            bytes <= limit
        });
        fits.count().max(1)
    }

    /// The ids of `texts`, each with `prompt` before it, in order; `first` is the number of the first of them, for messages.
    pub(super) fn tokenize<T: AsRef<str> + Sync>(
        &self,
        prompt: &str,
        first: usize,
        texts: &[T],
    ) -> Result<Vec<Shard>, Error> {
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let threads = self.threads.min(bytes / BYTES_PER_THREAD).min(texts.len());
        if threads <= 1 {
            return Ok(vec![self.shard(prompt, first, texts)?]);
        }
        let cuts = cuts(texts, bytes, threads);
        std::thread::scope(|scope| {
            let workers: Vec<_> = cuts
                .windows(2)
                .map(|cut| {
                    let (start, end) = (cut[0], cut[1]);
                    scope.spawn(move || self.shard(prompt, first + start, &texts[start..end]))
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn shard<T: AsRef<str>>(&self, prompt: &str, first: usize, texts: &[T]) -> Result<Shard, Error> {
        let mut shard = Shard { ids: Vec::new(), texts: Vec::with_capacity(texts.len()) };
        let mut scratch = String::new();
        for (index, text) in (first..).zip(texts) {
            let text = self.prepared(prompt, text.as_ref(), &mut scratch);
            let start = shard.ids.len();
            let encoded = self
                .tokenizer
                .encode_ids(text, Some(self.max_length), &mut shard.ids)
                .map_err(|error| Error::Text { index, problem: error.into() })?;
            let kept = shard.ids.len() - start;
            let truncated = encoded.truncated.then_some(Truncated { index, tokens: encoded.tokens, kept });
            if let (Some(Truncated { tokens, .. }), true) = (truncated, self.refuse_overlong) {
                let problem = TextProblem::TooLong { tokens, limit: self.max_length };
                return Err(Error::Text { index, problem });
            }
            shard.texts.push((shard.ids.len(), truncated));
        }
        Ok(shard)
    }

    /// The text with the prompt before it, in lower case if the model wants that beside its tokenizer's own normalisation.
    fn prepared<'a>(&self, prompt: &str, text: &'a str, scratch: &'a mut String) -> &'a str {
        if prompt.is_empty() && !self.lower_case {
            return text;
        }
        scratch.clear();
        scratch.push_str(prompt);
        scratch.push_str(text);
        if self.lower_case {
            // Letter by letter, as the reference's normalizer does; `str::to_lowercase` knows a final sigma.
            *scratch = scratch.chars().flat_map(char::to_lowercase).collect();
        }
        scratch
    }
}

/// Where to cut `texts` into at most `parts` runs of about as many bytes each: start, cuts, end.
fn cuts<T: AsRef<str>>(texts: &[T], bytes: usize, parts: usize) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut before = 0;
    for (index, text) in texts.iter().enumerate() {
        let wanted = bytes.div_ceil(parts) * cuts.len();
        if before >= wanted && cuts.len() < parts {
            cuts.push(index);
        }
        before += text.as_ref().len();
    }
    cuts.push(texts.len());
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_all_texts_once_and_balance_their_bytes() {
        let texts = ["aaaa", "", "bb", "cccccc", "d", "e", "ffffffffff", ""];
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        for parts in 2..=10 {
            let cuts = cuts(&texts, bytes, parts);
            assert!(cuts.len() <= parts + 1, "{cuts:?}");
            assert_eq!((cuts[0], cuts[cuts.len() - 1]), (0, texts.len()));
            assert!(cuts.is_sorted_by(|a, b| a < b), "{cuts:?}");
        }
        assert_eq!(super::cuts(&["ab", "cd", "ef", "gh"], 8, 2), [0, 2, 4]);
    }
}
