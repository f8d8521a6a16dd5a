//! Decoding ids as they come.

use crate::decoders::CleanUpStream;
use crate::{DecodeOptions, Tokenizer, TokenizerError};

/// So many tokens may wait for what makes them text. No character is spread over as many; a stream of bytes that are none would
/// wait for ever.
const MOST_WAITING: usize = 64;

/// Turns ids into text one by one, as a model generates them.
///
/// Never gives a part of a character: what isn't text yet waits for the ids that complete it. All that [`push`](Self::push) and
/// [`finish`](Self::finish) give, one after the other, is what [`Tokenizer::decode`] gives for all ids together, where that holds
/// no replacement character (U+FFFD).
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// use loquat_tokenizer::DecodeOptions;
///
/// let mut stream = tokenizer.decode_stream(&DecodeOptions { skip_special_tokens: true, ..Default::default() });
/// let mut text = String::new();
/// for id in [2, 5, 9, 7, 6, 3] {
///     text += &stream.push(id)?;
/// }
/// text += &stream.finish()?;
/// assert_eq!(text, "hellos, world");
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// The ids that text was last given for, then those since.
    ids: Vec<u32>,
    given: usize,
    /// What the first `given` ids are decoded to by themselves.
    given_text: String,
    clean_up: Option<CleanUpStream>,
}

impl Tokenizer {
    /// Begins to decode ids as they come.
    pub fn decode_stream(&self, options: &DecodeOptions) -> DecodeStream<'_> {
        DecodeStream {
            tokenizer: self,
            skip_special_tokens: options.skip_special_tokens,
            ids: Vec::new(),
            given: 0,
            given_text: String::new(),
            clean_up: (options.clean_up.or(self.clean_up) == Some(true)).then(CleanUpStream::default),
        }
    }
}

impl DecodeStream<'_> {
    /// Takes the next id; gives the text that is sure by now, which may be none.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        if self.tokenizer.decoded_token(id, self.skip_special_tokens).is_none() {
            return Ok(String::new());
        }
        self.ids.push(id);
        let text = self.decode()?;
        let waits = text.ends_with(char::REPLACEMENT_CHARACTER) && self.ids.len() - self.given < MOST_WAITING;
        let new = self.new_text(&text);
        // The text that was there keeps its ids: they say how the next ones are decoded.
        if waits || new.is_empty() && self.ids.len() - self.given < MOST_WAITING {
            return Ok(String::new());
        }
        let new = new.to_owned();
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        self.given_text = self.decode()?;
        Ok(match &mut self.clean_up {
            Some(clean_up) => clean_up.push(&new),
            None => new,
        })
    }

    /// Gives what is left. Bytes that were never completed to a character become U+FFFD, as in [`Tokenizer::decode`].
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(mut self) -> Result<String, TokenizerError> {
        let text = self.decode()?;
        let new = self.new_text(&text);
        Ok(match &mut self.clean_up {
            Some(clean_up) => clean_up.push(new) + &clean_up.finish(),
            None => new.to_owned(),
        })
    }

    fn decode(&self) -> Result<String, TokenizerError> {
        let tokens = self.ids.iter().filter_map(|&id| self.tokenizer.decoded_token(id, self.skip_special_tokens));
        self.tokenizer.decoder.decode(tokens)
    }

    /// What `text`, which all ids are decoded to, has beyond the text that was given.
    fn new_text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.given_text.len()..).unwrap_or_default()
    }
}
