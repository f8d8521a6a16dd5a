//! `loquat tokenize`: texts to ids.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use loquat::{EncodeOptions, Encoding, Input, Padding, PaddingLength, Side, Tokenizer, Truncation, TruncationStrategy};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::{InputArgs, InputFormat},
    item::{Content, Item, Place},
    model::ModelArgs,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
Nothing is cut or padded unless asked. Offsets are [start, end) in Unicode characters of the text that the token
comes from (with --pair, of the second text where type_ids says so); special tokens have [0, 0].
With --json, a line per input:
  {\"ids\", \"tokens\", \"type_ids\", \"special_tokens_mask\", \"attention_mask\", \"offsets\"}, with --overflow also \"overflowing\".

Examples:
  loquat tokenize \"unaffordable housing\"
  loquat tokenize --json --pair \"a question\\ta context\"
  loquat tokenize --json --max-length 128 --stride 32 --overflow --input long.txt
  loquat tokenize --json --jobs 2 --stats --input many.txt > ids.jsonl
  loquat tokenize --json --padding longest --pad-to-multiple-of 8 \"short\" \"a little longer\"";

/// Turn texts into token ids
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Tokenize {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Every input is two texts: with a tab between them, or a JSON array of two (or two arguments)
    #[arg(long)]
    pair: bool,

    /// Leave out the tokens that the model adds, such as [CLS] and [SEP]
    #[arg(long)]
    no_special_tokens: bool,

    /// Cut to N tokens, special tokens included; with --padding max_length also pad to N
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,

    /// Which text of a pair is cut [default: longest_first if there is a --max-length]
    #[arg(long, value_enum, value_name = "STRATEGY", num_args = 0..=1, default_missing_value = "longest_first")]
    truncation: Option<TruncationArg>,

    /// Which end is cut [default: what the tokenizer's files say, else right]
    #[arg(long, value_enum, value_name = "SIDE")]
    truncation_side: Option<SideArg>,

    /// Tokens that a window shares with the one before it (with --overflow)
    #[arg(long, value_name = "N", default_value = "0")]
    stride: usize,

    /// Give what was cut too, as further windows
    #[arg(long)]
    overflow: bool,

    /// Pad to the longest input, or to --max-length
    #[arg(long, value_enum, value_name = "LENGTH", num_args = 0..=1, default_missing_value = "longest")]
    padding: Option<PaddingArg>,

    /// Which end is padded [default: what the tokenizer's files say, else right]
    #[arg(long, value_enum, value_name = "SIDE")]
    padding_side: Option<SideArg>,

    /// Pad to a multiple of N
    #[arg(long, value_name = "N")]
    pad_to_multiple_of: Option<usize>,

    /// Threads that encode; with more than one, inputs are read a mebibyte at a time [default: 1]
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    jobs: NonZeroUsize,

    /// Print how fast texts were encoded, reading and printing left out, to stderr
    #[arg(long)]
    stats: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// The reference's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum TruncationArg {
    /// The longer text, token by token.
    #[value(alias = "longest-first")]
    LongestFirst,
    /// The first text only.
    #[value(alias = "only-first")]
    OnlyFirst,
    /// The second text only.
    #[value(alias = "only-second")]
    OnlySecond,
    /// None.
    #[value(alias = "do-not-truncate")]
    DoNotTruncate,
}

impl From<TruncationArg> for TruncationStrategy {
    fn from(strategy: TruncationArg) -> Self {
        match strategy {
            TruncationArg::LongestFirst => TruncationStrategy::LongestFirst,
            TruncationArg::OnlyFirst => TruncationStrategy::OnlyFirst,
            TruncationArg::OnlySecond => TruncationStrategy::OnlySecond,
            TruncationArg::DoNotTruncate => TruncationStrategy::DoNotTruncate,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PaddingArg {
    /// To the longest of all inputs, so nothing is printed before all are read.
    Longest,
    /// To --max-length.
    #[value(alias = "max-length")]
    MaxLength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SideArg {
    Left,
    Right,
}

impl From<SideArg> for Side {
    fn from(side: SideArg) -> Self {
        match side {
            SideArg::Left => Side::Left,
            SideArg::Right => Side::Right,
        }
    }
}

/// An input in the form that the tokenizer takes.
struct Text {
    place: Place,
    text: String,
    pair: Option<String>,
}

impl<'a> From<&'a Text> for Input<'a> {
    fn from(text: &'a Text) -> Self {
        Input { text: &text.text, pair: text.pair.as_deref() }
    }
}

/// Bytes of text that several threads encode at a time.
const BATCH_BYTES: usize = 1 << 20;

/// How much was encoded in what time.
#[derive(Default)]
struct Stats {
    inputs: usize,
    bytes: usize,
    tokens: usize,
    time: Duration,
}

impl Stats {
    fn print(&self) {
        let seconds = self.time.as_secs_f64().max(f64::MIN_POSITIVE);
        eprintln!(
            "{} inputs, {} bytes, {} tokens in {seconds:.3} s: {:.1} MB/s, {:.0} tokens/s",
            self.inputs,
            self.bytes,
            self.tokens,
            self.bytes as f64 / seconds / 1e6,
            self.tokens as f64 / seconds,
        );
    }
}

#[derive(Serialize)]
struct Line<'a> {
    ids: &'a [u32],
    tokens: Vec<String>,
    type_ids: &'a [u32],
    special_tokens_mask: &'a [u8],
    attention_mask: &'a [u8],
    offsets: Vec<(usize, usize)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overflowing: Option<Vec<Line<'a>>>,
}

impl Tokenize {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let arguments = self.pair_of_arguments();
        let mut inputs = self.input.open(&arguments)?;
        let tokenizer = self.model.tokenizer()?;
        let options = self.options(&tokenizer)?;
        let mut out = Output::stdout();
        if self.padding == Some(PaddingArg::Longest) {
            let texts = inputs.read_all()?.into_iter().map(|item| self.text(item)).collect::<Result<Vec<_>, _>>()?;
            return self.padded_together(&tokenizer, &texts, options, &mut out);
        }
        let mut stats = Stats::default();
        let mut texts = Vec::new();
        let mut bytes = 0;
        while let Some(chunk) = inputs.next_chunk()? {
            for item in chunk {
                let text = self.text(item)?;
                bytes += text.text.len();
                texts.push(text);
            }
            if self.jobs.get() == 1 || bytes >= BATCH_BYTES {
                self.encode_and_print(&tokenizer, &texts, &options, &mut out, &mut stats)?;
                texts.clear();
                bytes = 0;
            }
        }
        self.encode_and_print(&tokenizer, &texts, &options, &mut out, &mut stats)?;
        if self.stats {
            stats.print();
        }
        Ok(())
    }

    fn encode_and_print(
        &self,
        tokenizer: &Tokenizer,
        texts: &[Text],
        options: &EncodeOptions,
        out: &mut Output,
        stats: &mut Stats,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let encodings = match tokenizer.encode_batch(texts, options, Some(self.jobs)) {
            Ok(encodings) => encodings,
            // What came before the fault is printed, and the fault is given its place.
            Err(_) => {
                for text in texts {
                    let encoding = encode(tokenizer, text, options)?;
                    self.print(out, tokenizer, text, &encoding)?;
                }
                return out.flush();
            }
        };
        stats.time += begin.elapsed();
        for (text, encoding) in texts.iter().zip(&encodings) {
            stats.inputs += 1;
            stats.bytes += text.text.len() + text.pair.as_ref().map_or(0, String::len);
            stats.tokens += encoding.len();
            self.print(out, tokenizer, text, encoding)?;
        }
        out.flush()
    }

    /// With `--pair`, two plain arguments are one input: each alone could only be an error.
    fn pair_of_arguments(&self) -> Vec<String> {
        match self.texts.as_slice() {
            [first, second]
                if self.pair
                    && self.input.input_format == InputFormat::Text
                    && [first, second].iter().all(|text| !text.contains('\t') && !text.starts_with('[')) =>
            {
                vec![format!("{first}\t{second}")]
            }
            texts => texts.to_vec(),
        }
    }

    fn options(&self, tokenizer: &Tokenizer) -> Result<EncodeOptions, Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        let truncation = match (self.max_length, self.truncation) {
            (_, Some(TruncationArg::DoNotTruncate)) | (None, None) => None,
            (None, Some(_)) => return usage("--truncation needs --max-length"),
            (Some(max_length), strategy) => Some(Truncation {
                max_length,
                strategy: strategy.map_or(TruncationStrategy::LongestFirst, Into::into),
                stride: self.stride,
                direction: self.truncation_side.map_or(tokenizer.truncation_side(), Into::into),
                overflow: self.overflow,
            }),
        };
        if truncation.is_none() && (self.overflow || self.stride > 0) {
            return usage("--overflow and --stride need --max-length: without it nothing is cut");
        }
        if self.stride > 0 && !self.overflow {
            return usage("--stride needs --overflow: it says what windows share");
        }
        let length = match (self.padding, self.max_length) {
            (None, _) if self.padding_side.is_some() || self.pad_to_multiple_of.is_some() => {
                return usage("--padding-side and --pad-to-multiple-of need --padding");
            }
            (None, _) => None,
            (Some(PaddingArg::Longest), _) => Some(PaddingLength::BatchLongest),
            (Some(PaddingArg::MaxLength), Some(max_length)) => Some(PaddingLength::Fixed(max_length)),
            (Some(PaddingArg::MaxLength), None) => return usage("--padding max_length needs --max-length"),
        };
        let padding = length.map(|length| {
            let default =
                tokenizer.default_padding().cloned().or_else(|| tokenizer.batch_padding()).unwrap_or_default();
            Padding {
                length,
                direction: self.padding_side.map_or(default.direction, Into::into),
                pad_to_multiple_of: self.pad_to_multiple_of,
                ..default
            }
        });
        Ok(EncodeOptions { add_special_tokens: !self.no_special_tokens, truncation, padding })
    }

    fn text(&self, item: Item) -> Result<Text, Failure> {
        let place = item.place.clone();
        let as_pair = match &item.content {
            Content::Text(_) => self.pair,
            Content::Json(_) => self.pair || item.is_pair(),
        };
        let (text, pair) = if as_pair {
            let (text, pair) = item.into_pair()?;
            (text, Some(pair))
        } else {
            (item.into_text()?, None)
        };
        Ok(Text { place, text, pair })
    }

    /// Padding to the longest needs them all before the first can be printed.
    fn padded_together(
        &self,
        tokenizer: &Tokenizer,
        texts: &[Text],
        mut options: EncodeOptions,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let padding = options.padding.take();
        let mut longest = 0;
        for text in texts {
            longest = longest.max(encode(tokenizer, text, &options)?.len());
        }
        options.padding = padding.map(|padding| Padding { length: PaddingLength::Fixed(longest), ..padding });
        let mut stats = Stats::default();
        self.encode_and_print(tokenizer, texts, &options, out, &mut stats)?;
        if self.stats {
            stats.print();
        }
        Ok(())
    }

    fn print(&self, out: &mut Output, tokenizer: &Tokenizer, text: &Text, encoding: &Encoding) -> Result<(), Failure> {
        let line = self.line(tokenizer, text, encoding);
        if self.output.json {
            return out.json(&line);
        }
        match &text.pair {
            Some(pair) => out.line(format_args!("{:?}, {pair:?}: {} tokens", text.text, line.ids.len()))?,
            None => out.line(format_args!("{:?}: {} tokens", text.text, line.ids.len()))?,
        }
        print_tokens(out, &line)?;
        for (window, line) in line.overflowing.iter().flatten().enumerate() {
            out.line(format_args!("  window {}: {} tokens", window + 2, line.ids.len()))?;
            print_tokens(out, line)?;
        }
        out.line("")
    }

    fn line<'a>(&self, tokenizer: &Tokenizer, text: &Text, encoding: &'a Encoding) -> Line<'a> {
        let overflowing = self.overflow.then(|| {
            encoding
                .overflowing
                .iter()
                .map(|window| self.line(tokenizer, text, window))
                .map(|line| Line { overflowing: None, ..line })
                .collect()
        });
        Line {
            ids: &encoding.ids,
            tokens: encoding.tokens(tokenizer),
            type_ids: &encoding.type_ids,
            special_tokens_mask: &encoding.special_tokens_mask,
            attention_mask: &encoding.attention_mask,
            offsets: encoding.char_offsets(Input { text: &text.text, pair: text.pair.as_deref() }),
            overflowing,
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &Text, options: &EncodeOptions) -> Result<Encoding, Failure> {
    tokenizer.encode(&text.text, text.pair.as_deref(), options).map_err(|error| Failure::at(&text.place, &error))
}

/// A token a row: id, token, type, characters.
fn print_tokens(out: &mut Output, line: &Line) -> Result<(), Failure> {
    out.line(format_args!("{:>8}  {:<20} {:>4}  {:>11}", "id", "token", "type", "characters"))?;
    for (position, id) in line.ids.iter().enumerate() {
        let (start, end) = line.offsets[position];
        let range = format!("{start}..{end}");
        out.line(format_args!("{id:>8}  {:<20} {:>4}  {range:>11}", line.tokens[position], line.type_ids[position]))?;
    }
    Ok(())
}
