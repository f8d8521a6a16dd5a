//! The words and phrases of a text.

use std::collections::BTreeMap;

/// A phrase and where it stands: characters `start..end`, for each time.
pub(super) type Candidate = (String, Vec<(usize, usize)>);

/// All phrases of `least` to `most` words, in the order of the alphabet. Words are runs of two or more letters, digits and underscores, in
/// lower case; stop words are left out first, so that a phrase may span them. As scikit-learn's `CountVectorizer` has it, but for vowel signs
/// of Indic scripts and the like, which belong to words here and part them there.
pub(super) fn candidates(text: &str, (least, most): (usize, usize), stop_words: &[String]) -> Vec<Candidate> {
    let words: Vec<(String, usize, usize)> =
        words(text).into_iter().filter(|(word, ..)| !stop_words.contains(word)).collect();
    let mut found: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for length in least..=most.min(words.len()) {
        for phrase in words.windows(length) {
            let texts: Vec<&str> = phrase.iter().map(|(word, ..)| word.as_str()).collect();
            found.entry(texts.join(" ")).or_default().push((phrase[0].1, phrase[length - 1].2));
        }
    }
    found.into_iter().collect()
}

/// Each word in lower case, with the characters where it stands.
fn words(text: &str) -> Vec<(String, usize, usize)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = 0;
    let mut end = 0;
    for (place, character) in text.chars().enumerate() {
        if character.is_alphanumeric() || character == '_' {
            if word.is_empty() {
                start = place;
            }
            word.push(character);
        } else if !word.is_empty() {
            words.push((std::mem::take(&mut word).to_lowercase(), start, place));
        }
        end = place + 1;
    }
    if !word.is_empty() {
        words.push((word.to_lowercase(), start, end));
    }
    words.retain(|(_, start, end)| end - start > 1);
    words
}

/// Function words of English: articles, pronouns, prepositions, conjunctions, auxiliaries and the like. One a line.
const ENGLISH_STOP_WORDS: &str = include_str!("english_stop_words.txt");

/// The words that no keyword holds by default.
pub(super) fn english_stop_words() -> Vec<String> {
    ENGLISH_STOP_WORDS.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_span_stop_words_and_know_every_place() {
        let stop_words = english_stop_words();
        let found = candidates("Ünder the Sea, I see a sea.", (1, 2), &stop_words);
        let expected: Vec<Candidate> = vec![
            ("sea".into(), vec![(10, 13), (23, 26)]),
            ("sea see".into(), vec![(10, 20)]),
            ("see".into(), vec![(17, 20)]),
            ("see sea".into(), vec![(17, 26)]),
            ("ünder".into(), vec![(0, 5)]),
            ("ünder sea".into(), vec![(0, 13)]),
        ];
        assert_eq!(found, expected);
        assert!(candidates("of the", (1, 3), &stop_words).is_empty());
        assert_eq!(candidates("Ο ΠΥΡΓΟΣ", (1, 1), &[]), [("πυργος".to_owned(), vec![(2, 8)])]);
        assert_eq!(
            candidates("नदी के", (1, 1), &[]),
            [("के".to_owned(), vec![(4, 6)]), ("नदी".to_owned(), vec![(0, 3)])]
        );
    }

    #[test]
    fn stop_words_are_in_order_and_long_enough_to_be_words() {
        let words = english_stop_words();
        assert!(words.len() > 150 && words.is_sorted_by(|a, b| a < b));
        assert!(words.iter().all(|word| word.len() > 1));
    }
}
