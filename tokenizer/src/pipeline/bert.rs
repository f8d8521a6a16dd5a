//! The ids of BERT's family in one pass over the bytes of a text: normalizer, pre-tokenizer and model at once.
//!
//! Words of ASCII are found 64 bytes at a time and put in lower case eight at a time. A word is
//! looked up as a whole, then by its pieces, with tables for those of up to sixteen bytes.

use super::seen_words::SeenWords;
use super::word_table::{LONGEST, PieceKeys, WordTable, word_key};
use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::models::{Model, Vocabulary};
use crate::normalizers::{BertNormalizer, Normalizer};
use crate::pool::Pool;
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

/// Bytes that are looked at together.
const BLOCK: u32 = 64;

/// Bytes that are read with a block: a word of up to sixteen bytes may begin at its last one.
const READ: usize = 80;

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * EACH;

/// The high bit of each byte from `first` to `last`; the bytes of `bytes` are ASCII.
#[inline]
fn in_range(bytes: u64, first: u8, last: u8) -> u64 {
    let from = |first: u8| bytes + u64::from(0x80 - first) * EACH;
    from(first) & !from(last + 1) & HIGH
}

#[inline]
fn eight(block: &[u8; READ], at: usize) -> u64 {
    match block.get(at..at + 8).map(<[u8; 8]>::try_from) {
        Some(Ok(eight)) => u64::from_le_bytes(eight),
        _ => 0,
    }
}

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
    fn of(block: &[u8; READ]) -> Self {
        // The high bits of eight bytes, gathered into the upper eight bits.
        let gather = |high: u64| (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        let mut kinds = Kinds { inside: 0, alone: 0, special: 0 };
        for at in 0..8 {
            let bytes = eight(block, at * 8);
            let (low, beyond) = (bytes & !HIGH, bytes & HIGH);
            let letters = in_range(low | (0x20 * EACH), b'a', b'z');
            let inside = (letters | in_range(low, b'0', b'9')) & !beyond;
            let alone = in_range(low, b'!', b'~') & !inside & !beyond;
            let spaces = in_range(low, b'\t', b'\n') | in_range(low, b'\r', b'\r') | in_range(low, b' ', b' ');
            let special = !(inside | alone | spaces) & HIGH | beyond;
            kinds.inside |= gather(inside) << (at * 8);
            kinds.alone |= gather(alone) << (at * 8);
            kinds.special |= gather(special) << (at * 8);
        }
        kinds
    }
}

/// BERT's normalizer and pre-tokenizer with WordPiece, compiled together.
#[derive(Debug)]
pub(crate) struct BertPath {
    normalizer: BertNormalizer,
    kinds: [ByteKind; 256],
    /// The ids of the characters that are words of their own.
    alone: [u32; 128],
    words: WordTable,
    /// What threads that are not encoding just now have seen.
    seen: Pool<SeenWords>,
    unk_id: u32,
    max_input_chars_per_word: usize,
}

