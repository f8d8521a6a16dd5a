//! What a caller may ask of an encoding or a decoding.

use serde::{Deserialize, Serialize};

/// What [`Tokenizer::encode`](crate::Tokenizer::encode) shall do beside finding tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether to add the special tokens of the template (`[CLS] … [SEP]`). Default: yes.
    pub add_special_tokens: bool,
    /// How to cut encodings that are too long. Default: not at all.
    pub truncation: Option<Truncation>,
    /// How to fill up encodings that are too short. Default: not at all.
    pub padding: Option<Padding>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        EncodeOptions { add_special_tokens: true, truncation: None, padding: None }
    }
}

/// How to cut an encoding that is too long.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// use loquat_tokenizer::{EncodeOptions, Truncation};
///
/// let truncation = Truncation { stride: 1, overflow: true, ..Truncation::to(5) };
/// let options = EncodeOptions { truncation: Some(truncation), ..Default::default() };
/// let encoding = tokenizer.encode("hello, world!", None, &options)?;
/// assert_eq!(encoding.tokens(&tokenizer), ["[CLS]", "hello", ",", "world", "[SEP]"]);
/// let windows = &encoding.overflowing;
/// assert_eq!(windows[0].tokens(&tokenizer), ["[CLS]", "world", "!", "[SEP]"]);
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// The most tokens of an encoding, special tokens included.
    pub max_length: usize,
    /// Which sequence of a pair loses tokens.
    pub strategy: TruncationStrategy,
    /// How many tokens neighbouring windows share; only matters with `overflow`. Must be less than the tokens of
    /// the text in a window.
    pub stride: usize,
    /// Which end loses tokens.
    pub direction: Side,
    /// Whether the cut tokens are wanted too, as [`Encoding::overflowing`](crate::Encoding::overflowing).
    pub overflow: bool,
}

impl Truncation {
    /// Cut to `max_length` tokens at the right end, the longer sequence of a pair first, the rest not wanted.
    pub fn to(max_length: usize) -> Self {
        Truncation {
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: Side::Right,
            overflow: false,
        }
    }
}

/// Which sequence of a pair loses tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TruncationStrategy {
    /// The longer one, then both.
    #[default]
    LongestFirst,
    /// The first one only; an error if that is not enough.
    OnlyFirst,
    /// The second one only; an error if that is not enough or there is none.
    OnlySecond,
    /// None: as if no truncation were asked for.
    DoNotTruncate,
}

impl TruncationStrategy {
    /// The name that the reference gives it.
    pub fn name(self) -> &'static str {
        match self {
            TruncationStrategy::LongestFirst => "longest_first",
            TruncationStrategy::OnlyFirst => "only_first",
            TruncationStrategy::OnlySecond => "only_second",
            TruncationStrategy::DoNotTruncate => "do_not_truncate",
        }
    }
}

/// An end of a text or of an encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The beginning.
    Left,
    /// The end.
    #[default]
    Right,
}

/// How to fill up an encoding that is too short.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// use loquat_tokenizer::{EncodeOptions, Padding, PaddingLength};
///
/// let padding = Padding { length: PaddingLength::Fixed(6), ..Padding::default() };
/// let options = EncodeOptions { padding: Some(padding), ..Default::default() };
/// let encoding = tokenizer.encode("hello", None, &options)?;
/// assert_eq!(encoding.ids, [2, 5, 3, 0, 0, 0]);
/// assert_eq!(encoding.attention_mask, [1, 1, 1, 0, 0, 0]);
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Padding {
    /// The length to fill up to.
    pub length: PaddingLength,
    /// The end that gets the padding.
    pub direction: Side,
    /// Round the length up to a multiple of this, if it is more than 0.
    pub pad_to_multiple_of: Option<usize>,
    /// The id to fill up with.
    pub pad_id: u32,
    /// The type id to fill up with.
    pub pad_type_id: u32,
    /// The token that goes with `pad_id`, for display.
    pub pad_token: String,
}

impl Default for Padding {
    /// To the longest of the batch, at the right, with `[PAD]` and id 0.
    fn default() -> Self {
        Padding {
            length: PaddingLength::BatchLongest,
            direction: Side::Right,
            pad_to_multiple_of: None,
            pad_id: 0,
            pad_type_id: 0,
            pad_token: "[PAD]".to_owned(),
        }
    }
}

/// The length that padding fills up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaddingLength {
    /// That of the longest encoding of the batch.
    #[default]
    BatchLongest,
    /// This many tokens.
    Fixed(usize),
}

/// What [`Tokenizer::decode`](crate::Tokenizer::decode) shall do.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// use loquat_tokenizer::DecodeOptions;
///
/// let options = DecodeOptions { skip_special_tokens: true, ..Default::default() };
/// assert_eq!(tokenizer.decode(&[2, 5, 9, 7, 6, 3], &options)?, "hellos, world");
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether to leave special tokens out.
    pub skip_special_tokens: bool,
    /// Whether to take out spaces before punctuation and English contractions from the decoded text.
    ///
    /// `None` does what the folder's `tokenizer_config.json` says, and nothing where it says nothing. The
    /// `WordPiece` decoder cleans up by its own rule whatever is asked here, as the reference does.
    pub clean_up: Option<bool>,
}

/// A text, or a pair of texts.
///
/// ```
/// use loquat_tokenizer::Input;
///
/// let single: Input = "one text".into();
/// let pair: Input = ("a question", "a context").into();
/// assert_eq!((single.pair, pair.pair), (None, Some("a context")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// The text, or the first of two.
    pub text: &'a str,
    /// The second of two.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Input { text, pair: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for Input<'a> {
    fn from((text, pair): (&'a str, &'a str)) -> Self {
        Input { text, pair: Some(pair) }
    }
}

impl<'a> From<&'a &str> for Input<'a> {
    fn from(text: &'a &str) -> Self {
        Input { text, pair: None }
    }
}

impl<'a> From<&'a String> for Input<'a> {
    fn from(text: &'a String) -> Self {
        Input { text, pair: None }
    }
}

impl<'a, A: AsRef<str>, B: AsRef<str>> From<&'a (A, B)> for Input<'a> {
    fn from((text, pair): &'a (A, B)) -> Self {
        Input { text: text.as_ref(), pair: Some(pair.as_ref()) }
    }
}
