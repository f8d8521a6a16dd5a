//! Ids of BPE models that write spaces as `▁` and take the text as one word (Llama 2, Mistral, Gemma): the text is cut at its
//! spaces as it is, and each stretch between them, a chunk, is merged once; one that was met before is looked up.
//!
//! Merging makes tokens of the vocabulary only. Hardly one has a `▁` behind another character; where none that has can be, no merge
//! reaches over the spaces, and what is before them and behind them can be merged by itself.

use std::sync::OnceLock;

use super::Pipeline;
use super::byte_cuts::ByteNeighbours;
use super::chunks::{Counted, Delimiters, Ids};
use super::cuts::{LONGEST, Neighbours};
use super::reaches::Reaches;
use super::word_batch::WordBatch;
use super::word_cache::WordCache;
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::compiled::{Reader, Writer};
use crate::models::{Bpe, Model, ModelScratch};
use crate::normalized::{NoSpans, Spans};
use crate::normalizers::{Normalizer, Prepend, Replace};
use crate::numbers::Numbers;
use crate::pool::Pool;
use crate::pre_tokenizers::{Metaspace, Pattern, PreTokenizer, PrependScheme, Split};

/// What stands for a space in tokens.
const MARK: char = '▁';

/// Where a mark is put before a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    Always,
    /// Unless it begins with one.
    UnlessMarked,
    /// Where it begins the text, unless it begins with a mark.
    First,
    Never,
}

/// BPE on the whole text, spaces made visible.
#[derive(Debug)]
pub(crate) struct MarkedBpePath {
    prefix: Prefix,
    delimiters: Delimiters,
    tables: Tables,
    /// Made for the first chunk that it may cut.
    far_neighbours: OnceLock<ByteNeighbours>,
    pool: Pool<Box<(WordBatch, Scratch)>>,
}

/// What only going through the whole vocabulary tells.
#[derive(Debug)]
pub(super) struct Tables {
    neighbours: Neighbours,
    reaches: Reaches,
    /// Bytes of characters that are never unknown, and merge with nothing where they become bytes.
    known: [bool; 256],
}

impl Tables {
    fn new(bpe: &Bpe) -> Self {
        let vocabulary = bpe.vocabulary();
        let bytes_merge = vocabulary.entries().any(|entry| may_be_of_bytes(vocabulary.text_of(entry)));
        let all_are_bytes = (0..=u8::MAX).all(|byte| bpe.has_token_for(byte)) && !bytes_merge;
        let known = std::array::from_fn(|byte| {
            let Some(byte) = u8::try_from(byte).ok().filter(u8::is_ascii) else {
                return all_are_bytes;
            };
            let is_token = vocabulary.token_to_id(char::from(byte).encode_utf8(&mut [0; 4])).is_some();
            is_token || bpe.has_token_for(byte) && !bytes_merge
        });
        let reaches = Reaches::of_tokens(vocabulary, MARK);
        Tables { neighbours: Neighbours::of_tokens(vocabulary), reaches, known }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.neighbours.write(writer);
        self.reaches.write(writer);
        writer.numbers("known", &self.known.map(u32::from));
    }

    pub(super) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let known: Numbers<u32> = reader.exactly("known", 256)?;
        Ok(Tables {
            neighbours: Neighbours::read(reader)?,
            reaches: Reaches::read(reader)?,
            known: std::array::from_fn(|byte| known.get(byte).is_some_and(|&known| known != 0)),
        })
    }
}

/// What a run works with, kept for the next.
#[derive(Default)]
struct Scratch {
    cache: WordCache,
    model: ModelScratch,
    word: String,
    pieces: Vec<Piece>,
    counted: Counted,
}

/// What stands in the way of the short way: a mark that is in the text as such, or an error.
struct Detour;

