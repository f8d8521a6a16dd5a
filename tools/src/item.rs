//! One input, and what a command can take it for: a text, a pair of texts, or a list of ids.

use std::{fmt, sync::Arc};

use serde_json::Value;

use crate::failure::Failure;

/// Where an input stood, for messages.
#[derive(Clone, Debug)]
pub struct Place {
    source: Arc<str>,
    number: usize,
}

impl Place {
    /// Line `number` (from 1) of `source`, or argument `number` if the source has no name.
    pub fn new(source: Arc<str>, number: usize) -> Self {
        Place { source, number }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_empty() {
            write!(f, "input {}", self.number)
        } else {
            write!(f, "{}: line {}", self.source, self.number)
        }
    }
}

/// What an input holds before a command says what it wants from it.
#[derive(Clone, Debug)]
pub enum Content {
    /// A text as it stands.
    Text(String),
    /// A JSON value.
    Json(Value),
}

/// One input.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it stood.
    pub place: Place,
    /// What stood there.
    pub content: Content,
}

impl Item {
    /// The item as one text: text as it stands, a JSON string, or an object with the string `text`.
    pub fn into_text(self) -> Result<String, Failure> {
        match self.content {
            Content::Text(text) | Content::Json(Value::String(text)) => Ok(text),
            Content::Json(Value::Object(mut object)) => match object.remove("text") {
                Some(Value::String(text)) => Ok(text),
                Some(other) => Err(unexpected(&self.place, "\"text\" to be a string", &other)),
                None => Err(Failure::Failed(format!("{}: the object has no \"text\"", self.place))),
            },
            Content::Json(other) => {
                Err(unexpected(&self.place, "a text: a string, or an object with \"text\"", &other))
            }
        }
    }

    /// The item as two texts: separated by a tab, a JSON array of two strings, or an object with `text` and `pair`.
    pub fn into_pair(self) -> Result<(String, String), Failure> {
        let place = self.place;
        let value = match self.content {
            Content::Json(value) => value,
            Content::Text(text) => {
                if let Some((first, second)) = text.split_once('\t') {
                    if second.contains('\t') {
                        return Err(Failure::Failed(format!(
                            "{place}: more than one tab; a pair is two texts with one tab between them \
                             (texts that hold tabs: --input-format jsonl)"
                        )));
                    }
                    return Ok((first.to_owned(), second.to_owned()));
                }
                // Without a tab the line can't be a pair as text, so reading an array takes no meaning away.
                match serde_json::from_str(&text) {
                    Ok(array @ Value::Array(_)) => array,
                    _ => {
                        return Err(Failure::Failed(format!(
                            "{place}: one text where a pair is expected: two texts with a tab between them, or a JSON array of two strings"
                        )));
                    }
                }
            }
        };
        match two_texts(value) {
            Ok(pair) => Ok(pair),
            Err(other) => Err(unexpected(
                &place,
                "a pair: an array of two strings, or an object with \"text\" and \"pair\"",
                &other,
            )),
        }
    }

    /// The item as a question and its context: a pair, or an object with `question` and `context`.
    pub fn into_question(self) -> Result<(String, String), Failure> {
        match self.content {
            Content::Json(Value::Object(mut object)) if object.contains_key("question") => {
                match (object.remove("question"), object.remove("context")) {
                    (Some(Value::String(question)), Some(Value::String(context))) => Ok((question, context)),
                    _ => Err(Failure::Failed(format!(
                        "{}: expected a question and its context: an object with the strings \"question\" and \"context\"",
                        self.place
                    ))),
                }
            }
            content => Item { place: self.place, content }.into_pair(),
        }
    }

    /// The item as a text with the labels to choose from, if it brings them along: an object with `text` and `labels`.
    pub fn into_labelled(mut self) -> Result<(String, Option<Vec<String>>), Failure> {
        let labels = match &mut self.content {
            Content::Json(Value::Object(object)) => object.remove("labels"),
            _ => None,
        };
        let strings = |labels: &Value| {
            let strings = labels.as_array()?.iter().map(|label| label.as_str().map(str::to_owned));
            strings.collect::<Option<Vec<String>>>()
        };
        let labels = match labels {
            None => None,
            Some(labels) => match strings(&labels) {
                Some(strings) => Some(strings),
                None => return Err(unexpected(&self.place, "\"labels\" to be an array of strings", &labels)),
            },
        };
        Ok((self.into_text()?, labels))
    }

    /// Whether the item says by itself that it is a pair.
    pub fn is_pair(&self) -> bool {
        match &self.content {
            Content::Text(_) => false,
            Content::Json(value) => value.is_array() || value.get("pair").is_some(),
        }
    }

    /// The item as token ids: a JSON array of numbers, an object with `ids`, or numbers with spaces or commas between them.
    pub fn into_ids(self) -> Result<Vec<u32>, Failure> {
        let place = self.place;
        let value = match self.content {
            Content::Json(Value::Object(mut object)) => object.remove("ids").unwrap_or(Value::Object(object)),
            Content::Json(value) => value,
            Content::Text(text) if text.trim_start().starts_with(['[', '{']) => {
                let value = serde_json::from_str(&text)
                    .map_err(|error| Failure::Failed(format!("{place}: not a JSON list of ids: {error}")))?;
                return Item { place, content: Content::Json(value) }.into_ids();
            }
            Content::Text(text) => {
                let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
                return words
                    .map(|word| {
                        word.parse().map_err(|_| {
                            Failure::Failed(format!(
                                "{place}: {word:?} is not a token id (a whole number from 0 to {})",
                                u32::MAX
                            ))
                        })
                    })
                    .collect();
            }
        };
        ids(&value).map_err(|problem| Failure::Failed(format!("{place}: {problem}")))
    }
}

