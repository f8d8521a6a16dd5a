//! The splitting expressions that byte-level tokenizers share, matched by hand: in linear time, one word at a time.
//!
//! Whatever comes, one of the alternatives of these expressions matches it, so words follow each other without a gap. Lists of
//! pre-tokenizers that are known as a whole ([`KnownList`](super::KnownList)) have theirs here, too.

use super::Word;
use crate::unicode::{RegexClass, is_numeric};

/// A well-known expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanner {
    /// GPT-2 and RoBERTa.
    Gpt2,
    /// GPT-4 and Llama 3, which cut numbers every 3 digits, and Qwen, which does at each.
    Cl100k {
        /// The most digits of a word.
        digits: usize,
    },
    /// GPT-4o and Llama 4, with contractions and numbers of 3 digits, and Tekken, without.
    O200k { contractions: bool },
    /// The list of DeepSeek-V3.
    DeepSeek,
    /// Each digit by itself, and between them GPT-2's expression.
    DigitsGpt2,
}

/// The expressions as files write them.
const KNOWN: [(&str, Scanner); 6] = [
    (GPT2, Scanner::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (CL100K, Scanner::Cl100k { digits: 3 }),
    (QWEN, Scanner::Cl100k { digits: 1 }),
    (O200K, Scanner::O200k { contractions: true }),
    (TEKKEN, Scanner::O200k { contractions: false }),
];
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Scanner {
    /// The scanner that finds what `expression` finds.
    pub(crate) fn of(expression: &str) -> Option<Self> {
        KNOWN.iter().find(|(known, _)| *known == expression).map(|&(_, scanner)| scanner)
    }

    /// One of the expressions whose words it finds, if it isn't that of a list.
    pub(crate) fn expression(self) -> Option<&'static str> {
        KNOWN.iter().find(|(_, scanner)| *scanner == self).map(|&(expression, _)| expression)
    }

    /// Appends the words of `text[within.start..within.end]`, which is all that it sees.
    pub(super) fn split(self, text: &str, within: Word, words: &mut Vec<Word>) {
        let text = &text[..within.end];
        let mut start = within.start;
        while start < text.len() {
            let end = self.end(text, start);
            words.push(Word { start, end });
            start = end;
        }
    }

    /// Where the word that begins at `start` ends. `text` goes on at `start`.
    pub(crate) fn end(self, text: &str, start: usize) -> usize {
        match self {
            Scanner::Gpt2 => gpt2(text, start),
            Scanner::Cl100k { digits } => cl100k(text, start, digits),
            Scanner::O200k { contractions } => o200k(text, start, contractions),
            Scanner::DeepSeek => deep_seek(text, start),
            Scanner::DigitsGpt2 => digits_gpt2(text, start),
        }
    }
}

/// The character at `at` and where the next begins.
#[inline]
fn next(text: &str, at: usize) -> Option<(char, usize)> {
    let c = text[at..].chars().next()?;
    Some((c, at + c.len_utf8()))
}

/// Its class and where the next begins; at the end of the text, `None`.
#[inline]
fn next_class(text: &str, at: usize) -> Option<(RegexClass, usize)> {
    next(text, at).map(|(c, end)| (RegexClass::of(c), end))
}

/// Gives the class of the character at a place and where the next begins; `None` at the end of what an expression sees.
trait Next: Fn(usize) -> Option<(RegexClass, usize)> + Copy {}

impl<F: Fn(usize) -> Option<(RegexClass, usize)> + Copy> Next for F {}

/// The end of the run of characters from `at` on that `is_in` takes.
#[inline]
fn run(next: impl Next, mut at: usize, is_in: impl Fn(RegexClass) -> bool) -> usize {
    while let Some((class, end)) = next(at)
        && is_in(class)
    {
        at = end;
    }
    at
}

/// `\s+(?!\S)|\s+` where white space begins at `start`: the last of several leads the next word.
fn white_space(next: impl Next, start: usize) -> usize {
    let (mut at, mut last) = (start, start);
    while let Some((class, end)) = next(at)
        && class.is_space()
    {
        last = at;
        at = end;
    }
    if next(at).is_none() || last == start { at } else { last }
}

/// `'s|'t|'re|'ve|'m|'ll|'d` where an apostrophe is at `at`, its end.
fn contraction(text: &str, at: usize, ignore_case: bool) -> Option<usize> {
    let mut chars = text[at..].chars();
    let fold = |c: char| match c {
        // The one character beyond ASCII that folds to one of these.
        'ſ' if ignore_case => 's',
        c if ignore_case => c.to_ascii_lowercase(),
        c => c,
    };
    if chars.next() != Some('\'') {
        return None;
    }
    let first = chars.next()?;
    let length = match (fold(first), chars.next().map(fold)) {
        ('s' | 't' | 'm' | 'd', _) => first.len_utf8(),
        ('r' | 'v', Some('e')) | ('l', Some('l')) => 2,
        _ => return None,
    };
    Some(at + 1 + length)
}

fn gpt2(text: &str, start: usize) -> usize {
    gpt2_within(text, start, |at| next_class(text, at))
}

