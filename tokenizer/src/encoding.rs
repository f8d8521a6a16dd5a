//! What a text is encoded to.

use crate::char_offsets::CharIndex;
use crate::options::{Input, Padding, Side};
use crate::{Tokenizer, TokenizerError};

/// The tokens of a text or a pair of texts, with everything known about each.
///
/// All fields but `overflowing` have one element per token.
///
/// ```
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
/// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
/// use loquat_tokenizer::EncodeOptions;
///
/// let encoding = tokenizer.encode("Hello, wörld!", None, &EncodeOptions::default())?;
/// assert_eq!(encoding.tokens(&tokenizer), ["[CLS]", "hello", ",", "world", "!", "[SEP]"]);
/// assert_eq!(encoding.offsets[3], (7, 13));
/// assert_eq!(encoding.special_tokens_mask, [1, 0, 0, 0, 0, 1]);
/// assert_eq!(encoding.word_ids, [None, Some(0), Some(1), Some(2), Some(3), None]);
/// # Ok::<(), loquat_tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// The ids, as a model takes them.
    pub ids: Vec<u32>,
    /// Which part of the input each token is of, as a model takes it (`token_type_ids`).
    pub type_ids: Vec<u32>,
    /// 1 where the template or padding added the token, 0 where it is of the text.
    pub special_tokens_mask: Vec<u8>,
    /// 0 for padding, 1 for anything else.
    pub attention_mask: Vec<u8>,
    /// Bytes `start..end` of the original text that the token stands for; `(0, 0)` where the template or padding
    /// added it. Both ends are on character boundaries.
    pub offsets: Vec<(usize, usize)>,
    /// Number of the word, counted from 0 in each sequence; `None` where the template or padding added the token.
    pub word_ids: Vec<Option<u32>>,
    /// 0 for the first text, 1 for the second; `None` where the template or padding added the token.
    pub sequence_ids: Vec<Option<u8>>,
    /// What truncation cut off, in windows of the same length, where
    /// [`Truncation::overflow`](crate::Truncation::overflow) asks for it. These have no overflow themselves.
    pub overflowing: Vec<Encoding>,
}

impl Encoding {
    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The text of each token as the vocabulary has it. `tokenizer` is the one that made this encoding.
    ///
    /// An added token is given without the white space that it may have taken in; [`offsets`](Self::offsets) have it.
    /// Ids that the tokenizer doesn't have, which padding can bring in, become the empty text.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> Vec<String> {
        let token = |&id: &u32| tokenizer.id_to_token(id).unwrap_or_default().to_owned();
        self.ids.iter().map(token).collect()
    }

    /// [`offsets`](Self::offsets) counted in Unicode characters rather than bytes. `input` is what was encoded.
    ///
    /// ```
    /// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n!\n##s\n";
    /// # let tokenizer = loquat_tokenizer::Tokenizer::from_vocab("vocab.txt", vocabulary.as_bytes())?;
    /// let text = "wörld, hello";
    /// let encoding = tokenizer.encode(text, None, &Default::default())?;
    /// assert_eq!(encoding.offsets[1..4], [(0, 6), (6, 7), (8, 13)]);
    /// assert_eq!(encoding.char_offsets(text)[1..4], [(0, 5), (5, 6), (7, 12)]);
    /// # Ok::<(), loquat_tokenizer::TokenizerError>(())
    /// ```
    pub fn char_offsets<'a>(&self, input: impl Into<Input<'a>>) -> Vec<(usize, usize)> {
        let input = input.into();
        let first = CharIndex::new(input.text);
        let second = CharIndex::new(input.pair.unwrap_or_default());
        let of_token = |(&(start, end), sequence): (&(usize, usize), &Option<u8>)| match sequence {
            Some(0) => (first.chars_before(start), first.chars_before(end)),
            Some(_) => (second.chars_before(start), second.chars_before(end)),
            None => (0, 0),
        };
        self.offsets.iter().zip(&self.sequence_ids).map(of_token).collect()
    }

    pub(crate) fn push(&mut self, token: EncodedToken) {
        self.ids.push(token.id);
        self.type_ids.push(token.type_id);
        self.special_tokens_mask.push(u8::from(token.sequence_id.is_none()));
        self.attention_mask.push(1);
        self.offsets.push(token.offsets);
        self.word_ids.push(token.word_id);
        self.sequence_ids.push(token.sequence_id);
    }

    /// Fills this encoding and its overflow up to `length` tokens.
    pub(crate) fn pad(&mut self, length: usize, padding: &Padding) -> Result<(), TokenizerError> {
        for overflowing in &mut self.overflowing {
            overflowing.pad(length, padding)?;
        }
        let missing = length.saturating_sub(self.len());
        if missing == 0 {
            return Ok(());
        }
        // Room for the widest column first, so that an absurd length is an error before anything is touched.
        let too_long = |_| TokenizerError::PaddingTooLong { length };
        self.offsets.try_reserve_exact(missing).map_err(too_long)?;
        self.ids.try_reserve_exact(missing).map_err(too_long)?;
        self.type_ids.try_reserve_exact(missing).map_err(too_long)?;
        self.word_ids.try_reserve_exact(missing).map_err(too_long)?;
        self.sequence_ids.try_reserve_exact(missing).map_err(too_long)?;
        self.special_tokens_mask.try_reserve_exact(missing).map_err(too_long)?;
        self.attention_mask.try_reserve_exact(missing).map_err(too_long)?;
        let side = padding.direction;
        fill(&mut self.ids, length, side, padding.pad_id);
        fill(&mut self.type_ids, length, side, padding.pad_type_id);
        fill(&mut self.special_tokens_mask, length, side, 1);
        fill(&mut self.attention_mask, length, side, 0);
        fill(&mut self.offsets, length, side, (0, 0));
        fill(&mut self.word_ids, length, side, None);
        fill(&mut self.sequence_ids, length, side, None);
        Ok(())
    }
}

fn fill<T: Clone>(column: &mut Vec<T>, length: usize, side: Side, value: T) {
    let tokens = column.len();
    column.resize(length, value);
    if side == Side::Left {
        column.rotate_left(tokens);
    }
}

/// One token on its way into an [`Encoding`]. No `sequence_id` means that the template added it.
pub(crate) struct EncodedToken {
    pub(crate) id: u32,
    pub(crate) type_id: u32,
    pub(crate) offsets: (usize, usize),
    pub(crate) word_id: Option<u32>,
    pub(crate) sequence_id: Option<u8>,
}
