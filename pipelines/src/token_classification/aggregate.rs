//! From labelled tokens to words and groups, by the rules of the reference's pipeline.

use loquat_tokenizer::Tokenizer;

use super::Entity;
use crate::{Error, pipeline::arg_max};

/// How tokens become words and groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AggregationStrategy {
    /// Each token is a result.
    None,
    /// Neighbours with one label are a group; a label that begins with `B-` begins one.
    #[default]
    Simple,
    /// A word has the label of its first token; then as `Simple`.
    First,
    /// A word has the label with the highest mean score over its tokens; then as `Simple`.
    Average,
    /// A word has the label of the token that is surest; then as `Simple`.
    Max,
    /// A word has the label of its first token, and is a result by itself, as parts of speech need it.
    Words,
    /// A word has the label of its first token; words are a group as the tags of IOB or IOBES say: `B-` and `S-` begin one, `E-` and `S-` end
    /// one, and a word labelled `O` is in none (Tjong Kim Sang and Veenstra, 1999, <https://aclanthology.org/E99-1023>). The score is the
    /// product of the words'.
    Entities,
}

impl AggregationStrategy {
    /// Whether neighbours become a group.
    pub(super) fn groups(self) -> bool {
        !matches!(self, AggregationStrategy::None | AggregationStrategy::Words)
    }
}

/// A token of the text with the scores of all labels.
pub(super) struct Token {
    pub(super) word: String,
    pub(super) scores: Vec<f32>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) bytes: (usize, usize),
    pub(super) index: usize,
    /// Whether it continues a word.
    pub(super) is_subword: bool,
}

pub(super) struct Aggregator<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) labels: &'a [String],
}

impl Aggregator<'_> {
    pub(super) fn aggregate(&self, tokens: Vec<Token>, strategy: AggregationStrategy) -> Result<Vec<Entity>, Error> {
        let entities = match strategy {
            AggregationStrategy::None | AggregationStrategy::Simple => {
                tokens.into_iter().map(|token| self.token(token)).collect()
            }
            _ => self.words(&tokens, strategy)?,
        };
        match strategy {
            AggregationStrategy::None | AggregationStrategy::Words => Ok(entities),
            AggregationStrategy::Entities => self.chunks(&entities),
            _ => self.grouped(&entities),
        }
    }

    fn token(&self, token: Token) -> Entity {
        let best = arg_max(&token.scores);
        Entity {
            label: self.labels[best].clone(),
            score: token.scores[best],
            word: token.word,
            start: token.start,
            end: token.end,
            bytes: token.bytes,
            index: Some(token.index),
        }
    }

    /// Each word of the text with one label.
    fn words(&self, tokens: &[Token], strategy: AggregationStrategy) -> Result<Vec<Entity>, Error> {
        let words = tokens.chunk_by(|_, next| next.is_subword);
        words.map(|word| self.word(word, strategy)).collect()
    }

    /// `tokens` isn't empty.
    fn word(&self, tokens: &[Token], strategy: AggregationStrategy) -> Result<Entity, Error> {
        let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
        let mean;
        let scores = match strategy {
            AggregationStrategy::Max => {
                let highest: Vec<f32> = tokens.iter().map(|token| token.scores[arg_max(&token.scores)]).collect();
                &tokens[arg_max(&highest)].scores
            }
            AggregationStrategy::Average => {
                let count = tokens.len() as f32;
                let of = |label: usize| tokens.iter().map(|token| token.scores[label]).sum::<f32>() / count;
                mean = (0..first.scores.len()).map(of).collect();
                &mean
            }
            _ => &first.scores,
        };
        let best = arg_max(scores);
        Ok(Entity {
            label: self.labels[best].clone(),
            score: scores[best],
            word: self.tokenizer.tokens_to_text(tokens.iter().map(|token| token.word.as_str()))?,
            start: first.start,
            end: last.end,
            bytes: (first.bytes.0, last.bytes.1),
            index: None,
        })
    }

    fn grouped(&self, entities: &[Entity]) -> Result<Vec<Entity>, Error> {
        let groups = entities.chunk_by(|last, next| {
            let ((_, last), (begins, next)) = (tag(&last.label), tag(&next.label));
            last == next && !begins
        });
        groups.map(|group| self.group(group)).collect()
    }

    fn chunks(&self, words: &[Entity]) -> Result<Vec<Entity>, Error> {
        let chunks = words.chunk_by(|last, next| in_one_chunk(&last.label, &next.label));
        let chunks = chunks.filter(|chunk| chunk[0].label != OUTSIDE);
        let score = |chunk: &[Entity]| chunk.iter().map(|word| word.score).product();
        chunks.map(|chunk| Ok(Entity { score: score(chunk), ..self.group(chunk)? })).collect()
    }

    /// `entities` isn't empty.
    fn group(&self, entities: &[Entity]) -> Result<Entity, Error> {
        let (first, last) = (&entities[0], &entities[entities.len() - 1]);
        Ok(Entity {
            // Whatever stands before the first hyphen goes, where there is one.
            label: first.label.split_once('-').map_or(first.label.as_str(), |(_, label)| label).to_owned(),
            score: entities.iter().map(|entity| entity.score).sum::<f32>() / entities.len() as f32,
            word: self.tokenizer.tokens_to_text(entities.iter().map(|entity| entity.word.as_str()))?,
            start: first.start,
            end: last.end,
            bytes: (first.bytes.0, last.bytes.1),
            index: None,
        })
    }
}

