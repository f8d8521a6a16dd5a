//! Ids of BPE models that write spaces as `▁` and take the text as one word (Llama 2, Mistral, Gemma): the text is cut as it is where no token
//! reaches, and each word between two cuts is merged once; one that was met before is looked up.
//!
//! Merging makes tokens of the vocabulary only. Hardly one has a `▁` behind another character, and few have letters beside punctuation
//! or new lines. Where no token has what is around a place, no merge reaches over it, and what is before it and behind it can be merged by
//! itself.

use std::sync::OnceLock;

use super::Pipeline;
use super::byte_cuts::ByteNeighbours;
use super::chunks::{Counted, Ids, sixteen};
use super::cuts::Neighbours;
use super::marked_cuts::MarkedCuts;
use super::reaches::Reaches;
use super::word_batch::WordBatch;
use super::word_cache::{Key, SHORT, Short, VIEW, WordCache};
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::compiled::{Reader, Writer};
use crate::models::{Bpe, BpeScratch, ByteMerges, Model};
use crate::normalized::{NoSpans, Spans};
use crate::normalizers::{Normalizer, Prepend, Replace};
use crate::numbers::Numbers;
use crate::pool::Pool;
use crate::pre_tokenizers::window::BYTES;
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
    tables: Tables,
    cuts: MarkedCuts,
    /// Whether no character is ever unknown.
    all_known: bool,
    /// Made for the first word that it may cut.
    far_neighbours: OnceLock<ByteNeighbours>,
    /// Made for the first word that is merged.
    ascii: OnceLock<Option<ByteMerges>>,
    pool: Pool<Box<Scratch>>,
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

/// Bytes of a word that an idle scratch may keep room for.
const KEPT_WORD: usize = 1 << 16;

/// What a run works with, kept for the next.
#[derive(Default)]
struct Scratch {
    batch: WordBatch,
    cache: WordCache,
    merging: Merging,
    pieces: Vec<Piece>,
    counted: Counted,
}

/// What new words are merged in.
#[derive(Default)]
struct Merging {
    scratch: BpeScratch,
    /// A word with its marks.
    word: String,
    /// Whether one could not be merged.
    failed: bool,
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
        // Unknown characters side by side would be one token.
        let all_known = tables.known.iter().all(|&known| known);
        let cuts = MarkedCuts::new(all_known.then_some(&tables.neighbours));
        Some(MarkedBpePath {
            prefix,
            tables,
            cuts,
            all_known,
            far_neighbours: OnceLock::new(),
            ascii: OnceLock::new(),
            pool: Pool::new(),
        })
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let begin = out.len();
        let done = self.pool.with(Box::default, |scratch| self.run(pipeline, text, scratch, out));
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
        let count = self.pool.with(Box::default, |scratch: &mut Box<Scratch>| {
            scratch.counted.begin();
            let done = self.run(pipeline, text, scratch, &mut ids);
            let count = scratch.counted.end(&ids);
            done.map(|()| count)
        });
        match (count, self.prefix) {
            (Ok(count), _) => Ok(count),
            (Err(Detour), Prefix::First) => pipeline.count_all::<Spans>(text),
            (Err(Detour), _) => pipeline.count_all::<NoSpans>(text),
        }
    }

    fn run(&self, pipeline: &Pipeline, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), Detour> {
        let Model::Bpe(bpe) = &pipeline.model else {
            return Err(Detour);
        };
        let mut pieces = std::mem::take(&mut scratch.pieces);
        pieces.clear();
        pipeline.added.split_text(text, &mut pieces);
        let done = pieces.iter().try_for_each(|&Piece { start, end, added }| {
            let Some(id) = added else {
                let text = &text[start..end];
                let is_put = self.puts_mark_before(text, start == 0);
                return Stretch { path: self, bpe, text, is_put }.run(scratch, out);
            };
            out.push(id);
            Ok(())
        });
        scratch.pieces = pieces;
        scratch.merging.scratch.shrink();
        if scratch.merging.word.capacity() > KEPT_WORD {
            scratch.merging.word = String::new();
        }
        done
    }

    /// Whether a mark is put before a stretch, which isn't empty.
    fn puts_mark_before(&self, stretch: &str, begins_text: bool) -> bool {
        match self.prefix {
            Prefix::Always => true,
            Prefix::UnlessMarked => !stretch.starts_with(' '),
            Prefix::First => begins_text && !stretch.starts_with(' '),
            Prefix::Never => false,
        }
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

/// A stretch of text between added tokens, which isn't empty.
///
/// Of the spaces before a word, a single one is left out of its bytes; where there are more, all are part of them. A word that is not after a space
/// is looked up as a part.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    path: &'a MarkedBpePath,
    bpe: &'a Bpe,
    text: &'a str,
    /// Whether a mark is put before it.
    is_put: bool,
}

