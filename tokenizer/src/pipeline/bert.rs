//! The ids of BERT's family in one pass over the bytes of a text: normalizer, pre-tokenizer and model at once.
//!
//! Letters and digits of ASCII are found and put in lower case eight at a time. A word of up to sixteen bytes is looked up as a
//! whole; what is no token as it is goes through [`MaxMatch`], byte by byte. Nothing is cached, so that the first word is as fast as
//! the millionth, whatever came between.

use super::word_table::{LONGEST, WordTable, word_key};
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::models::{MaxMatch, Model};
use crate::normalizers::{BertNormalizer, Normalizer};
use crate::pre_tokenizers::{CharKind, PreTokenizer, bert_kind};
use crate::unicode::{Class, Mapping, class, decompose, is_chinese, lowercase};

/// What the normalizer and the pre-tokenizer make of a byte together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteKind {
    /// A letter or digit of ASCII.
    Inside,
    Space,
    /// A word of its own.
    Alone,
    /// Gone, as if it had not been there.
    Dropped,
    /// Of a character beyond ASCII.
    Beyond,
}

/// BERT's normalizer and pre-tokenizer with WordPiece, compiled together.
#[derive(Debug)]
pub(crate) struct BertPath {
    normalizer: BertNormalizer,
    kinds: [ByteKind; 256],
    /// The ids of the characters that are words of their own.
    alone: [u32; 128],
    words: WordTable,
    pieces: MaxMatch,
    unk_id: u32,
    max_input_chars_per_word: usize,
}

/// A character whose place among the marks around it has to be found: only the whole normalizer can.
struct NeedsOrdering;

impl BertPath {
    /// `None` where these components are of another kind or have unusual settings.
    pub(super) fn new(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
    ) -> Option<Self> {
        let (Some(Normalizer::Bert(normalizer)), Some(PreTokenizer::Bert), Model::WordPiece(model)) =
            (normalizer, pre_tokenizer, model)
        else {
            return None;
        };
        // Without cleaning, words may hold any control character.
        if added.looks_in_normalized() || !normalizer.clean_text || model.max_input_chars_per_word() < LONGEST {
            return None;
        }
        // A word must not hold the prefix itself, or a token of the middle could be taken for one of the beginning.
        let prefix = model.continuing_subword_prefix();
        if prefix.bytes().next().is_some_and(|first| !first.is_ascii_punctuation()) {
            return None;
        }
        let kinds = std::array::from_fn(|byte| match u8::try_from(byte) {
            Ok(byte) if byte.is_ascii() => match normalizer.ascii(byte) {
                None => ByteKind::Dropped,
                Some(byte) => match bert_kind(char::from(byte)) {
                    CharKind::Inside => ByteKind::Inside,
                    CharKind::Space => ByteKind::Space,
                    CharKind::Alone => ByteKind::Alone,
                },
            },
            _ => ByteKind::Beyond,
        });
        let vocabulary = model.vocabulary();
        let may_be_a_word = |token: &str| token.len() == 1 || !token.bytes().any(|byte| byte.is_ascii_punctuation());
        let words: Vec<_> = vocabulary
            .entries()
            .filter(|&entry| may_be_a_word(vocabulary.text_of(entry)))
            .filter_map(|entry| Some((word_key(vocabulary.text_of(entry).as_bytes())?, vocabulary.id_of(entry))))
            .collect();
        let unk_id = model.unk_id();
        let alone = std::array::from_fn(|byte| {
            let mut utf8 = [0; 4];
            let c = char::from(byte as u8);
            vocabulary.token_to_id(c.encode_utf8(&mut utf8)).unwrap_or(unk_id)
        });
        Some(BertPath {
            normalizer: normalizer.clone(),
            kinds,
            alone,
            words: WordTable::new(&words),
            pieces: MaxMatch::new(vocabulary, prefix)?,
            unk_id,
            max_input_chars_per_word: model.max_input_chars_per_word(),
        })
    }

    /// Appends the ids of `text`; `slow` gives those of a stretch between added tokens that this path can't do.
    pub(super) fn ids(&self, added: &AddedVocabulary, text: &str, slow: impl Fn(&str, &mut Vec<u32>), ids: &mut Vec<u32>) {
        let mut pieces = Vec::new();
        added.split_text(text, &mut pieces);
        let mut word = Vec::new();
        for Piece { start, end, added } in pieces {
            if let Some(id) = added {
                ids.push(id);
                continue;
            }
            let stretch = &text[start..end];
            let before = ids.len();
            if self.stretch(stretch, &mut word, ids).is_err() {
                ids.truncate(before);
                slow(stretch, ids);
            }
        }
    }

