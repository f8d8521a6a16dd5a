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
        if strategy.groups() { self.grouped(&entities) } else { Ok(entities) }
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

    #[test]
    fn labels_say_where_groups_begin() {
        assert_eq!(tag("B-PER"), (true, "PER"));
        assert_eq!(tag("I-PER"), (false, "PER"));
        assert_eq!(tag("NOUN"), (false, "NOUN"));
    }
}
