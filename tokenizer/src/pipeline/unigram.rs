//! Ids of Unigram models without detours: the text is cut at its spaces as it is, and each stretch between them, a chunk, is
//! normalized and tokenized once; a chunk that was met before is looked up by its bytes.
//!
//! That the ids are the same rests on three facts, which [`UnigramPath::new`] and [`UnigramPath::normalize`] make sure of:
//! the normalizer does the same to a chunk alone as within the text, a space stays a space, and words begin at spaces only.

use unicode_segmentation::UnicodeSegmentation;

use super::Pipeline;
use super::chunk_cache::ChunkCache;
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::models::{Model, TokenSink, Unigram, UnigramScratch};
use crate::normalized::{NoSpans, Normalized, Original, Source};
use crate::normalizers::{Normalizer, Strip};
use crate::pool::Pool;
use crate::pre_tokenizers::{Metaspace, Pattern, PreTokenizer, PrependScheme};
use crate::unicode::class;

/// What stands for a space in pieces.
const MARK: char = '▁';

/// The expression that takes several spaces for one.
const RUNS_OF_SPACES: &str = " {2,}";

/// What a byte is in a text that is not yet normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A character that no step of the normalizer changes.
    Plain,
    /// A character that becomes one space.
    Space,
    /// Anything else.
    Other,
}

/// Which of two sides a character is on; where they meet, a chunk may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Side {
    /// A letter of ASCII.
    Letter = 0,
    /// A character that is beside a letter of ASCII in no piece.
    Mark = 2,
    /// Neither.
    None = 4,
}

/// A chunk of more cuts, or longer, is taken whole.
const MAX_CUTS: usize = 6;
const LONGEST_CUT: usize = 96;

/// Where a chunk may be cut.
#[derive(Default)]
struct Cuts {
    places: [usize; MAX_CUTS],
    /// May be more than there are places.
    count: usize,
}

impl Cuts {
    fn push(&mut self, place: usize) {
        if let Some(next) = self.places.get_mut(self.count) {
            *next = place;
        }
        self.count += 1;
    }
}

/// The side of each byte.
fn sides(unigram: &Unigram) -> [Side; 256] {
    let mut sides = [Side::None; 256];
    if !unigram.has_moderate_scores() {
        return sides;
    }
    for byte in 0..128u8 {
        sides[usize::from(byte)] = match byte {
            b'A'..=b'Z' | b'a'..=b'z' => Side::Letter,
            _ => Side::Mark,
        };
    }
    let vocabulary = unigram.vocabulary();
    for piece in vocabulary.entries().map(|entry| vocabulary.text_of(entry).as_bytes()) {
        for two in piece.windows(2) {
            match (two[0].is_ascii_alphabetic(), two[1].is_ascii_alphabetic()) {
                (true, false) => sides[usize::from(two[1])] = Side::None,
                (false, true) => sides[usize::from(two[0])] = Side::None,
                _ => {}
            }
        }
    }
    sides
}

/// What becomes of several spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spaces {
    /// Each but the last is a word.
    Kept,
    /// They are one.
    Collapsed,
    /// They only part words; and so does any other white space.
    Removed,
}

/// Unigram with `Metaspace` words.
#[derive(Debug)]
pub(crate) struct UnigramPath {
    roles: [Role; 256],
    sides: [Side; 256],
    /// Spaces that a carriage return with a line feed becomes.
    line_end: usize,
    /// Steps of the normalizer that are done chunk by chunk.
    local_steps: usize,
    spaces: Spaces,
    /// Whether white space at the end of the text is dropped.
    strips_end: bool,
    /// The ids of a space alone.
    space_ids: Vec<u32>,
    pool: Pool<Box<Scratch>>,
}

/// What a run works with, kept for the next.
#[derive(Default)]
struct Scratch {
    cache: ChunkCache,
    unigram: UnigramScratch,
    normalized: [Normalized<NoSpans>; 2],
    word: String,
    pieces: Vec<Piece>,
}

/// Takes the ids alone.
struct Ids<'a>(&'a mut Vec<u32>);