impl Stretch<'_> {
    fn run(self, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), Detour> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        // A detour may have left some.
        scratch.batch.clear();
        scratch.merging.failed = false;
        if self.is_put && bytes.first() == Some(&b' ') {
            // One mark more than there are spaces.
            at = self.path.cuts.after(bytes, 0, &self.path.tables.reaches);
            self.merge(0, at, 1, &mut scratch.merging, out);
        }
        while let Some(view) = bytes.get(at..at + VIEW).and_then(|view| view.try_into().ok()) {
            at += self.window(at, view, scratch);
            if scratch.batch.is_full() {
                self.look_up(scratch, out)?;
            }
        }
        while at < bytes.len() {
            // The end of the text, filled up with spaces.
            let rest = &bytes[at..];
            let mut view = [b' '; VIEW];
            view[..rest.len()].copy_from_slice(rest);
            at += self.window(at, &view, scratch);
            if scratch.batch.is_full() {
                self.look_up(scratch, out)?;
            }
        }
        self.look_up(scratch, out)
    }

    /// Adds the words that lie in `view` to the batch: the text from `at` on, where a word begins. Their bytes in all, with the spaces.
    #[inline]
    fn window(self, at: usize, view: &[u8; VIEW], scratch: &mut Scratch) -> usize {
        let Scratch { batch, cache, .. } = scratch;
        let cache = cache.short();
        let MarkedBpePath { cuts, tables: Tables { reaches, .. }, .. } = self.path;
        let bytes = self.text.as_bytes();
        let (window, _) = view.split_first_chunk::<BYTES>().unwrap_or((&[b' '; BYTES], &[]));
        let mut ends = cuts.of_window(window, bytes, at, reaches);
        if ends == 0 {
            let end = cuts.after(bytes, at + BYTES - 1, reaches);
            let start = at + usize::from(has_one_space(view, 0));
            let word = Word::new(bytes, start, end, !self.marks_before(start));
            batch.push(word.key, start, end, cache);
            return end - at;
        }
        let mut begin = 0;
        let words = std::iter::from_fn(|| {
            let end = ends.trailing_zeros() as usize;
            let word = (ends != 0).then(|| {
                let start = begin + usize::from(has_one_space(view, begin));
                let key = Key::of_view(view, start, end - start);
                let is_part = view[begin] != b' ' && !(self.is_put && at + begin == 0);
                (if is_part { key.of_part() } else { key }, at + start, at + end)
            })?;
            ends &= ends - 1;
            begin = end;
            Some(word)
        });
        batch.extend(words, cache);
        begin
    }

    /// Whether the word that begins at `start` has spaces, or a mark that is put before it.
    fn marks_before(self, start: usize) -> bool {
        let bytes = self.text.as_bytes();
        match start.checked_sub(1) {
            _ if bytes.get(start) == Some(&b' ') => true,
            Some(before) => bytes.get(before) == Some(&b' '),
            None => self.is_put,
        }
    }

    /// Appends the ids of the words of the batch.
    fn look_up(self, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), Detour> {
        let Scratch { batch, cache, merging, counted, .. } = scratch;
        batch.look_up(cache, out, |key, place, cache, out| {
            self.other_word(key, place.start, place.end, (cache, merging), out);
        });
        counted.take(out);
        if merging.failed { Err(Detour) } else { Ok(()) }
    }

    /// A word that the batch has no ids of.
    #[inline(never)]
    fn other_word(
        self,
        key: Key,
        start: usize,
        end: usize,
        (cache, merging): (&mut WordCache, &mut Merging),
        out: &mut Vec<u32>,
    ) {
        let is_part = !self.marks_before(start);
        let word = Word { bytes: &self.text.as_bytes()[start..end], key, is_part };
        let is_short = key != Key::NONE;
        if is_short && word.get(cache, out) {
            return;
        }
        let before = out.len();
        let is_cut = self.path.all_known && !word.bytes.is_ascii() && self.parts(start, end, (cache, merging), out);
        if !is_cut {
            if !is_short && word.get(cache, out) {
                return;
            }
            self.merge(start, end, usize::from(!is_part && word.bytes[0] != b' '), merging, out);
        }
        // A longer one that is cut comes more seldom than its parts, and takes more room.
        if (is_short || !is_cut) && !merging.failed {
            word.keep(cache, &out[before..]);
        }
    }

    /// Appends the ids of a word part by part. False, and nothing appended, where it isn't to be cut.
    fn parts(
        self,
        start: usize,
        end: usize,
        (cache, merging): (&mut WordCache, &mut Merging),
        out: &mut Vec<u32>,
    ) -> bool {
        let bytes = self.text.as_bytes();
        let spaces = bytes[start..end].iter().take_while(|&&byte| byte == b' ').count();
        // Over spaces within a word a token reaches, with marks that are not in the text.
        if bytes[start + spaces..end].contains(&b' ') {
            return false;
        }
        let vocabulary = self.bpe.vocabulary();
        let neighbours = self.path.far_neighbours.get_or_init(|| ByteNeighbours::of_texts(vocabulary, MARK));
        let mut cut = neighbours.cut_after(start + spaces, end, bytes);
        if cut.is_none() {
            return false;
        }
        let mut at = start;
        while at < end {
            let part_end = cut.unwrap_or(end);
            let is_part = at > start || !self.marks_before(start);
            let part = Word::new(bytes, at, part_end, is_part);
            if !part.get(cache, out) {
                let before = out.len();
                self.merge(at, part_end, usize::from(!is_part && spaces == 0), merging, out);
                if !merging.failed {
                    part.keep(cache, &out[before..]);
                }
            }
            at = part_end;
            cut = neighbours.cut_after(at, end, bytes);
        }
        true
    }

    /// Merges what is at `start..end` with so many marks more before it.
    fn merge(self, start: usize, end: usize, marks: usize, merging: &mut Merging, out: &mut Vec<u32>) {
        let Merging { scratch, word, failed } = merging;
        let bytes = self.text.as_bytes();
        // With the one space that its bytes don't have.
        let spaced = start.saturating_sub(marks);
        let has_all_marks = start - spaced == marks && bytes[spaced..start].iter().all(|&byte| byte == b' ');
        let ascii = || self.path.ascii.get_or_init(|| self.bpe.ascii_merges(MARK)).as_ref();
        if has_all_marks
            && bytes[start..end].is_ascii()
            && let Some(ascii) = ascii()
        {
            return self.bpe.merge_bytes(&bytes[spaced..end], ascii, scratch, out);
        }
        let text = &self.text[start..end];
        word.clear();
        word.extend(std::iter::repeat_n(MARK, marks));
        if text.contains(' ') {
            word.extend(text.chars().map(|c| if c == ' ' { MARK } else { c }));
        } else {
            word.push_str(text);
        }
        // The long way says what is wrong, with all of the text.
        *failed |= text.contains(MARK) || self.bpe.tokenize(word, scratch, &mut Ids(out)).is_err();
    }
}

