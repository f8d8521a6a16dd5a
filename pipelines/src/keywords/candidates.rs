//! The words and phrases of a text.

use std::collections::BTreeMap;

/// A phrase and where it stands: characters `start..end`, for each time.
pub(super) type Candidate = (String, Vec<(usize, usize)>);

/// All phrases of `least` to `most` words, in the order of the alphabet. Words are runs of two or more letters, digits and underscores, in
/// lower case; stop words are left out first, so that a phrase may span them.
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
            word.extend(character.to_lowercase());
        } else if !word.is_empty() {
            words.push((std::mem::take(&mut word), start, place));
        }
        end = place + 1;
    }
    if !word.is_empty() {
        words.push((word, start, end));
    }
    words.retain(|(_, start, end)| end - start > 1);
    words
}

/// Function words of English: articles, pronouns, prepositions, conjunctions, auxiliaries and the like.
pub(super) const ENGLISH_STOP_WORDS: &[&str] = &[
    "about",
    "above",
    "across",
    "after",
    "again",
    "against",
    "all",
    "almost",
    "along",
    "already",
    "also",
    "although",
    "always",
    "am",
    "among",
    "an",
    "and",
    "another",
    "any",
    "anyone",
    "anything",
    "are",
    "around",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "behind",
    "being",
    "below",
    "between",
    "both",
    "but",
    "by",
    "can",
    "cannot",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "done",
    "down",
    "during",
    "each",
    "either",
    "else",
    "enough",
    "ever",
    "every",
    "everyone",
    "everything",
    "few",
    "for",
    "from",
    "further",
    "had",
    "has",
    "have",
    "having",
    "he",
    "hence",
    "her",
    "here",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "how",
    "however",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "least",
    "less",
    "many",
    "may",
    "me",
    "might",
    "mine",
    "more",
    "most",
    "much",
    "must",
    "my",
    "myself",
    "neither",
    "never",
    "no",
    "nobody",
    "none",
    "nor",
    "not",
    "nothing",
    "now",
    "of",
    "off",
    "often",
    "on",
    "once",
    "one",
    "only",
    "onto",
    "or",
    "other",
    "others",
    "our",
    "ours",
    "ourselves",
    "out",
    "over",
    "own",
    "per",
    "perhaps",
    "quite",
    "rather",
    "same",
    "several",
    "shall",
    "she",
    "should",
    "since",
    "so",
    "some",
    "someone",
    "something",
    "still",
    "such",
    "than",
    "that",
    "the",
    "their",
    "theirs",
    "them",
    "themselves",
    "then",
    "there",
    "therefore",
    "these",
    "they",
    "this",
    "those",
    "though",
    "through",
    "thus",
    "to",
    "together",
    "too",
    "toward",
    "towards",
    "under",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "was",
    "we",
    "well",
    "were",
    "what",
    "whatever",
    "when",
    "where",
    "whereas",
    "whether",
    "which",
    "while",
    "who",
    "whole",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "within",
    "without",
    "would",
    "yet",
    "you",
    "your",
    "yours",
    "yourself",
    "yourselves",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_span_stop_words_and_know_every_place() {
        let stop_words: Vec<String> = ENGLISH_STOP_WORDS.iter().map(|&word| word.to_owned()).collect();
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
    }

    #[test]
    fn stop_words_are_in_order_and_long_enough_to_be_words() {
        assert!(ENGLISH_STOP_WORDS.is_sorted_by(|a, b| a < b));
        assert!(ENGLISH_STOP_WORDS.iter().all(|word| word.len() > 1));
    }
}
