//! A word for each stretch of one script.

use super::Word;
use crate::unicode::script;

/// `UnicodeScripts` of `tokenizer.json`. Characters of no script, such as spaces, stay with what is before them; before
/// everything else they are dropped, as the reference has it.
pub(super) fn split(text: &str, within: Word, words: &mut Vec<Word>) {
    let mut last = None;
    let mut start = None;
    for (at, c) in text[within.start..within.end].char_indices() {
        let Some(script) = script(c) else {
            continue;
        };
        if last != Some(script) {
            let at = within.start + at;
            words.extend(start.map(|start| Word { start, end: at }));
            start = Some(at);
            last = Some(script);
        }
    }
    words.extend(start.map(|start| Word { start, end: within.end }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_part_words_and_spaces_do_not() {
        let cases: [(&str, &[&str]); 6] = [
            ("  abc 東京カタカナー日本 abc", &["abc ", "東京カタカナー日本 ", "abc"]),
            ("   ", &[]),
            ("ー ab, cd", &["ー ", "ab", ", ", "cd"]),
            ("x  Я y", &["x  ", "Я ", "y"]),
            ("a1 東1", &["a", "1 ", "東", "1"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let mut words = Vec::new();
            split(text, Word { start: 0, end: text.len() }, &mut words);
            let found: Vec<&str> = words.iter().map(|word| &text[word.start..word.end]).collect();
            assert_eq!(found, expected);
        }
    }
}
