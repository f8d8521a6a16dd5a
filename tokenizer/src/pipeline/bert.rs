//! The ids of BERT's family in one pass over the bytes of a text: normalizer, pre-tokenizer and model at once.
//!
//! Words of ASCII are found and put in lower case 64 bytes at a time. Those of up to fifteen bytes are looked up together among
//! the words that were met before; a new one as a whole, then by its pieces, with tables for those of up to sixteen bytes.

use std::ops::Range;

use super::chunks::sixteen;
use super::recent_words::RecentWords;
use super::word_batch::WordBatch;
use super::word_cache::{Key, SHORT, Short, VIEW};
use super::word_table::{LONGEST, PieceKeys, WordTable, word_key};
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::models::{Model, Vocabulary};
use crate::normalizers::{BertNormalizer, Normalizer};
use crate::pool::Pool;
use crate::pre_tokenizers::window::{BYTES, positions};
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

/// Bytes of a word that an idle scratch may keep room for.
const KEPT_WORD: usize = 1 << 16;

/// The bits below bit `end`.
#[inline]
fn below(end: u32) -> u64 {
    1u64.checked_shl(end).unwrap_or(0).wrapping_sub(1)
}

/// Bytes of a stretch that are done before the next, where it is long.
const PART: usize = 1 << 16;

/// Cuts a long stretch at white space that is followed by a letter or digit, where neither normalizing nor splitting looks across.
fn cut(stretch: &str) -> (&str, &str) {
    let is_cut = |pair: &[u8]| matches!(pair[0], b' ' | b'\n') && pair[1].is_ascii_alphanumeric();
    let later = stretch.as_bytes().get(PART..).and_then(|later| later.windows(2).position(is_cut));
    later.and_then(|at| stretch.split_at_checked(PART + at)).unwrap_or((stretch, ""))
}

/// A bit for each byte of a block, the first the lowest.
struct Kinds {
    inside: u64,
    alone: u64,
    /// Dropped, or of a character beyond ASCII.
    special: u64,
}

impl Kinds {
    #[inline]
    fn of(block: &[u8; BYTES]) -> Self {
        let letters = positions(block, |byte| (byte | 0x20).wrapping_sub(b'a') < 26);
        let inside = letters | positions(block, |byte| byte.wrapping_sub(b'0') < 10);
        let alone = positions(block, |byte| byte.wrapping_sub(b'!') < b'\x7f' - b'!') & !inside;
        let spaces = positions(block, |byte| byte == b' ' || byte == b'\t' || byte == b'\n' || byte == b'\r');
        Kinds { inside, alone, special: !(inside | alone | spaces) }
    }
}

/// BERT's normalizer and pre-tokenizer with WordPiece, compiled together.
#[derive(Debug)]
pub(crate) struct BertPath {
    normalizer: BertNormalizer,
    kinds: [ByteKind; 256],
    words: WordTable,
    pool: Pool<Box<Scratch>>,
    unk_id: u32,
    max_input_chars_per_word: usize,
}

/// What a run works with, kept for the next.
struct Scratch {
    batch: WordBatch,
    cache: RecentWords,
    /// The beginning of a word, normalized.
    word: Vec<u8>,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch { batch: WordBatch::default(), cache: RecentWords::new(), word: Vec::new() })
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// `None` where the vocabulary is too large, or too many of its tokens collide.
fn word_table(vocabulary: &Vocabulary, prefix: &str) -> Option<WordTable> {
    let (mut first, mut further) = (PieceKeys::default(), PieceKeys::default());
    for entry in vocabulary.entries() {
        let (token, id) = (vocabulary.text_of(entry), vocabulary.id_of(entry));
        if let Some(rest) = token.strip_prefix(prefix) {
            further.push(rest, id);
        }
        // Punctuation of ASCII is a word of its own.
        if token.len() == 1 || !token.bytes().any(|byte| byte.is_ascii_punctuation()) {
            first.push(token, id);
        }
    }
    WordTable::new(first, further)
}

/// A character whose place among the marks around it has to be found: only the whole normalizer can.
struct NeedsOrdering;