impl MarkedBpePath {
    /// `None` where the components are others. `tables` are made where they aren't given.
    pub(super) fn new(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
        tables: Option<Tables>,
    ) -> Option<Self> {
        let Model::Bpe(bpe) = model else {
            return None;
        };
        let prefix = prefix(normalizer, pre_tokenizer)?;
        let vocabulary = bpe.vocabulary();
        let mut mark = [0; 4];
        let mark: &str = MARK.encode_utf8(&mut mark);
        if added.looks_in_normalized() || !bpe.merges_characters_alone() || vocabulary.token_to_id(mark).is_none() {
            return None;
        }
        // Where unknown characters are dropped, their neighbours meet.
        if bpe.unk_token().is_none() && !(0..=u8::MAX).all(|byte| bpe.has_token_for(byte)) {
            return None;
        }
        let tables = tables.unwrap_or_else(|| Tables::new(bpe));
        let delimiters = Delimiters::spaces(tables.reaches.before());
        Some(MarkedBpePath { prefix, delimiters, tables, far_neighbours: OnceLock::new(), pool: Pool::new() })
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let begin = out.len();
        let done = self.pool.with(Box::default, |memory| self.run(pipeline, text, memory, out));
        if let Err(Detour) = done {
            out.truncate(begin);
            return match self.prefix {
                Prefix::First => pipeline.run::<Spans, _>(text, out),
                _ => pipeline.run::<NoSpans, _>(text, out),
            };
        }
        Ok(())
    }

    /// How many ids `text` has.
    pub(super) fn count(&self, pipeline: &Pipeline, text: &str) -> Result<usize, TokenizerError> {
        let mut ids = Vec::new();
        let count = self.pool.with(Box::default, |memory: &mut Box<(WordBatch, Scratch)>| {
            memory.1.counted.begin();
            let done = self.run(pipeline, text, memory, &mut ids);
            let count = memory.1.counted.end(&ids);
            done.map(|()| count)
        });
        match (count, self.prefix) {
            (Ok(count), _) => Ok(count),
            (Err(Detour), Prefix::First) => pipeline.count_all::<Spans>(text),
            (Err(Detour), _) => pipeline.count_all::<NoSpans>(text),
        }
    }

    fn run(
        &self,
        pipeline: &Pipeline,
        text: &str,
        (batch, scratch): &mut (WordBatch, Scratch),
        out: &mut Vec<u32>,
    ) -> Result<(), Detour> {
        let mut pieces = std::mem::take(&mut scratch.pieces);
        pieces.clear();
        pipeline.added.split_text(text, &mut pieces);
        let done = pieces.iter().try_for_each(|&Piece { start, end, added }| {
            let Some(id) = added else {
                let text = &text[start..end];
                let marks = self.marks_before(text, start == 0);
                return Stretch { path: self, pipeline, text, scratch, out }.run(marks, batch);
            };
            out.push(id);
            Ok(())
        });
        scratch.pieces = pieces;
        scratch.model.shrink();
        done
    }

    /// How many marks, 0 or 1, are put before a stretch, which isn't empty.
    fn marks_before(&self, stretch: &str, begins_text: bool) -> usize {
        let is_put = match self.prefix {
            Prefix::Always => true,
            Prefix::UnlessMarked => !stretch.starts_with(' '),
            Prefix::First => begins_text && !stretch.starts_with(' '),
            Prefix::Never => false,
        };
        usize::from(is_put)
    }
}