/// Whether there is a space at `at`, and only one.
#[inline]
fn has_one_space(view: &[u8; VIEW], at: usize) -> bool {
    view.get(at) == Some(&b' ') && view.get(at + 1) != Some(&b' ')
}

/// A word, or a part of one, to look up.
#[derive(Clone, Copy)]
struct Word<'a> {
    bytes: &'a [u8],
    key: Key,
    is_part: bool,
}

impl<'a> Word<'a> {
    #[inline]
    fn new(text: &'a [u8], start: usize, end: usize, is_part: bool) -> Self {
        let length = end - start;
        let key = if length > SHORT { Key::NONE } else { Key::of(sixteen(text, start), length) };
        Word { bytes: &text[start..end], key: if is_part { key.of_part() } else { key }, is_part }
    }

    #[inline]
    fn get(self, cache: &mut WordCache, out: &mut Vec<u32>) -> bool {
        match self.is_part {
            true => cache.get_part_as(self.key, self.bytes, out),
            false => cache.get_as(self.key, self.bytes, out),
        }
    }

    fn keep(self, cache: &mut WordCache, ids: &[u32]) {
        match self.is_part {
            true => cache.keep_part_as(self.key, self.bytes, ids),
            false => cache.keep_as(self.key, self.bytes, ids),
        }
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::FastPath;
    use crate::Tokenizer;
    use crate::compiled;
    use crate::normalized::Spans;

    const FIRST: [&str; 10] = ["▁", "a", "b", "<", ">", "\n", "中", "文", "é", "ж"];

    /// A tokenizer with merges of two of the tokens so far. Bytes are tokens where `has_bytes` says so.
    fn with_merges(places: &[(usize, usize)], prefix: usize, has_bytes: bool) -> Tokenizer {
        let mut tokens: Vec<String> = FIRST.map(str::to_owned).to_vec();
        let mut merges = Vec::new();
        for &(left, right) in places {
            let (left, right) = (tokens[left % tokens.len()].clone(), tokens[right % tokens.len()].clone());
            let whole = format!("{left}{right}");
            if whole.len() < 40 {
                if !tokens.contains(&whole) {
                    tokens.push(whole);
                }
                merges.push([left, right]);
            }
        }
        tokens.push("<unk>".to_owned());
        if has_bytes {
            tokens.extend((0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")));
        }
        let vocab: Value = tokens.iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect();
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let metaspace =
            |scheme| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        let split = json!({
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false,
        });
        let (normalizer, pre_tokenizer) = match prefix % 6 {
            0 => (replace, json!(null)),
            1 => (replace, split),
            2 => (json!({"type": "Sequence", "normalizers": [prepend, replace]}), json!(null)),
            3 => (json!(null), metaspace("always")),
            4 => (json!(null), metaspace("first")),
            _ => (json!(null), metaspace("never")),
        };
        let file = json!({
            "model": {
                "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "fuse_unk": true,
                "byte_fallback": has_bytes,
            },
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "added_tokens": [{
                "id": tokens.len(), "content": "<x>", "special": true, "normalized": false, "lstrip": false, "rstrip": false,
                "single_word": false,
            }],
        });
        Tokenizer::from_json("test", file.to_string().as_bytes()).expect("a tokenizer")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn tokens_of_words_are_those_of_the_long_way(
            merges in prop::collection::vec(any::<(usize, usize)>(), 0..60),
            prefix in 0..6_usize,
            has_bytes in any::<bool>(),
            texts in prop::collection::vec("[ab<>中文éж \n]{1,40}|[ab ]{50,150}|(a|> {1,3}<|<x>| {1,80}|▁|\\?|ü|中){1,20}", 1..6),
        ) {
            let tokenizer = with_merges(&merges, prefix, has_bytes);
            let compiled = compiled::write(&tokenizer);
            let compiled = compiled::read("test", std::sync::Arc::new(compiled)).expect("a tokenizer");
            for Tokenizer { pipeline, .. } in [tokenizer, compiled] {
                assert!(matches!(pipeline.fast, FastPath::MarkedBpe(_)));
                for text in texts.iter().chain(&texts) {
                    let (mut ids, mut expected) = (Vec::new(), Vec::new());
                    pipeline.run::<Spans, _>(text, &mut expected).expect("ids");
                    pipeline.ids(text, &mut ids).expect("ids");
                    prop_assert_eq!(&ids, &expected, "{}", text);
                    prop_assert_eq!(pipeline.count(text).expect("ids"), expected.len());
                }
            }
        }
    }
}
