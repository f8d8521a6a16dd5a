//! Tokens that are found in the text before the model sees it.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::double_array::DoubleArray;
use crate::models::Vocabulary;
use crate::models::vocabulary::{PieceTable, PrefixHash};
use crate::normalized::{NoSpans, Normalized, Original, Source};
use crate::normalizers::Normalizer;
use crate::unicode::class;

/// A token that is matched in the text as a whole, like `[MASK]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// Its text.
    pub content: String,
    /// Its id.
    pub id: u32,
    /// Whether it is left out when decoding without special tokens.
    pub special: bool,
    /// Whether it only matches where no word character touches it.
    pub single_word: bool,
    /// Whether white space before it belongs to it.
    pub lstrip: bool,
    /// Whether white space after it belongs to it.
    pub rstrip: bool,
    /// Whether it is looked for in the normalized text, rather than in the text as given.
    pub normalized: bool,
}

/// A stretch of text between added tokens, or an added token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) added: Option<u32>,
}

/// Finds the first pattern in a text, the longest of those that begin there, then the first after it, and so on.
#[derive(Debug)]
enum Matcher {
    /// An automaton, and the place of the token of each pattern.
    Automaton { patterns: AhoCorasick, tokens: Vec<usize> },
    /// For so many patterns that an automaton would take long to make. The trie has the places of their tokens.
    Trie { patterns: DoubleArray, begins: Box<[bool; 256]> },
}

/// So many patterns are in a trie.
const MANY: usize = 256;

/// Bytes of the longest pattern that a trie takes: looking for one takes so many steps at each place of a text.
const LONGEST: usize = 256;

/// The tries of a compiled file.
const TRIES: [&str; 2] = ["text_trie", "normalized_trie"];

/// All added tokens of a tokenizer, compiled.
#[derive(Debug, Default)]
pub(crate) struct AddedVocabulary {
    tokens: Vec<AddedToken>,
    by_content: PieceTable<Vec<[u32; 2]>>,
    /// The id of each token and its place, in the order of the ids.
    by_id: Vec<(u32, u32)>,
    /// What an added token is decoded to, where normalization changes it.
    normalized_content: HashMap<u32, String>,
    in_text: Option<Matcher>,
    in_normalized: Option<Matcher>,
}

/// What becomes of the ids that a file lists for added tokens, where they aren't those that the reference gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListedIds {
    /// They are a fault: the file would mean one thing to its writer and another to the reference.
    Count,
    /// They mean nothing, as in the reference.
    MeanNothing,
}

/// Why the added tokens can't be.
#[derive(Debug)]
pub(crate) enum AddedFault {
    /// The id is not the one that the token has or would get.
    Id { content: String, found: u32, expected: u32 },
    /// More tokens than chance makes have the place of this one in a hash table.
    Collides(String),
    /// The automaton can't be built; the message says why.
    Automaton(String),
    /// A token can't be normalized; the message says why.
    Normalizer(String),
}

impl AddedFault {
    /// That the side files of the vocabulary `file` add tokens that can't be.
    pub(crate) fn of_side_files(self, file: &str) -> TokenizerError {
        TokenizerError::Invalid {
            file: file.to_owned(),
            path: "tokenizer_config.json, added_tokens.json".to_owned(),
            expected: "added tokens that fit the vocabulary".to_owned(),
            found: match self {
                AddedFault::Id { content, found, expected } => {
                    format!("id {found} for {content:?}, which has or would get {expected}")
                }
                AddedFault::Collides(content) => format!("many tokens with the hash of {content:?}"),
                AddedFault::Automaton(message) | AddedFault::Normalizer(message) => message,
            },
        }
    }
}

impl AddedVocabulary {
    /// Takes the tokens in the order of the file.
    ///
    /// The reference gives a token that the model knows the model's id, and any other the next id after the vocabulary.
    pub(crate) fn new(
        listed: Vec<AddedToken>,
        ids: ListedIds,
        vocabulary: &Vocabulary,
        normalizer: Option<&Normalizer>,
    ) -> Result<Self, AddedFault> {
        let mut added = Self::with_room(listed.len());
        let mut next_id = vocabulary.len() as u32;
        for mut token in listed {
            if token.content.is_empty() {
                continue;
            }
            let known = added.token_to_id(&token.content).or_else(|| vocabulary.token_to_id(&token.content));
            let id = known.unwrap_or(next_id);
            if ids == ListedIds::Count && id != token.id {
                return Err(AddedFault::Id { content: token.content, found: token.id, expected: id });
            }
            token.id = id;
            next_id = next_id.saturating_add(u32::from(known.is_none()));
            if token.normalized
                && let Some(normalizer) = normalizer
            {
                let mut normalized = Normalized::<NoSpans>::default();
                let text = &token.content;
                let result = normalizer.normalize(&Original { text, base: 0 }, &mut normalized);
                result.map_err(|error| AddedFault::Normalizer(error.to_string()))?;
                if normalized.text() != token.content {
                    let text = normalized.text().to_owned();
                    added.normalized_content.insert(token.id, text);
                }
            }
            added.insert(token)?;
        }
        added.finish([None, None])
    }

