//! The likeliest spans between the likeliest beginnings and ends, by the rules of the reference's pipeline.

use crate::pipeline::{descending, softmax};

/// What stands for tokens that can't be part of an answer.
const MASKED: f32 = -10000.0;

/// Tokens `first..=last`, and the probability that they are the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) score: f32,
}

/// What a window gives.
#[derive(Debug, PartialEq)]
pub(super) struct Candidates {
    /// The best first.
    pub(super) spans: Vec<Span>,
    /// The probability that there is no answer.
    pub(super) null_score: f32,
}

/// The `most` best spans of at most `max_len` tokens, all of them `allowed`. The first token stands for "there is no answer".
pub(super) fn best_spans(start: &[f32], end: &[f32], allowed: &[bool], most: usize, max_len: usize) -> Candidates {
    let probabilities = |logits: &[f32]| {
        let masked: Vec<f32> =
            logits.iter().zip(allowed).map(|(logit, allowed)| if *allowed { *logit } else { MASKED }).collect();
        softmax(&masked)
    };
    let (start, end) = (probabilities(start), probabilities(end));
    let null_score = match (start.first(), end.first()) {
        (Some(start), Some(end)) => start * end,
        _ => 1e6,
    };
    let mut spans = Vec::new();
    for first in (1..start.len()).filter(|&first| allowed[first]) {
        for last in (first..start.len().min(first.saturating_add(max_len))).filter(|&last| allowed[last]) {
            spans.push(Span { first, last, score: start[first] * end[last] });
        }
    }
    // Of equal ones, those that come first in the text.
    let by_score =
        |a: &Span, b: &Span| descending(a.score, b.score).then(a.first.cmp(&b.first)).then(a.last.cmp(&b.last));
    if most < spans.len() {
        spans.select_nth_unstable_by(most, by_score);
        spans.truncate(most);
    }
    spans.sort_unstable_by(by_score);
    Candidates { spans, null_score }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_forward_keep_to_the_context_and_to_the_length() {
        let start = [5.0, 0.0, 3.0, 1.0, 0.0];
        let end = [5.0, 0.0, 1.0, 2.0, 3.5];
        let allowed = [true, false, true, true, true];
        let found = best_spans(&start, &end, &allowed, 10, 2);
        let places: Vec<(usize, usize)> = found.spans.iter().map(|span| (span.first, span.last)).collect();
        assert_eq!(places, [(2, 3), (3, 4), (2, 2), (4, 4), (3, 3)]);
        assert!(found.null_score > 0.5, "{}", found.null_score);
        assert_eq!(best_spans(&start, &end, &allowed, 2, 15).spans.len(), 2);
        assert_eq!(best_spans(&start, &end, &allowed, 1, 15).spans[0].last, 4);
    }

    #[test]
    fn no_tokens_give_no_spans() {
        assert_eq!(best_spans(&[], &[], &[], 3, 3).spans, []);
    }
}