/// What these components put before a stretch of text, if they do nothing else but write spaces as marks.
fn prefix(normalizer: Option<&Normalizer>, pre_tokenizer: Option<&PreTokenizer>) -> Option<Prefix> {
    let steps = match normalizer {
        None => &[],
        Some(Normalizer::Sequence(steps)) => &steps[..],
        Some(only) => std::slice::from_ref(only),
    };
    let marks_spaces = |replace: &Replace| {
        matches!(&replace.pattern, Pattern::Literal(space) if space == " ") && replace.content.chars().eq([MARK])
    };
    let is_mark = |prepend: &Prepend| prepend.text.chars().eq([MARK]);
    // Where spaces are marks already, there is none to split at.
    let splits_at_spaces = |pre_tokenizer: &&PreTokenizer| {
        let pattern = match pre_tokenizer {
            PreTokenizer::Split(Split { pattern, .. }) => pattern,
            _ => return false,
        };
        !steps.is_empty() && matches!(pattern, Pattern::Literal(space) if space == " ")
    };
    match (steps, pre_tokenizer.filter(|pre_tokenizer| !splits_at_spaces(pre_tokenizer))) {
        ([Normalizer::Replace(replace)], None) if marks_spaces(replace) => Some(Prefix::Never),
        ([Normalizer::Prepend(prepend), Normalizer::Replace(replace)], None)
            if is_mark(prepend) && marks_spaces(replace) =>
        {
            Some(Prefix::Always)
        }
        ([], Some(&PreTokenizer::Metaspace(Metaspace { replacement: MARK, prepend_scheme, split: false }))) => {
            Some(match prepend_scheme {
                PrependScheme::Always => Prefix::UnlessMarked,
                PrependScheme::First => Prefix::First,
                PrependScheme::Never => Prefix::Never,
            })
        }
        _ => None,
    }
}

/// Whether a token may be what the token of a byte merges to.
fn may_be_of_bytes(token: &str) -> bool {
    let is_byte = |text: Option<&[u8]>| match text {
        Some([b'<', b'0', b'x', high, low, b'>']) => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    };
    const LENGTH: usize = "<0x00>".len();
    let token = token.as_bytes();
    token.len() > LENGTH
        && (is_byte(token.first_chunk::<LENGTH>().map(|text| &text[..]))
            || is_byte(token.last_chunk::<LENGTH>().map(|text| &text[..])))
}

/// Where the next space is, or the end.
fn end_of_chunk(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().position(|&byte| byte == b' ').unwrap_or(bytes.len() - at)
}

/// A stretch of text between added tokens.
struct Stretch<'a> {
    path: &'a MarkedBpePath,
    pipeline: &'a Pipeline,
    text: &'a str,
    scratch: &'a mut Scratch,
    out: &'a mut Vec<u32>,
}

