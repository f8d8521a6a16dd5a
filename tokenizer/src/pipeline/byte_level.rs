//! Ids of byte-level BPE without detours: words are found 64 bytes at a time, looked up by their bytes as they are, and
//! only a new one is merged, from its bytes, never rewritten in the byte alphabet.

use super::Pipeline;
use super::whole_words::WholeWords;
use super::word_cache::{Key, SHORT, SHORT_IDS, VIEW, WordCache, hash};
use crate::TokenizerError;
use crate::added_vocabulary::Piece;
use crate::models::{Bpe, BpeScratch, ByteMerges, Model};
use crate::normalized::{NoSpans, Normalized, Original, Source};
use crate::normalizers::Normalizer;
use crate::pool::Pool;
use crate::pre_tokenizers::window::{BYTES, starts};
use crate::pre_tokenizers::{ByteLevel, PreTokenizer, Scanner};

/// Bytes of text, and pieces of one, that an idle scratch may keep room for.
const KEPT_TEXT: usize = 1 << 20;
const KEPT_PIECES: usize = 1 << 14;

/// Words that are looked up together: at least those of one window, each of whose bytes may be a word, and some more.
const MOST: usize = 2 * BYTES;

/// Words that wait to be looked up.
struct Batch {
    words: [Found; MOST],
    count: usize,
}

/// A word of the text. Its key means nothing where it is longer than [`SHORT`].
#[derive(Clone, Copy, Default)]
struct Found {
    start: u32,
    end: u32,
    key: Key,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { words: [Found::default(); MOST], count: 0 }
    }
}

impl Batch {
    #[inline]
    fn push(&mut self, start: usize, end: usize, key: Key) {
        // Texts are shorter than 4 GiB.
        if let Some(word) = self.words.get_mut(self.count) {
            *word = Found { start: start as u32, end: end as u32, key };
            self.count += 1;
        }
    }

    /// Whether the words of another window might not fit.
    #[inline]
    fn is_full(&self) -> bool {
        self.count > MOST - BYTES
    }
}

/// Byte-level BPE with one of the well-known splitting expressions.
#[derive(Debug)]
pub(crate) struct ByteLevelPath {
    scanner: Scanner,
    add_prefix_space: bool,
    whole: WholeWords,
    bytes: ByteMerges,
    pool: Pool<Box<Scratch>>,
}

/// What a run works with, kept for the next.
struct Scratch {
    cache: WordCache,
    bpe: BpeScratch,
    normalized: Normalized<NoSpans>,
    prefixed: String,
    pieces: Vec<Piece>,
    /// A word as the vocabulary writes it: no longer than a token.
    written: Vec<u8>,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            cache: WordCache::new(),
            bpe: BpeScratch::default(),
            normalized: Normalized::default(),
            prefixed: String::new(),
            pieces: Vec::new(),
            written: Vec::new(),
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
    }
}

