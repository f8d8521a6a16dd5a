//! BPE: the pair of neighbours that comes first in the list of merges becomes one token, until no pair is in the list.
//!
//! All of its kinds: on the bytes of a text in the alphabet of byte-level tokenizers (GPT-2, RoBERTa, Llama 3), on
//! characters with a mark at the end of a word (GPT), and on characters with bytes for unknown ones (SentencePiece).

mod byte_merges;
mod heap;
mod merge_list;
mod merge_table;
mod merging;
mod resolve;
mod short_word;
mod windows;

pub(crate) use byte_merges::ByteMerges;
pub(crate) use merge_list::{MergeList, only_space};
pub(crate) use merge_table::MergeTable;
#[cfg(test)]
pub(crate) use merge_table::place_of_pair;
pub(crate) use merging::Scratch;
use merging::Symbol;
#[cfg(test)]
pub(crate) use resolve::place_of_token;
use resolve::resolve;
pub(crate) use resolve::{Resolver, ShortTokens};
use serde::{Deserialize, Serialize};

use super::TokenSink;
use super::vocabulary::{PrefixHash, Vocabulary};
use crate::TokenizerError;
use crate::byte_alphabet::CHARS;
use crate::compiled::{Reader, Writer};

/// What a [`Bpe`] is made of, as the file gives it.
#[derive(Debug)]
pub(crate) struct BpeParts {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) merges: MergeList,
    /// Of the merges; it is made where it isn't given.
    pub(crate) table: Option<MergeTable>,
    pub(crate) unk_token: Option<String>,
    pub(crate) continuing_subword_prefix: String,
    pub(crate) end_of_word_suffix: String,
    pub(crate) fuse_unk: bool,
    pub(crate) byte_fallback: bool,
    pub(crate) ignore_merges: bool,
}

/// Why the merges can't be.
#[derive(Debug)]
pub(crate) enum BpeFault {
    /// A token of merge `place`, or what it makes, is not in the vocabulary.
    Unknown { place: usize, token: String },
    /// Merge `place` adds nothing to its left token.
    Empty { place: usize, right: String },
    /// 2^32 merges or more.
    TooMany,
}

impl BpeFault {
    /// Which merge, counted from 0.
    pub(crate) fn place(&self) -> Option<usize> {
        match self {
            BpeFault::Unknown { place, .. } | BpeFault::Empty { place, .. } => Some(*place),
            BpeFault::TooMany => None,
        }
    }

    pub(crate) fn expected(&self) -> &'static str {
        match self {
            BpeFault::Unknown { .. } => "a merge of tokens of the vocabulary to one of its tokens",
            BpeFault::Empty { .. } => "a right token that is longer than the prefix of continuations",
            BpeFault::TooMany => "fewer than 2^32 merges",
        }
    }

    pub(crate) fn found(&self) -> String {
        match self {
            BpeFault::Unknown { token, .. } => format!("{token:?}, which is not in it"),
            BpeFault::Empty { right, .. } => format!("{right:?}"),
            BpeFault::TooMany => "more".to_owned(),
        }
    }
}

/// `BPE` of `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct Bpe {
    vocabulary: Vocabulary,
    merges: MergeTable,
    unk_token: Option<String>,
    unk_id: Option<u32>,
    continuing_subword_prefix: String,
    end_of_word_suffix: String,
    fuse_unk: bool,
    /// The tokens `<0x00>` to `<0xFF>`, where unknown characters become bytes.
    byte_tokens: Option<Box<[Option<u32>; 256]>>,
    ignore_merges: bool,
}

/// What a compiled file says of a [`Bpe`] beside its tables.
#[derive(Serialize, Deserialize)]
struct Settings {
    unk_token: Option<String>,
    continuing_subword_prefix: String,
    end_of_word_suffix: String,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
}

impl Bpe {
    pub(crate) fn new(parts: BpeParts) -> Result<Self, BpeFault> {
        let vocabulary = parts.vocabulary;
        let prefix_len = parts.continuing_subword_prefix.len();
        let made = || {
            let tokens = ShortTokens::new(vocabulary.texts());
            resolve(&parts.merges, &vocabulary, &tokens, prefix_len).and_then(|merges| MergeTable::new(&merges))
        };
        let table = parts.table.map_or_else(made, Ok)?;
        let settings = Settings {
            unk_token: parts.unk_token,
            continuing_subword_prefix: parts.continuing_subword_prefix,
            end_of_word_suffix: parts.end_of_word_suffix,
            fuse_unk: parts.fuse_unk,
            byte_fallback: parts.byte_fallback,
            ignore_merges: parts.ignore_merges,
        };
        Ok(Self::with_settings(vocabulary, table, settings))
    }

