//! Tokens that are found in the text before the model sees it.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::TokenizerError;
use crate::models::Vocabulary;
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

/// Patterns and, for each, the place of its token.
#[derive(Debug)]
struct Matcher {
    patterns: AhoCorasick,
    tokens: Vec<usize>,
}

/// All added tokens of a tokenizer, compiled.
#[derive(Debug, Default)]
pub(crate) struct AddedVocabulary {
    tokens: Vec<AddedToken>,
    by_content: HashMap<String, usize>,
    by_id: HashMap<u32, usize>,
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
        let mut added = AddedVocabulary::default();
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
            added.insert(token);
        }
        added.in_text = added.matcher(false)?;
        added.in_normalized = added.matcher(true)?;
        Ok(added)
    }

    /// A token listed twice keeps its first place and takes its last properties.
    fn insert(&mut self, token: AddedToken) {
        if let Some(&at) = self.by_content.get(&token.content) {
            self.tokens[at] = token;
            return;
        }
        let at = self.tokens.len();
        self.by_id.insert(token.id, at);
        self.by_content.insert(token.content.clone(), at);
        self.tokens.push(token);
    }

    fn matcher(&self, normalized: bool) -> Result<Option<Matcher>, AddedFault> {
        let (patterns, tokens): (Vec<&str>, Vec<usize>) = self
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| token.normalized == normalized)
            .map(|(at, token)| (self.content_to_find(token), at))
            // A token that normalization leaves nothing of can't be found in the text.
            .filter(|(content, _)| !content.is_empty())
            .unzip();
        if patterns.is_empty() {
            return Ok(None);
        }
        let patterns = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // A DFA takes up to a thousand bytes for each byte of the patterns, which a file could abuse.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns)
            .map_err(|error| AddedFault::Automaton(error.to_string()))?;
        Ok(Some(Matcher { patterns, tokens }))
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
        self.by_content.get(content).map(|&at| self.tokens[at].id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&AddedToken> {
        self.by_id.get(&id).map(|&at| &self.tokens[at])
    }

    /// What the token is decoded to.
    pub(crate) fn decoded(&self, id: u32) -> Option<&str> {
        self.get(id).map(|token| self.content_to_find(token))
    }

    /// Whether a decoded token is a special one; the reference compares texts, not ids.
    pub(crate) fn is_special(&self, content: &str) -> bool {
        self.by_content.get(content).is_some_and(|&at| self.tokens[at].special)
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
        let mut done = 0;
        let found = matcher.map(|matcher| {
            let matches = matcher.patterns.find_iter(text);
            matches.map(|found| (found, &self.tokens[matcher.tokens[found.pattern().as_usize()]]))
        });
        for (found, token) in found.into_iter().flatten() {
            let (mut start, mut end) = (found.start(), found.end());
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

fn is_space(c: char) -> bool {
    class(c).is_whitespace()
}

fn touches_a_word(text: &str, start: usize, end: usize) -> bool {
    let is_word = |c: char| class(c).is_word();
    text[..start].chars().next_back().is_some_and(is_word) || text[end..].chars().next().is_some_and(is_word)
}
