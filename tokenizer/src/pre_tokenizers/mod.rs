//! How normalized text is split into words: one file per way of splitting.

mod bert;
mod byte_level;
mod pattern;
mod scanner;
mod split;
mod splits;
mod whitespace;
pub(crate) mod window;

pub(crate) use byte_level::{ByteLevel, write_bytes};
pub(crate) use pattern::Pattern;
pub(crate) use scanner::Scanner;
pub(crate) use split::{Behavior, Split};
pub(crate) use splits::Splits;

use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized};
use crate::unicode::class;

/// A word: bytes of the normalized text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A pre-tokenizer, compiled. Each variant has the name it has in `tokenizer.json`.
#[derive(Debug)]
pub(crate) enum PreTokenizer {
    Bert,
    ByteLevel(ByteLevel),
    Split(Split),
    Whitespace,
    WhitespaceSplit,
    Punctuation(Behavior),
    Sequence(Vec<PreTokenizer>),
}

impl PreTokenizer {
    /// Splits the words of `splits` further, and rewrites them where this pre-tokenizer does that. `normalized` is the
    /// text that `splits` began with. Fails where a regular expression gives up.
    pub(crate) fn apply<A: Alignment>(
        &self,
        normalized: &Normalized<A>,
        splits: &mut Splits<A>,
    ) -> Result<(), TokenizerError> {
        match self {
            PreTokenizer::Bert => splits.split(normalized, bert::split),
            PreTokenizer::ByteLevel(byte_level) => byte_level.apply(normalized, splits)?,
            PreTokenizer::Split(split) => split.apply(normalized, splits)?,
            PreTokenizer::Whitespace => splits.split(normalized, whitespace::split),
            PreTokenizer::WhitespaceSplit => splits.split(normalized, |text, within, words| {
                let is_space = |c| class(c).is_whitespace();
                split::split(text, within, is_space, Behavior::Removed, words);
            }),
            PreTokenizer::Punctuation(behavior) => splits.split(normalized, |text, within, words| {
                let is_punctuation = |c| class(c).is_punctuation();
                split::split(text, within, is_punctuation, *behavior, words);
            }),
            PreTokenizer::Sequence(steps) => steps.iter().try_for_each(|step| step.apply(normalized, splits))?,
        }
        Ok(())
    }
}
