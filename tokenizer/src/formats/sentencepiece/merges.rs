//! The merges of a BPE model whose file has scores only.

use crate::models::{MergeList, Vocabulary};

/// All ways to make a piece of two others, the piece of the highest score first; of one score, the longer parts first, and
/// then in the order of the pieces and of their parts.
pub(super) fn of_scores(vocabulary: &Vocabulary, pieces: &[(String, f64)]) -> MergeList {
    struct Merge<'a> {
        score: f64,
        lengths: (usize, usize),
        left: &'a str,
        right: &'a str,
    }
    let mut merges: Vec<Merge> = Vec::new();
    for (piece, score) in pieces {
        let first = merges.len();
        let length = piece.chars().count();
        for (place, (at, _)) in piece.char_indices().enumerate().skip(1) {
            let (left, right) = piece.split_at(at);
            if vocabulary.token_to_id(left).is_some() && vocabulary.token_to_id(right).is_some() {
                merges.push(Merge { score: *score, lengths: (place, length - place), left, right });
            }
        }
        merges[first..].sort_by_key(|merge| (vocabulary.token_to_id(merge.left), vocabulary.token_to_id(merge.right)));
    }
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.lengths.cmp(&a.lengths)));
    let mut list = MergeList::default();
    merges.iter().for_each(|merge| list.push(merge.left, merge.right));
    list
}