/// Of the part of the text that `next` sees.
#[inline]
fn gpt2_within(text: &str, start: usize, next: impl Next) -> usize {
    let Some((first, after)) = next(start) else {
        return start;
    };
    if let Some(end) = contraction(text, start, false) {
        return end;
    }
    // A single space goes with the run that follows it.
    let (class, from) = match next(after) {
        Some(following) if text.as_bytes()[start] == b' ' => following,
        _ => (first, after),
    };
    match class {
        _ if class.is_letter() => run(next, from, RegexClass::is_letter),
        RegexClass::Number => run(next, from, |class| class == RegexClass::Number),
        _ if class.is_symbol() => run(next, from, RegexClass::is_symbol),
        _ => white_space(next, start),
    }
}

fn digits_gpt2(text: &str, start: usize) -> usize {
    // What a digit is was not measured on the expressions, but on `Digits`.
    let next_char = |at| next(text, at).filter(|&(c, _)| !is_numeric(c));
    let next = |at| next_char(at).map(|(c, end)| (RegexClass::of(c), end));
    match text[start..].chars().next() {
        Some(c) if is_numeric(c) => start + c.len_utf8(),
        _ => gpt2_within(text, start, next),
    }
}

fn cl100k(text: &str, start: usize, digits: usize) -> usize {
    let Some((first, after)) = next_class(text, start) else {
        return start;
    };
    if let Some(end) = contraction(text, start, true) {
        return end;
    }
    let following = next_class(text, after);
    match (first, following) {
        (RegexClass::Number, _) => number(text, after, digits),
        (RegexClass::Newline, _) => lines_or_space(|at| next_class(text, at), start),
        (_, Some((class, _))) if class.is_letter() => run(|at| next_class(text, at), after, RegexClass::is_letter),
        _ if first.is_letter() => after,
        _ => symbols_or_space(text, start, false),
    }
}

/// The end of a number whose first digit ends at `at`.
fn number(text: &str, mut at: usize, digits: usize) -> usize {
    for _ in 1..digits {
        match next_class(text, at) {
            Some((RegexClass::Number, end)) => at = end,
            _ => break,
        }
    }
    at
}

/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`; with `slashes`, a `/` may be among the newlines.
fn symbols_or_space(text: &str, start: usize, slashes: bool) -> usize {
    let next = |at| next_class(text, at);
    let symbols = start + usize::from(text[start..].starts_with(' '));
    let mut end = run(next, symbols, RegexClass::is_symbol);
    if end == symbols {
        return lines_or_space(next, start);
    }
    while let Some(b'\r' | b'\n') | Some(b'/') = text.as_bytes().get(end)
        && (slashes || text.as_bytes()[end] != b'/')
    {
        end += 1;
    }
    end
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last newline, else as ever.
fn lines_or_space(next: impl Next, start: usize) -> usize {
    let (mut at, mut line) = (start, None);
    while let Some((class, end)) = next(at)
        && class.is_space()
    {
        if class == RegexClass::Newline {
            line = Some(end);
        }
        at = end;
    }
    line.unwrap_or_else(|| white_space(next, start))
}

fn o200k(text: &str, start: usize, contractions: bool) -> usize {
    let Some((first, after)) = next_class(text, start) else {
        return start;
    };
    let leads = !first.is_letter() && !matches!(first, RegexClass::Number | RegexClass::Newline);
    // Each alternative is tried with a leading character, then without.
    let led = leads.then_some(after);
    let word = led.and_then(|from| capitals_then_small(text, from));
    let word = word.or_else(|| capitals_then_small(text, start));
    let word = word.or_else(|| led.and_then(|from| capitals(text, from)));
    if let Some(end) = word.or_else(|| capitals(text, start)) {
        return if contractions { contraction(text, end, true).unwrap_or(end) } else { end };
    }
    match first {
        RegexClass::Number => number(text, after, if contractions { 3 } else { 1 }),
        _ => symbols_or_space(text, start, true),
    }
}

fn may_be_capital(class: RegexClass) -> bool {
    matches!(class, RegexClass::Upper | RegexClass::Caseless | RegexClass::Mark)
}

fn may_be_small(class: RegexClass) -> bool {
    matches!(class, RegexClass::Lower | RegexClass::Caseless | RegexClass::Mark)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, its end.
fn capitals_then_small(text: &str, start: usize) -> Option<usize> {
    let (mut at, mut either) = (start, None);
    while let Some((class, end)) = next_class(text, at)
        && may_be_capital(class)
    {
        at = end;
        if may_be_small(class) {
            either = Some(end);
        }
    }
    let end = run(|at| next_class(text, at), at, may_be_small);
    // Where no small letter follows, the run gives back what follows the last character that is either.
    if end > at { Some(end) } else { either }
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`, its end.
fn capitals(text: &str, start: usize) -> Option<usize> {
    let next = |at| next_class(text, at);
    let end = run(next, start, may_be_capital);
    (end > start).then(|| run(next, end, may_be_small))
}

