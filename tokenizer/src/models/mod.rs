//! How a word becomes tokens: one file per model.

pub(crate) mod vocabulary;
mod wordpiece;

pub(crate) use vocabulary::Vocabulary;
pub(crate) use wordpiece::{WordPiece, WordPieceParts};

/// Where a model puts the tokens of a word.
pub(crate) trait TokenSink {
    /// Takes a token that covers bytes `start..end` of the word.
    fn push(&mut self, id: u32, start: usize, end: usize);
    /// How many tokens have been pushed in all.
    fn len(&self) -> usize;
    /// Takes back all tokens but the first `len`.
    fn truncate(&mut self, len: usize);
}

/// A model, compiled.
#[derive(Debug)]
pub(crate) enum Model {
    WordPiece(WordPiece),
}

impl Model {
    /// Appends the tokens of one word.
    #[inline]
    pub(crate) fn tokenize(&self, word: &str, sink: &mut impl TokenSink) {
        match self {
            Model::WordPiece(model) => model.tokenize(word, sink),
        }
    }

    /// The vocabulary, without the added tokens.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        match self {
            Model::WordPiece(model) => model.vocabulary(),
        }
    }

    /// The token that unknown words become.
    pub(crate) fn unk_token(&self) -> Option<&str> {
        match self {
            Model::WordPiece(model) => Some(model.unk_token()),
        }
    }
}
