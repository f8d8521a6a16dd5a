//! WordPiece: the longest known piece first, then the longest known continuation, and so on.

use super::TokenSink;
use super::vocabulary::{PieceTable, PrefixHash, Vocabulary, VocabularyFault};
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};

/// What a [`WordPiece`] is made of, as the file gives it.
pub(crate) struct WordPieceParts {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) unk_token: String,
    pub(crate) continuing_subword_prefix: String,
    pub(crate) max_input_chars_per_word: usize,
}

/// Why a [`WordPiece`] can't be.
#[derive(Debug)]
pub(crate) enum WordPieceFault {
    /// The unknown token is not in the vocabulary.
    UnkToken,
    Vocabulary(VocabularyFault),
}

/// `WordPiece` of `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct WordPiece {
    vocabulary: Vocabulary,
    unk_token: String,
    unk_id: u32,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    /// Entries that begin with the prefix of continuations, by what follows it.
    continuations: PieceTable,
    /// Bytes of the longest entry: no longer piece needs looking up.
    longest: usize,
}

/// So many places where a piece may end are hashed ahead; ends beyond are looked up on the way. Real vocabularies have
/// tokens of some twenty characters at most.
const HASHED_ENDS: usize = 32;

/// Ends of pieces, each with the hash of the piece.
type Ends = [(PrefixHash, usize); HASHED_ENDS];

