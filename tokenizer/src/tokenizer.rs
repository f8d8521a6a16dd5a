//! The compiled tokenizer: encoding, decoding, looking up.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use crate::TokenizerError;
use crate::added_vocabulary::AddedToken;
use crate::batch::{CHUNK, in_parallel};
use crate::compiled;
use crate::decoders::{Decoder, clean_up};
use crate::encoding::Encoding;
use crate::formats;
use crate::options::{DecodeOptions, EncodeOptions, Input, Padding, PaddingLength, Side, Truncation};
use crate::pipeline::Pipeline;
use crate::processors::{PostProcessor, TemplatePiece, Trimmer, Windowed};
use crate::special_tokens::SpecialTokens;
use crate::truncation::{rooms, windows};

/// Turns texts into the ids of a model and back.
///
/// Compiled once, never changed: share it between threads as it is.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// let mut ids = Vec::new();
/// let encoded = tokenizer.encode_ids("Hello, wörld!", None, &mut ids)?;
/// assert_eq!((encoded.tokens, encoded.truncated), (6, false));
/// assert_eq!(tokenizer.decode(&ids, &Default::default())?, "[CLS] hello, world! [SEP]");
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
pub struct Tokenizer {
    pub(crate) pipeline: Pipeline,
    pub(crate) processor: PostProcessor,
    pub(crate) decoder: Decoder,
    pub(crate) special_tokens: SpecialTokens,
    pub(crate) default_truncation: Option<Truncation>,
    pub(crate) default_padding: Option<Padding>,
    pub(crate) model_max_length: Option<usize>,
    pub(crate) padding_side: Side,
    pub(crate) truncation_side: Side,
    pub(crate) clean_up: Option<bool>,
}

/// What it is made of, without its tables.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// let text = format!("{tokenizer:?}");
/// assert!(text.starts_with("Tokenizer { model: \"WordPiece\", vocab_size: 10, normalizer: "));
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("model", &self.pipeline.model.name())
            .field("vocab_size", &self.vocab_size())
            .field("normalizer", &self.pipeline.normalizer)
            .field("pre_tokenizer", &self.pipeline.pre_tokenizer)
            .field("added_tokens", &self.added_tokens().len())
            .field("special_tokens", &self.special_tokens)
            .finish_non_exhaustive()
    }
}

