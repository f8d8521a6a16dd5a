//! Where inputs come from: arguments, a file, or stdin, one a line.
//!
//! Lines are handed out in chunks of what is there already, so results appear while a slow writer is still writing,
//! and a million lines never lie in memory at once. A line that can't be read ends the input with an error that names
//! it; everything before it has been handed out by then.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    failure::Failure,
    item::{Content, Item, Place},
};
use clap::{Args, ValueEnum};

/// Bytes that are read at once, which bounds a chunk.
const BUFFER_BYTES: usize = 1 << 17;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A text a line, as it stands.
    Text,
    /// A JSON value a line: a string, an array or an object. For texts that hold newlines or NULs.
    Jsonl,
}

/// The options that every command which reads inputs takes.
#[derive(Clone, Debug, Args)]
pub struct InputArgs {
    /// Read inputs from FILE, one a line (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// What a line (or an argument) holds
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub input_format: InputFormat,
}

impl InputArgs {
    /// The inputs: `arguments` if there are any, else the lines of `--input`, else those of stdin.
    pub fn open(&self, arguments: &[String]) -> Result<Inputs, Failure> {
        match (&self.input, arguments.is_empty()) {
            (Some(_), false) => Err(Failure::Usage("inputs come as arguments or from --input FILE, not both".into())),
            (None, false) => Ok(Inputs::arguments(arguments, self.input_format)),
            (Some(path), true) if path.as_os_str() != "-" => Inputs::file(path, self.input_format),
            (_, true) => Ok(Inputs::stdin(self.input_format)),
        }
    }
}

/// Texts, and the place of each.
pub type Texts = (Vec<String>, Vec<Place>);

/// Inputs, a chunk at a time.
pub struct Inputs {
    source: Arc<str>,
    format: InputFormat,
    next_number: usize,
    lines: Lines,
    failed: Option<Failure>,
}

enum Lines {
    Given(VecDeque<String>),
    Read(BufReader<Box<dyn Read>>),
}

impl Inputs {
    fn arguments(arguments: &[String], format: InputFormat) -> Self {
        Inputs::new("", format, Lines::Given(arguments.iter().cloned().collect()))
    }

    /// The lines of a file.
    pub fn file(path: &Path, format: InputFormat) -> Result<Self, Failure> {
        let open = || -> io::Result<File> {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, not a file of inputs"));
            }
            Ok(file)
        };
        let file = open().map_err(|error| Failure::at(path.display(), &error))?;
        let reader = BufReader::with_capacity(BUFFER_BYTES, Box::new(file) as Box<dyn Read>);
        Ok(Inputs::new(&path.display().to_string(), format, Lines::Read(reader)))
    }

    fn stdin(format: InputFormat) -> Self {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            eprintln!("loquat: reading inputs from the terminal, one a line; end with Ctrl-D");
        }
        let reader = BufReader::with_capacity(BUFFER_BYTES, Box::new(stdin) as Box<dyn Read>);
        Inputs::new("stdin", format, Lines::Read(reader))
    }

    fn new(source: &str, format: InputFormat, lines: Lines) -> Self {
        Inputs { source: source.into(), format, next_number: 1, lines, failed: None }
    }

    /// Everything that is there to read without waiting, at least one input; `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, Failure> {
        if let Some(failure) = self.failed.take() {
            self.lines = Lines::Given(VecDeque::new());
            return Err(failure);
        }
        let mut items = Vec::new();
        while items.is_empty() || self.more_at_hand() {
            match self.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(failure) if items.is_empty() => return Err(failure),
                Err(failure) => {
                    self.failed = Some(failure);
                    break;
                }
            }
        }
        Ok(if items.is_empty() { None } else { Some(items) })
    }

    /// As [`next_chunk`](Self::next_chunk), for commands whose inputs are texts.
    pub fn next_texts(&mut self) -> Result<Option<Texts>, Failure> {
        self.next_chunk()?.map(into_texts).transpose()
    }

    /// All texts at once, for commands that can't begin before they have seen the last.
    pub fn all_texts(self) -> Result<Texts, Failure> {
        into_texts(self.read_all()?)
    }

    /// All inputs at once.
    pub fn read_all(mut self) -> Result<Vec<Item>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next_chunk()? {
            all.extend(chunk);
        }
        Ok(all)
    }

    /// Whether the next line can be had without asking the operating system for it.
    fn more_at_hand(&self) -> bool {
        match &self.lines {
            Lines::Given(lines) => !lines.is_empty(),
            Lines::Read(reader) => reader.buffer().contains(&b'\n'),
        }
    }

    fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            let place = Place::new(self.source.clone(), self.next_number);
            self.next_number += 1;
            let content = match self.format {
                InputFormat::Text => Content::Text(line),
                // An empty line holds no JSON value, so it is no input; in text it is the empty text.
                InputFormat::Jsonl if line.trim().is_empty() => continue,
                InputFormat::Jsonl => match serde_json::from_str(&line) {
                    Ok(value) => Content::Json(value),
                    Err(error) => {
                        // Its "line 1" would be taken for the line of the input.
                        let message = error.to_string();
                        let problem = message.split(" at line ").next().unwrap_or_default();
                        return Err(Failure::Failed(format!(
                            "{place}, column {}: not a JSON value: {problem}; with --input-format jsonl every line is a JSON string, array or object",
                            error.column()
                        )));
                    }
                },
            };
            return Ok(Some(Item { place, content }));
        }
    }

    /// The next line without its line break (`\n` or `\r\n`).
    fn next_line(&mut self) -> Result<Option<String>, Failure> {
        let reader = match &mut self.lines {
            Lines::Given(lines) => return Ok(lines.pop_front()),
            Lines::Read(reader) => reader,
        };
        let mut line = Vec::new();
        if let Err(error) = reader.read_until(b'\n', &mut line) {
            return Err(Failure::at(&self.source, &error));
        }
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        String::from_utf8(line).map(Some).map_err(|error| {
            let place = Place::new(self.source.clone(), self.next_number);
            Failure::Failed(format!(
                "{place}: not valid UTF-8 from byte {} of the line; convert the input, for example with `iconv -t UTF-8`",
                error.utf8_error().valid_up_to() + 1
            ))
        })
    }
}