/// `None` where the vocabulary is too large.
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
        let vocabulary = model.vocabulary();
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
            seen: Pool::new(),
            words: words.or_else(|| word_table(vocabulary, prefix))?,
            unk_id,
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
        self.seen.with(SeenWords::new, |seen| {
            let mut word = Vec::new();
            for Piece { start, end, added } in pieces {
                if let Some(id) = added {
                    ids.push(id);
                    continue;
                }
                let mut stretch = &text[start..end];
                while !stretch.is_empty() {
                    let (now, later) = cut(stretch);
                    let before = ids.len();
                    if self.stretch(now, &mut word, seen, ids).is_err() {
                        ids.truncate(before);
                        slow(now, ids)?;
                    }
                    pause(ids);
                    stretch = later;
                }
            }
            Ok(())
        })
    }

    fn stretch(
        &self,
        text: &str,
        word: &mut Vec<u8>,
        seen: &mut SeenWords,
        ids: &mut Vec<u32>,
    ) -> Result<(), NeedsOrdering> {
        let bytes = text.as_bytes();
        let mut tail = [b' '; READ];
        let mut at = 0;
        while at < bytes.len() {
            let block = match bytes.get(at..at + READ).map(<&[u8; READ]>::try_from) {
                Some(Ok(block)) => block,
                _ => {
                    let rest = &bytes[at..];
                    tail[..rest.len()].copy_from_slice(rest);
                    tail[rest.len()..].fill(b' ');
                    &tail
                }
            };
            let kinds = Kinds::of(block);
            let limit = kinds.special.trailing_zeros();
            // A word that reaches the limit may go on there.
            let open = limit > 0 && kinds.inside >> (limit - 1) & 1 != 0;
            let words = kinds.inside & !(kinds.inside << 1);
            let end = match open {
                true => 63 - (words & (u64::MAX >> (64 - limit))).leading_zeros(),
                false => limit,
            };
            let begin = words | kinds.alone;
            let boundaries = !(kinds.inside & (kinds.inside << 1));
            self.whole_words(block, begin & below(end), boundaries, seen, ids);
            at += end as usize;
            if limit < BLOCK {
                at = self.characters(text, at, word, ids)?;
            } else if open && end == 0 {
                at = self.longer_word(text, at, word, ids)?;
            }
        }
        Ok(())
    }

    /// Words of ASCII that are known to end: they begin where `begin` has a bit and end at the next bit of `boundaries`.
    #[inline]
    fn whole_words(
        &self,
        block: &[u8; READ],
        mut begin: u64,
        boundaries: u64,
        seen: &mut SeenWords,
        ids: &mut Vec<u32>,
    ) {
        while begin != 0 {
            let at = begin.trailing_zeros();
            begin &= begin - 1;
            // The end of the block is a boundary too.
            let rest = boundaries >> at >> 1 | 1 << (63 - at);
            let len = rest.trailing_zeros() + 1;
            let first = self.lower(eight(block, at as usize));
            let known = if len <= 8 {
                let key = first & (u64::MAX >> (64 - 8 * len));
                seen.word(key, ids, |ids| {
                    if !self.words.short_word(key, len, ids) {
                        ids.push(self.unk_id);
                    }
                });
                continue;
            } else if len <= 16 {
                let second = self.lower(eight(block, at as usize + 8)) & (u64::MAX >> (128 - 8 * len));
                self.words.long_word(u128::from(second) << 64 | u128::from(first), len, ids)
            } else {
                let mut word = [0; BLOCK as usize];
                let word = &mut word[..len as usize];
                word.copy_from_slice(&block[at as usize..(at + len) as usize]);
                if self.normalizer.lowercase {
                    word.make_ascii_lowercase();
                }
                self.word(word, ids);
                true
            };
            if !known {
                ids.push(self.unk_id);
            }
        }
    }

    /// Eight bytes of ASCII in lower case, if that is asked for.
    #[inline]
    fn lower(&self, bytes: u64) -> u64 {
        match self.normalizer.lowercase {
            true => bytes | (in_range(bytes & !HIGH, b'A', b'Z') >> 2),
            false => bytes,
        }
    }

    /// A word that begins with as many letters and digits as a block has.
    fn longer_word(
        &self,
        text: &str,
        start: usize,
        word: &mut Vec<u8>,
        ids: &mut Vec<u32>,
    ) -> Result<usize, NeedsOrdering> {
        let rest = &text.as_bytes()[start..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let goes_on = |&byte: &u8| matches!(self.kinds[usize::from(byte)], ByteKind::Dropped | ByteKind::Beyond);
        if rest.get(len).is_some_and(goes_on) {
            return self.characters(text, start, word, ids);
        }
        word.clear();
        word.extend_from_slice(&rest[..len]);
        if self.normalizer.lowercase {
            word.make_ascii_lowercase();
        }
        self.word(word, ids);
        Ok(start + len)
    }

    /// A word, already normalized, of any length.
    fn word(&self, word: &[u8], ids: &mut Vec<u32>) {
        let begins_char = |byte: &&u8| **byte & 0xC0 != 0x80;
        let before = ids.len();
        let len = word.len() as u32;
        let known = match word_key(word) {
            Some(key) if key >> 64 == 0 => self.words.short_word(key as u64, len, ids),
            Some(key) => self.words.long_word(key, len, ids),
            None if word.len() > self.max_input_chars_per_word
                && word.iter().filter(begins_char).count() > self.max_input_chars_per_word =>
            {
                false
            }
            None => self.words.longer_word(word, ids),
        };
        if !known {
            ids.truncate(before);
            ids.push(self.unk_id);
        }
    }

    /// Goes on character by character to the next word that begins with ASCII.
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
                ByteKind::Inside if word.is_empty() && at > 0 => return Ok(start + at),
                ByteKind::Inside => word.push(match self.normalizer.lowercase {
                    true => (c as u8).to_ascii_lowercase(),
                    false => c as u8,
                }),
                ByteKind::Alone => {
                    self.end_word(word, ids);
                    ids.push(self.alone[c as usize]);
                }
                ByteKind::Space => self.end_word(word, ids),
                ByteKind::Dropped | ByteKind::Beyond => {}
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
            let kinds = Kinds::of(&[byte; READ]);
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
