//! A pattern of sequences and special tokens.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Trimmer;
use crate::TokenizerError;
use crate::encoding::{EncodedToken, Encoding};
use crate::pipeline::Tokens;

/// More overflowing tokens than this in all are refused: a pair of long texts has as many windows as the product of
/// theirs. A text of a million tokens, in windows of 512 that share 384, has 4 million.
const MAX_OVERFLOW: usize = 1 << 25;

/// One place of a template.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum TemplatePiece {
    Special {
        id: u32,
        type_id: u32,
    },
    /// The first (0) or second (1) sequence.
    Sequence {
        index: u8,
        type_id: u32,
    },
}

/// A pattern of sequences and special tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<TemplatePiece>", into = "Vec<TemplatePiece>")]
pub(crate) struct Template {
    pieces: Vec<TemplatePiece>,
    special_tokens: usize,
}

/// One sequence with the windows that truncation cut it into; the first is the one that stays.
pub(crate) struct Windowed<'a> {
    pub(crate) tokens: &'a Tokens,
    pub(crate) windows: Vec<Range<usize>>,
    pub(crate) trimmer: Option<Trimmer<'a>>,
}

impl From<Vec<TemplatePiece>> for Template {
    fn from(pieces: Vec<TemplatePiece>) -> Self {
        Template::new(pieces)
    }
}

impl From<Template> for Vec<TemplatePiece> {
    fn from(template: Template) -> Self {
        template.pieces
    }
}

impl Template {
    pub(crate) fn new(pieces: Vec<TemplatePiece>) -> Self {
        let is_special = |piece: &&TemplatePiece| matches!(piece, TemplatePiece::Special { .. });
        let special_tokens = pieces.iter().filter(is_special).count();
        Template { pieces, special_tokens }
    }

    pub(crate) fn pieces(&self) -> &[TemplatePiece] {
        &self.pieces
    }

    /// Whether it is so many sequences in their order, each of its own type, as without any template.
    pub(crate) fn is_plain(&self, sequences: usize) -> bool {
        let plain = |(piece, place): (&TemplatePiece, u8)| matches!(*piece, TemplatePiece::Sequence { index, type_id } if index == place && type_id == u32::from(place));
        self.pieces.len() == sequences && self.pieces.iter().zip(0..).all(plain)
    }

    /// How many special tokens it adds.
    pub(crate) fn special_tokens(&self) -> usize {
        self.special_tokens
    }

    /// Puts the sequences into the template: the windows that stay, and every combination of windows that don't.
    pub(crate) fn apply(&self, sequences: &[Windowed], add_special_tokens: bool) -> Result<Encoding, TokenizerError> {
        let mut encoding = self.fill(sequences, &[], add_special_tokens);
        for windows in self.overflowing_windows(sequences)? {
            let overflowing = self.fill(sequences, &windows, add_special_tokens);
            encoding.overflowing.push(overflowing);
        }
        Ok(encoding)
    }

    /// Which window of each sequence of the template to take, for each overflowing encoding, in the order in
    /// which the reference gets them by merging piece after piece.
    fn overflowing_windows(&self, sequences: &[Windowed]) -> Result<Vec<Vec<usize>>, TokenizerError> {
        let mut staying: Vec<usize> = Vec::new();
        let mut overflowing: Vec<Vec<usize>> = Vec::new();
        // The window that stays is the longest, but where nothing stays and the other has everything.
        let longest = |sequence: &Windowed| sequence.windows.iter().map(Range::len).max();
        let width: usize = sequences.iter().filter_map(longest).sum();
        let width = width.saturating_add(self.special_tokens).max(1);
        let followed = |windows: &[usize], next| [windows, &[next]].concat();
        for piece in &self.pieces {
            let TemplatePiece::Sequence { index, .. } = *piece else {
                continue;
            };
            let count = sequences.get(usize::from(index)).map_or(1, |sequence| sequence.windows.len());
            let tokens = (overflowing.len() + 1).saturating_mul(count).saturating_mul(width);
            if count > 1 && tokens > MAX_OVERFLOW {
                return Err(TokenizerError::TooMuchOverflow { tokens, limit: MAX_OVERFLOW });
            }
            overflowing = overflowing
                .iter()
                .flat_map(|windows| (0..count).map(move |next| followed(windows, next)))
                .chain((1..count).map(|next| followed(&staying, next)))
                .collect();
            staying.push(0);
        }
        Ok(overflowing)
    }

    /// One encoding; `windows` has one window for each sequence of the template, the one that stays by default.
    fn fill(&self, sequences: &[Windowed], windows: &[usize], add_special_tokens: bool) -> Encoding {
        let mut encoding = Encoding::default();
        let mut windows = windows.iter().copied();
        for piece in &self.pieces {
            match *piece {
                TemplatePiece::Special { id, type_id } if add_special_tokens => {
                    encoding.push(EncodedToken { id, type_id, offsets: (0, 0), word_id: None, sequence_id: None });
                }
                TemplatePiece::Special { .. } => {}
                TemplatePiece::Sequence { index, type_id } => {
                    let window = windows.next().unwrap_or(0);
                    if let Some(sequence) = sequences.get(usize::from(index)) {
                        sequence.append(window, index, type_id, &mut encoding);
                    }
                }
            }
        }
        encoding
    }
}

impl Windowed<'_> {
    fn append(&self, window: usize, sequence_id: u8, type_id: u32, encoding: &mut Encoding) {
        let Some(window) = self.windows.get(window) else {
            return;
        };
        for (place, token) in self.tokens.0[window.clone()].iter().enumerate() {
            let offsets = match &self.trimmer {
                Some(trimmer) => trimmer.offsets(place, token),
                None => (token.span.start as usize, token.span.end as usize),
            };
            encoding.push(EncodedToken {
                id: token.id,
                type_id,
                offsets,
                word_id: Some(token.word),
                sequence_id: Some(sequence_id),
            });
        }
    }
}