    fn with_room(tokens: usize) -> Self {
        AddedVocabulary {
            tokens: Vec::with_capacity(tokens),
            by_content: PieceTable::with_capacity(tokens),
            by_id: Vec::with_capacity(tokens),
            ..AddedVocabulary::default()
        }
    }

    /// A token listed twice keeps its first place and takes its last properties.
    fn insert(&mut self, token: AddedToken) -> Result<(), AddedFault> {
        if let Some(at) = self.place(&token.content) {
            self.tokens[at] = token;
            return Ok(());
        }
        // The ids of tokens, which differ, have 32 bits.
        let at = self.tokens.len() as u32;
        if !self.by_content.insert(PrefixHash::of(token.content.as_bytes()), at) {
            return Err(AddedFault::Collides(token.content));
        }
        self.by_id.push((token.id, at));
        self.tokens.push(token);
        Ok(())
    }

    /// Makes what depends on all tokens, but for the tries of a compiled file: for what is looked for in the text, and in the normalized.
    fn finish(mut self, tries: [Option<DoubleArray>; 2]) -> Result<Self, AddedFault> {
        // Of several with the same id, the last is found.
        self.by_id.sort_unstable_by(|a, b| b.cmp(a));
        self.by_id.dedup_by_key(|&mut (id, _)| id);
        self.by_id.reverse();
        let [in_text, in_normalized] = tries;
        self.in_text = self.matcher(false, in_text)?;
        self.in_normalized = self.matcher(true, in_normalized)?;
        Ok(self)
    }

