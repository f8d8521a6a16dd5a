//! Ids of byte-level BPE without detours: words are found 64 bytes at a time, looked up by their bytes as they are, and
//! only a new one is merged, from its bytes, never rewritten in the byte alphabet.

use std::sync::OnceLock;

use super::byte_cuts::ByteNeighbours;
use super::chunks::{Counted, sixteen};
use super::whole_words::WholeWords;
use super::word_batch::{AT_ONCE, WordBatch};
use super::word_cache::{Key, SHORT, Short, VIEW, WordCache};
use super::{Pipeline, Token, Tokens};
use crate::TokenizerError;
use crate::added_vocabulary::Piece;
use crate::compiled::Writer;
use crate::models::{Bpe, BpeScratch, ByteMerges, Model};
use crate::normalized::{NoSpans, Normalized, Original, Source, Span};
use crate::pool::Pool;
use crate::pre_tokenizers::window::{BYTES, starts};
use crate::pre_tokenizers::{ByteLevel, PreTokenizer, Scanner};

/// Bytes of text, and pieces of one, that an idle scratch may keep room for.
const KEPT_TEXT: usize = 1 << 20;
const KEPT_PIECES: usize = 1 << 14;

// The words of a window, each of whose bytes may be one.
const _: () = assert!(BYTES <= AT_ONCE);

/// Byte-level BPE with one of the well-known splitting expressions.
#[derive(Debug)]
pub(crate) struct ByteLevelPath {
    scanner: Scanner,
    add_prefix_space: bool,
    whole: WholeWords,
    bytes: ByteMerges,
    /// Made for the first word that may be cut.
    neighbours: OnceLock<ByteNeighbours>,
    pool: Pool<Box<Scratch>>,
}

/// What a run works with, kept for the next.
struct Scratch {
    batch: WordBatch,
    cache: WordCache,
    bpe: BpeScratch,
    normalized: Normalized<NoSpans>,
    prefixed: String,
    pieces: Vec<Piece>,
    /// Where the words of a stretch end, where that is asked for, and its ids.
    ends: Vec<u32>,
    ids: Vec<u32>,
    counted: Counted,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            batch: WordBatch::default(),
            cache: WordCache::default(),
            bpe: BpeScratch::default(),
            normalized: Normalized::default(),
            prefixed: String::new(),
            pieces: Vec::new(),
            ends: Vec::new(),
            ids: Vec::new(),
            counted: Counted::default(),
        })
    }

    /// Gives back what an unusually long text took, so that idle memory is bounded.
    fn shrink(&mut self) {
        self.bpe.shrink();
        if self.prefixed.capacity() > KEPT_TEXT {
            self.prefixed = String::new();
        }
        if self.normalized.capacity() > KEPT_TEXT {
            self.normalized = Normalized::default();
        }
        if self.pieces.capacity() > KEPT_PIECES {
            self.pieces = Vec::new();
        }
        for numbers in [&mut self.ends, &mut self.ids] {
            if numbers.capacity() > KEPT_TEXT {
                *numbers = Vec::new();
            }
        }
    }
}

