//! The words of a text while pre-tokenizers split and rewrite them.

use super::Word;
use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized, Source};

/// Words, and the text they lie in: the normalized text, until a pre-tokenizer rewrites it.
#[derive(Default)]
pub(crate) struct Splits<A> {
    words: Vec<Word>,
    begins_text: bool,
    rewritten: Option<Normalized<A>>,
    /// What the next step writes to; kept so that steps don't allocate.
    next_words: Vec<Word>,
    next_text: Normalized<A>,
}

impl<A: Alignment> Splits<A> {
    /// One word: bytes `within` of the normalized text, unless they are none. `begins_text` says whether that text is
    /// of the beginning of the original one.
    pub(crate) fn begin(&mut self, within: Word, begins_text: bool) {
        self.begins_text = begins_text && within.start == 0;
        self.words.clear();
        self.words.extend((within.start < within.end).then_some(within));
        if let Some(text) = self.rewritten.take() {
            self.next_text = text;
        }
    }

    /// Whether a word at the beginning of [`text`](Self::text) is at the beginning of the original text, as far as that
    /// can be said without spans.
    pub(super) fn begins_text(&self) -> bool {
        self.begins_text
    }

    /// The words, none of them empty, as bytes of [`text`](Self::text).
    pub(crate) fn words(&self) -> &[Word] {
        &self.words
    }

    /// The text that the words lie in; `normalized` is the one they began with.
    pub(crate) fn text<'a>(&'a self, normalized: &'a Normalized<A>) -> &'a Normalized<A> {
        self.rewritten.as_ref().unwrap_or(normalized)
    }

    /// Splits each word. `split` appends the non-empty parts of `text[word.start..word.end]`.
    pub(super) fn split(&mut self, normalized: &Normalized<A>, split: impl Fn(&str, Word, &mut Vec<Word>)) {
        let infallible = |text: &str, word, words: &mut Vec<Word>| -> Result<(), TokenizerError> {
            split(text, word, words);
            Ok(())
        };
        // It can't fail, so there is nothing to pass on.
        let _ = self.try_split(normalized, infallible);
    }

    /// As [`split`](Self::split), where splitting may fail.
    pub(super) fn try_split(
        &mut self,
        normalized: &Normalized<A>,
        split: impl Fn(&str, Word, &mut Vec<Word>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        let text = self.rewritten.as_ref().unwrap_or(normalized).text();
        self.next_words.clear();
        for &word in &self.words {
            split(text, word, &mut self.next_words)?;
        }
        std::mem::swap(&mut self.words, &mut self.next_words);
        Ok(())
    }

    /// Rewrites each word. `rewrite` appends to the new text what becomes of `source[word.start..word.end]`, and the
    /// words of it that aren't empty, as bytes of the new text.
    pub(super) fn rewrite(
        &mut self,
        normalized: &Normalized<A>,
        rewrite: impl Fn(&Normalized<A>, Word, &mut Normalized<A>, &mut Vec<Word>),
    ) {
        let source = self.rewritten.as_ref().unwrap_or(normalized);
        self.next_words.clear();
        self.next_text.clear();
        for &word in &self.words {
            rewrite(source, word, &mut self.next_text, &mut self.next_words);
        }
        std::mem::swap(&mut self.words, &mut self.next_words);
        let before = self.rewritten.take().unwrap_or_default();
        self.rewritten = Some(std::mem::replace(&mut self.next_text, before));
    }
}