impl ByteLevelPath {
    /// `None` where the components are not byte-level BPE as most models have it.
    pub(super) fn new(pre_tokenizer: Option<&PreTokenizer>, model: &Model) -> Option<Self> {
        let (scanner, add_prefix_space) = match pre_tokenizer? {
            PreTokenizer::ByteLevel(ByteLevel { add_prefix_space, use_regex: true }) => {
                (Scanner::Gpt2, *add_prefix_space)
            }
            PreTokenizer::Sequence(steps) => match &steps[..] {
                [
                    PreTokenizer::Split(split),
                    PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: false, use_regex: false }),
                ] => (split.scanner()?, false),
                _ => return None,
            },
            _ => return None,
        };
        let Model::Bpe(bpe) = model else {
            return None;
        };
        let bytes = bpe.byte_merges()?;
        let whole = WholeWords::new(bpe);
        Some(ByteLevelPath { scanner, add_prefix_space, whole, bytes, pool: Pool::new() })
    }

    /// Appends the ids of `text`.
    pub(super) fn ids(&self, pipeline: &Pipeline, text: &str, out: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let Model::Bpe(bpe) = &pipeline.model else {
            return Ok(());
        };
        self.pool.with(Scratch::new, |scratch| {
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
        })
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
            Some(Normalizer::Nfc) if text.is_ascii() => text,
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
                    self.words(bpe, &prefixed, scratch, out);
                    scratch.prefixed = prefixed;
                }
                None => self.words(bpe, text, scratch, out),
            }
        }
        scratch.normalized = normalized;
        Ok(())
    }

    /// Normalized text without added tokens.
    fn words(&self, bpe: &Bpe, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let bytes = text.as_bytes();
        let mut batch = Batch::default();
        let mut at = 0;
        while let Some(view) = bytes.get(at..at + VIEW).and_then(|view| view.try_into().ok()) {
            at += self.window(text, at, view, &mut batch);
            if batch.is_full() {
                self.batch(bpe, bytes, &mut batch, scratch, out);
            }
        }
        while at < bytes.len() {
            // The end of the text, filled up with spaces.
            let rest = &bytes[at..];
            let mut view = [b' '; VIEW];
            view[..rest.len()].copy_from_slice(rest);
            at += self.window(text, at, &view, &mut batch);
            if batch.is_full() {
                self.batch(bpe, bytes, &mut batch, scratch, out);
            }
        }
        self.batch(bpe, bytes, &mut batch, scratch, out);
    }

    /// Adds the words that lie in `view` to the batch: the text from `at` on, where a word begins. Their bytes in all.
    #[inline]
    fn window(&self, text: &str, at: usize, view: &[u8; VIEW], batch: &mut Batch) -> usize {
        let (window, _) = view.split_first_chunk().unwrap_or((&[b' '; BYTES], &[]));
        // Where the text is not ASCII, there is nothing to gain.
        let mut ends = match window[0] | window[1] {
            ..0x80 => starts(self.scanner, window, text.len() - at),
            _ => 0,
        };
        if ends == 0 {
            let end = self.scanner.end(text, at);
            let word = &text.as_bytes()[at..end];
            batch.push(at, end, Key::of_word(word).unwrap_or_default());
            return end - at;
        }
        let mut start = 0;
        while ends != 0 {
            let end = (ends.trailing_zeros() & 63) as usize;
            ends &= ends - 1;
            batch.push(at + start, at + end, Key::of(view, start, end - start));
            start = end;
        }
        start
    }

    /// Appends the ids of the words of a batch and empties it.
    fn batch(&self, bpe: &Bpe, bytes: &[u8], batch: &mut Batch, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let words = &batch.words[..batch.count.min(MOST)];
        // All of them are looked up before any is looked at: what is not in the processor's cache comes together.
        let mut places = [(0, false); MOST];
        for (place, word) in places.iter_mut().zip(words) {
            *place = scratch.cache.probe(word.key);
        }
        let mut pending = [0; MOST * SHORT_IDS];
        let mut count = 0;
        for (&(place, found), word) in places.iter().zip(words) {
            // A new word may have taken the place since.
            let kept = scratch.cache.at(place);
            if found && kept.is(word.key) && kept.count as usize <= SHORT_IDS {
                if let Some(to) = pending.get_mut(count..count + SHORT_IDS) {
                    to.copy_from_slice(&kept.ids);
                }
                count += kept.count as usize;
            } else {
                out.extend_from_slice(&pending[..count]);
                count = 0;
                self.new_word(bpe, &bytes[word.start as usize..word.end as usize], word.key, scratch, out);
            }
        }
        out.extend_from_slice(&pending[..count]);
        batch.count = 0;
    }

    /// A word that isn't among the short words kept.
    #[cold]
    #[inline(never)]
    fn new_word(&self, bpe: &Bpe, word: &[u8], key: Key, scratch: &mut Scratch, out: &mut Vec<u32>) {
        if word.len() > SHORT {
            return self.long_word(bpe, word, scratch, out);
        }
        if let Some(kept) = scratch.cache.short(key) {
            match kept.all_ids() {
                // It came earlier in the batch.
                Some(ids) => out.extend_from_slice(ids),
                None => self.long_word(bpe, word, scratch, out),
            }
            return;
        }
        let before = out.len();
        self.tokens(bpe, word, scratch, out);
        scratch.cache.keep_short(key, &out[before..]);
    }

    /// A word that no cache has.
    fn tokens(&self, bpe: &Bpe, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let written = self.whole.written(bpe, word, &mut scratch.written);
        let known = written.and_then(|written| Some((written, self.whole.is_whole(written)?)));
        if let Some((written, true)) = known {
            out.push(written.id);
            return;
        }
        let before = out.len();
        bpe.merge_bytes(word, &self.bytes, &mut scratch.bpe);
        out.extend(scratch.bpe.symbols.iter().map(|symbol| symbol.id));
        if let (Some(written), None) = (written, known) {
            self.whole.learn(written, out[before..] == [written.id]);
        }
    }

    /// A word that is too long for the short words, or has too many tokens.
    fn long_word(&self, bpe: &Bpe, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let hash = hash(word);
        if let Some(ids) = scratch.cache.long(word, hash) {
            out.extend_from_slice(ids);
            return;
        }
        let before = out.len();
        self.tokens(bpe, word, scratch, out);
        scratch.cache.keep_long(word, hash, &out[before..]);
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
