//! Unigram: of all ways to cut a word into known pieces, the one whose scores have the greatest sum (Viterbi).

use super::TokenSink;
use super::vocabulary::Vocabulary;
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::double_array::{DoubleArray, DoubleArrayFault, NO_VALUE};
use crate::numbers::Numbers;

/// A character that no piece covers costs so much more than the least likely piece.
const UNK_PENALTY: f64 = 10.0;

/// What a [`Unigram`] is made of, as the file gives it.
pub(crate) struct UnigramParts {
    /// The id of a piece is its place.
    pub(crate) vocabulary: Vocabulary,
    /// From the pieces that aren't empty to their ids; it is made where it isn't given.
    pub(crate) trie: Option<DoubleArray>,
    /// A score for each piece.
    pub(crate) scores: Vec<f64>,
    pub(crate) unk_id: Option<u32>,
    pub(crate) byte_fallback: bool,
}

/// Why a [`Unigram`] can't be.
#[derive(Debug)]
pub(crate) enum UnigramFault {
    /// `unk_id` is not less than the number of pieces.
    UnkId { pieces: usize },
    /// The pieces don't fit into a trie.
    Trie(DoubleArrayFault),
}

/// `Unigram` of `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct Unigram {
    vocabulary: Vocabulary,
    /// Of each piece, and, at last, of none.
    scores: Numbers<f64>,
    trie: DoubleArray,
    unk_id: Option<u32>,
    unk_score: f64,
    /// The pieces `<0x00>` to `<0xFF>`, as far as they are there; `None` where unknown characters stay unknown.
    byte_ids: Option<Box<[Option<u32>; 256]>>,
}

/// The best way to a place in the word.
#[derive(Clone, Copy, Debug)]
struct Best {
    score: f64,
    /// Where the last piece of it starts.
    start: u32,
    id: u32,
}

/// No way leads here yet.
const UNREACHED: Best = Best { score: f64::NAN, start: 0, id: 0 };

impl Best {
    /// Takes a way of this score, if it is better. Says whether it is nearly as good as the one before.
    #[inline]
    fn reach(&mut self, score: f64, start: usize, id: u32) -> bool {
        let was_close = (score - self.score).abs() < CLOSE;
        let is_better = self.score.is_nan() | (score > self.score);
        *self = if is_better { Best { score, start: start as u32, id } } else { *self };
        was_close
    }
}

/// Working memory, kept from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// One for each byte of the word, and one for its end.
    best: Vec<Best>,
    /// The pieces of the best way, the last first: start, end, id.
    path: Vec<(u32, u32, u32)>,
    /// Whether two ways to one place were nearly as good as each other.
    was_close: bool,
}

/// Sums that differ by less may be told apart by rounding alone; see [`Unigram::has_moderate_scores`].
const CLOSE: f64 = 1e-6;

/// The sums of a hundred such scores are exact to less than [`CLOSE`].
const MODERATE: f64 = 1e4;

/// Of the memory for a long word, what is kept for the next: places.
const KEPT: usize = 1 << 16;

impl Scratch {
    /// Whether, in the last word, the order of its sums may have decided between two ways.
    pub(crate) fn was_close(&self) -> bool {
        self.was_close
    }

    /// Gives back what only a very long word needed.
    pub(crate) fn shrink(&mut self) {
        self.best.truncate(KEPT);
        self.best.shrink_to(KEPT);
        self.path.truncate(KEPT);
        self.path.shrink_to(KEPT);
    }
}

/// The tokens of bytes.
fn byte_ids(vocabulary: &Vocabulary) -> Box<[Option<u32>; 256]> {
    Box::new(std::array::from_fn(|byte| vocabulary.token_to_id(&format!("<0x{byte:02X}>"))))
}