fn into_texts(items: Vec<Item>) -> Result<Texts, Failure> {
    let places = items.iter().map(|item| item.place.clone()).collect();
    let texts = items.into_iter().map(Item::into_text).collect::<Result<_, _>>()?;
    Ok((texts, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(bytes: &'static [u8], format: InputFormat) -> Inputs {
        Inputs::new("stdin", format, Lines::Read(BufReader::new(Box::new(bytes))))
    }

    fn texts(items: &[Item]) -> Vec<String> {
        items
            .iter()
            .map(|item| match &item.content {
                Content::Text(text) => text.clone(),
                Content::Json(value) => value.to_string(),
            })
            .collect()
    }

    #[test]
    fn empty_lines_are_texts_and_line_breaks_are_not_part_of_them() {
        let items = reading(b"a\n\nb\r\n c", InputFormat::Text).read_all().unwrap();
        assert_eq!(texts(&items), ["a", "", "b", " c"]);
        assert_eq!(items[2].place.to_string(), "stdin: line 3");
    }

    #[test]
    fn no_input_is_no_item() {
        assert!(reading(b"", InputFormat::Text).read_all().unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named_after_the_lines_before_it_are_handed_out() {
        let mut inputs = reading(b"one\ntwo\nab\xff\nfour\n", InputFormat::Text);
        assert_eq!(texts(&inputs.next_chunk().unwrap().unwrap()), ["one", "two"]);
        let Err(Failure::Failed(message)) = inputs.next_chunk() else { panic!("the bad line was accepted") };
        assert!(message.starts_with("stdin: line 3: not valid UTF-8 from byte 3"), "{message}");
        assert!(inputs.next_chunk().unwrap().is_none(), "nothing is read after an error");
    }

    #[test]
    fn json_lines_keep_their_line_numbers_across_blank_lines() {
        let mut inputs = reading(b"\"a\\nb\"\n\n[1, 2]\n{oops\n", InputFormat::Jsonl);
        let items = inputs.next_chunk().unwrap().unwrap();
        assert_eq!(texts(&items), ["\"a\\nb\"", "[1,2]"]);
        assert_eq!(items[1].place.to_string(), "stdin: line 3");
        let Err(Failure::Failed(message)) = inputs.next_chunk() else { panic!("the bad line was accepted") };
        assert!(message.starts_with("stdin: line 4, column 2: not a JSON value"), "{message}");
    }
}
