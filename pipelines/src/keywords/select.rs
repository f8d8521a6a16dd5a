//! Choosing among candidates.

use super::KeywordSelection;
use crate::{Error, Metric, pipeline::descending};

/// Combinations that are tried at most.
const MAX_COMBINATIONS: usize = 1 << 20;

/// The chosen candidates, the closest to the text first.
pub(super) fn select(
    selection: KeywordSelection,
    top_k: usize,
    scores: &[f32],
    rows: &[&[f32]],
) -> Result<Vec<usize>, Error> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| descending(scores[a], scores[b]));
    let mut chosen = match selection {
        KeywordSelection::Cosine => {
            order.truncate(top_k);
            return Ok(order);
        }
        KeywordSelection::MaximalMarginalRelevance { diversity } => relevance(diversity, top_k, scores, rows)?,
        KeywordSelection::MaxSum { candidates } => {
            order.truncate(candidates);
            least_alike(&order, top_k, rows)?
        }
    };
    chosen.sort_by(|&a, &b| descending(scores[a], scores[b]).then(a.cmp(&b)));
    Ok(chosen)
}

/// Maximal marginal relevance (Carbonell and Goldstein, 1998), <https://doi.org/10.1145/290941.291025>.
fn relevance(diversity: f32, top_k: usize, scores: &[f32], rows: &[&[f32]]) -> Result<Vec<usize>, Error> {
    let mut chosen: Vec<usize> = Vec::new();
    // How alike each candidate is to the nearest chosen one.
    let mut nearest = vec![f32::NEG_INFINITY; rows.len()];
    while chosen.len() < top_k.min(rows.len()) {
        let margin = |place: usize| match chosen.is_empty() {
            true => scores[place],
            false => (1.0 - diversity) * scores[place] - diversity * nearest[place],
        };
        let left = (0..rows.len()).filter(|place| !chosen.contains(place));
        let Some(best) = left.reduce(|best, place| if margin(place) > margin(best) { place } else { best }) else {
            break;
        };
        chosen.push(best);
        for (nearest, row) in nearest.iter_mut().zip(rows) {
            *nearest = nearest.max(Metric::Cosine.between(row, rows[best])?);
        }
    }
    Ok(chosen)
}

/// Refuses numbers of combinations that nobody waits for.
pub(super) fn check_max_sum(candidates: usize, top_k: usize) -> Result<(), Error> {
    let taken = top_k.min(candidates);
    let combinations = (0..taken.min(candidates - taken)).try_fold(1usize, |count, step| {
        Some(count.checked_mul(candidates - step)? / (step + 1)).filter(|&count| count <= MAX_COMBINATIONS)
    });
    match combinations {
        Some(_) => Ok(()),
        None => Err(Error::Setting {
            setting: "candidates",
            problem: format!(
                "choosing {top_k} of {candidates} has more than {MAX_COMBINATIONS} outcomes: give fewer candidates"
            ),
        }),
    }
}

/// Of all combinations of `top_k` candidates the one with the least sum of likenesses; of equal ones the first.
fn least_alike(candidates: &[usize], top_k: usize, rows: &[&[f32]]) -> Result<Vec<usize>, Error> {
    let taken = top_k.min(candidates.len());
    let mut alike = vec![vec![0.0; candidates.len()]; candidates.len()];
    for (i, &a) in candidates.iter().enumerate() {
        for (j, &b) in candidates.iter().enumerate() {
            alike[i][j] = Metric::Cosine.between(rows[a], rows[b])?;
        }
    }
    let mut places: Vec<usize> = (0..taken).collect();
    let mut best = (f32::INFINITY, places.clone());
    loop {
        let pairs = places.iter().enumerate().flat_map(|(i, &a)| places[i + 1..].iter().map(move |&b| (a, b)));
        let sum: f32 = pairs.map(|(a, b)| alike[a][b]).sum();
        if sum < best.0 {
            best = (sum, places.clone());
        }
        // The next combination: the last place that can move moves, and those behind it follow.
        let Some(moving) = (0..taken).rev().find(|&i| places[i] < candidates.len() - taken + i) else { break };
        places[moving] += 1;
        for i in moving + 1..taken {
            places[i] = places[i - 1] + 1;
        }
    }
    Ok(best.1.into_iter().map(|place| candidates[place]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_choosing_weighs_closeness_and_difference() {
        // Three alike, one apart.
        let rows: [&[f32]; 4] = [&[1.0, 0.0], &[0.99, 0.1], &[0.98, 0.15], &[0.0, 1.0]];
        let scores = [0.9, 0.8, 0.7, 0.3];
        let chosen = |selection| select(selection, 2, &scores, &rows).unwrap();
        assert_eq!(chosen(KeywordSelection::Cosine), [0, 1]);
        assert_eq!(chosen(KeywordSelection::MaximalMarginalRelevance { diversity: 0.0 }), [0, 1]);
        assert_eq!(chosen(KeywordSelection::MaximalMarginalRelevance { diversity: 0.7 }), [0, 3]);
        assert_eq!(chosen(KeywordSelection::MaxSum { candidates: 3 }), [0, 2]);
        assert_eq!(chosen(KeywordSelection::MaxSum { candidates: 4 }), [0, 3]);
        assert_eq!(select(KeywordSelection::MaxSum { candidates: 9 }, 7, &scores, &rows).unwrap(), [0, 1, 2, 3]);
        assert!(select(KeywordSelection::Cosine, 3, &[], &[]).unwrap().is_empty());
    }

    #[test]
    fn too_many_combinations_are_refused() {
        assert!(check_max_sum(20, 5).is_ok());
        assert!(check_max_sum(3, 5).is_ok());
        assert!(check_max_sum(100, 50).unwrap_err().to_string().contains("fewer candidates"));
        assert!(check_max_sum(usize::MAX, 2).is_err());
    }
}
