//! The clean-up of a whole decoded text, which `transformers` calls `clean_up_tokenization_spaces`.

/// Replaced in this order. Not the list of the WordPiece decoder, which also turns "do not" into "don't".
const REPLACED: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// Takes out the spaces before punctuation and English contractions.
pub(crate) fn clean_up(text: &str) -> String {
    REPLACED.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