impl BertPath {
    /// `None` where these components are of another kind or have unusual settings. `words` are made where they aren't given.
    pub(super) fn new(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
        words: Option<WordTable>,
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
        Some(BertPath {
            normalizer: normalizer.clone(),
            kinds,
            pool: Pool::new(),
            words: words.or_else(|| word_table(model.vocabulary(), prefix))?,
            unk_id: model.unk_id(),
            max_input_chars_per_word: model.max_input_chars_per_word(),
        })
    }

    pub(super) fn words(&self) -> &WordTable {
        &self.words
    }

    /// Appends the ids of `text`; `slow` gives those of a stretch between added tokens that this path can't do.
    pub(super) fn ids(
        &self,
        added: &AddedVocabulary,
        text: &str,
        slow: impl Fn(&str, &mut Vec<u32>) -> Result<(), TokenizerError>,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        self.run(added, text, slow, ids, |_| {})
    }

    /// How many ids `text` has.
    pub(super) fn count(
        &self,
        added: &AddedVocabulary,
        text: &str,
        slow: impl Fn(&str, &mut Vec<u32>) -> Result<(), TokenizerError>,
    ) -> Result<usize, TokenizerError> {
        let mut ids = Vec::new();
        let mut count = 0;
        self.run(added, text, slow, &mut ids, |ids| {
            count += ids.len();
            ids.clear();
        })?;
        Ok(count + ids.len())
    }

    /// `pause` may take the ids away whenever it is called.
    fn run(
        &self,
        added: &AddedVocabulary,
        text: &str,
        slow: impl Fn(&str, &mut Vec<u32>) -> Result<(), TokenizerError>,
        ids: &mut Vec<u32>,
        mut pause: impl FnMut(&mut Vec<u32>),
    ) -> Result<(), TokenizerError> {
        let mut pieces = Vec::new();
        added.split_text(text, &mut pieces);
        self.pool.with(Scratch::new, |scratch| {
            for Piece { start, end, added } in pieces {
                if let Some(id) = added {
                    ids.push(id);
                    continue;
                }
                let mut stretch = &text[start..end];
                while !stretch.is_empty() {
                    let (now, later) = cut(stretch);
                    let before = ids.len();
                    if (Stretch { path: self, text: now, scratch, ids }).run().is_err() {
                        scratch.batch.clear();
                        ids.truncate(before);
                        slow(now, ids)?;
                    }
                    pause(ids);
                    stretch = later;
                }
            }
            if scratch.word.capacity() > KEPT_WORD {
                scratch.word = Vec::new();
            }
            Ok(())
        })
    }

    /// Appends the ids of a word that is a key. It has at most fifteen bytes.
    fn short_word(&self, key: Key, ids: &mut Vec<u32>) {
        let (key, len) = key.text();
        let known = match len {
            ..=8 => self.words.short_word(key as u64, len, ids),
            _ => self.words.long_word(key, len, ids),
        };
        if !known {
            ids.push(self.unk_id);
        }
    }

    /// Appends the ids of a word, already normalized, of sixteen bytes or more.
    fn long_word(&self, word: &[u8], ids: &mut Vec<u32>) {
        let begins_char = |byte: &&u8| **byte & 0xC0 != 0x80;
        let known = match word_key(word) {
            Some(key) => self.words.long_word(key, word.len() as u32, ids),
            None if word.len() > self.max_input_chars_per_word
                && word.iter().filter(begins_char).count() > self.max_input_chars_per_word =>
            {
                false
            }
            None => self.words.longer_word(word, ids),
        };
        if !known {
            ids.push(self.unk_id);
        }
    }
}

/// A stretch of a text without added tokens, whose words go through the batch, all of them, so that they keep their order.
struct Stretch<'a> {
    path: &'a BertPath,
    text: &'a str,
    scratch: &'a mut Scratch,
    ids: &'a mut Vec<u32>,
}