/// `[一-龥぀-ゟ゠-ヿ]`
pub(super) fn is_han_or_kana(c: char) -> bool {
    matches!(c, '一'..='龥' | '\u{3040}'..='\u{30FF}')
}

/// `[\p{L}\p{M}]`
pub(super) fn is_letter_or_mark(class: RegexClass) -> bool {
    class.is_letter() || class == RegexClass::Mark
}

/// Numbers of up to 3 digits and runs of [`is_han_or_kana`] are cut out first; the last expression sees what is within or between them as if it
/// were all.
fn deep_seek(text: &str, start: usize) -> usize {
    let Some((c, after)) = next(text, start) else {
        return start;
    };
    let first = RegexClass::of(c);
    if first == RegexClass::Number {
        return number(text, after, 3);
    }
    let is_cut_out = is_han_or_kana(c);
    let next = |at| {
        let (c, end) = next(text, at).filter(|&(c, _)| is_han_or_kana(c) == is_cut_out)?;
        Some((RegexClass::of(c), end)).filter(|&(class, _)| class != RegexClass::Number)
    };
    let following = next(after).map(|(class, _)| class);
    match first {
        _ if is_letter_or_mark(first) => run(next, after, is_letter_or_mark),
        RegexClass::Symbol => {
            let letters = text.as_bytes()[after..].iter().take_while(|byte| byte.is_ascii_alphabetic());
            match if c.is_ascii() { letters.count() } else { 0 } {
                0 => symbols_and_newlines(next, after),
                letters => after + letters,
            }
        }
        RegexClass::Space | RegexClass::Other if following.is_some_and(is_letter_or_mark) => {
            run(next, after, is_letter_or_mark)
        }
        RegexClass::Space if c == ' ' && following == Some(RegexClass::Symbol) => symbols_and_newlines(next, after),
        RegexClass::Other => unmatched(next, after),
        _ => lines_or_space(next, start),
    }
}

/// `[\p{P}\p{S}]*[\r\n]*`
fn symbols_and_newlines(next: impl Next, start: usize) -> usize {
    let end = run(next, start, |class| class == RegexClass::Symbol);
    run(next, end, |class| class == RegexClass::Newline)
}

/// The end of what DeepSeek-V3's last expression doesn't match, from after its first character on. A letter takes the character before it
/// along.
fn unmatched(next: impl Next, mut end: usize) -> usize {
    let mut last = end;
    while let Some((class, after)) = next(end) {
        match class {
            RegexClass::Other => (last, end) = (end, after),
            _ if is_letter_or_mark(class) => return last,
            _ => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-zA-Z]{1,6}",
            3 => "('s|'t|'re|'Ve|'m|'LL|'D|'ſ|'|''|'r|'l)",
            3 => "[ \\t\\r\\n\u{a0}\u{85}\u{3000}]{1,3}",
            2 => "[0-9²Ⅳ٣]{1,5}",
            2 => "[.,!?/\"#\\-()。、_$€]{1,3}",
            2 => "[éÀǅσΣжЖ\u{2b0}中가ªʰ]{1,4}",
            2 => "[\u{300}-\u{305}\u{93f}\u{20dd}]{1,2}",
            1 => "[\u{0}\u{1c}\u{fffd}\u{200d}\u{feff}\u{1f600}]",
            1 => "\\PC{1,3}",
            1 => any::<String>(),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    static REGEXES: LazyLock<[Regex; 6]> =
        LazyLock::new(|| KNOWN.map(|(expression, _)| Regex::new(expression).expect("a known expression")));

    /// Whether the engine, whose Unicode is newer, takes every character for what the reference does.
    fn is_settled(text: &str) -> bool {
        static CLASSES: LazyLock<[Regex; 3]> =
            LazyLock::new(|| [r"\p{L}", r"\p{N}", r"\p{M}"].map(|class| Regex::new(class).expect("a class")));
        text.chars().all(|c| {
            let class = RegexClass::of(c);
            let ours = [class.is_letter(), class == RegexClass::Number, class == RegexClass::Mark];
            let theirs = CLASSES.each_ref().map(|regex| regex.is_match(&c.to_string()).expect("no limit"));
            ours == theirs
        })
    }

    #[test]
    fn files_name_each_scanner() {
        assert_eq!(Scanner::of(GPT2), Some(Scanner::Gpt2));
        assert_eq!(Scanner::of(QWEN), Some(Scanner::Cl100k { digits: 1 }));
        assert_eq!(Scanner::of(r"\s+"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn words_are_those_of_the_expression(text in text()) {
            prop_assume!(is_settled(&text));
            for ((expression, scanner), regex) in KNOWN.into_iter().zip(REGEXES.iter()) {
                let expected: Result<Vec<_>, _> = regex.find_iter(&text).map(|found| found.map(|found| found.range())).collect();
                let mut found = Vec::new();
                let mut start = 0;
                while start < text.len() {
                    let end = scanner.end(&text, start);
                    found.push(start..end);
                    start = end;
                }
                prop_assert_eq!(&found, &expected.expect("matches"), "{} {:?}", expression, &text);
            }
        }
    }
}