impl ByteLevelPath {
    /// `None` where the components are not byte-level BPE as most models have it. `tables` are made where they aren't given.
    pub(super) fn new(
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
        tables: Option<(ByteMerges, WholeWords)>,
    ) -> Option<Self> {
        let (scanner, add_prefix_space) = match pre_tokenizer? {
            PreTokenizer::ByteLevel(ByteLevel { add_prefix_space, use_regex: true }) => {
                (Scanner::Gpt2, *add_prefix_space)
            }
            PreTokenizer::Sequence(steps) => match &steps[..] {
                [
                    PreTokenizer::Split(split),
                    PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: false, use_regex: false }),
                ] => (split.scanner()?, false),
                [
                    PreTokenizer::KnownList(list),
                    PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: false, use_regex: false }),
                ] => (list.scanner(), false),
                _ => return None,
            },
            _ => return None,
        };
        let Model::Bpe(bpe) = model else {
            return None;
        };
        let (bytes, whole) = tables.or_else(|| Some((bpe.byte_merges()?, WholeWords::new(bpe))))?;
        let neighbours = OnceLock::new();
        Some(ByteLevelPath { scanner, add_prefix_space, whole, bytes, neighbours, pool: Pool::new() })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.bytes.write(writer);
        self.whole.write(writer);
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        self.pool.with(Scratch::new, |scratch| self.run(pipeline, text, scratch, out))
    }

    /// How many ids `text` has.
    pub(super) fn count(&self, pipeline: &Pipeline, text: &str) -> Result<usize, TokenizerError> {
        self.pool.with(Scratch::new, |scratch| {
            let mut ids = Vec::new();
            scratch.counted.begin();
            let result = self.run(pipeline, text, scratch, &mut ids);
            let count = scratch.counted.end(&ids);
            result.map(|()| count)
        })
    }

    fn run(
        &self,
        pipeline: &Pipeline,
        text: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let Model::Bpe(bpe) = &pipeline.model else {
            return Ok(());
        };
        let mut pieces = std::mem::take(&mut scratch.pieces);
        pieces.clear();
        pipeline.added.split_text(text, &mut pieces);
        let result = pieces.iter().try_for_each(|&Piece { start, end, added }| match added {
            Some(id) => {
                out.push(id);
                Ok(())
            }
            None => self.stretch(pipeline, bpe, &text[start..end], scratch, out),
        });
        scratch.pieces = pieces;
        scratch.shrink();
        result
    }

    /// A stretch of text between added tokens.
    fn stretch(
        &self,
        pipeline: &Pipeline,
        bpe: &Bpe,
        text: &str,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut normalized = std::mem::take(&mut scratch.normalized);
        let text = match &pipeline.normalizer {
            None => text,
            Some(normalizer) if normalizer.leaves(text) => text,
            Some(normalizer) => {
                normalized.clear();
                normalizer.normalize(&Original { text, base: 0 }, &mut normalized)?;
                normalized.text()
            }
        };
        let mut pieces = Vec::new();
        pipeline.added.split_normalized(text, &mut pieces);
        for Piece { start, end, added } in pieces {
            let text = &text[start..end];
            match added {
                Some(id) => out.push(id),
                None if self.add_prefix_space && !text.starts_with(' ') => {
                    let mut prefixed = std::mem::take(&mut scratch.prefixed);
                    prefixed.clear();
                    prefixed.push(' ');
                    prefixed.push_str(text);
                    self.words::<false>(bpe, &prefixed, scratch, out);
                    scratch.prefixed = prefixed;
                }
                None => self.words::<false>(bpe, text, scratch, out),
            }
        }
        scratch.normalized = normalized;
        Ok(())
    }

    /// The tokens of `text` with their spans, if it is its own normalized text.
    pub(super) fn tokens(&self, pipeline: &Pipeline, text: &str) -> Option<Tokens> {
        let Model::Bpe(bpe) = &pipeline.model else {
            return None;
        };
        let is_normalized = match &pipeline.normalizer {
            None => true,
            Some(normalizer) => normalizer.leaves(text),
        };
        if self.add_prefix_space || !is_normalized {
            return None;
        }
        let (mut pieces, mut parts) = (Vec::new(), Vec::new());
        let (mut tokens, mut word) = (Tokens::default(), 0);
        pipeline.added.split_text(text, &mut pieces);
        self.pool.with(Scratch::new, |scratch| {
            for piece in pieces {
                parts.clear();
                match piece.added {
                    Some(_) => parts.push(Piece { start: 0, end: piece.end - piece.start, ..piece }),
                    None => pipeline.added.split_normalized(&text[piece.start..piece.end], &mut parts),
                }
                for part in &parts {
                    let (start, end) = (piece.start + part.start, piece.start + part.end);
                    match part.added {
                        Some(id) => {
                            let span = Span { start: start as u32, end: end as u32 };
                            tokens.0.push(Token { id, word, span });
                            word += 1;
                        }
                        None => {
                            let stretch = Original { text: &text[start..end], base: start };
                            self.stretch_tokens(bpe, stretch, &mut word, scratch, &mut tokens);
                        }
                    }
                }
            }
            scratch.shrink();
        });
        Some(tokens)
    }

    /// A stretch of text between added tokens; `word` counts.
    fn stretch_tokens(&self, bpe: &Bpe, stretch: Original, word: &mut u32, scratch: &mut Scratch, out: &mut Tokens) {
        let Original { text, base } = stretch;
        let mut ids = std::mem::take(&mut scratch.ids);
        ids.clear();
        scratch.ends.clear();
        self.words::<true>(bpe, text, scratch, &mut ids);
        let mut ends = scratch.ends.iter().map(|&end| end as usize);
        let (mut at, mut end) = (0, ends.next().unwrap_or(0));
        for &id in &ids {
            if at >= end {
                *word += 1;
                end = ends.next().unwrap_or(text.len());
            }
            // A character of a token is a byte of the text. Parts of a character stand for all of it.
            let after = at + bpe.vocabulary().id_to_token(id).map_or(0, |token| token.chars().count());
            let start = base + text.floor_char_boundary(at);
            let span = Span { start: start as u32, end: (base + text.ceil_char_boundary(after)) as u32 };
            out.0.push(Token { id, word: *word, span });
            at = after;
        }
        *word += u32::from(!ids.is_empty());
        scratch.ids = ids;
    }

    /// Normalized text without added tokens. With `ENDS`, where its words end goes into the scratch.
    fn words<const ENDS: bool>(&self, bpe: &Bpe, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(view) = bytes.get(at..at + VIEW).and_then(|view| view.try_into().ok()) {
            at += self.window(text, at, view, scratch);
            if scratch.batch.is_full() {
                self.look_up::<ENDS>(bpe, bytes, scratch, out);
            }
        }
        while at < bytes.len() {
            // The end of the text, filled up with spaces.
            let rest = &bytes[at..];
            let mut view = [b' '; VIEW];
            view[..rest.len()].copy_from_slice(rest);
            at += self.window(text, at, &view, scratch);
            if scratch.batch.is_full() {
                self.look_up::<ENDS>(bpe, bytes, scratch, out);
            }
        }
        self.look_up::<ENDS>(bpe, bytes, scratch, out);
    }

    /// Adds the words that lie in `view` to the batch: the text from `at` on, where a word begins. Their bytes in all.
    #[inline]
    fn window(&self, text: &str, at: usize, view: &[u8; VIEW], scratch: &mut Scratch) -> usize {
        let Scratch { batch, cache, .. } = scratch;
        let cache = cache.short();
        let (window, _) = view.split_first_chunk().unwrap_or((&[b' '; BYTES], &[]));
        let mut ends = starts(self.scanner, window, text.len() - at);
        if ends == 0 {
            let end = self.scanner.end(text, at);
            let word = &text.as_bytes()[at..end];
            batch.push(Key::of_text(word).unwrap_or(Key::NONE), at, end, cache);
            return end - at;
        }
        let mut start = 0;
        let words = std::iter::from_fn(|| {
            let end = ends.trailing_zeros() as usize;
            let word = (ends != 0).then(|| (Key::of_view(view, start, end - start), at + start, at + end))?;
            ends &= ends - 1;
            start = end;
            Some(word)
        });
        batch.extend(words, cache);
        start
    }

    /// Appends the ids of the words of the batch.
    fn look_up<const ENDS: bool>(&self, bpe: &Bpe, bytes: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let Scratch { batch, cache, bpe: merging, ends, counted, .. } = scratch;
        if ENDS {
            ends.extend(batch.words().iter().map(|word| word.end));
        }
        batch.look_up(cache, out, |key, place, cache, out| {
            let word = Part { text: bytes, start: place.start, end: place.end };
            self.other_word(bpe, key, word, (cache, merging), out);
        });
        counted.take(out);
    }

    /// A word that the batch has no ids of.
    #[inline(never)]
    fn other_word(
        &self,
        bpe: &Bpe,
        key: Key,
        word: Part,
        memory: (&mut WordCache, &mut BpeScratch),
        out: &mut Vec<u32>,
    ) {
        let (cache, merging) = memory;
        let is_short = key != Key::NONE;
        if is_short && cache.get_as(key, word.bytes(), out) {
            return;
        }
        let before = out.len();
        if !word.bytes().is_ascii() && self.parts(bpe, word, (cache, merging), out) {
            // A longer one comes more seldom than its parts, and takes more room.
            if is_short {
                cache.keep_as(key, word.bytes(), &out[before..]);
            }
            return;
        }
        if !is_short && cache.get_as(key, word.bytes(), out) {
            return;
        }
        match self.whole.find(bpe, word.bytes(), &mut merging.written) {
            Some(id) => out.push(id),
            None => bpe.merge_bytes(word.bytes(), &self.bytes, merging, out),
        }
        cache.keep_as(key, word.bytes(), &out[before..]);
    }

    /// Appends the ids of a word part by part. False, and nothing appended, where it isn't to be cut. What is a token isn't.
    fn parts(&self, bpe: &Bpe, word: Part, memory: (&mut WordCache, &mut BpeScratch), out: &mut Vec<u32>) -> bool {
        let (cache, merging) = memory;
        let neighbours = self.neighbours.get_or_init(|| ByteNeighbours::of_tokens(bpe.vocabulary()));
        let Part { text, start, end } = word;
        let mut cut = neighbours.cut_after(start, end, text);
        if cut.is_none() {
            return false;
        }
        let mut at = start;
        while at < end {
            let part = Part { text, start: at, end: cut.unwrap_or(end) };
            let key = part.key().of_part();
            if !cache.get_part_as(key, part.bytes(), out) {
                let before = out.len();
                bpe.merge_bytes(part.bytes(), &self.bytes, merging, out);
                cache.keep_part_as(key, part.bytes(), &out[before..]);
            }
            at = part.end;
            cut = neighbours.cut_after(at, end, text);
        }
        true
    }
}

