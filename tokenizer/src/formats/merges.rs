//! A list of merges as JSON has it: strings `left right`, or pairs of strings.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::models::MergeList;

/// Older files have this line of `merges.txt` among the merges.
const VERSION: &str = "#version";

/// `["left right", …]` or `[["left", "right"], …]`.
pub(super) struct Merges(pub(super) MergeList);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Merges;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of merges")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Merges, S::Error> {
        let mut merges = MergeList::default();
        while list.next_element_seed(AppendTo(&mut merges))?.is_some() {}
        Ok(Merges(merges))
    }
}

/// Appends one merge.
struct AppendTo<'a>(&'a mut MergeList);

impl<'de> DeserializeSeed<'de> for AppendTo<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[derive(Deserialize)]
struct Token<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for AppendTo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a merge: two tokens with a space between, or a list of two tokens")
    }

    fn visit_str<E: Error>(self, line: &str) -> Result<(), E> {
        if !line.starts_with(VERSION) && !self.0.push_line(line) {
            return Err(E::custom(format!("expected two tokens with one space between, found {line:?}")));
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut pair: S) -> Result<(), S::Error> {
        let left: Option<Token> = pair.next_element()?;
        let right: Option<Token> = pair.next_element()?;
        let more: Option<Token> = pair.next_element()?;
        match (left, right, more) {
            (Some(Token(left)), Some(Token(right)), None) => self.0.push(&left, &right),
            _ => return Err(S::Error::custom("expected two tokens, found fewer or more")),
        }
        Ok(())
    }
}