impl TokenSink for Ids<'_> {
    #[inline]
    fn push(&mut self, id: u32, _: usize, _: usize) {
        self.0.push(id);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// What stands in the way of the short way.
enum Detour {
    /// The stretch has something that only the long way does right.
    Needed,
    Failed(TokenizerError),
}

impl From<TokenizerError> for Detour {
    fn from(error: TokenizerError) -> Self {
        Detour::Failed(error)
    }
}

fn steps(normalizer: Option<&Normalizer>) -> &[Normalizer] {
    match normalizer {
        None => &[],
        Some(Normalizer::Sequence(steps)) => steps,
        Some(only) => std::slice::from_ref(only),
    }
}

/// Whether a step does to a chunk what it does to it within a text, as long as no character is joined to a space.
fn is_local(step: &Normalizer) -> bool {
    match step {
        Normalizer::Lowercase
        | Normalizer::Nfc
        | Normalizer::Nfd
        | Normalizer::Nfkc
        | Normalizer::Nfkd
        | Normalizer::Nmt
        | Normalizer::Precompiled(_)
        | Normalizer::StripAccents => true,
        Normalizer::Replace(replace) => match &replace.pattern {
            Pattern::Literal(text) => !text.chars().any(|c| class(c).is_whitespace() || c.is_control()),
            _ => false,
        },
        _ => false,
    }
}

/// Whether two characters side by side are one cluster.
fn are_joined(first: char, second: char) -> bool {
    if first.is_ascii() && second.is_ascii() {
        return (first, second) == ('\r', '\n');
    }
    let mut bytes = [0; 8];
    let length = first.encode_utf8(&mut bytes).len();
    let length = length + second.encode_utf8(&mut bytes[length..]).len();
    std::str::from_utf8(&bytes[..length]).is_ok_and(|text| text.graphemes(true).count() == 1)
}

impl UnigramPath {
    /// `None` where the components are not those of SentencePiece's Unigram models.
    pub(super) fn new(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
    ) -> Option<Self> {
        let Model::Unigram(unigram) = model else {
            return None;
        };
        if added.looks_in_normalized() {
            return None;
        }
        let marks_words = |metaspace: &Metaspace| {
            let Metaspace { replacement, prepend_scheme, split } = *metaspace;
            replacement == MARK && prepend_scheme == PrependScheme::Always && split
        };
        let mut spaces = match pre_tokenizer? {
            PreTokenizer::Metaspace(metaspace) if marks_words(metaspace) => Spaces::Kept,
            PreTokenizer::Sequence(steps) => match &steps[..] {
                [PreTokenizer::WhitespaceSplit, PreTokenizer::Metaspace(metaspace)] if marks_words(metaspace) => {
                    Spaces::Removed
                }
                _ => return None,
            },
            _ => return None,
        };
        let steps = steps(normalizer);
        let local_steps = steps.iter().take_while(|step| is_local(step)).count();
        let mut rest = &steps[local_steps..];
        let mut strips_end = false;
        if let [Normalizer::Strip(Strip { left: false, right: true }), others @ ..] = rest {
            strips_end = true;
            rest = others;
        }
        if let [Normalizer::Replace(replace), others @ ..] = rest
            && matches!(&replace.pattern, Pattern::Regex(regex) if regex.as_str() == RUNS_OF_SPACES)
            && [" ", "▁"].contains(&replace.content.as_str())
        {
            if spaces == Spaces::Kept {
                spaces = Spaces::Collapsed;
            }
            rest = others;
        }
        if !rest.is_empty() {
            return None;
        }
        let mut path = UnigramPath {
            roles: [Role::Other; 256],
            sides: sides(unigram),
            line_end: 0,
            local_steps,
            spaces,
            strips_end,
            space_ids: Vec::new(),
            pool: Pool::new(),
        };
        path.find_roles(&steps[..local_steps])?;
        unigram.tokenize("▁", &mut UnigramScratch::default(), &mut Ids(&mut path.space_ids)).ok()?;
        Some(path)
    }

    /// Tries every byte of ASCII; `None` where a space doesn't stay a space.
    fn find_roles(&mut self, steps: &[Normalizer]) -> Option<()> {
        let normalized = |text: &str| -> Option<String> {
            let mut current = text.to_owned();
            for step in steps {
                let mut next = Normalized::<NoSpans>::default();
                step.normalize(&Original { text: &current, base: 0 }, &mut next).ok()?;
                current = next.text().to_owned();
            }
            Some(current)
        };
        for byte in 0..=127u8 {
            let text = char::from(byte).to_string();
            let becomes = normalized(&text)?;
            self.roles[usize::from(byte)] = match becomes.as_str() {
                " " => Role::Space,
                same if same == text => Role::Plain,
                _ => Role::Other,
            };
        }
        // Where white space stays as it is, it may part words.
        let line_end = normalized("\r\n")?;
        self.line_end = line_end.len();
        let ends = [self.roles[usize::from(b'\r')], self.roles[usize::from(b'\n')]];
        let is_regular = match ends {
            [Role::Space, Role::Space] => line_end.bytes().all(|byte| byte == b' '),
            _ => !ends.contains(&Role::Space),
        };
        let space_is_one = self.roles[usize::from(b' ')] == Role::Space;
        for step in steps {
            match step {
                // A text of several characters may begin with any of its first ones.
                Normalizer::Replace(replace) => {
                    if let Pattern::Literal(text) = &replace.pattern {
                        self.roles[usize::from(text.as_bytes()[0])] = Role::Other;
                    }
                }
                Normalizer::Precompiled(map) if map.has_text_beginning_with(b' ') => return None,
                _ => {}
            }
        }
        for (byte, role) in (0..128u8).zip(&mut self.roles) {
            if *role == Role::Plain && class(char::from(byte)).is_whitespace() {
                *role = Role::Other;
            }
        }
        (is_regular && space_is_one).then_some(())
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let Model::Unigram(unigram) = &pipeline.model else {
            return Ok(());
        };
        self.pool.with(Box::default, |scratch| {
            let mut pieces = std::mem::take(&mut scratch.pieces);
            pieces.clear();
            pipeline.added.split_text(text, &mut pieces);
            let result = pieces.iter().try_for_each(|&Piece { start, end, added }| {
                if let Some(id) = added {
                    out.push(id);
                    return Ok(());
                }
                let before = out.len();
                match self.stretch(pipeline, unigram, &text[start..end], scratch, out) {
                    Ok(()) => Ok(()),
                    Err(Detour::Failed(error)) => Err(error),
                    Err(Detour::Needed) => {
                        out.truncate(before);
                        pipeline.stretch_ids(&text[start..end], out)
                    }
                }
            });
            scratch.pieces = pieces;
            scratch.unigram.shrink();
            result
        })
    }

    /// A stretch of text between added tokens.
    fn stretch(
        &self,
        pipeline: &Pipeline,
        unigram: &Unigram,
        text: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), Detour> {
        let bytes = text.as_bytes();
        let role = |at: usize| bytes.get(at).map(|&byte| self.roles[usize::from(byte)]);
        let mut at = 0;
        // Spaces since the last word.
        let mut spaces = 0;
        while at < bytes.len() {
            while role(at) == Some(Role::Space) {
                if bytes[at..].starts_with(b"\r\n") {
                    spaces += self.line_end;
                    at += 2;
                } else {
                    spaces += 1;
                    at += 1;
                }
            }
            let start = at;
            let mut is_plain = true;
            let mut cuts = Cuts::default();
            let mut side = Side::None;
            while let Some(role @ (Role::Plain | Role::Other)) = role(at) {
                is_plain &= role == Role::Plain;
                let before = std::mem::replace(&mut side, self.sides[usize::from(bytes[at])]);
                if before as u8 ^ side as u8 == Side::Letter as u8 ^ Side::Mark as u8 {
                    cuts.push(at - start);
                }
                at += 1;
            }
            let chunk = &text[start..at];
            if chunk.is_empty() {
                break;
            }
            if is_plain && cuts.count > 0 {
                self.gap(&mut spaces, out);
                if parts(unigram, chunk, &cuts, scratch, out)? {
                    continue;
                }
            }
            if let Some(ids) = scratch.cache.get(chunk.as_bytes()) {
                self.gap(&mut spaces, out);
                out.extend_from_slice(ids);
                continue;
            }
            if is_plain {
                self.gap(&mut spaces, out);
                let before = out.len();
                word(unigram, chunk, scratch, out)?;
                scratch.cache.keep(chunk.as_bytes(), &out[before..]);
                continue;
            }
            self.normalize(pipeline, chunk, &mut scratch.normalized)?;
            let normalized = std::mem::take(&mut scratch.normalized[0]);
            let result = self.words(unigram, chunk, normalized.text(), &mut spaces, scratch, out);
            scratch.normalized[0] = normalized;
            result?;
        }
        let left = match self.spaces {
            _ if self.strips_end => 0,
            Spaces::Kept => spaces,
            Spaces::Collapsed => spaces.min(1),
            Spaces::Removed => 0,
        };
        (0..left).for_each(|_| out.extend_from_slice(&self.space_ids));
        Ok(())
    }

    /// The spaces before a word, of which the last belongs to the word.
    #[inline]
    fn gap(&self, spaces: &mut usize, out: &mut Vec<u32>) {
        if *spaces > 1 && self.spaces == Spaces::Kept {
            (1..*spaces).for_each(|_| out.extend_from_slice(&self.space_ids));
        }
        *spaces = 0;
    }

    /// Normalizes a chunk into the first buffer.
    fn normalize(
        &self,
        pipeline: &Pipeline,
        chunk: &str,
        buffers: &mut [Normalized<NoSpans>; 2],
    ) -> Result<(), Detour> {
        let steps = &steps(pipeline.normalizer.as_ref())[..self.local_steps];
        let joins_a_space = |text: &str| {
            let first = text.chars().next().is_some_and(|c| are_joined(' ', c));
            first || text.chars().next_back().is_some_and(|c| are_joined(c, ' '))
        };
        if joins_a_space(chunk) {
            return Err(Detour::Needed);
        }
        let [current, next] = buffers;
        current.clear();
        current.push_str(chunk);
        for step in steps {
            next.clear();
            step.normalize(current, next)?;
            if joins_a_space(next.text()) {
                return Err(Detour::Needed);
            }
            std::mem::swap(current, next);
        }
        Ok(())
    }

    /// The words of a chunk that is normalized to `text`, and its spaces.
    fn words(
        &self,
        unigram: &Unigram,
        chunk: &str,
        text: &str,
        spaces: &mut usize,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), Detour> {
        let parts_words = |c: char| c == ' ' || self.spaces == Spaces::Removed && class(c).is_whitespace();
        let needs_detour = |c: char| c == MARK || self.strips_end && c != ' ' && class(c).is_whitespace();
        if text.contains(needs_detour) {
            return Err(Detour::Needed);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(parts_words).unwrap_or(rest.len());
            if end > 0 {
                self.gap(spaces, out);
                let before = out.len();
                word(unigram, &rest[..end], scratch, out)?;
                if end == text.len() {
                    scratch.cache.keep(chunk.as_bytes(), &out[before..]);
                }
            }
            rest = &rest[end..];
            if let Some(space) = rest.chars().next() {
                *spaces += 1;
                rest = &rest[space.len_utf8()..];
            }
        }
        Ok(())
    }
}

/// Appends the ids of a chunk part by part; false, and nothing appended, where its parts are not independent.
///
/// No piece reaches over a cut, so the best way for the chunk goes through it, and is the best way for each side. Two things
/// could still tell apart the chunk and its parts: unknown characters on both sides of a cut, which would be one
/// token, and sums so close to each other that rounding decides between them, for it depends on what is before.
fn parts(
    unigram: &Unigram,
    chunk: &str,
    cuts: &Cuts,
    scratch: &mut Scratch,
    out: &mut Vec<u32>,
) -> Result<bool, TokenizerError> {
    if cuts.count > MAX_CUTS || chunk.len() > LONGEST_CUT {
        return Ok(false);
    }
    let begin = out.len();
    let mut start = 0;
    for &end in cuts.places[..cuts.count].iter().chain([&chunk.len()]) {
        let part = &chunk[start..end];
        let is_first = start == 0;
        start = end;
        let cached =
            if is_first { scratch.cache.get(part.as_bytes()) } else { scratch.cache.get_part(part.as_bytes()) };
        if let Some(ids) = cached {
            if unigram.unk_id().is_some_and(|unk_id| ids.contains(&unk_id)) {
                out.truncate(begin);
                return Ok(false);
            }
            out.extend_from_slice(ids);
            continue;
        }
        let before = out.len();
        if is_first {
            word(unigram, part, scratch, out)?;
        } else {
            unigram.tokenize(part, &mut scratch.unigram, &mut Ids(out))?;
        }
        let ids = &out[before..];
        let has_unknown = unigram.unk_id().is_some_and(|unk_id| ids.contains(&unk_id));
        if has_unknown || !is_first && scratch.unigram.was_close() {
            out.truncate(begin);
            return Ok(false);
        }
        match is_first {
            true => scratch.cache.keep(part.as_bytes(), ids),
            false => scratch.cache.keep_part(part.as_bytes(), ids),
        }
    }
    Ok(true)
}

/// Appends the ids of one word with its mark.
fn word(unigram: &Unigram, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
    scratch.word.clear();
    scratch.word.push(MARK);
    scratch.word.push_str(text);
    unigram.tokenize(&scratch.word, &mut scratch.unigram, &mut Ids(out))
}