/// Whether a label begins a group, and which group it is of.
fn tag(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(tag), _) => (true, tag),
        (None, Some(tag)) => (false, tag),
        (None, None) => (false, label),
    }
}

/// The label of words that are in no chunk.
const OUTSIDE: &str = "O";

/// Whether a word belongs to the chunk of the word before it, by the tags before their labels. Labels without a tag are inside of one.
fn in_one_chunk(last: &str, next: &str) -> bool {
    let parts = |label| match label {
        OUTSIDE => (OUTSIDE, ""),
        _ => str::split_once(label, '-').unwrap_or(("I", label)),
    };
    let ((last_tag, last), (next_tag, next)) = (parts(last), parts(next));
    last == next && !matches!(last_tag, "E" | "S" | OUTSIDE) && !matches!(next_tag, "B" | "S" | OUTSIDE)
}

/// The entities of several windows: of those that overlap, the longer one, then the one with the higher score.
pub(super) fn without_overlaps(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut kept: Vec<Entity> = Vec::with_capacity(entities.len());
    for entity in entities {
        let Some(previous) = kept.last_mut().filter(|previous| entity.start < previous.end) else {
            kept.push(entity);
            continue;
        };
        let (length, previous_length) = (entity.end - entity.start, previous.end - previous.start);
        if length > previous_length || (length == previous_length && entity.score > previous.score) {
            *previous = entity;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(start: usize, end: usize, score: f32) -> Entity {
        Entity { label: "PER".into(), score, word: String::new(), start, end, bytes: (start, end), index: None }
    }

    #[test]
    fn of_overlapping_entities_the_longer_counts_then_the_surer() {
        let found = without_overlaps(vec![
            entity(20, 25, 0.5),
            entity(0, 5, 0.9),
            entity(2, 9, 0.1),
            entity(9, 12, 0.2),
            entity(20, 25, 0.7),
        ]);
        let spans: Vec<(usize, usize, f32)> = found.iter().map(|found| (found.start, found.end, found.score)).collect();
        assert_eq!(spans, [(2, 9, 0.1), (9, 12, 0.2), (20, 25, 0.7)]);
    }

    /// What seqeval 1.2.2's `get_entities` finds in these labels: first and last word.
    #[test]
    fn chunks_are_those_of_iob_and_iobes() {
        let cases: [(&str, &[(usize, usize)]); 14] = [
            ("B-PER I-PER O B-LOC", &[(0, 1), (3, 3)]),
            ("I-PER I-PER O I-PER", &[(0, 1), (3, 3)]),
            ("B-PER B-PER I-PER", &[(0, 0), (1, 2)]),
            ("B-PER I-LOC I-LOC", &[(0, 0), (1, 2)]),
            ("B-PER I-PER E-PER S-LOC", &[(0, 2), (3, 3)]),
            ("S-PER S-PER B-LOC E-LOC", &[(0, 0), (1, 1), (2, 3)]),
            ("E-PER E-PER", &[(0, 0), (1, 1)]),
            ("B-PER E-PER I-PER E-PER", &[(0, 1), (2, 3)]),
            ("S-PER I-PER I-PER", &[(0, 0), (1, 2)]),
            ("B-PER E-LOC O", &[(0, 0), (1, 1)]),
            ("I-LOC B-LOC E-LOC I-LOC", &[(0, 0), (1, 2), (3, 3)]),
            ("O O", &[]),
            ("B-PER I-PER S-PER I-PER", &[(0, 1), (2, 2), (3, 3)]),
            ("B-LOC E-LOC E-LOC I-LOC O I-LOC", &[(0, 1), (2, 2), (3, 3), (5, 5)]),
        ];
        for (labels, expected) in cases {
            let labels: Vec<&str> = labels.split(' ').collect();
            let mut place = 0;
            let mut found = Vec::new();
            for chunk in labels.chunk_by(|last, next| in_one_chunk(last, next)) {
                if chunk[0] != OUTSIDE {
                    found.push((place, place + chunk.len() - 1));
                }
                place += chunk.len();
            }
            assert_eq!(found, expected, "{labels:?}");
        }
        assert!(in_one_chunk("PER", "PER") && !in_one_chunk("PER", "LOC"), "labels without tags");
    }

    #[test]
    fn labels_say_where_groups_begin() {
        assert_eq!(tag("B-PER"), (true, "PER"));
        assert_eq!(tag("I-PER"), (false, "PER"));
        assert_eq!(tag("NOUN"), (false, "NOUN"));
    }
}