impl Unigram {
    pub(crate) fn new(parts: UnigramParts) -> Result<Self, UnigramFault> {
        let UnigramParts { vocabulary, trie, mut scores, unk_id, byte_fallback } = parts;
        let pieces = vocabulary.len();
        if unk_id.is_some_and(|id| id as usize >= pieces) {
            return Err(UnigramFault::UnkId { pieces });
        }
        let made = || {
            let entries = vocabulary.entries();
            let keys = entries.map(|entry| (vocabulary.bytes_of(entry), vocabulary.id_of(entry)));
            let keys: Vec<(&[u8], u32)> = keys.filter(|(piece, _)| !piece.is_empty()).collect();
            DoubleArray::build(&keys).map_err(UnigramFault::Trie)
        };
        let trie = trie.map_or_else(made, Ok)?;
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let byte_ids = byte_fallback.then(|| byte_ids(&vocabulary));
        scores.push(f64::NAN);
        Ok(Unigram { trie, unk_score: least - UNK_PENALTY, unk_id, byte_ids, scores: scores.into(), vocabulary })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("vocabulary", |writer| self.vocabulary.write(writer));
        writer.numbers("scores", &self.scores);
        self.trie.write("trie", writer);
        writer.json("settings", &(self.unk_id, self.byte_ids.is_some()));
        writer.numbers("unk_score", &[self.unk_score]);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(&reader.within("vocabulary"))?;
        let (unk_id, byte_fallback): (Option<u32>, bool) = reader.json("settings")?;
        if unk_id.is_some_and(|id| id as usize >= vocabulary.len()) {
            let expected = format!("an unk_id less than {}", vocabulary.len());
            return Err(reader.invalid("settings", expected, format!("{unk_id:?}")));
        }
        let scores: Numbers<f64> = reader.numbers("scores")?;
        if scores.is_empty() {
            return Err(reader.invalid("scores", "one number at least", "none"));
        }
        Ok(Unigram {
            scores,
            trie: DoubleArray::read("trie", reader)?,
            unk_id,
            unk_score: reader.exactly("unk_score", 1)?.first().copied().unwrap_or_default(),
            byte_ids: byte_fallback.then(|| byte_ids(&vocabulary)),
            vocabulary,
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn unk_id(&self) -> Option<u32> {
        self.unk_id
    }

    /// Whether sums of scores are exact enough for [`Scratch::was_close`] to mean something.
    pub(crate) fn has_moderate_scores(&self) -> bool {
        self.scores.iter().chain([&self.unk_score]).all(|score| score.is_nan() || score.abs() <= MODERATE)
    }

    pub(crate) fn unk_token(&self) -> Option<&str> {
        self.vocabulary.id_to_token(self.unk_id?)
    }

    pub(crate) fn tokenize(
        &self,
        word: &str,
        scratch: &mut Scratch,
        sink: &mut impl TokenSink,
    ) -> Result<(), TokenizerError> {
        self.find_best(word, scratch)?;
        scratch.path.clear();
        let mut end = word.len();
        while end > 0 {
            let Some(&Best { start, id, .. }) = scratch.best.get(end) else {
                break;
            };
            let is_unknown = self.unk_id == Some(id);
            match scratch.path.last_mut() {
                // Unknown characters side by side are one token.
                Some(last) if is_unknown && self.unk_id == Some(last.2) => last.0 = start,
                _ => scratch.path.push((start, end as u32, id)),
            }
            end = start as usize;
        }
        for &(start, end, id) in scratch.path.iter().rev() {
            let (start, end) = (start as usize, end as usize);
            match self.unk_id {
                Some(unk_id) if unk_id == id => self.unknown(word, start, end, unk_id, sink),
                _ => sink.push(id, start, end),
            }
        }
        Ok(())
    }

    /// Fills `best` for the places in `word`. Of ways of the same score the first found stays: the one whose last piece is
    /// the longest. Sums are made from the left, in double precision, as the reference makes them.
    fn find_best(&self, word: &str, scratch: &mut Scratch) -> Result<(), TokenizerError> {
        let best = &mut scratch.best;
        let bytes = word.as_bytes();
        best.clear();
        best.resize(bytes.len() + 1, UNREACHED);
        best[0].score = 0.0;
        // Where no piece ends, a score that makes every sum worthless.
        let none = self.scores.len() - 1;
        let mut was_close = false;
        let mut start = 0;
        while start < bytes.len() {
            let rest = &bytes[start..];
            let width = char_width(rest[0]);
            let (score, ends) = (best[start].score, &mut best[start + 1..]);
            let mut base = self.trie.root_base();
            let mut is_known = false;
            for ((&byte, best), length) in rest.iter().zip(&mut *ends).zip(1..) {
                let (is_child, next, id) = self.trie.child_unless(base, byte);
                if !is_child {
                    break;
                }
                base = next;
                is_known |= length == width && id != NO_VALUE;
                let piece = self.scores[(id as usize).min(none)];
                was_close |= best.reach(score + piece, start, id);
            }
            if !is_known {
                let best = &mut ends[width - 1];
                let score = score + self.unk_score;
                match self.unk_id {
                    Some(id) => was_close |= best.reach(score, start, id),
                    None if best.score.is_nan() || score > best.score => {
                        return Err(TokenizerError::no_unknown_token("unk_id", &word[start..]));
                    }
                    None => {}
                }
            }
            start += width;
        }
        scratch.was_close = was_close;
        Ok(())
    }

    /// A stretch of unknown characters, which together may be a piece after all: the unknown token itself, or one that
    /// costs more than its characters do alone.
    fn unknown(&self, word: &str, start: usize, end: usize, unk_id: u32, sink: &mut impl TokenSink) {
        let text = &word.as_bytes()[start..end];
        if let Some(id) = self.trie.get(text) {
            return sink.push(id, start, end);
        }
        if let Some(byte_ids) = &self.byte_ids
            && text.iter().all(|&byte| byte_ids[usize::from(byte)].is_some())
        {
            let ids = text.iter().filter_map(|&byte| byte_ids[usize::from(byte)]);
            return ids.for_each(|id| sink.push(id, start, end));
        }
        sink.push(unk_id, start, end);
    }
}

/// Bytes of the character that begins with `byte`.
#[inline]
fn char_width(byte: u8) -> usize {
    match byte {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::Found;
    use crate::models::vocabulary::VocabularyBuilder;

    fn unigram(pieces: &[(String, f64)], unk_id: Option<u32>, byte_fallback: bool) -> Unigram {
        let mut builder = VocabularyBuilder::default();
        for (id, (piece, _)) in (0..).zip(pieces) {
            builder.push(piece, id).expect("a small vocabulary");
        }
        Unigram::new(UnigramParts {
            vocabulary: builder.build().expect("pieces that differ"),
            trie: None,
            scores: pieces.iter().map(|&(_, score)| score).collect(),
            unk_id,
            byte_fallback,
        })
        .expect("a small vocabulary")
    }

    fn tokens(model: &Unigram, word: &str) -> Vec<(u32, usize, usize)> {
        let mut found = Found::default();
        model.tokenize(word, &mut Scratch::default(), &mut found).expect("tokens");
        found.0
    }

    fn pieces(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter().map(|&(piece, score)| (piece.to_owned(), score)).collect()
    }

    /// All ways to cut the word, by trying; scores are whole numbers, so that their sums are exact.
    fn best_score(pieces: &[(String, f64)], unk_score: f64, word: &str) -> f64 {
        let Some(first) = word.chars().next() else {
            return 0.0;
        };
        let known = pieces.iter().filter(|(piece, _)| word.starts_with(piece.as_str()));
        let known = known.map(|(piece, score)| score + best_score(pieces, unk_score, &word[piece.len()..]));
        let alone = pieces.iter().any(|(piece, _)| piece.chars().eq([first]));
        let unknown = (!alone).then(|| unk_score + best_score(pieces, unk_score, &word[first.len_utf8()..]));
        known.chain(unknown).fold(f64::NEG_INFINITY, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_way_to_cut_the_word_is_better(
            listed in prop::collection::btree_map("[abé]{1,4}", -20i32..0, 0..12),
            word in "[abéc]{0,10}",
        ) {
            let mut pieces = pieces(&[("<unk>", 0.0)]);
            pieces.extend(listed.into_iter().map(|(piece, score)| (piece, f64::from(score))));
            let model = unigram(&pieces, Some(0), false);
            let found = tokens(&model, &word);
            let mut at = 0;
            let mut score = 0.0;
            for &(id, start, end) in &found {
                prop_assert_eq!(start, at);
                at = end;
                score += match id {
                    0 => model.unk_score * word[start..end].chars().count() as f64,
                    id => pieces[id as usize].1,
                };
                prop_assert!(id == 0 || pieces[id as usize].0 == word[start..end]);
            }
            prop_assert_eq!(at, word.len());
            prop_assert!(found.windows(2).all(|two| two[0].0 != 0 || two[1].0 != 0), "unknowns are one token");
            let best = best_score(&pieces[1..], model.unk_score, &word);
            prop_assert!(word.is_empty() || score == best, "{} is not {}", score, best);
        }
    }

    #[test]
    fn of_equal_sums_the_one_with_the_longest_last_piece_wins() {
        let pieces = pieces(&[("<unk>", 0.0), ("a", -1.0), ("aa", -2.0)]);
        assert_eq!(tokens(&unigram(&pieces, Some(0), false), "aaa"), [(1, 0, 1), (2, 1, 3)]);
    }

    #[test]
    fn unknown_characters_become_bytes_where_all_their_bytes_are_known() {
        let all = pieces(&[("<unk>", 0.0), ("a", -1.0), ("<0xC3>", -2.0), ("<0xA9>", -2.0)]);
        let model = unigram(&all, Some(0), true);
        assert_eq!(tokens(&model, "aéa"), [(1, 0, 1), (2, 1, 3), (3, 1, 3), (1, 3, 4)]);
        assert_eq!(tokens(&model, "éè"), [(0, 0, 4)]);
        assert_eq!(tokens(&unigram(&all, Some(0), false), "é"), [(0, 0, 2)]);
    }

    #[test]
    fn the_unknown_token_is_found_as_text_and_joins_unknowns() {
        let model = unigram(&pieces(&[("<unk>", 0.0), ("a", -1.0)]), Some(0), false);
        assert_eq!(tokens(&model, "a<unk>a"), [(1, 0, 1), (0, 1, 6), (1, 6, 7)]);
        assert_eq!(tokens(&model, "b<unk>b"), [(0, 0, 7)]);
    }

    #[test]
    fn without_an_unknown_token_unknowns_are_errors() {
        let model = unigram(&pieces(&[("a", -1.0)]), None, false);
        assert_eq!(tokens(&model, "a"), [(0, 0, 1)]);
        let error = model.tokenize("ab", &mut Scratch::default(), &mut Found::default()).expect_err("unknown");
        assert!(error.to_string().contains("\"b\""), "{error}");
    }
}
