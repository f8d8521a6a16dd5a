//! Lists of pre-tokenizers that many files share: one scanner finds the words that the list leaves.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use super::scanner::Scanner;
use super::split::Behavior;
use super::{ByteLevel, PreTokenizer, Split};

/// A well-known list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KnownList {
    /// DeepSeek-V3's and R1's: numbers, Chinese and Japanese, then the rest.
    DeepSeek,
    /// `Digits`, each by itself, and GPT-2's expression: StarCoder, SmolLM, Command R.
    DigitsGpt2,
}

/// The expressions of DeepSeek-V3, each at whose matches what the one before leaves is split.
const DEEP_SEEK: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];

impl KnownList {
    /// Whether an expression is one of a list.
    pub(super) fn knows(expression: &str) -> bool {
        DEEP_SEEK.contains(&expression)
    }

    pub(crate) fn scanner(self) -> Scanner {
        match self {
            KnownList::DeepSeek => Scanner::DeepSeek,
            KnownList::DigitsGpt2 => Scanner::DigitsGpt2,
        }
    }

    /// The steps, with lists in the place of those that they do.
    pub(super) fn find_in(steps: Vec<PreTokenizer>) -> Vec<PreTokenizer> {
        let mut found = Vec::with_capacity(steps.len());
        for step in steps {
            found.push(step);
            if let Some((_, last)) = found.split_last_chunk::<3>()
                && last.iter().zip(DEEP_SEEK).all(|(step, expression)| isolates(step, expression))
            {
                found.truncate(found.len() - DEEP_SEEK.len());
                found.push(PreTokenizer::KnownList(KnownList::DeepSeek));
            }
            if let [.., digits, PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: false, use_regex })] =
                &mut found[..]
                && matches!(digits, PreTokenizer::Digits { individual: true })
                && std::mem::take(use_regex)
            {
                *digits = PreTokenizer::KnownList(KnownList::DigitsGpt2);
            }
        }
        found
    }
}