impl Stretch<'_> {
    /// `marks` says how many are before the text.
    fn run(&mut self, mut marks: usize, batch: &mut WordBatch) -> Result<(), Detour> {
        // A detour may have left some.
        batch.clear();
        let bytes = self.text.as_bytes();
        let mut at = 0;
        loop {
            let spaces = bytes[at..].iter().take_while(|&&byte| byte == b' ').count();
            let is_put = marks > 0 && at == 0;
            marks += spaces;
            at += spaces;
            if at == bytes.len() {
                break;
            }
            let start = at;
            if marks == 1 {
                at = self.path.delimiters.take(bytes, start, &self.scratch.cache, batch);
                if at > start {
                    self.batch(batch)?;
                    self.scratch.counted.take(self.out);
                    // The last chunk may end the text, with no space after it.
                    marks = usize::from(at <= bytes.len());
                    at = at.min(bytes.len());
                    continue;
                }
            }
            at = end_of_chunk(bytes, at);
            while let Some(end) = self.path.tables.reaches.over(bytes, at) {
                at = end_of_chunk(bytes, end);
            }
            match (marks, is_put) {
                (1, _) => self.chunk(start, at)?,
                // With its spaces, which no other chunk begins with.
                (2.., false) => self.cached(start - marks, at, marks, start)?,
                _ => self.merged(&self.text[start..at], marks)?,
            }
            marks = 0;
        }
        if marks > 0 { self.merged("", marks) } else { Ok(()) }
    }

    /// Chunks with one space before each.
    fn batch(&mut self, batch: &mut WordBatch) -> Result<(), Detour> {
        let mut at = 0;
        loop {
            at = batch.take(at, &self.scratch.cache, self.out);
            let Some(chunk) = batch.words().get(at) else {
                break;
            };
            self.chunk(chunk.start as usize, chunk.end as usize)?;
            at += 1;
        }
        batch.clear();
        Ok(())
    }

    /// A chunk with one space before it.
    fn chunk(&mut self, start: usize, end: usize) -> Result<(), Detour> {
        self.cached(start, end, 1, start)
    }

    /// A chunk from `start` on with so many marks before it, known as what is from `key` on.
    fn cached(&mut self, key: usize, end: usize, marks: usize, start: usize) -> Result<(), Detour> {
        let key = &self.text.as_bytes()[key..end];
        if self.scratch.cache.get(key, self.out) {
            return Ok(());
        }
        let before = self.out.len();
        match self.parts(&self.text[start..end], marks)? {
            1 => self.scratch.cache.keep(key, &self.out[before..]),
            _ => self.scratch.cache.keep_cut(key, &self.out[before..]),
        }
        Ok(())
    }

    /// Merges a chunk part by part, and says how many there were. No token reaches over the end of a part, so no merge does; and no character is unknown,
    /// for unknown ones side by side would be one token.
    fn parts(&mut self, chunk: &str, marks: usize) -> Result<usize, Detour> {
        let path = self.path;
        let Tables { neighbours, known, .. } = &path.tables;
        // A chunk with spaces has a token that reaches over them.
        if !chunk.bytes().all(|byte| known[usize::from(byte)] && byte != b' ') {
            return self.merged(chunk, marks).map(|()| 1);
        }
        if chunk.is_ascii() && chunk.len() <= LONGEST {
            let parts = neighbours.parts(chunk);
            if parts.len() == 1 {
                return self.merged(chunk, marks).map(|()| 1);
            }
            for (place, part) in parts.iter().enumerate() {
                self.part(part, (place == 0).then_some(marks))?;
            }
            return Ok(parts.len());
        }
        let vocabulary = self.pipeline.model.vocabulary();
        let far = path.far_neighbours.get_or_init(|| ByteNeighbours::of_texts(vocabulary, MARK));
        let (mut start, mut count) = (0, 0);
        while start < chunk.len() {
            let cut =
                far.cut_after_or(start, chunk.len(), chunk.as_bytes(), |first, second| !neighbours.are(first, second));
            let end = cut.unwrap_or(chunk.len());
            if end - start == chunk.len() {
                return self.merged(chunk, marks).map(|()| 1);
            }
            self.part(&chunk[start..end], (start == 0).then_some(marks))?;
            (start, count) = (end, count + 1);
        }
        Ok(count)
    }

    /// A part of a chunk; the first has `marks` before it.
    fn part(&mut self, part: &str, marks: Option<usize>) -> Result<(), Detour> {
        let key = part.as_bytes();
        let is_cached = match marks {
            Some(marks) => marks == 1 && self.scratch.cache.get(key, self.out),
            None => self.scratch.cache.get_part(key, self.out),
        };
        if is_cached {
            return Ok(());
        }
        let before = self.out.len();
        self.merged(part, marks.unwrap_or(0))?;
        let ids = &self.out[before..];
        match marks {
            Some(1) => self.scratch.cache.keep(key, ids),
            Some(_) => {}
            None => self.scratch.cache.keep_part(key, ids),
        }
        Ok(())
    }

    /// Merges a text with marks before it.
    fn merged(&mut self, text: &str, marks: usize) -> Result<(), Detour> {
        if text.contains(MARK) {
            return Err(Detour);
        }
        let Scratch { word, model, .. } = &mut *self.scratch;
        word.clear();
        word.extend(std::iter::repeat_n(MARK, marks));
        if text.contains(' ') {
            word.extend(text.chars().map(|c| if c == ' ' { MARK } else { c }));
        } else {
            word.push_str(text);
        }
        // The long way says what is wrong, with all of the text.
        self.pipeline.model.tokenize(word, model, &mut Ids(self.out)).map_err(|_| Detour)
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