impl WordPiece {
    pub(crate) fn new(parts: WordPieceParts) -> Result<Self, WordPieceFault> {
        let WordPieceParts { vocabulary, unk_token, continuing_subword_prefix: prefix, max_input_chars_per_word } =
            parts;
        let unk_id = vocabulary.token_to_id(&unk_token).ok_or(WordPieceFault::UnkToken)?;
        let mut hashes = Vec::new();
        let mut longest = 0;
        for entry in vocabulary.entries() {
            let text = vocabulary.text_of(entry);
            longest = longest.max(text.len());
            if let Some(rest) = text.strip_prefix(prefix.as_str()) {
                hashes.push((PrefixHash::of(rest.as_bytes()), entry));
            }
        }
        let mut continuations = PieceTable::large(hashes.len());
        for (hash, entry) in hashes {
            // Entries differ, so what follows the prefix differs too.
            if !continuations.insert(hash, entry) {
                let token = vocabulary.text_of(entry).to_owned();
                return Err(WordPieceFault::Vocabulary(VocabularyFault::Collides(token)));
            }
        }
        Ok(WordPiece {
            unk_id,
            continuing_subword_prefix: prefix,
            max_input_chars_per_word,
            continuations: continuations.build(),
            longest,
            vocabulary,
            unk_token,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("vocabulary", |writer| self.vocabulary.write(writer));
        writer.text("unk_token", &self.unk_token);
        writer.text("continuing_subword_prefix", &self.continuing_subword_prefix);
        writer.number("max_input_chars_per_word", self.max_input_chars_per_word as u64);
        self.continuations.write("continuations", writer);
        writer.number("longest", self.longest as u64);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(&reader.within("vocabulary"))?;
        let unk_token = reader.text("unk_token")?.to_owned();
        let unk_id = vocabulary.token_to_id(&unk_token);
        let unk_id =
            unk_id.ok_or_else(|| reader.invalid("unk_token", "a token of the vocabulary", format!("{unk_token:?}")))?;
        Ok(WordPiece {
            unk_id,
            continuing_subword_prefix: reader.text("continuing_subword_prefix")?.to_owned(),
            max_input_chars_per_word: reader.size("max_input_chars_per_word")?,
            continuations: PieceTable::read("continuations", reader)?,
            longest: reader.size("longest")?,
            vocabulary,
            unk_token,
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn unk_token(&self) -> &str {
        &self.unk_token
    }

    pub(crate) fn unk_id(&self) -> u32 {
        self.unk_id
    }

    pub(crate) fn continuing_subword_prefix(&self) -> &str {
        &self.continuing_subword_prefix
    }

    pub(crate) fn max_input_chars_per_word(&self) -> usize {
        self.max_input_chars_per_word
    }

    pub(super) fn tokenize(&self, word: &str, sink: &mut impl TokenSink) {
        // Counting characters is only needed where there are that many bytes.
        let too_long =
            word.len() > self.max_input_chars_per_word && word.chars().count() > self.max_input_chars_per_word;
        let before = sink.len();
        let mut ends: Ends = [(PrefixHash::EMPTY, 0); HASHED_ENDS];
        let mut start = 0;
        while !too_long && start < word.len() {
            let Some((entry, end)) = self.longest_piece(word, start, &mut ends) else {
                break;
            };
            sink.push(self.vocabulary.id_of(entry), start, end);
            start = end;
        }
        if start < word.len() {
            sink.truncate(before);
            sink.push(self.unk_id, 0, word.len());
        }
    }

    /// The longest piece of `word` from `start` on, and its end.
    #[inline]
    fn longest_piece(&self, word: &str, start: usize, ends: &mut Ends) -> Option<(u32, usize)> {
        let bytes = word.as_bytes();
        let limit = word.len().min(start.saturating_add(self.longest));
        let mut known = 0;
        let mut hash = PrefixHash::EMPTY;
        let mut best = None;
        for end in start + 1..=limit {
            hash = hash.with(bytes[end - 1]);
            if !word.is_char_boundary(end) {
                continue;
            }
            if known < HASHED_ENDS {
                ends[known] = (hash, end);
                known += 1;
            } else if let Some(entry) = self.piece(hash, word, start, end) {
                best = Some((entry, end));
            }
        }
        best.or_else(|| {
            ends[..known]
                .iter()
                .rev()
                .find_map(|&(hash, end)| self.piece(hash, word, start, end).map(|entry| (entry, end)))
        })
    }

    #[inline]
    fn piece(&self, hash: PrefixHash, word: &str, start: usize, end: usize) -> Option<u32> {
        let piece = &word.as_bytes()[start..end];
        if start == 0 {
            return self.vocabulary.find(hash, piece);
        }
        self.continuations.find(hash, |entry| {
            self.vocabulary.bytes_of(entry).get(self.continuing_subword_prefix.len()..) == Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::Found;
    use crate::models::vocabulary::VocabularyBuilder;

    fn wordpiece(tokens: &[String], prefix: &str, max_input_chars_per_word: usize) -> WordPiece {
        let mut builder = VocabularyBuilder::default();
        for (id, token) in (0..).zip(tokens) {
            builder.push(token, id).expect("a small vocabulary");
        }
        WordPiece::new(WordPieceParts {
            vocabulary: builder.build().expect("tokens that differ"),
            unk_token: "[UNK]".to_owned(),
            continuing_subword_prefix: prefix.to_owned(),
            max_input_chars_per_word,
        })
        .expect("a vocabulary with the unknown token")
    }

    /// The definition, word for word: try every end, the furthest first.
    fn reference(tokens: &[String], prefix: &str, max: usize, word: &str) -> Vec<(u32, usize, usize)> {
        let id = |token: &str| tokens.iter().position(|known| known == token).map(|id| id as u32);
        let unknown = vec![(id("[UNK]").expect("the unknown token"), 0, word.len())];
        if word.chars().count() > max {
            return unknown;
        }
        let mut found = Vec::new();
        let mut start = 0;
        while start < word.len() {
            let prefix = if start == 0 { "" } else { prefix };
            let ends = (start + 1..=word.len()).rev().filter(|&end| word.is_char_boundary(end));
            let mut pieces = ends.filter_map(|end| Some((id(&format!("{prefix}{}", &word[start..end]))?, start, end)));
            let Some(piece) = pieces.next() else {
                return unknown;
            };
            start = piece.2;
            found.push(piece);
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn tokens_are_those_of_the_definition(
            tokens in prop::collection::btree_set("(##|)([abé]{1,3}|a{30,50}|b{1,2}[ab]{0,40})", 0..40),
            prefix in prop_oneof![Just("##"), Just("")],
            max in 1usize..120,
            word in "(##|)[abé]{0,8}(a{0,100}|[ab]{0,60})",
        ) {
            let tokens: Vec<String> = tokens.into_iter().chain(["[UNK]".to_owned()]).collect();
            let mut found = Found::default();
            // What was there before must stay, whatever becomes of this word.
            found.push(9, 9, 9);
            wordpiece(&tokens, prefix, max).tokenize(&word, &mut found);
            prop_assert_eq!(found.0[0], (9, 9, 9));
            prop_assert_eq!(&found.0[1..], &reference(&tokens, prefix, max, &word)[..]);
        }
    }
}