/// What [`Tokenizer::encode_ids`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdsEncoded {
    /// How many ids the whole text has, special tokens included.
    pub tokens: usize,
    /// How many of them were appended.
    pub kept: usize,
    /// Whether any were left out.
    pub truncated: bool,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, else a SentencePiece model under one of its usual names, else
    /// `merges.txt` with `vocab.json`, else `vocab.txt`; with `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json` where they are.
    ///
    /// Where the folder has a `tokenizer.json`, that file alone says how texts are tokenized; the side files say which
    /// token plays which part and how long a text may be.
    ///
    /// # Errors
    /// When a file is missing, malformed or asks for something that is not supported; the error names the file and
    /// the place in it.
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        formats::folder::load(folder)
    }

    /// Reads one file: `vocab.txt` (any name that ends in `.txt`) as an uncased BERT vocabulary, a SentencePiece model (any
    /// name that ends in `.model` or `.spm`), a compiled tokenizer (whatever its name), any other as `tokenizer.json`.
    ///
    /// A compiled tokenizer is read whole here, and [checked](Self::verify_compiled); mapped, it opens in a fraction of the time.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_file(file: &Path) -> Result<Self, TokenizerError> {
        let bytes = formats::read(file)?;
        let name = file.display().to_string();
        if Self::is_compiled(&bytes) {
            Self::verify_compiled(&name, &bytes)?;
            return Self::from_compiled(&name, Arc::new(bytes));
        }
        match file.extension().and_then(std::ffi::OsStr::to_str) {
            Some("txt") => Self::from_vocab(&name, &bytes),
            Some("model" | "spm") => Self::from_sentencepiece(&name, &bytes),
            _ => Self::from_json(&name, &bytes),
        }
    }

    /// Reads a `tokenizer.json` that is already in memory. `name` is what errors call it.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        formats::tokenizer_json::parse(name, bytes, &Default::default())
    }

    /// Reads a `vocab.txt` that is already in memory as an uncased BERT vocabulary: one token a line, its id the
    /// number of the line from 0. `name` is what errors call it.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_vocab(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        formats::vocab_txt::parse(name, bytes, &Default::default())
    }

    /// Reads a SentencePiece model that is already in memory, of type unigram or bpe. `name` is what errors call it.
    ///
    /// No special tokens are put around texts: the file doesn't say which. A model's folder does.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_sentencepiece(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        formats::sentencepiece::parse(name, bytes)
    }

    /// Opens a tokenizer that [`to_compiled`](Self::to_compiled) wrote, and uses its tables where they are: `bytes` is a mapped file, a
    /// vector, a static array. `name` is what errors call it.
    ///
    /// This takes about a millisecond whatever the size of the vocabulary, for most of the bytes aren't looked at. Any bytes are safe to
    /// open, but damaged ones may give wrong ids: see [`verify_compiled`](Self::verify_compiled).
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// use std::sync::Arc;
    ///
    /// use loquat_tokenizer::Tokenizer;
    ///
    /// let compiled = Tokenizer::from_compiled("in memory", Arc::new(tokenizer.to_compiled()))?;
    /// let options = Default::default();
    /// assert_eq!(compiled.encode("Hello!", None, &options)?, tokenizer.encode("Hello!", None, &options)?);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes aren't those of a compiled tokenizer of this version, or a section is missing or of another shape; the error
    /// names it.
    pub fn from_compiled(name: &str, bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self, TokenizerError> {
        compiled::read(name, bytes)
    }

    /// The tokenizer's compiled form, for [`from_compiled`](Self::from_compiled): some 80 bytes for each token of the vocabulary.
    ///
    /// It is not for keeping: another version of this crate may have another form, and refuses this one. The files that the tokenizer was
    /// read from are.
    pub fn to_compiled(&self) -> Vec<u8> {
        compiled::write(self)
    }

    /// Whether a file that begins with these bytes is a compiled tokenizer, of this version or another.
    pub fn is_compiled(bytes: &[u8]) -> bool {
        bytes.starts_with(&compiled::MAGIC)
    }

    /// Reads all bytes of a compiled tokenizer and compares them with the checksum in it. `name` is what errors call it.
    ///
    /// # Errors
    /// When they differ, or the bytes aren't those of a compiled tokenizer of this version.
    pub fn verify_compiled(name: &str, bytes: &[u8]) -> Result<(), TokenizerError> {
        compiled::verify(name, bytes)
    }

    /// Encodes a text, or a pair of texts.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// let encoding = tokenizer.encode("Hello", Some("world!"), &Default::default())?;
    /// assert_eq!(encoding.ids, [2, 5, 3, 6, 8, 3]);
    /// assert_eq!(encoding.type_ids, [0, 0, 0, 1, 1, 1]);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// When the options can't be met; see [`TokenizerError`]. Without truncation and padding, only for a text of 4 GiB.
    pub fn encode(&self, text: &str, pair: Option<&str>, options: &EncodeOptions) -> Result<Encoding, TokenizerError> {
        let mut encoding = self.encode_unpadded(Input { text, pair }, options)?;
        self.pad(std::slice::from_mut(&mut encoding), options)?;
        Ok(encoding)
    }

    /// Encodes many texts, or pairs of texts, on `threads` threads (`None`: as many as the machine has).
    ///
    /// Each result is what [`encode`](Self::encode) gives, but that padding to the longest sees the whole batch.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// use loquat_tokenizer::{EncodeOptions, Padding};
    ///
    /// let options = EncodeOptions { padding: Some(Padding::default()), ..Default::default() };
    /// let encodings = tokenizer.encode_batch(&["hello", "hello, world!"], &options, None)?;
    /// assert_eq!(encodings[0].attention_mask, [1, 1, 1, 0, 0, 0]);
    ///
    /// let pairs = [("hello", "world")];
    /// let encodings = tokenizer.encode_batch(&pairs, &options, None)?;
    /// assert_eq!(encodings[0].type_ids, [0, 0, 0, 1, 1]);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// The first in the order of the inputs; see [`encode`](Self::encode).
    pub fn encode_batch<'a, T>(
        &self,
        inputs: &'a [T],
        options: &EncodeOptions,
        threads: Option<NonZeroUsize>,
    ) -> Result<Vec<Encoding>, TokenizerError>
    where
        T: Sync,
        &'a T: Into<Input<'a>>,
    {
        let mut encodings = in_parallel(inputs, threads, CHUNK, |input| self.encode_unpadded(input.into(), options))?;
        self.pad(&mut encodings, options)?;
        Ok(encodings)
    }

    /// Appends the ids of a text, special tokens included, to `out`, no more than `max_length` of them (the text is
    /// cut at its [`truncation_side`](Self::truncation_side)). This is the fast way where nothing but ids is wanted.
    ///
    /// # Errors
    /// When `max_length` is less than the special tokens alone, or the text has 4 GiB. `out` is then as it was.
    pub fn encode_ids(
        &self,
        text: &str,
        max_length: Option<usize>,
        out: &mut Vec<u32>,
    ) -> Result<IdsEncoded, TokenizerError> {
        let template = &self.processor.single;
        let special_tokens = template.special_tokens();
        let room = match max_length {
            Some(max_length) => max_length
                .checked_sub(special_tokens)
                .ok_or(TokenizerError::MaxLengthTooSmall { max_length, special_tokens })?,
            None => usize::MAX,
        };
        let begin = out.len();
        let mut tokens = special_tokens;
        for piece in template.pieces() {
            match *piece {
                TemplatePiece::Special { id, .. } => out.push(id),
                TemplatePiece::Sequence { .. } => {
                    let before = out.len();
                    if let Err(error) = self.pipeline.ids(text, out) {
                        out.truncate(begin);
                        return Err(error);
                    }
                    let length = out.len() - before;
                    tokens += length;
                    match self.truncation_side {
                        Side::Right => out.truncate(before + room.min(length)),
                        Side::Left => drop(out.drain(before..out.len() - room.min(length))),
                    }
                }
            }
        }
        let kept = out.len() - begin;
        Ok(IdsEncoded { tokens, kept, truncated: kept < tokens })
    }

    /// Turns ids back into a text. Ids that the tokenizer doesn't have are left out, as the reference does.
    ///
    /// # Errors
    /// When a regular expression of the decoder gives up.
    pub fn decode(&self, ids: &[u32], options: &DecodeOptions) -> Result<String, TokenizerError> {
        let tokens = ids.iter().filter_map(|&id| self.decoded_token(id, options.skip_special_tokens));
        let text = self.decoder.decode(tokens)?;
        match options.clean_up.or(self.clean_up) {
            Some(true) => Ok(clean_up(&text)),
            _ => Ok(text),
        }
    }

    /// Joins tokens, given by their own text, as the decoder does.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// assert_eq!(tokenizer.tokens_to_text(["hello", "##s", ",", "world"])?, "hellos, world");
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// When a regular expression of the decoder gives up.
    pub fn tokens_to_text<'a>(&self, tokens: impl IntoIterator<Item = &'a str>) -> Result<String, TokenizerError> {
        self.decoder.decode(tokens.into_iter())
    }

    /// What tokens that continue a word begin with, such as `##`, where the model marks them so.
    pub fn continuing_subword_prefix(&self) -> Option<&str> {
        Some(self.pipeline.model.continuing_subword_prefix()).filter(|prefix| !prefix.is_empty())
    }

    /// What the decoder gets for an id: nothing for one that the tokenizer doesn't have, or that is skipped.
    pub(crate) fn decoded_token(&self, id: u32, skip_special_tokens: bool) -> Option<&str> {
        let token = match self.pipeline.added.decoded(id) {
            Some(token) => token,
            None => self.pipeline.model.vocabulary().id_to_token(id)?,
        };
        let skipped = skip_special_tokens && self.pipeline.added.is_special(token);
        (!skipped).then_some(token)
    }

    /// Turns many lists of ids back into texts, on `threads` threads (`None`: as many as the machine has).
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// let texts = tokenizer.decode_batch(&[vec![5, 6], vec![7]], &Default::default(), None)?;
    /// assert_eq!(texts, ["hello world", ","]);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_batch<T: AsRef<[u32]> + Sync>(
        &self,
        batch: &[T],
        options: &DecodeOptions,
        threads: Option<NonZeroUsize>,
    ) -> Result<Vec<String>, TokenizerError> {
        in_parallel(batch, threads, CHUNK, |ids| self.decode(ids.as_ref(), options))
    }

    /// The id of a token, added or of the vocabulary, by its exact text.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// assert_eq!(tokenizer.token_to_id("##s"), Some(9));
    /// assert_eq!(tokenizer.id_to_token(9), Some("##s"));
    /// assert_eq!(tokenizer.token_to_id("bonjour"), None);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.pipeline.token_to_id(token)
    }

    /// The text of a token by its id.
    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        match self.pipeline.added.get(id) {
            Some(token) => Some(&token.content),
            None => self.pipeline.model.vocabulary().id_to_token(id),
        }
    }

    /// How many tokens there are, added ones included. Ids may go beyond it where they have holes.
    pub fn vocab_size(&self) -> usize {
        let vocabulary = self.pipeline.model.vocabulary();
        let is_new = |token: &&AddedToken| vocabulary.token_to_id(&token.content).is_none();
        vocabulary.len() + self.added_tokens().iter().filter(is_new).count()
    }

    /// The tokens that are found in a text before the model sees it.
    pub fn added_tokens(&self) -> &[AddedToken] {
        self.pipeline.added.tokens()
    }

    /// Which tokens play which part.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// How many special tokens the template adds to one text, or to a pair.
    pub fn special_tokens_added(&self, is_pair: bool) -> usize {
        self.processor.template(is_pair).special_tokens()
    }

    /// The truncation that `tokenizer.json` asks for. It is not applied unless passed to [`encode`](Self::encode).
    pub fn default_truncation(&self) -> Option<&Truncation> {
        self.default_truncation.as_ref()
    }

    /// The padding that `tokenizer.json` asks for. It is not applied unless passed to [`encode`](Self::encode).
    pub fn default_padding(&self) -> Option<&Padding> {
        self.default_padding.as_ref()
    }

    /// Padding to the longest of a batch with this tokenizer's padding token, where it has one.
    pub fn batch_padding(&self) -> Option<Padding> {
        let pad = self.special_tokens.pad.as_ref()?;
        Some(Padding {
            pad_id: pad.id,
            pad_token: pad.content.clone(),
            direction: self.padding_side,
            ..Padding::default()
        })
    }

    /// Which end of a text is cut, as the folder says it; else the right.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
    }

    /// The longest input that the model takes, special tokens included, where the folder says it.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    fn encode_unpadded(&self, input: Input, options: &EncodeOptions) -> Result<Encoding, TokenizerError> {
        let template = self.processor.template(input.pair.is_some());
        let first = self.pipeline.tokens(input.text)?;
        let second = input.pair.map(|pair| self.pipeline.tokens(pair)).transpose()?;
        let length = (first.0.len(), second.as_ref().map(|tokens| tokens.0.len()));
        let mut sequences = Vec::with_capacity(2);
        if let Some(truncation) = &options.truncation {
            let special_tokens = match options.add_special_tokens {
                true => template.special_tokens(),
                false => 0,
            };
            let rooms = rooms(truncation, special_tokens, length.0, length.1)?;
            sequences.push((&first, windows(length.0, rooms.first, truncation)?));
            if let (Some(tokens), Some(length)) = (&second, length.1) {
                sequences.push((tokens, windows(length, rooms.second, truncation)?));
            }
        } else {
            let whole = |tokens| std::iter::once(0..tokens).collect();
            sequences.push((&first, whole(length.0)));
            sequences.extend(second.iter().map(|tokens| (tokens, whole(tokens.0.len()))));
        }
        let texts = [input.text, input.pair.unwrap_or_default()];
        let windowed = sequences.into_iter().zip(texts).map(|((tokens, windows), text)| {
            let trimmer = self.processor.trim.map(|trim| Trimmer { trim, text, pipeline: &self.pipeline });
            Windowed { tokens, windows, trimmer }
        });
        let sequences: Vec<Windowed> = windowed.collect();
        template.apply(&sequences, options.add_special_tokens)
    }

    fn pad(&self, encodings: &mut [Encoding], options: &EncodeOptions) -> Result<(), TokenizerError> {
        let Some(padding) = &options.padding else {
            return Ok(());
        };
        let longest = encodings.iter().map(Encoding::len).max();
        let length = match padding.length {
            PaddingLength::Fixed(length) => length,
            PaddingLength::BatchLongest => longest.unwrap_or(0),
        };
        let multiple = padding.pad_to_multiple_of.unwrap_or(0).max(1);
        let length = length.checked_next_multiple_of(multiple).ok_or(TokenizerError::PaddingTooLong { length })?;
        encodings.iter_mut().try_for_each(|encoding| encoding.pad(length, padding))
    }
}

const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<Tokenizer>();
};
