//! Ids of Unigram models without detours: the text is cut at its spaces as it is, and each stretch between them, a chunk, is
//! normalized and tokenized once; a chunk that was met before is looked up by its bytes.
//!
//! That the ids are the same rests on three facts, which [`UnigramPath::new`] and [`Stretch::normalize`] make sure of:
//! the normalizer does the same to a chunk alone as within the text, a space stays a space, and words begin at spaces only.

use unicode_segmentation::UnicodeSegmentation;

use super::Pipeline;
use super::chunks::{Counted, Delimiters, Ids};
use super::cuts::{Neighbours, Parts};
use super::word_batch::WordBatch;
use super::word_cache::WordCache;
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::models::{Model, Unigram, UnigramScratch};
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
    delimiters: Delimiters,
    /// `None` where sums of scores are too inexact to cut chunks.
    neighbours: Option<Neighbours>,
    /// Spaces that a carriage return with a line feed becomes.
    line_end: usize,
    /// Steps of the normalizer that are done chunk by chunk.
    local_steps: usize,
    spaces: Spaces,
    /// Whether white space at the end of the text is dropped.
    strips_end: bool,
    /// The ids of a space alone.
    space_ids: Vec<u32>,
    pool: Pool<Box<(WordBatch, Scratch)>>,
}

/// What a run works with, kept for the next.
#[derive(Default)]
struct Scratch {
    cache: WordCache,
    unigram: UnigramScratch,
    normalized: [Normalized<NoSpans>; 2],
    word: String,
    pieces: Vec<Piece>,
    counted: Counted,
}

/// What stands in the way of the short way: something that only the long way does right, or an error, of which the long way
/// says what is wrong with all of the text.
struct Detour;

impl From<TokenizerError> for Detour {
    fn from(_: TokenizerError) -> Self {
        Detour
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
    /// `None` where the components are not those of SentencePiece's Unigram models. `neighbours`, if any, are made where they aren't
    /// given.
    pub(super) fn new(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
        neighbours: Option<Option<Neighbours>>,
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
            delimiters: Delimiters::below_the_first_printed([false; 256]),
            neighbours: neighbours
                .unwrap_or_else(|| unigram.has_moderate_scores().then(|| Neighbours::of_tokens(unigram.vocabulary()))),
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

    pub(super) fn neighbours(&self) -> Option<&Neighbours> {
        self.neighbours.as_ref()
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
        // `Delimiters` finds spaces among the characters that aren't printed.
        let mut printed = self.roles.iter().skip(0x21);
        let is_regular = is_regular && printed.all(|&role| role != Role::Space);
        let mut simple = self.roles.map(|role| role == Role::Space);
        simple[usize::from(b'\r')] = false;
        self.delimiters = Delimiters::below_the_first_printed(simple);
        (is_regular && space_is_one).then_some(())
    }

    /// The spaces before a word, of which the last belongs to the word.
    #[inline]
    fn push_gap(&self, spaces: usize, out: &mut Vec<u32>) {
        if self.spaces == Spaces::Kept {
            (1..spaces).for_each(|_| out.extend_from_slice(&self.space_ids));
        }
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        self.pool.with(Box::default, |memory| self.run(pipeline, text, memory, out))
    }

    /// How many ids `text` has.
    pub(super) fn count(&self, pipeline: &Pipeline, text: &str) -> Result<usize, TokenizerError> {
        self.pool.with(Box::default, |memory: &mut Box<(WordBatch, Scratch)>| {
            let mut ids = Vec::new();
            memory.1.counted.begin();
            let result = self.run(pipeline, text, memory, &mut ids);
            let count = memory.1.counted.end(&ids);
            result.map(|()| count)
        })
    }

    fn run(
        &self,
        pipeline: &Pipeline,
        text: &str,
        (batch, scratch): &mut (WordBatch, Scratch),
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let Model::Unigram(unigram) = &pipeline.model else {
            return Ok(());
        };
        let mut pieces = std::mem::take(&mut scratch.pieces);
        pieces.clear();
        pipeline.added.split_text(text, &mut pieces);
        let result = pieces.iter().try_for_each(|&Piece { start, end, added }| {
            if let Some(id) = added {
                out.push(id);
                return Ok(());
            }
            scratch.counted.take(out);
            let before = (out.len(), scratch.counted);
            let text = &text[start..end];
            let mut stretch = Stretch { path: self, pipeline, unigram, text, spaces: 0, scratch, out };
            match stretch.run(batch) {
                Ok(()) => Ok(()),
                Err(Detour) => {
                    out.truncate(before.0);
                    scratch.counted = before.1;
                    pipeline.stretch_ids(text, out)
                }
            }
        });
        scratch.pieces = pieces;
        scratch.unigram.shrink();
        result
    }
}

/// A stretch of text between added tokens.
struct Stretch<'a> {
    path: &'a UnigramPath,
    pipeline: &'a Pipeline,
    unigram: &'a Unigram,
    text: &'a str,
    /// Spaces since the last word.
    spaces: usize,
    scratch: &'a mut Scratch,
    out: &'a mut Vec<u32>,
}

impl Stretch<'_> {
    fn run(&mut self, batch: &mut WordBatch) -> Result<(), Detour> {
        // A detour may have left some.
        batch.clear();
        let path = self.path;
        let bytes = self.text.as_bytes();
        let role = |at: usize| bytes.get(at).map(|&byte| path.roles[usize::from(byte)]);
        let mut at = 0;
        loop {
            while role(at) == Some(Role::Space) {
                if bytes[at..].starts_with(b"\r\n") {
                    self.spaces += path.line_end;
                    at += 2;
                } else {
                    self.spaces += 1;
                    at += 1;
                }
            }
            let start = at;
            at = path.delimiters.take(bytes, start, &self.scratch.cache, batch);
            if at > start {
                self.batch(batch)?;
                self.scratch.counted.take(self.out);
                // The last chunk may end the text, with no space after it.
                self.spaces -= at.saturating_sub(bytes.len());
                at = at.min(bytes.len());
                continue;
            }
            while let Some(Role::Plain | Role::Other) = role(at) {
                at += 1;
            }
            if at == start {
                break;
            }
            self.chunk(start, at)?;
        }
        let left = match path.spaces {
            _ if path.strips_end => 0,
            Spaces::Kept => self.spaces,
            Spaces::Collapsed => self.spaces.min(1),
            Spaces::Removed => 0,
        };
        (0..left).for_each(|_| self.out.extend_from_slice(&path.space_ids));
        Ok(())
    }