/// Whether a step makes words of the matches of an expression and of what is between them.
fn isolates(step: &PreTokenizer, expression: &str) -> bool {
    match step {
        PreTokenizer::Split(Split { pattern: Pattern::Regex(regex), behavior: Behavior::Isolated, .. }) => {
            regex.as_str() == expression
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::super::{Splits, Word};
    use super::*;
    use crate::normalized::{NoSpans, Normalized, Original};
    use crate::unicode::{RegexClass, is_numeric};

    /// Each list with its steps, none of them known.
    static LISTS: LazyLock<[(KnownList, Vec<PreTokenizer>); 2]> = LazyLock::new(|| {
        let split = |pattern| PreTokenizer::Split(Split { pattern, behavior: Behavior::Isolated, invert: false });
        let deep_seek = DEEP_SEEK.map(|expression| split(Pattern::regex(expression).expect("an expression")));
        let gpt2 = split(Pattern::Scanner(Scanner::Gpt2));
        [
            (KnownList::DeepSeek, deep_seek.into()),
            (KnownList::DigitsGpt2, vec![PreTokenizer::Digits { individual: true }, gpt2]),
        ]
    });

    fn words(steps: &[PreTokenizer], text: &str) -> Vec<Word> {
        let mut normalized = Normalized::<NoSpans>::default();
        normalized.copy(&Original { text, base: 0 });
        let mut splits = Splits::default();
        splits.begin(Word { start: 0, end: text.len() }, true);
        steps.iter().for_each(|step| step.apply(&normalized, &mut splits).expect("words"));
        splits.words().to_vec()
    }

    /// The first difference between a list and its steps.
    fn check(text: &str) -> Result<(), String> {
        for (list, steps) in LISTS.iter() {
            let found = words(&[PreTokenizer::KnownList(*list)], text);
            let expected = words(steps, text);
            if found != expected {
                return Err(format!("{list:?} {text:?}\n  found {found:?}\n  expected {expected:?}"));
            }
        }
        Ok(())
    }

    /// Whether the engine, whose Unicode is newer, takes a character for what the reference does.
    fn is_settled(c: char) -> bool {
        static CLASSES: LazyLock<[Regex; 4]> = LazyLock::new(|| {
            [r"\p{L}", r"\p{N}", r"\p{M}", r"[\p{P}\p{S}]"].map(|class| Regex::new(class).expect("a class"))
        });
        let class = RegexClass::of(c);
        let ours =
            [class.is_letter(), class == RegexClass::Number, class == RegexClass::Mark, class == RegexClass::Symbol];
        ours == CLASSES.each_ref().map(|regex| regex.is_match(&c.to_string()).expect("no limit"))
    }

    #[test]
    fn lists_are_found_among_other_steps() {
        let file = |steps: &str| format!(r#"{{"type": "Sequence", "pretokenizers": [{steps}]}}"#);
        let split = |expression: &str| {
            let pattern = serde_json::json!({"Regex": expression});
            serde_json::json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
                .to_string()
        };
        let byte_level = |use_regex: bool| {
            serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
                .to_string()
        };
        let deep_seek = DEEP_SEEK.map(split).join(", ");
        let digits = r#"{"type": "Digits", "individual_digits": true}"#;
        let steps_of = |steps: String| {
            let tokenizer = serde_json::json!({
                "model": {"type": "BPE", "vocab": {}, "merges": []},
                "pre_tokenizer": serde_json::from_str::<serde_json::Value>(&file(&steps)).expect("JSON"),
            });
            let tokenizer = crate::Tokenizer::from_json("test", tokenizer.to_string().as_bytes()).expect("a tokenizer");
            match tokenizer.pipeline.pre_tokenizer {
                Some(PreTokenizer::Sequence(steps)) => steps,
                _ => Vec::new(),
            }
        };
        assert!(matches!(
            steps_of(format!("{deep_seek}, {}", byte_level(false)))[..],
            [PreTokenizer::KnownList(KnownList::DeepSeek), PreTokenizer::ByteLevel(_)]
        ));
        assert!(matches!(
            steps_of(format!("{digits}, {deep_seek}"))[..],
            [PreTokenizer::Digits { .. }, PreTokenizer::KnownList(KnownList::DeepSeek)]
        ));
        assert!(matches!(
            steps_of(format!("{digits}, {}", byte_level(true)))[..],
            [
                PreTokenizer::KnownList(KnownList::DigitsGpt2),
                PreTokenizer::ByteLevel(ByteLevel { use_regex: false, .. })
            ]
        ));
        assert!(matches!(
            steps_of(format!("{digits}, {}", byte_level(false)))[..],
            [PreTokenizer::Digits { .. }, PreTokenizer::ByteLevel(_)]
        ));
        assert_eq!(steps_of(DEEP_SEEK[..2].iter().map(|part| split(part)).collect::<Vec<_>>().join(", ")).len(), 2);
    }

    #[test]
    fn lists_are_their_steps_at_the_boundaries_of_classes() {
        let class = |c| (RegexClass::of(c), is_numeric(c));
        let chars: Vec<char> = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        let at_boundaries = chars.windows(2).filter(|two| class(two[0]) != class(two[1]));
        let lists =
            ['\u{303F}', '\u{3040}', '\u{3096}', '\u{3099}', '\u{30FB}', '\u{30FF}', '\u{3100}', '一', '龥', '龦'];
        let chars = chars[..0x180].iter().chain(at_boundaries.flatten()).chain(&lists).copied();
        let mut failures = Vec::new();
        for c in chars.filter(|&c| is_settled(c)) {
            let text = format!("{c}a.{c}b {c}c  {c}{c}1{c}-\n{c} \n {c}\u{301}{c}中{c}カ{c}é'{c}\0{c} {c}");
            failures.extend(check(&text).err());
        }
        assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures[..failures.len().min(5)].join("\n"));
    }

    #[test]
    fn numbers_of_digits_are_numbers_or_nothing_to_expressions() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|&c| is_numeric(c)) {
            assert!(matches!(RegexClass::of(c), RegexClass::Number | RegexClass::Other), "{c:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-zA-Z]{1,6}",
            3 => "[ \\t\\r\\n\u{a0}\u{85}\u{3000}]{1,3}",
            2 => "[0-9²Ⅳ٣]{1,8}",
            3 => "[.,!?/\"#\\-()。、_$€'|~]{1,3}",
            2 => "[éÀǅσΣжЖ\u{2b0}中가ªʰ]{1,4}",
            2 => "[中カな・゠ー\u{3099}\u{3040}、]{1,4}",
            2 => "[\u{300}-\u{305}\u{93f}\u{20dd}]{1,2}",
            2 => "[\u{0}\u{1}\u{1c}\u{7f}\u{fffd}\u{200d}\u{feff}\u{e000}\u{1f600}]{1,3}",
            1 => any::<String>(),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn lists_are_their_steps(text in text()) {
            prop_assume!(text.chars().all(is_settled));
            prop_assert_eq!(check(&text), Ok(()));
        }
    }
}
