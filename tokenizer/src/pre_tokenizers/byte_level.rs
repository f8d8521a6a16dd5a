//! Words of byte-level tokenizers: split as GPT-2 does, written in the alphabet that has a character for each byte.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use super::scanner::Scanner;
use super::split::Behavior;
use super::{Split, Splits, Word};
use crate::TokenizerError;
use crate::byte_alphabet::CHARS;
use crate::normalized::{Alignment, Normalized, Source};

/// `ByteLevel` pre-tokenizer of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ByteLevel {
    pub(crate) add_prefix_space: bool,
    pub(crate) use_regex: bool,
}

const GPT2: Split = Split { pattern: Pattern::Scanner(Scanner::Gpt2), behavior: Behavior::Isolated, invert: false };

impl ByteLevel {
    pub(super) fn apply<A: Alignment>(
        &self,
        normalized: &Normalized<A>,
        splits: &mut Splits<A>,
    ) -> Result<(), TokenizerError> {
        if self.add_prefix_space {
            splits.rewrite(normalized, add_prefix_space);
        }
        if self.use_regex {
            GPT2.apply(normalized, splits)?;
        }
        splits.rewrite(normalized, |source, word, out, words| {
            let start = out.text().len();
            write_bytes(source, word, out);
            words.push(Word { start, end: out.text().len() });
        });
        Ok(())
    }
}

/// Puts a space before each word that doesn't begin with one. It stands for the first character of the word.
fn add_prefix_space<A: Alignment>(source: &Normalized<A>, word: Word, out: &mut Normalized<A>, words: &mut Vec<Word>) {
    let start = out.text().len();
    let text = &source.text()[word.start..word.end];
    if !text.starts_with(' ')
        && let Some(first) = text.chars().next()
    {
        out.push(' ', source.span(word.start, first.len_utf8()));
    }
    for (at, c) in text.char_indices() {
        out.push(c, source.span(word.start + at, c.len_utf8()));
    }
    words.push(Word { start, end: out.text().len() });
}

/// Appends each byte of a word as its character, which stands for the whole character that the byte is of.
pub(crate) fn write_bytes<S: Source, A: Alignment>(source: &S, word: Word, out: &mut Normalized<A>) {
    let text = &source.text()[word.start..word.end];
    for (at, c) in text.char_indices() {
        let span = source.span(word.start + at, c.len_utf8());
        for byte in text[at..at + c.len_utf8()].bytes() {
            out.push(CHARS[usize::from(byte)], span);
        }
    }
}
