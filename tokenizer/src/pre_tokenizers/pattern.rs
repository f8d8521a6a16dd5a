//! What `Split` looks for.

use std::borrow::Cow;
use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::known_list::KnownList;
use super::scanner::Scanner;
use crate::TokenizerError;

/// A pattern, compiled.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// A text, which isn't empty.
    Literal(String),
    /// A well-known expression.
    Scanner(Scanner),
    /// Any other expression.
    Regex(Box<Expression>),
}

/// A regular expression, compiled when it is first looked for where it comes from a compiled file: that takes milliseconds.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    regex: OnceLock<Result<Regex, String>>,
}

impl Expression {
    fn new(text: String) -> Self {
        Expression { text, regex: OnceLock::new() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What the engine says where it can't do it.
    fn compiled(&self) -> Result<&Regex, &str> {
        let compile = || RegexBuilder::new(&self.text).oniguruma_mode(true).multi_line(true).build();
        let regex = self.regex.get_or_init(|| compile().map_err(|error| error.to_string()));
        regex.as_ref().map_err(String::as_str)
    }
}

/// A pattern as compiled files have it: the text, or the expression.
#[derive(Serialize, Deserialize)]
enum Written<'a> {
    Literal(Cow<'a, str>),
    Regex(Cow<'a, str>),
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Pattern::Literal(text) => Written::Literal(text.into()),
            Pattern::Scanner(scanner) => {
                let expression = scanner.expression().ok_or_else(|| S::Error::custom("no expression"))?;
                Written::Regex(expression.into())
            }
            Pattern::Regex(regex) => Written::Regex(regex.as_str().into()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = match Written::deserialize(deserializer)? {
            Written::Literal(text) => Pattern::literal(text.into_owned()).map_err(D::Error::custom)?,
            Written::Regex(expression) => match Scanner::of(&expression) {
                Some(scanner) => Pattern::Scanner(scanner),
                None => Pattern::Regex(Box::new(Expression::new(expression.into_owned()))),
            },
        };
        Ok(pattern)
    }
}

impl Pattern {
    /// The text itself.
    pub(crate) fn literal(text: String) -> Result<Self, String> {
        // An empty text is found between all characters, as an empty expression is.
        if text.is_empty() { Self::regex("") } else { Ok(Pattern::Literal(text)) }
    }

    /// A regular expression. The error says what its engine can't do with it.
    ///
    /// The reference uses Oniguruma with Ruby's syntax: look-around, possessive quantifiers and atomic groups are
    /// understood, `\K`, absent operators and the like are not.
    pub(crate) fn regex(expression: &str) -> Result<Self, String> {
        if let Some(scanner) = Scanner::of(expression) {
            return Ok(Pattern::Scanner(scanner));
        }
        let is_known = KnownList::knows(expression);
        let expression = Expression::new(with_its_words(expression));
        // One of a known list will hardly be looked for.
        if !is_known {
            expression.compiled().map_err(str::to_owned)?;
        }
        Ok(Pattern::Regex(Box::new(expression)))
    }

    /// Calls `part` for every match and for what lies between, in order, with the bytes and whether it is a match.
    pub(crate) fn parts(&self, text: &str, mut part: impl FnMut(usize, usize, bool)) -> Result<(), TokenizerError> {
        let mut done = 0;
        let mut found = |start: usize, end: usize| {
            if done < start {
                part(done, start, false);
            }
            part(start, end, true);
            done = end;
        };
        match self {
            Pattern::Literal(literal) => {
                text.match_indices(literal.as_str()).for_each(|(start, matched)| found(start, start + matched.len()));
            }
            Pattern::Scanner(scanner) => {
                let mut start = 0;
                while start < text.len() {
                    let end = scanner.end(text, start);
                    found(start, end);
                    start = end;
                }
            }
            Pattern::Regex(expression) => {
                let fault =
                    |message: String| TokenizerError::Regex { pattern: expression.as_str().to_owned(), message };
                for matched in expression.compiled().map_err(|message| fault(message.to_owned()))?.find_iter(text) {
                    let matched = matched.map_err(|error| fault(error.to_string()))?;
                    found(matched.start(), matched.end());
                }
            }
        }
        if done < text.len() {
            part(done, text.len(), false);
        }
        Ok(())
    }
}

/// Spells out what `\w` and `\W` are to Oniguruma: all numbers are of words, the joiners of width zero are not.
fn with_its_words(expression: &str) -> String {
    let mut spelled = String::with_capacity(expression.len());
    let mut chars = expression.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some('w')) => spelled.push_str(r"[\p{L}\p{M}\p{N}\p{Pc}]"),
            (_, Some('W')) => spelled.push_str(r"[^\p{L}\p{M}\p{N}\p{Pc}]"),
            (_, Some(escaped)) => spelled.extend([c, escaped]),
            (_, None) => spelled.push(c),
        }
    }
    spelled
}