/// A stretch of a text, which isn't empty.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Part<'a> {
    #[inline]
    fn bytes(self) -> &'a [u8] {
        &self.text[self.start..self.end]
    }

    #[inline]
    fn key(self) -> Key {
        let length = self.end - self.start;
        if length > SHORT { Key::NONE } else { Key::of(sixteen(self.text, self.start), length) }
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::FastPath;
    use crate::Tokenizer;
    use crate::byte_alphabet::CHARS;
    use crate::normalized::Spans;
    use crate::pipeline::Tokens;

    /// The byte-level tokenizers of the golden file.
    static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/tokenizer/bpe.jsonl");
        let text = std::fs::read_to_string(file).expect("the golden file");
        let mut file = json!({});
        let mut tokenizers = Vec::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            let Some(patch) = line.get("tokenizer").and_then(Value::as_object) else {
                continue;
            };
            patch.iter().for_each(|(part, value)| file[part] = value.clone());
            tokenizers.extend(Tokenizer::from_json("test", file.to_string().as_bytes()));
        }
        tokenizers.retain(|tokenizer| matches!(tokenizer.pipeline.fast, FastPath::ByteLevel(_)));
        tokenizers
    });

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            5 => "[a-zA-Z]{1,9}",
            2 => "[a-z]{10,50}",
            3 => "('s|'t|'re|'Ve|'m|'LL|'D|'ſ|'|'')",
            3 => "[ \\t\\r\\n\u{a0}\u{3000}]{1,4}",
            2 => "[0-9²Ⅳ]{1,9}",
            3 => "[.,!?/\"#\\-()。_—]{1,4}",
            2 => "[éÀǅЖж中가\u{301}]{1,4}",
            1 => "<mask>|<end>|<\\|endoftext\\|>",
            1 => any::<String>(),
        ];
        (prop::collection::vec(piece, 0..60), any::<bool>()).prop_map(|(pieces, ascii)| {
            let text = pieces.concat();
            if ascii { text.chars().filter(char::is_ascii).collect() } else { text }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn tokens_are_those_of_the_long_way(text in text()) {
            assert!(TOKENIZERS.len() > 3);
            for Tokenizer { pipeline, .. } in TOKENIZERS.iter() {
                let mut expected = Tokens::default();
                pipeline.run::<Spans, _>(&text, &mut expected).expect("tokens");
                // The second time, the words are known.
                for _ in 0..2 {
                    let found = pipeline.tokens(&text).expect("tokens");
                    prop_assert_eq!(&found.0, &expected.0);
                    let mut ids = Vec::new();
                    pipeline.ids(&text, &mut ids).expect("ids");
                    let expected: Vec<u32> = expected.0.iter().map(|token| token.id).collect();
                    prop_assert_eq!(ids, expected);
                }
            }
        }

        #[test]
        fn tokens_of_a_word_in_parts_are_those_of_the_long_way(
            merges in prop::collection::vec(any::<(usize, usize, bool)>(), 0..60),
            ignore_merges in any::<bool>(),
            texts in prop::collection::vec("[中文字éа a]{1,60}|[中文]{1,6}|[а中]{100,200}", 1..6),
        ) {
            let Tokenizer { pipeline, .. } = with_merges(&merges, ignore_merges);
            assert!(matches!(pipeline.fast, FastPath::ByteLevel(_)));
            for text in texts.iter().chain(&texts) {
                let (mut ids, mut expected) = (Vec::new(), Vec::new());
                pipeline.run::<Spans, _>(text, &mut expected).expect("ids");
                pipeline.ids(text, &mut ids).expect("ids");
                prop_assert_eq!(&ids, &expected, "{}", text);
            }
        }
    }

    /// A tokenizer with merges of two of the tokens so far, or tokens that are put together of them and not merged. The first are bytes
    /// of a few characters.
    fn with_merges(places: &[(usize, usize, bool)], ignore_merges: bool) -> Tokenizer {
        let mut tokens: Vec<String> = CHARS.iter().map(|c| c.to_string()).collect();
        let mut merges = Vec::new();
        let first: Vec<String> = "中文字éа a".bytes().map(|byte| tokens[usize::from(byte)].clone()).collect();
        for &(left, right, is_merge) in places {
            let known = |place: usize| {
                let place = place % (first.len() + tokens.len() - 256);
                first.get(place).unwrap_or_else(|| &tokens[place - first.len() + 256]).clone()
            };
            let (left, right) = (known(left), known(right));
            let whole = format!("{left}{right}");
            if !tokens.contains(&whole) {
                tokens.push(whole);
            }
            if is_merge {
                merges.push([left, right]);
            }
        }
        let vocab: Value = tokens.iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect();
        let file = json!({
            "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignore_merges},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        });
        Tokenizer::from_json("test", file.to_string().as_bytes()).expect("a tokenizer")
    }
}