    /// The place of the token with this content.
    fn place(&self, content: &str) -> Option<usize> {
        let is_it = |at: u32| self.tokens.get(at as usize).is_some_and(|token| token.content == content);
        self.by_content.find(PrefixHash::of(content.as_bytes()), is_it).map(|at| at as usize)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        let mut text = String::new();
        let mut tokens = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            text.push_str(&token.content);
            let flags = [token.special, token.single_word, token.lstrip, token.rstrip, token.normalized];
            let flags = flags.iter().rev().fold(0, |flags, &flag| flags << 1 | u32::from(flag));
            // The texts of the tokens are less than 4 GiB: they were in one file, or in small ones.
            tokens.push([text.len() as u32, token.id, flags]);
        }
        writer.text("text", &text);
        writer.numbers("tokens", &tokens);
        let mut normalized: Vec<(&u32, &String)> = self.normalized_content.iter().collect();
        normalized.sort_unstable();
        writer.json("normalized", &normalized);
        for (name, matcher) in TRIES.into_iter().zip([&self.in_text, &self.in_normalized]) {
            if let Some(Matcher::Trie { patterns, .. }) = matcher {
                patterns.write(name, writer);
            }
        }
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let (text, tokens) = (reader.text("text")?, reader.numbers::<[u32; 3]>("tokens")?);
        let normalized: Vec<(u32, String)> = reader.json("normalized")?;
        let invalid = |fault: AddedFault| reader.invalid("tokens", "tokens that can be found", format!("{fault:?}"));
        let mut added = Self::with_room(tokens.len());
        added.normalized_content = normalized.into_iter().collect();
        let mut start = 0;
        for &[end, id, flags] in tokens.iter() {
            let content = text.get(start..end as usize).ok_or_else(|| {
                let expected = format!("the end of a token beyond {start} within {} bytes of text", text.len());
                reader.invalid("tokens", expected, end.to_string())
            })?;
            start = end as usize;
            let flag = |bit: u32| flags >> bit & 1 == 1;
            let token = AddedToken {
                content: content.to_owned(),
                id,
                special: flag(0),
                single_word: flag(1),
                lstrip: flag(2),
                rstrip: flag(3),
                normalized: flag(4),
            };
            added.insert(token).map_err(invalid)?;
        }
        let trie = |name| reader.has(name).then(|| DoubleArray::read(name, reader)).transpose();
        let tries = [trie(TRIES[0])?, trie(TRIES[1])?];
        added.finish(tries).map_err(invalid)
    }

    /// `trie` is made where it isn't given.
    fn matcher(&self, normalized: bool, trie: Option<DoubleArray>) -> Result<Option<Matcher>, AddedFault> {
        let of_kind = self.tokens.iter().enumerate().filter(|(_, token)| token.normalized == normalized);
        let (patterns, tokens): (Vec<&str>, Vec<usize>) = of_kind
            .map(|(at, token)| (self.content_to_find(token), at))
            // A token that normalization leaves nothing of can't be found in the text.
            .filter(|(content, _)| !content.is_empty())
            .unzip();
        if patterns.is_empty() {
            return Ok(None);
        }
        if patterns.len() >= MANY && patterns.iter().all(|pattern| pattern.len() <= LONGEST) {
            let mut begins = Box::new([false; 256]);
            patterns
                .iter()
                .filter_map(|pattern| pattern.bytes().next())
                .for_each(|byte| begins[usize::from(byte)] = true);
            let made = || {
                let keys: Vec<(&str, u32)> = patterns.iter().copied().zip(tokens.iter().map(|&at| at as u32)).collect();
                // Tokens may be normalized to the same text, of which a trie takes none.
                DoubleArray::build(&keys).ok()
            };
            if let Some(patterns) = trie.or_else(made) {
                return Ok(Some(Matcher::Trie { patterns, begins }));
            }
        }
        let patterns = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // A DFA takes up to a thousand bytes for each byte of the patterns, which a file could abuse.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns)
            .map_err(|error| AddedFault::Automaton(error.to_string()))?;
        Ok(Some(Matcher::Automaton { patterns, tokens }))
    }

    fn content_to_find<'a>(&'a self, token: &'a AddedToken) -> &'a str {
        match self.normalized_content.get(&token.id) {
            Some(text) if token.normalized => text,
            _ => &token.content,
        }
    }

    /// Whether any token is looked for in normalized text.
    pub(crate) fn looks_in_normalized(&self) -> bool {
        self.in_normalized.is_some()
    }

    pub(crate) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    pub(crate) fn token_to_id(&self, content: &str) -> Option<u32> {
        self.place(content).map(|at| self.tokens[at].id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&AddedToken> {
        let (first, last) = (self.by_id.first()?, self.by_id.last()?);
        // Most ids are of the model, and most models have their added tokens before or after all others.
        if !(first.0..=last.0).contains(&id) {
            return None;
        }
        let at = self.by_id.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.by_id.get(at).and_then(|&(_, at)| self.tokens.get(at as usize))
    }

    /// What the token is decoded to.
    pub(crate) fn decoded(&self, id: u32) -> Option<&str> {
        self.get(id).map(|token| self.content_to_find(token))
    }

    /// Whether a decoded token is a special one; the reference compares texts, not ids.
    pub(crate) fn is_special(&self, content: &str) -> bool {
        self.place(content).is_some_and(|at| self.tokens[at].special)
    }

    /// Cuts `text`, as given, at the added tokens that aren't normalized.
    pub(crate) fn split_text(&self, text: &str, pieces: &mut Vec<Piece>) {
        self.split(self.in_text.as_ref(), text, pieces);
    }

    /// Cuts `text`, already normalized, at the added tokens that are.
    pub(crate) fn split_normalized(&self, text: &str, pieces: &mut Vec<Piece>) {
        self.split(self.in_normalized.as_ref(), text, pieces);
    }

    fn split(&self, matcher: Option<&Matcher>, text: &str, pieces: &mut Vec<Piece>) {
        match matcher {
            None if text.is_empty() => {}
            None => pieces.push(Piece { start: 0, end: text.len(), added: None }),
            Some(Matcher::Automaton { patterns, tokens }) => {
                let found = patterns.find_iter(text);
                let found = found.map(|found| (found.start(), found.end(), tokens[found.pattern().as_usize()]));
                self.cut(found, text, pieces);
            }
            Some(Matcher::Trie { patterns, begins }) => self.cut(find_all(patterns, begins, text), text, pieces),
        }
    }

    /// Cuts `text` at what was found: from where to where, and the place of the token.
    fn cut(&self, found: impl Iterator<Item = (usize, usize, usize)>, text: &str, pieces: &mut Vec<Piece>) {
        let mut done = 0;
        for (mut start, mut end, at) in found {
            // The trie of a damaged file may say anything.
            let Some(token) = self.tokens.get(at) else {
                continue;
            };
            if token.single_word && touches_a_word(text, start, end) {
                continue;
            }
            if token.lstrip {
                // White space that the token before has taken stays with it. A match may even begin inside what
                // that token took; the reference then lets it overlap no further than to its end.
                start = text[..start].trim_end_matches(is_space).len().max(done);
            }
            if token.rstrip {
                end = text.len() - text[end..].trim_start_matches(is_space).len();
            }
            if done < start {
                pieces.push(Piece { start: done, end: start, added: None });
            }
            pieces.push(Piece { start, end, added: Some(token.id) });
            done = end;
        }
        if done < text.len() {
            pieces.push(Piece { start: done, end: text.len(), added: None });
        }
    }
}

/// What [`AhoCorasick::find_iter`] would find: from where to where, and the value of the pattern.
fn find_all(patterns: &DoubleArray, begins: &[bool; 256], text: &str) -> impl Iterator<Item = (usize, usize, usize)> {
    let bytes = text.as_bytes();
    // Added tokens often begin with one and the same character, which is found much faster.
    let mut all = (0..=u8::MAX).filter(|&byte| begins[usize::from(byte)]);
    let only = all.next().filter(|only| only.is_ascii() && all.next().is_none()).map(char::from);
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let next = match only {
                Some(only) => text.get(at..)?.find(only)?,
                None => bytes[at..].iter().position(|&byte| begins[usize::from(byte)])?,
            };
            let start = at + next;
            let mut cursor = patterns.root();
            let mut longest = None;
            for (&byte, end) in bytes[start..].iter().take(LONGEST).zip(start + 1..) {
                let Some(next) = cursor.step(byte) else {
                    break;
                };
                cursor = next;
                // Only a damaged trie has parts of characters.
                let value = cursor.value().filter(|_| text.is_char_boundary(start) && text.is_char_boundary(end));
                longest = value.map(|value| (start, end, value as usize)).or(longest);
            }
            at = longest.map_or(start + 1, |(_, end, _)| end);
            if longest.is_some() {
                return longest;
            }
        }
    })
}