    fn stretch(&self, text: &str, word: &mut Vec<u8>, ids: &mut Vec<u32>) -> Result<(), NeedsOrdering> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (run, lower) = self.eight(bytes, at);
            at = match run {
                0 => match self.kinds[usize::from(bytes[at])] {
                    ByteKind::Alone => {
                        ids.push(self.alone[usize::from(bytes[at] & 0x7F)]);
                        at + 1
                    }
                    ByteKind::Space | ByteKind::Dropped => at + 1,
                    ByteKind::Inside | ByteKind::Beyond => self.characters(text, at, word, ids)?,
                },
                8 => self.long_word(text, at, lower, word, ids)?,
                _ if self.goes_on(bytes, at + run) => self.characters(text, at, word, ids)?,
                _ => {
                    self.short_word(lower & (u64::MAX >> (64 - 8 * run)), run, ids);
                    at + run
                }
            };
        }
        Ok(())
    }

    /// How many of the next eight bytes, up to the first that is neither, are ASCII letters and digits; and the eight bytes with
    /// the letters in lower case, if that is asked for.
    #[inline]
    fn eight(&self, bytes: &[u8], at: usize) -> (usize, u64) {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x80 * EACH;
        let eight = match bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
            Some(Ok(eight)) => eight,
            _ => {
                let mut eight = [b' '; 8];
                let rest = &bytes[at.min(bytes.len())..];
                eight[..rest.len()].copy_from_slice(rest);
                eight
            }
        };
        let eight = u64::from_le_bytes(eight);
        // The high bit of each byte of `from(a) & !from(b)` says whether the byte is at least a and less than b.
        let low = eight & !HIGH;
        let folded = low | (0x20 * EACH);
        let from = |bytes: u64, first: u8| bytes + u64::from(0x80 - first) * EACH;
        let letters = from(folded, b'a') & !from(folded, b'z' + 1);
        let digits = from(low, b'0') & !from(low, b'9' + 1);
        let outside = !(letters | digits) | eight;
        let run = (outside & HIGH).trailing_zeros() / 8;
        let lower = match self.normalizer.lowercase {
            true => eight | ((letters & HIGH) >> 2),
            false => eight,
        };
        (run as usize, lower)
    }

    /// Whether the byte after a run of letters and digits may belong to their word.
    #[inline]
    fn goes_on(&self, bytes: &[u8], at: usize) -> bool {
        bytes.get(at).is_some_and(|&byte| matches!(self.kinds[usize::from(byte)], ByteKind::Dropped | ByteKind::Beyond))
    }

    #[inline]
    fn short_word(&self, key: u64, len: usize, ids: &mut Vec<u32>) {
        match self.words.short(key) {
            Some(id) => ids.push(id),
            None => self.in_pieces(&key.to_le_bytes()[..len], ids),
        }
    }

    /// A word that begins with eight letters or digits.
    #[inline]
    fn long_word(
        &self,
        text: &str,
        start: usize,
        lower: u64,
        word: &mut Vec<u8>,
        ids: &mut Vec<u32>,
    ) -> Result<usize, NeedsOrdering> {
        let bytes = text.as_bytes();
        let (run, next) = self.eight(bytes, start + 8);
        if run == 8 {
            return self.longer_word(text, start, word, ids);
        }
        let end = start + 8 + run;
        if self.goes_on(bytes, end) {
            return self.characters(text, start, word, ids);
        }
        if run == 0 {
            self.short_word(lower, 8, ids);
            return Ok(end);
        }
        let next = next & (u64::MAX >> (64 - 8 * run));
        match self.words.long([lower, next]) {
            Some(id) => ids.push(id),
            None => {
                let number = u128::from(next) << 64 | u128::from(lower);
                self.in_pieces(&number.to_le_bytes()[..8 + run], ids);
            }
        }
        Ok(end)
    }

    /// A word that begins with sixteen letters or digits.
    fn longer_word(
        &self,
        text: &str,
        start: usize,
        word: &mut Vec<u8>,
        ids: &mut Vec<u32>,
    ) -> Result<usize, NeedsOrdering> {
        let bytes = text.as_bytes();
        word.clear();
        let mut end = start;
        loop {
            let (run, lower) = self.eight(bytes, end);
            word.extend_from_slice(&lower.to_le_bytes()[..run]);
            end += run;
            if run < 8 {
                break;
            }
        }
        if self.goes_on(bytes, end) {
            return self.characters(text, start, word, ids);
        }
        self.word(word, ids);
        Ok(end)
    }

    /// A word, already normalized, of any length.
    fn word(&self, word: &[u8], ids: &mut Vec<u32>) {
        let known = match word_key(word) {
            Some([key, 0]) => self.words.short(key),
            Some(key) => self.words.long(key),
            None => None,
        };
        let begins_char = |byte: &&u8| **byte & 0xC0 != 0x80;
        match known {
            Some(id) => ids.push(id),
            None if word.len() > self.max_input_chars_per_word
                && word.iter().filter(begins_char).count() > self.max_input_chars_per_word =>
            {
                ids.push(self.unk_id);
            }
            None => self.in_pieces(word, ids),
        }
    }

    fn in_pieces(&self, word: &[u8], ids: &mut Vec<u32>) {
        let before = ids.len();
        if !self.pieces.tokenize(word, ids) {
            ids.truncate(before);
            ids.push(self.unk_id);
        }
    }

    /// Goes on character by character to the end of a word that is followed by ASCII.
    fn characters(
        &self,
        text: &str,
        start: usize,
        word: &mut Vec<u8>,
        ids: &mut Vec<u32>,
    ) -> Result<usize, NeedsOrdering> {
        word.clear();
        for (at, c) in text[start..].char_indices() {
            let Some(&kind) = self.kinds[..128].get(c as usize) else {
                self.beyond_ascii(c, word, ids)?;
                continue;
            };
            match kind {
                ByteKind::Dropped => {}
                ByteKind::Inside => word.push(match self.normalizer.lowercase {
                    true => (c as u8).to_ascii_lowercase(),
                    false => c as u8,
                }),
                _ => {
                    self.end_word(word, ids);
                    return Ok(start + at);
                }
            }
        }
        self.end_word(word, ids);
        Ok(text.len())
    }

    fn end_word(&self, word: &mut Vec<u8>, ids: &mut Vec<u32>) {
        if !word.is_empty() {
            self.word(word, ids);
            word.clear();
        }
    }

    /// What the normalizer does to one character, then what the pre-tokenizer does to what came of it.
    #[inline]
    fn beyond_ascii(&self, c: char, word: &mut Vec<u8>, ids: &mut Vec<u32>) -> Result<(), NeedsOrdering> {
        let of_c = class(c);
        if of_c.is_control() {
            return Ok(());
        }
        if of_c.is_whitespace() {
            self.end_word(word, ids);
            return Ok(());
        }
        let apart = self.normalizer.handle_chinese_chars && is_chinese(c);
        if apart {
            self.end_word(word, ids);
        }
        if !self.normalizer.strip_accents {
            self.finish(c, of_c, word, ids);
        } else if !of_c.is_nonspacing() {
            let mut unordered = false;
            let mut part = |c: char, class: Class| {
                if !class.is_nonspacing() {
                    unordered |= class.combining_class() != 0;
                    self.finish(c, class, word, ids);
                }
            };
            if !decompose(c, of_c, Mapping::Canonical, |c| part(c, class(c))) {
                part(c, of_c);
            }
            if unordered {
                return Err(NeedsOrdering);
            }
        }
        if apart {
            self.end_word(word, ids);
        }
        Ok(())
    }

    /// Lower case, then the pre-tokenizer.
    #[inline]
    fn finish(&self, c: char, class: Class, word: &mut Vec<u8>, ids: &mut Vec<u32>) {
        match self.normalizer.lowercase {
            true => lowercase(c, class, |lower| self.pre_tokenize(lower, word, ids)),
            false => self.pre_tokenize(c, word, ids),
        }
    }

    #[inline]
    fn pre_tokenize(&self, c: char, word: &mut Vec<u8>, ids: &mut Vec<u32>) {
        let mut utf8 = [0; 4];
        match bert_kind(c) {
            CharKind::Inside => word.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
            CharKind::Space => self.end_word(word, ids),
            CharKind::Alone => {
                self.end_word(word, ids);
                self.word(c.encode_utf8(&mut utf8).as_bytes(), ids);
            }
        }
    }
}