    /// Chunks with a space after each.
    fn batch(&mut self, batch: &mut WordBatch) -> Result<(), Detour> {
        let mut at = 0;
        loop {
            if self.spaces <= 1 {
                let before = at;
                at = batch.take(at, &self.scratch.cache, self.out);
                self.spaces = if at > before { 1 } else { self.spaces };
            }
            let Some(chunk) = batch.words().get(at) else {
                break;
            };
            self.chunk(chunk.start as usize, chunk.end as usize)?;
            self.spaces += 1;
            at += 1;
        }
        batch.clear();
        Ok(())
    }

    /// One chunk.
    fn chunk(&mut self, start: usize, end: usize) -> Result<(), Detour> {
        let chunk = &self.text[start..end];
        let before = self.out.len();
        self.path.push_gap(self.spaces, self.out);
        if self.scratch.cache.get(chunk.as_bytes(), self.out) {
            self.spaces = 0;
            return Ok(());
        }
        self.out.truncate(before);
        if !chunk.bytes().all(|byte| self.path.roles[usize::from(byte)] == Role::Plain) {
            self.normalize(chunk)?;
            let normalized = std::mem::take(&mut self.scratch.normalized[0]);
            let result = self.words(chunk, normalized.text());
            self.scratch.normalized[0] = normalized;
            return result;
        }
        self.path.push_gap(std::mem::take(&mut self.spaces), self.out);
        let before = self.out.len();
        let cut = self.path.neighbours.as_ref().map(|neighbours| neighbours.parts(chunk)).filter(|cut| cut.len() > 1);
        if let Some(cut) = cut
            && parts(self.unigram, &cut, self.scratch, self.out)?
        {
            self.scratch.cache.keep_cut(chunk.as_bytes(), &self.out[before..]);
            return Ok(());
        }
        word(self.unigram, chunk, self.scratch, self.out)?;
        self.scratch.cache.keep(chunk.as_bytes(), &self.out[before..]);
        Ok(())
    }

    /// Normalizes a chunk into the first buffer.
    fn normalize(&mut self, chunk: &str) -> Result<(), Detour> {
        let steps = &steps(self.pipeline.normalizer.as_ref())[..self.path.local_steps];
        let joins_a_space = |text: &str| {
            let first = text.chars().next().is_some_and(|c| are_joined(' ', c));
            first || text.chars().next_back().is_some_and(|c| are_joined(c, ' '))
        };
        if joins_a_space(chunk) {
            return Err(Detour);
        }
        let [current, next] = &mut self.scratch.normalized;
        current.clear();
        current.push_str(chunk);
        for step in steps {
            next.clear();
            step.normalize(current, next)?;
            if joins_a_space(next.text()) {
                return Err(Detour);
            }
            std::mem::swap(current, next);
        }
        Ok(())
    }

    /// The words of a chunk that is normalized to `text`, and its spaces.
    fn words(&mut self, chunk: &str, text: &str) -> Result<(), Detour> {
        let (spaces, strips_end) = (self.path.spaces, self.path.strips_end);
        let parts_words = |c: char| c == ' ' || spaces == Spaces::Removed && class(c).is_whitespace();
        let needs_detour = |c: char| c == MARK || strips_end && c != ' ' && class(c).is_whitespace();
        if text.contains(needs_detour) {
            return Err(Detour);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(parts_words).unwrap_or(rest.len());
            if end > 0 {
                self.path.push_gap(std::mem::take(&mut self.spaces), self.out);
                let before = self.out.len();
                word(self.unigram, &rest[..end], self.scratch, self.out)?;
                if end == text.len() {
                    self.scratch.cache.keep(chunk.as_bytes(), &self.out[before..]);
                }
            }
            rest = &rest[end..];
            if let Some(space) = rest.chars().next() {
                self.spaces += 1;
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
fn parts(unigram: &Unigram, parts: &Parts, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<bool, TokenizerError> {
    let begin = out.len();
    for (place, part) in parts.iter().enumerate() {
        let is_first = place == 0;
        let before = out.len();
        let is_cached = match is_first {
            true => scratch.cache.get(part.as_bytes(), out),
            false => scratch.cache.get_part(part.as_bytes(), out),
        };
        if is_cached {
            if unigram.unk_id().is_some_and(|unk_id| out[before..].contains(&unk_id)) {
                out.truncate(begin);
                return Ok(false);
            }
            continue;
        }
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
