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

/// One replacement in a text that comes in parts.
#[derive(Debug)]
struct ReplaceStream {
    from: &'static str,
    to: &'static str,
    /// The end of the text so far, while it may be the beginning of what is replaced.
    waiting: String,
}

impl ReplaceStream {
    fn push(&mut self, text: &str) -> String {
        self.waiting.push_str(text);
        let mut out = String::new();
        let mut rest = self.waiting.as_str();
        while let Some((before, after)) = rest.split_once(self.from) {
            out.push_str(before);
            out.push_str(self.to);
            rest = after;
        }
        let begins = |len: &usize| rest.ends_with(&self.from[..*len]);
        let kept = (1..self.from.len()).rev().find(begins).unwrap_or(0);
        let (sure, kept) = rest.split_at(rest.len() - kept);
        out.push_str(sure);
        self.waiting = kept.to_owned();
        out
    }
}

/// [`clean_up`] of a text that comes in parts.
#[derive(Debug)]
pub(crate) struct CleanUpStream(Vec<ReplaceStream>);

impl Default for CleanUpStream {
    fn default() -> Self {
        CleanUpStream(REPLACED.map(|(from, to)| ReplaceStream { from, to, waiting: String::new() }).into())
    }
}

impl CleanUpStream {
    /// Takes the next part; gives what is sure by now.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.0.iter_mut().fold(text.to_owned(), |text, step| step.push(&text))
    }

    /// Gives what is left.
    pub(crate) fn finish(&mut self) -> String {
        self.0.iter_mut().fold(String::new(), |text, step| step.push(&text) + &std::mem::take(&mut step.waiting))
    }
}

/// Takes out the spaces before punctuation and English contractions.
pub(crate) fn clean_up(text: &str) -> String {
    REPLACED.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn parts_are_cleaned_like_the_whole(parts in prop::collection::vec("[ .?!,'nmtsvre]{0,4}|do not", 0..12)) {
            let mut stream = CleanUpStream::default();
            let mut text: String = parts.iter().map(|part| stream.push(part)).collect();
            text += &stream.finish();
            prop_assert_eq!(text, clean_up(&parts.concat()));
        }
    }
}
