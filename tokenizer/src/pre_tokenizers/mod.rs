//! How normalized text is split into words: one file per way of splitting.

mod bert;
mod byte_level;
mod fixed_length;
mod known_list;
mod metaspace;
mod pattern;
mod scanner;
mod scripts;
mod split;
mod splits;
mod whitespace;
pub(crate) mod window;

pub(crate) use bert::{CharKind, kind as bert_kind};
pub(crate) use byte_level::{ByteLevel, write_bytes};
pub(crate) use known_list::KnownList;
pub(crate) use metaspace::{Metaspace, PrependScheme};
pub(crate) use pattern::Pattern;
pub(crate) use scanner::Scanner;
pub(crate) use split::{Behavior, Split};
pub(crate) use splits::Splits;

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized};
use crate::unicode::{class, is_numeric};

/// A word: bytes of the normalized text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A pre-tokenizer, compiled. Each variant but `KnownList` has the name it has in `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum PreTokenizer {
    Bert,
    ByteLevel(ByteLevel),
    CharDelimiterSplit(char),
    /// Numbers isolated, or each of their characters where this says so.
    Digits {
        individual: bool,
    },
    FixedLength(NonZeroUsize),
    Metaspace(Metaspace),
    Split(Split),
    UnicodeScripts,
    Whitespace,
    WhitespaceSplit,
    Punctuation(Behavior),
    Sequence(Vec<PreTokenizer>),
    KnownList(KnownList),
}

impl PreTokenizer {
    /// Whether it looks at where in the original text a word comes from.
    pub(crate) fn goes_by_spans(&self) -> bool {
        match self {
            PreTokenizer::Metaspace(metaspace) => metaspace.prepend_scheme == PrependScheme::First,
            PreTokenizer::Sequence(steps) => steps.iter().any(Self::goes_by_spans),
            _ => false,
        }
    }

    /// These steps one after the other, those that are known as a list in one.
    pub(crate) fn sequence(steps: Vec<PreTokenizer>) -> Self {
        PreTokenizer::Sequence(KnownList::find_in(steps))
    }

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
            PreTokenizer::CharDelimiterSplit(delimiter) => splits.split(normalized, |text, within, words| {
                split::split(text, within, |c| c == *delimiter, Behavior::Removed, words);
            }),
            PreTokenizer::Digits { individual } => splits.split(normalized, |text, within, words| {
                let behavior = if *individual { Behavior::Isolated } else { Behavior::Contiguous };
                split::split(text, within, is_numeric, behavior, words);
            }),
            PreTokenizer::FixedLength(length) => splits.split(normalized, |text, within, words| {
                fixed_length::split(text, within, *length, words);
            }),
            PreTokenizer::Metaspace(metaspace) => metaspace.apply(normalized, splits),
            PreTokenizer::Split(split) => split.apply(normalized, splits)?,
            PreTokenizer::UnicodeScripts => splits.split(normalized, scripts::split),
            PreTokenizer::Whitespace => splits.split(normalized, whitespace::split),
            PreTokenizer::WhitespaceSplit => splits.split(normalized, |text, within, words| {
                let is_space = |c| class(c).is_whitespace();
                split::split(text, within, is_space, Behavior::Removed, words);
            }),
            PreTokenizer::Punctuation(behavior) => splits.split(normalized, |text, within, words| {
                let is_punctuation = |c| class(c).is_punctuation();
                split::split(text, within, is_punctuation, *behavior, words);
            }),
            PreTokenizer::KnownList(list) => splits.split(normalized, |text, within, words| {
                list.scanner().split(text, within, words);
            }),
            PreTokenizer::Sequence(steps) => steps.iter().try_for_each(|step| step.apply(normalized, splits))?,
        }
        Ok(())
    }
}
