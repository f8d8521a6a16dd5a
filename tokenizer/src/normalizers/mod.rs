//! What is done to the text before it is split: one file per normalizer of `tokenizer.json`.

mod bert;
mod nmt;
mod precompiled;
mod prepend;
mod replace;
mod strip;

pub(crate) use bert::BertNormalizer;
pub(crate) use precompiled::Precompiled;
pub(crate) use prepend::Prepend;
pub(crate) use replace::Replace;
pub(crate) use strip::Strip;

use serde::{Deserialize, Serialize};

use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized, Source};
use crate::pre_tokenizers::{Word, write_bytes};
use crate::unicode::forms::{composed, decomposed};
use crate::unicode::{Mapping, class, lowercase};

/// A normalizer, compiled. Each variant has the name it has in `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Normalizer {
    Bert(BertNormalizer),
    ByteLevel,
    Lowercase,
    Nfd,
    Nfkd,
    Nfc,
    Nfkc,
    Nmt,
    Precompiled(Precompiled),
    Prepend(Prepend),
    Replace(Replace),
    Strip(Strip),
    StripAccents,
    Sequence(Vec<Normalizer>),
}

impl Normalizer {
    /// The character maps in it, in their order.
    pub(crate) fn maps(&self) -> Vec<&Precompiled> {
        match self {
            Normalizer::Precompiled(map) => vec![map],
            Normalizer::Sequence(steps) => steps.iter().flat_map(Self::maps).collect(),
            _ => Vec::new(),
        }
    }

    /// As [`maps`](Self::maps).
    pub(crate) fn maps_mut(&mut self) -> Vec<&mut Precompiled> {
        match self {
            Normalizer::Precompiled(map) => vec![map],
            Normalizer::Sequence(steps) => steps.iter_mut().flat_map(Self::maps_mut).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it is plain that `text` is its own normalized text.
    pub(crate) fn leaves(&self, text: &str) -> bool {
        match self {
            Normalizer::Nfc => text.is_ascii(),
            Normalizer::Sequence(steps) => steps.iter().all(|step| step.leaves(text)),
            _ => false,
        }
    }

    /// Appends the normalized `source` to `out`, which the caller has cleared. Fails where a regular expression gives up.
    pub(crate) fn normalize<S: Source, A: Alignment>(
        &self,
        source: &S,
        out: &mut Normalized<A>,
    ) -> Result<(), TokenizerError> {
        match self {
            Normalizer::Bert(bert) => bert.normalize(source, out),
            Normalizer::ByteLevel => {
                let whole = Word { start: 0, end: source.text().len() };
                write_bytes(source, whole, out);
            }
            Normalizer::Lowercase => lowercased(source, out),
            Normalizer::Nfd => decomposed(source, Mapping::Canonical, out),
            Normalizer::Nfkd => decomposed(source, Mapping::Compatibility, out),
            Normalizer::Nfc => composed(source, Mapping::Canonical, out),
            Normalizer::Nfkc => composed(source, Mapping::Compatibility, out),
            Normalizer::Nmt => nmt::normalize(source, out),
            Normalizer::Precompiled(map) => map.normalize(source, out),
            Normalizer::Prepend(prepend) => prepend.normalize(source, out),
            Normalizer::Replace(replace) => replace.normalize(source, out)?,
            Normalizer::Strip(strip) => strip.normalize(source, out),
            Normalizer::StripAccents => without_marks(source, out),
            Normalizer::Sequence(steps) => in_sequence(steps, source, out)?,
        }
        Ok(())
    }
}

fn lowercased<S: Source, A: Alignment>(source: &S, out: &mut Normalized<A>) {
    for (at, c) in source.text().char_indices() {
        let span = source.span(at, c.len_utf8());
        lowercase(c, class(c), |lower| out.push(lower, span));
    }
}

fn without_marks<S: Source, A: Alignment>(source: &S, out: &mut Normalized<A>) {
    for (at, c) in source.text().char_indices() {
        if !class(c).is_mark() {
            out.push(c, source.span(at, c.len_utf8()));
        }
    }
}

fn in_sequence<S: Source, A: Alignment>(
    steps: &[Normalizer],
    source: &S,
    out: &mut Normalized<A>,
) -> Result<(), TokenizerError> {
    match steps {
        [] => out.copy(source),
        [only] => only.normalize(source, out)?,
        [first, rest @ ..] => {
            let mut before = Normalized::default();
            first.normalize(source, &mut before)?;
            let mut after = Normalized::default();
            for step in rest {
                after.clear();
                step.normalize(&before, &mut after)?;
                std::mem::swap(&mut before, &mut after);
            }
            // `out` may hold nothing else: the caller has cleared it.
            *out = before;
        }
    }
    Ok(())
}