fn is_space(c: char) -> bool {
    class(c).is_whitespace()
}

fn touches_a_word(text: &str, start: usize, end: usize) -> bool {
    let is_word = |c: char| class(c).is_word();
    text[..start].chars().next_back().is_some_and(is_word) || text[end..].chars().next().is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_trie_finds_what_the_automaton_finds(
            patterns in prop::collection::btree_set("[ab]{1,5}|[é<]{1,3}|\\PC", 1..20),
            text in "[abé<]{0,40}|\\PC{0,20}",
        ) {
            let keys: Vec<(&str, u32)> = patterns.iter().map(String::as_str).zip(0..).collect();
            let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns);
            let automaton = automaton.expect("an automaton");
            let trie = DoubleArray::build(&keys).expect("distinct patterns");
            let begins = std::array::from_fn(|byte| patterns.iter().any(|pattern| usize::from(pattern.as_bytes()[0]) == byte));
            let expected = automaton.find_iter(&text).map(|found| (found.start(), found.end(), found.pattern().as_usize()));
            prop_assert_eq!(find_all(&trie, &begins, &text).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_tokens_are_found_as_few_are() {
        let token = |number: u32| AddedToken {
            content: format!("<unused{number}>"),
            id: 5 + number,
            special: number.is_multiple_of(2),
            single_word: false,
            lstrip: number.is_multiple_of(3),
            rstrip: false,
            normalized: false,
        };
        let vocabulary = crate::models::vocabulary::VocabularyBuilder::default().build().expect("nothing");
        let text = "a <unused99><unused9> <unused256>< unused1> <unused12";
        let pieces = |count: u32| {
            let listed = (0..count).map(token).collect();
            let added = AddedVocabulary::new(listed, ListedIds::MeanNothing, &vocabulary, None).expect("tokens");
            assert_eq!(matches!(added.in_text, Some(Matcher::Trie { .. })), count as usize >= MANY);
            assert_eq!(added.get(100).map(|token| token.content.as_str()), Some("<unused100>"));
            assert_eq!(added.get(count), None);
            let mut pieces = Vec::new();
            added.split_text(text, &mut pieces);
            pieces
        };
        assert_eq!(pieces(255), pieces(256));
        // The first of its tokens takes the space before it.
        assert_eq!(pieces(256).len(), 4);
        assert_eq!(pieces(257).len(), 6);
    }
}