    fn with_settings(vocabulary: Vocabulary, merges: MergeTable, settings: Settings) -> Self {
        let byte_token = |byte: usize| vocabulary.token_to_id(&format!("<0x{byte:02X}>"));
        Bpe {
            unk_id: settings.unk_token.as_deref().and_then(|token| vocabulary.token_to_id(token)),
            byte_tokens: settings.byte_fallback.then(|| Box::new(std::array::from_fn(byte_token))),
            vocabulary,
            merges,
            unk_token: settings.unk_token,
            continuing_subword_prefix: settings.continuing_subword_prefix,
            end_of_word_suffix: settings.end_of_word_suffix,
            fuse_unk: settings.fuse_unk,
            ignore_merges: settings.ignore_merges,
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("vocabulary", |writer| self.vocabulary.write(writer));
        writer.within("merges", |writer| self.merges.write(writer));
        let settings = Settings {
            unk_token: self.unk_token.clone(),
            continuing_subword_prefix: self.continuing_subword_prefix.clone(),
            end_of_word_suffix: self.end_of_word_suffix.clone(),
            fuse_unk: self.fuse_unk,
            byte_fallback: self.byte_tokens.is_some(),
            ignore_merges: self.ignore_merges,
        };
        writer.json("settings", &settings);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(&reader.within("vocabulary"))?;
        let merges = MergeTable::read(&reader.within("merges"))?;
        Ok(Self::with_settings(vocabulary, merges, reader.json("settings")?))
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn unk_token(&self) -> Option<&str> {
        self.unk_token.as_deref()
    }

    pub(crate) fn continuing_subword_prefix(&self) -> &str {
        &self.continuing_subword_prefix
    }

    /// Whether a word that is a token stays one, whatever merging would give.
    pub(crate) fn ignores_merges(&self) -> bool {
        self.ignore_merges
    }

    /// Whether the tokens of a word are what its characters as they are merge to.
    pub(crate) fn merges_characters_alone(&self) -> bool {
        self.continuing_subword_prefix.is_empty() && self.end_of_word_suffix.is_empty() && !self.ignore_merges
    }

    /// Whether a character of this byte that is no token becomes one for the byte.
    pub(crate) fn has_token_for(&self, byte: u8) -> bool {
        self.byte_tokens.as_ref().is_some_and(|tokens| tokens[usize::from(byte)].is_some())
    }

    /// The merges of bytes, where the model has a token for each character of the byte alphabet and looks characters up
    /// as they are, wherever in the word they stand.
    pub(crate) fn byte_merges(&self) -> Option<ByteMerges> {
        if !self.continuing_subword_prefix.is_empty() || !self.end_of_word_suffix.is_empty() {
            return None;
        }
        let mut ids = Box::new([0; 256]);
        for (c, id) in CHARS.iter().zip(ids.iter_mut()) {
            *id = self.vocabulary.token_to_id(c.encode_utf8(&mut [0; 4]))?;
        }
        Some(ByteMerges::new(&self.merges, ids))
    }

    /// The merges of characters of ASCII, `mark` in the place of the space, where each is a token or has one for its byte, and characters are
    /// looked up as they are.
    pub(crate) fn ascii_merges(&self, mark: char) -> Option<ByteMerges> {
        if !self.merges_characters_alone() {
            return None;
        }
        let mut ids = Box::new([0; 256]);
        for (byte, id) in (0..0x80).zip(ids.iter_mut()) {
            let c = if byte == b' ' { mark } else { char::from(byte) };
            let of_byte = || self.byte_tokens.as_ref().and_then(|tokens| tokens[usize::from(byte)]);
            *id = self.vocabulary.token_to_id(c.encode_utf8(&mut [0; 4])).or_else(of_byte)?;
        }
        Some(ByteMerges::of_ascii(&self.merges, ids))
    }

    /// Appends the ids that merging gives for a word of bytes.
    #[inline]
    pub(crate) fn merge_bytes(&self, word: &[u8], of_bytes: &ByteMerges, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        self.merges.merge_bytes(word, of_bytes, scratch, ids);
    }

    pub(crate) fn tokenize(
        &self,
        word: &str,
        scratch: &mut Scratch,
        sink: &mut impl TokenSink,
    ) -> Result<(), TokenizerError> {
        if self.ignore_merges
            && let Some(id) = self.vocabulary.token_to_id(word)
        {
            sink.push(id, 0, word.len());
            return Ok(());
        }
        self.characters(word, scratch)?;
        self.merges.merge(scratch);
        // A dropped character takes no place: what follows it moves up, as the reference has it.
        let mut start = 0;
        for symbol in &scratch.symbols {
            let end = start + symbol.len as usize;
            sink.push(symbol.id, start, end);
            start = end;
        }
        Ok(())
    }

    /// The word as symbols of one character each, unknown ones replaced by bytes or the unknown token.
    fn characters(&self, word: &str, scratch: &mut Scratch) -> Result<(), TokenizerError> {
        let Scratch { symbols, piece, .. } = scratch;
        symbols.clear();
        // Its length is still growing where unknown characters are fused. It goes in only when a known
        // character or another unknown one comes, so bytes overtake it, as they do in the reference.
        let mut unknown: Option<Symbol> = None;
        for (at, c) in word.char_indices() {
            let end = at + c.len_utf8();
            let len = c.len_utf8() as u32;
            let text = self.with_affixes(&word[at..end], at == 0, end == word.len(), piece);
            let hash = PrefixHash::of(text.as_bytes());
            if let Some(entry) = self.vocabulary.find(hash, text.as_bytes()) {
                symbols.extend(unknown.take());
                symbols.push(Symbol { id: self.vocabulary.id_of(entry), len });
                continue;
            }
            if let Some(byte_tokens) = &self.byte_tokens {
                let tokens = || text.bytes().map(|byte| byte_tokens[usize::from(byte)]);
                if tokens().all(|token| token.is_some()) {
                    symbols.extend(tokens().flatten().map(|id| Symbol { id, len: 1 }));
                    continue;
                }
            }
            let Some(unk_token) = &self.unk_token else {
                continue;
            };
            unknown = match unknown {
                Some(Symbol { id, len: before }) if self.fuse_unk => Some(Symbol { id, len: before + len }),
                _ => {
                    symbols.extend(unknown);
                    let id = self.unk_id.ok_or_else(|| TokenizerError::no_unknown_token(unk_token, word))?;
                    Some(Symbol { id, len })
                }
            };
        }
        symbols.extend(unknown);
        Ok(())
    }

    /// A character as the vocabulary writes it at its place in the word.
    #[inline]
    fn with_affixes<'a>(&self, c: &'a str, is_first: bool, is_last: bool, piece: &'a mut String) -> &'a str {
        let prefix = if is_first { "" } else { &self.continuing_subword_prefix };
        let suffix = if is_last { &self.end_of_word_suffix } else { "" };
        if prefix.is_empty() && suffix.is_empty() {
            return c;
        }
        piece.clear();
        piece.push_str(prefix);
        piece.push_str(c);
        piece.push_str(suffix);
        piece
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::Found;
    use crate::models::vocabulary::VocabularyBuilder;

    /// Tokens of `a` to `c`, those that `merges` makes, and some more; ids that don't follow the ranks.
    fn parts(merges: &[(String, String)], more: &[&str]) -> BpeParts {
        let mut tokens: Vec<String> =
            ["a", "b", "c"].into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
        let mut list = MergeList::default();
        for (left, right) in merges {
            if !tokens.contains(left) || !tokens.contains(right) {
                continue;
            }
            list.push(left, right);
            let whole = format!("{left}{right}");
            if !tokens.contains(&whole) {
                tokens.push(whole);
            }
        }
        let mut builder = VocabularyBuilder::default();
        for (id, token) in (0..).zip(tokens.iter().rev()) {
            builder.push(token, id * 3).expect("a small vocabulary");
        }
        BpeParts {
            vocabulary: builder.build().expect("tokens that differ"),
            table: None,
            merges: list,
            unk_token: None,
            continuing_subword_prefix: String::new(),
            end_of_word_suffix: String::new(),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
        }
    }

    fn tokens(bpe: &Bpe, word: &str) -> Vec<(String, usize, usize)> {
        let mut found = Found::default();
        bpe.tokenize(word, &mut Scratch::default(), &mut found).expect("tokens");
        let text = |id| bpe.vocabulary().id_to_token(id).expect("a token").to_owned();
        found.0.into_iter().map(|(id, start, end)| (text(id), start, end)).collect()
    }

    /// The definition: the listed pair of lowest rank, the leftmost of them, again and again.
    fn reference(merges: &MergeList, word: &str) -> Vec<String> {
        let text = |token| std::str::from_utf8(&merges.text()[token]).expect("a token of letters");
        let merges: Vec<(&str, &str)> = merges.ranges_from(0).map(|(left, right)| (text(left), text(right))).collect();
        let mut tokens: Vec<String> = word.chars().map(String::from).collect();
        loop {
            // A pair listed twice has its last place.
            let rank = |pair: &[String]| merges.iter().rposition(|&(left, right)| pair == [left, right]);
            let pairs = tokens.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at)));
            let Some((_, at)) = pairs.min() else {
                return tokens;
            };
            let right = tokens.remove(at + 1);
            tokens[at] += &right;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn tokens_are_those_of_the_definition(
            merges in prop::collection::vec(("[abc]{1,3}", "[abc]{1,3}"), 0..60),
            words in prop::collection::vec("[abc]{1,12}|[abc]{28,36}|[ab]{60,90}", 1..6),
        ) {
            let parts = parts(&merges, &[]);
            let list = MergeList::clone(&parts.merges);
            let bpe = Bpe::new(parts).expect("merges of the vocabulary");
            for word in &words {
                let found = tokens(&bpe, word);
                let texts: Vec<String> = found.iter().map(|(text, ..)| text.clone()).collect();
                prop_assert_eq!(&texts, &reference(&list, word));
                for (text, start, end) in found {
                    prop_assert_eq!(&word[start..end], text);
                }
            }
        }
    }

    #[test]
    fn unknown_characters_become_bytes_or_the_unknown_token() {
        let texts = |bpe: &Bpe, word| tokens(bpe, word).into_iter().map(|(text, ..)| text).collect::<Vec<_>>();
        let merges = [("a".to_owned(), "b".to_owned())];
        let with = |fuse_unk, byte_fallback| {
            let parts = parts(&merges, &["<unk>", "<0xC3>", "<0xA9>"]);
            Bpe::new(BpeParts { unk_token: Some("<unk>".to_owned()), fuse_unk, byte_fallback, ..parts })
                .expect("a model")
        };
        assert_eq!(texts(&with(false, false), "abéxc"), ["ab", "<unk>", "<unk>", "c"]);
        assert_eq!(texts(&with(true, false), "abéxc"), ["ab", "<unk>", "c"]);
        assert_eq!(texts(&with(true, true), "abéc"), ["ab", "<0xC3>", "<0xA9>", "c"]);
        // One byte of it is no token, so all of it is unknown.
        assert_eq!(texts(&with(true, true), "ö"), ["<unk>"]);
        let none = Bpe::new(parts(&merges, &[])).expect("a model");
        assert_eq!(tokens(&none, "xab"), [("ab".to_owned(), 0, 2)]);
        let missing =
            Bpe::new(BpeParts { unk_token: Some("<unk>".to_owned()), ..parts(&merges, &[]) }).expect("a model");
        let error = missing.tokenize("xab", &mut Scratch::default(), &mut Found::default()).expect_err("no token");
        assert!(error.to_string().contains("<unk>"), "{error}");
    }

    #[test]
    fn affixes_mark_the_place_in_the_word() {
        let merges = [("a".to_owned(), "b</w>".to_owned()), ("a".to_owned(), "##b".to_owned())];
        let suffixed = parts(&merges[..1], &["b</w>"]);
        let suffixed = Bpe::new(BpeParts { end_of_word_suffix: "</w>".to_owned(), ..suffixed }).expect("a model");
        assert_eq!(tokens(&suffixed, "ab"), [("ab</w>".to_owned(), 0, 2)]);
        let mut prefixed = parts(&[], &["##b", "ab"]);
        prefixed.merges.push("a", "##b");
        let prefixed = Bpe::new(BpeParts { continuing_subword_prefix: "##".to_owned(), ..prefixed }).expect("a model");
        assert_eq!(tokens(&prefixed, "abb"), [("ab".to_owned(), 0, 2), ("##b".to_owned(), 2, 3)]);
    }

    #[test]
    fn a_word_that_is_a_token_stays_one_where_merges_are_ignored() {
        let plain = parts(&[], &["abc"]);
        let bpe = Bpe::new(BpeParts { ignore_merges: true, ..plain }).expect("a model");
        assert_eq!(tokens(&bpe, "abc"), [("abc".to_owned(), 0, 3)]);
        assert_eq!(tokens(&bpe, "abca").len(), 4);
    }
}