/// A JSON array as token ids.
pub fn ids(value: &Value) -> Result<Vec<u32>, String> {
    let Value::Array(numbers) = value else {
        return Err(format!("expected a list of token ids, found {}", kind(value)));
    };
    numbers
        .iter()
        .enumerate()
        .map(|(position, number)| {
            number.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                format!("position {position}: {number} is not a token id (a whole number from 0 to {})", u32::MAX)
            })
        })
        .collect()
}

fn two_texts(value: Value) -> Result<(String, String), Value> {
    match value {
        Value::Array(mut texts) if texts.len() == 2 && texts.iter().all(Value::is_string) => {
            match (texts.pop(), texts.pop()) {
                (Some(Value::String(second)), Some(Value::String(first))) => Ok((first, second)),
                _ => Err(Value::Array(texts)),
            }
        }
        Value::Object(mut object) => match (object.remove("text"), object.remove("pair")) {
            (Some(Value::String(first)), Some(Value::String(second))) => Ok((first, second)),
            _ => Err(Value::Object(object)),
        },
        other => Err(other),
    }
}

fn unexpected(place: &Place, expected: &str, found: &Value) -> Failure {
    Failure::Failed(format!("{place}: expected {expected}; found {}", kind(found)))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Item {
        Item { place: Place::new("stdin".into(), 7), content: Content::Text(text.into()) }
    }

    fn json(value: &str) -> Item {
        Item { place: Place::new("stdin".into(), 7), content: Content::Json(serde_json::from_str(value).unwrap()) }
    }

    fn message<T: fmt::Debug>(result: Result<T, Failure>) -> String {
        match result {
            Err(Failure::Failed(message)) => message,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[test]
    fn texts() {
        assert_eq!(text("[1]").into_text().unwrap(), "[1]");
        assert_eq!(json(r#""a\u0000\n""#).into_text().unwrap(), "a\0\n");
        assert_eq!(json(r#"{"text": "a", "id": 3}"#).into_text().unwrap(), "a");
        assert_eq!(
            message(json("[\"a\"]").into_text()),
            "stdin: line 7: expected a text: a string, or an object with \"text\"; found an array of 1"
        );
        assert_eq!(message(json(r#"{"txt": "a"}"#).into_text()), "stdin: line 7: the object has no \"text\"");
    }

    #[test]
    fn pairs() {
        let ab = ("a".to_owned(), "b".to_owned());
        assert_eq!(text("a\tb").into_pair().unwrap(), ab);
        assert_eq!(text(r#"["a", "b"]"#).into_pair().unwrap(), ab);
        assert_eq!(json(r#"["a", "b"]"#).into_pair().unwrap(), ab);
        assert_eq!(json(r#"{"text": "a", "pair": "b"}"#).into_pair().unwrap(), ab);
        assert_eq!(text("\t").into_pair().unwrap(), (String::new(), String::new()));
        assert!(message(text("a").into_pair()).contains("one text where a pair is expected"));
        assert!(message(text("a\tb\tc").into_pair()).contains("more than one tab"));
        assert!(message(json(r#"["a", "b", "c"]"#).into_pair()).contains("found an array of 3"));
        assert!(message(json(r#"["a", 1]"#).into_pair()).contains("expected a pair"));
    }

    #[test]
    fn texts_with_labels() {
        let labels = Some(vec!["b".to_owned(), "c".to_owned()]);
        assert_eq!(json(r#"{"text": "a", "labels": ["b", "c"]}"#).into_labelled().unwrap(), ("a".to_owned(), labels));
        assert_eq!(text("a").into_labelled().unwrap(), ("a".to_owned(), None));
        assert_eq!(json(r#"{"text": "a"}"#).into_labelled().unwrap(), ("a".to_owned(), None));
        assert!(message(json(r#"{"text": "a", "labels": "b"}"#).into_labelled()).contains("an array of strings"));
        assert!(message(json(r#"{"text": "a", "labels": [1]}"#).into_labelled()).contains("an array of strings"));
    }

    #[test]
    fn id_lists() {
        for item in [
            text("1 2,3"),
            text(" [1, 2, 3]"),
            json("[1,2,3]"),
            json(r#"{"ids": [1,2,3]}"#),
            text(r#"{"ids": [1,2,3]}"#),
        ] {
            assert_eq!(item.into_ids().unwrap(), [1, 2, 3]);
        }
        assert!(text("").into_ids().unwrap().is_empty());
        assert_eq!(
            message(text("1 x").into_ids()),
            "stdin: line 7: \"x\" is not a token id (a whole number from 0 to 4294967295)"
        );
        assert_eq!(
            message(json("[1, -2]").into_ids()),
            "stdin: line 7: position 1: -2 is not a token id (a whole number from 0 to 4294967295)"
        );
        assert!(message(text("[1,").into_ids()).contains("not a JSON list of ids"));
        assert!(message(json("3").into_ids()).contains("found the number 3"));
    }
}