impl Stretch<'_> {
    fn run(mut self) -> Result<(), NeedsOrdering> {
        let bytes = self.text.as_bytes();
        let mut tail = [b' '; VIEW];
        let mut at = 0;
        while at < bytes.len() {
            let view = match bytes.get(at..at + VIEW).map(<&[u8; VIEW]>::try_from) {
                Some(Ok(view)) => view,
                _ => {
                    let rest = &bytes[at..];
                    tail[..rest.len()].copy_from_slice(rest);
                    tail[rest.len()..].fill(b' ');
                    &tail
                }
            };
            let (block, _) = view.split_first_chunk().unwrap_or((&[b' '; BYTES], &[]));
            let kinds = Kinds::of(block);
            let limit = kinds.special.trailing_zeros();
            // A word that reaches the limit may go on there.
            let open = limit > 0 && kinds.inside >> (limit - 1) & 1 != 0;
            let words = kinds.inside & !(kinds.inside << 1);
            let end = match open {
                true => 63 - (words & (u64::MAX >> (64 - limit))).leading_zeros(),
                false => limit,
            };
            let begin = (words | kinds.alone) & below(end);
            let boundaries = !(kinds.inside & (kinds.inside << 1));
            self.whole_words(view, at, begin, boundaries);
            at += end as usize;
            if limit < u64::BITS {
                at = self.characters(at)?;
            } else if open && end == 0 {
                at = self.longer_word(at)?;
            }
        }
        self.look_up();
        Ok(())
    }

    /// Words of ASCII that are known to end: they begin where `begin` has a bit and end at the next bit of `boundaries`. The view is that of
    /// the text from `at` on.
    #[inline]
    fn whole_words(&mut self, view: &[u8; VIEW], at: usize, mut begin: u64, boundaries: u64) {
        let mut lower = *view;
        if self.path.normalizer.lowercase {
            lower.iter_mut().for_each(|byte| *byte |= u8::from(byte.wrapping_sub(b'A') < 26) << 5);
        }
        let words = std::iter::from_fn(|| {
            let start = begin.trailing_zeros() as usize;
            (begin != 0).then_some(())?;
            begin &= begin - 1;
            // The end of the block is a boundary too.
            let rest = boundaries >> start >> 1 | 1 << (63 - start);
            let length = rest.trailing_zeros() as usize + 1;
            Some((Key::of_view(&lower, start, length), at + start, at + start + length))
        });
        self.scratch.batch.extend(words, self.scratch.cache.short());
        if self.scratch.batch.is_full() {
            self.look_up();
        }
    }

    /// Appends the ids of the words of the batch.
    fn look_up(&mut self) {
        let Stretch { path, text, scratch, ids } = self;
        let Scratch { batch, cache, word } = &mut **scratch;
        batch.look_up(cache, ids, |key, place, cache, ids| {
            if key == Key::NONE {
                word.clear();
                word.extend_from_slice(&text.as_bytes()[place]);
                if path.normalizer.lowercase {
                    word.make_ascii_lowercase();
                }
                path.long_word(word, ids);
                word.clear();
            } else {
                let before = ids.len();
                path.short_word(key, ids);
                cache.keep(key, &ids[before..]);
            }
        });
    }

    /// A word of one character that isn't ASCII.
    #[inline]
    fn alone(&mut self, c: char) {
        let mut utf8 = [0; 4];
        let length = c.encode_utf8(&mut utf8).len();
        self.add(Key::of([u32::from_le_bytes(utf8).into(), 0], length), 0..0);
    }

    /// A word with this key; where it is that of no word, it is at `place` of the text.
    #[inline]
    fn add(&mut self, key: Key, place: Range<usize>) {
        self.scratch.batch.push(key, place.start, place.end, self.scratch.cache.short());
        if self.scratch.batch.is_full() {
            self.look_up();
        }
    }

    /// A word that begins with as many letters and digits as a block has.
    fn longer_word(&mut self, start: usize) -> Result<usize, NeedsOrdering> {
        let rest = &self.text.as_bytes()[start..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let goes_on = |&byte: &u8| matches!(self.path.kinds[usize::from(byte)], ByteKind::Dropped | ByteKind::Beyond);
        if rest.get(len).is_some_and(goes_on) {
            return self.characters(start);
        }
        self.add(Key::NONE, start..start + len);
        Ok(start + len)
    }

    /// Goes on character by character to the next word that begins with ASCII.
    fn characters(&mut self, start: usize) -> Result<usize, NeedsOrdering> {
        self.scratch.word.clear();
        for (at, c) in self.text[start..].char_indices() {
            let Some(&kind) = self.path.kinds[..128].get(c as usize) else {
                self.beyond_ascii(c)?;
                continue;
            };
            match kind {
                ByteKind::Inside if self.scratch.word.is_empty() && at > 0 => return Ok(start + at),
                ByteKind::Inside => self.scratch.word.push(match self.path.normalizer.lowercase {
                    true => (c as u8).to_ascii_lowercase(),
                    false => c as u8,
                }),
                ByteKind::Alone => {
                    self.end_word();
                    self.alone(c);
                }
                ByteKind::Space => self.end_word(),
                ByteKind::Dropped | ByteKind::Beyond => {}
            }
        }
        self.end_word();
        Ok(self.text.len())
    }

    fn end_word(&mut self) {
        let word = &mut self.scratch.word;
        let length = word.len();
        if length == 0 {
            return;
        }
        if length <= SHORT {
            // So that sixteen bytes can be read at once.
            word.extend_from_slice(&[0; SHORT]);
            let key = Key::of(sixteen(word, 0), length);
            word.clear();
            self.add(key, 0..0);
            return;
        }
        let word = std::mem::take(word);
        self.look_up();
        self.path.long_word(&word, self.ids);
        self.scratch.word = word;
        self.scratch.word.clear();
    }

    /// What the normalizer does to one character, then what the pre-tokenizer does to what came of it.
    #[inline]
    fn beyond_ascii(&mut self, c: char) -> Result<(), NeedsOrdering> {
        let of_c = class(c);
        if of_c.is_control() {
            return Ok(());
        }
        if of_c.is_whitespace() {
            self.end_word();
            return Ok(());
        }
        let normalizer = &self.path.normalizer;
        let apart = normalizer.handle_chinese_chars && is_chinese(c);
        if apart {
            self.end_word();
        }
        if !normalizer.strip_accents {
            self.finish(c, of_c);
        } else if !of_c.is_nonspacing() {
            let mut unordered = false;
            let mut part = |c: char, class: Class| {
                if !class.is_nonspacing() {
                    unordered |= class.combining_class() != 0;
                    self.finish(c, class);
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
            self.end_word();
        }
        Ok(())
    }

    /// Lower case, then the pre-tokenizer.
    #[inline]
    fn finish(&mut self, c: char, class: Class) {
        match self.path.normalizer.lowercase {
            true => lowercase(c, class, |lower| self.pre_tokenize(lower)),
            false => self.pre_tokenize(c),
        }
    }

    #[inline]
    fn pre_tokenize(&mut self, c: char) {
        match bert_kind(c) {
            CharKind::Inside => self.scratch.word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            CharKind::Space => self.end_word(),
            CharKind::Alone => {
                self.end_word();
                self.alone(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Tokenizer;

    /// A BERT with the tokens of `vocabulary` after its special ones.
    fn tokenizer(vocabulary: &[String], normalizer: &str, max_input_chars_per_word: usize) -> Tokenizer {
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let tokens: std::collections::BTreeSet<_> = vocabulary.iter().chain(&special).collect();
        let vocabulary: serde_json::Map<_, _> =
            tokens.into_iter().zip(0..).map(|(token, id)| (token.clone(), id.into())).collect();
        let mask = serde_json::json!({"id": vocabulary["[MASK]"], "content": "[MASK]", "single_word": false, "lstrip": true,
            "rstrip": false, "normalized": false, "special": true});
        let file = serde_json::json!({
            "added_tokens": [mask],
            "normalizer": serde_json::from_str::<serde_json::Value>(normalizer).expect("JSON"),
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": max_input_chars_per_word, "vocab": vocabulary},
        });
        Tokenizer::from_json("test", file.to_string().as_bytes()).expect("a tokenizer")
    }

    fn normalizer() -> impl Strategy<Value = String> {
        (any::<bool>(), any::<Option<bool>>(), any::<bool>()).prop_map(|(chinese, accents, lowercase)| {
            serde_json::json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese,
                "strip_accents": accents, "lowercase": lowercase})
            .to_string()
        })
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            8 => "[a-cA-C]{1,5}",
            4 => "[a-cA-C0-9]{1,40}",
            2 => "[ab]{60,140}",
            4 => "[ \t\n.,'!@\\[\\]{}~-]{1,3}",
            1 => " {30,90}",
            2 => "[\u{0}\u{7}\u{b}\u{7f}\u{ad}\u{fffd}]",
            3 => "[éÉàÀçñßİıſ]{1,4}",
            2 => "[\u{300}\u{301}\u{323}\u{16f61}\u{1d165}\u{1d16d}\u{302e}\u{5bf}]{1,3}",
            2 => "[中国東京\u{f900}\u{2f800}]{1,3}",
            1 => "[한국각가]{1,3}",
            1 => "[дЖяЁ]{1,12}",
            1 => Just("[MASK]".to_owned()),
            2 => any::<char>().prop_map(String::from),
            1 => "[\u{a0}\u{2003}\u{3000}\u{37e}\u{1fef}\u{2028}]",
        ];
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn the_short_way_gives_the_ids_of_the_long_way(
            vocabulary in prop::collection::vec(
                prop_oneof![
                    "(##|)[a-c]{1,4}", "(##|)[a-cA-C0-9]{1,20}", "(##|)[éeÉçcn]{1,3}", "[.,'\\[中国]", "(##|)[дя한\u{301}\u{1d165}]{1,2}",
                    "(##|)a{1,30}",
                ],
                0..60,
            ),
            normalizer in normalizer(),
            max in prop_oneof![Just(100usize), 16usize..40, 1usize..16],
            texts in prop::collection::vec(text(), 1..6),
        ) {
            let tokenizer = tokenizer(&vocabulary, &normalizer, max);
            // One after the other, so that words seen before are met.
            for text in texts {
                let mut ids = Vec::new();
                tokenizer.encode_ids(&text, None, &mut ids).expect("ids");
                let slow = tokenizer.encode(&text, None, &Default::default()).expect("an encoding");
                prop_assert_eq!(ids, slow.ids, "{:?}", text);
            }
        }
    }

    #[test]
    fn pieces_of_every_length_are_found_in_words_of_every_length() {
        let normalizer = r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": false, "lowercase": true}"#;
        for length in 2..40 {
            for vocabulary in [["e", "##e", &"e".repeat(length)], ["e", "##e", &format!("##{}", "e".repeat(length))]] {
                let tokenizer = tokenizer(&vocabulary.map(String::from), normalizer, 100);
                for word in (1..80).map(|length| "e".repeat(length)) {
                    let mut ids = Vec::new();
                    tokenizer.encode_ids(&word, None, &mut ids).expect("ids");
                    let slow = tokenizer.encode(&word, None, &Default::default()).expect("an encoding");
                    assert_eq!(ids, slow.ids, "{word} with {vocabulary:?}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_done_in_parts() {
        let vocabulary = ["ab", "##c", "c", "é", "e", "."].map(String::from);
        let normalizer = r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": false, "lowercase": true}"#;
        let tokenizer = tokenizer(&vocabulary, normalizer, 100);
        for shape in ["abc é\u{301} .c ", "abc\u{1d165}\u{1d16d} ", "中", "a"] {
            let text = shape.repeat(5 * PART / shape.len()) + "abc";
            let mut ids = Vec::new();
            tokenizer.encode_ids(&text, None, &mut ids).expect("ids");
            let slow = tokenizer.encode(&text, None, &Default::default()).expect("an encoding");
            assert!(ids == slow.ids, "{shape:?}");
            assert_eq!(tokenizer.count_tokens(&text).expect("a number"), ids.len());
        }
    }

    #[test]
    fn the_kinds_of_bytes_are_those_of_the_components() {
        let tokenizer = tokenizer(
            &[],
            r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}"#,
            100,
        );
        let super::super::FastPath::Bert(path) = &tokenizer.pipeline.fast else {
            panic!("not the path of BERT");
        };
        for byte in 0..=u8::MAX {
            let kinds = Kinds::of(&[byte; BYTES]);
            let expected = match path.kinds[usize::from(byte)] {
                ByteKind::Inside => (u64::MAX, 0, 0),
                ByteKind::Alone => (0, u64::MAX, 0),
                ByteKind::Space => (0, 0, 0),
                ByteKind::Dropped | ByteKind::Beyond => (0, 0, u64::MAX),
            };
            assert_eq!((kinds.inside, kinds.alone, kinds.special), expected, "{byte}");
        }
    }
}
