//! How a word becomes tokens: one file per model.

pub(crate) mod bpe;
mod mapped;
mod unigram;
pub(crate) mod vocabulary;
mod wordlevel;
mod wordpiece;

pub(crate) use bpe::{
    Bpe, BpeParts, ByteMerges, MergeList, MergeTable, Resolver, Scratch as BpeScratch, ShortTokens, only_space,
};
pub(crate) use mapped::{Mapped, Pieces};
pub(crate) use unigram::{Scratch as UnigramScratch, Unigram, UnigramFault, UnigramParts};
pub(crate) use vocabulary::Vocabulary;
pub(crate) use wordlevel::WordLevel;
pub(crate) use wordpiece::{WordPiece, WordPieceFault, WordPieceParts};

use crate::TokenizerError;
use crate::compiled::{Reader, Writer};

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
    Bpe(Bpe),
    Mapped(Box<Mapped>),
    Unigram(Unigram),
    WordLevel(WordLevel),
    WordPiece(WordPiece),
}

/// The working memory of any model, kept from word to word.
#[derive(Debug, Default)]
pub(crate) struct ModelScratch {
    bpe: BpeScratch,
    unigram: UnigramScratch,
}

impl Model {
    /// The algorithm, as `tokenizer.json` calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Model::Bpe(_) => "BPE",
            Model::Mapped(_) => "Mapped",
            Model::Unigram(_) => "Unigram",
            Model::WordLevel(_) => "WordLevel",
            Model::WordPiece(_) => "WordPiece",
        }
    }

    /// Appends the tokens of one word, which isn't empty.
    ///
    /// Fails where the word needs the token for unknown words and the vocabulary has none.
    #[inline]
    pub(crate) fn tokenize(
        &self,
        word: &str,
        scratch: &mut ModelScratch,
        sink: &mut impl TokenSink,
    ) -> Result<(), TokenizerError> {
        match self {
            Model::Bpe(model) => model.tokenize(word, &mut scratch.bpe, sink),
            Model::Mapped(model) => model.tokenize(word, &mut scratch.bpe, &mut scratch.unigram, sink),
            Model::Unigram(model) => model.tokenize(word, &mut scratch.unigram, sink),
            Model::WordLevel(model) => model.tokenize(word, sink),
            Model::WordPiece(model) => {
                model.tokenize(word, sink);
                Ok(())
            }
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Model::Bpe(model) => writer.within("bpe", |writer| model.write(writer)),
            Model::Mapped(model) => writer.within("mapped", |writer| model.write(writer)),
            Model::Unigram(model) => writer.within("unigram", |writer| model.write(writer)),
            Model::WordLevel(model) => writer.within("wordlevel", |writer| model.write(writer)),
            Model::WordPiece(model) => writer.within("wordpiece", |writer| model.write(writer)),
        }
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        Ok(match reader {
            _ if reader.has("bpe.settings") => Model::Bpe(Bpe::read(&reader.within("bpe"))?),
            _ if reader.has("mapped.ids") => Model::Mapped(Box::new(Mapped::read(&reader.within("mapped"))?)),
            _ if reader.has("unigram.settings") => Model::Unigram(Unigram::read(&reader.within("unigram"))?),
            _ if reader.has("wordlevel.unk_token") => Model::WordLevel(WordLevel::read(&reader.within("wordlevel"))?),
            _ => Model::WordPiece(WordPiece::read(&reader.within("wordpiece"))?),
        })
    }

    /// The vocabulary, without the added tokens.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        match self {
            Model::Bpe(model) => model.vocabulary(),
            Model::Mapped(model) => model.vocabulary(),
            Model::Unigram(model) => model.vocabulary(),
            Model::WordLevel(model) => model.vocabulary(),
            Model::WordPiece(model) => model.vocabulary(),
        }
    }

    /// What tokens that continue a word begin with; empty where nothing marks them.
    pub(crate) fn continuing_subword_prefix(&self) -> &str {
        match self {
            Model::Bpe(model) => model.continuing_subword_prefix(),
            Model::WordPiece(model) => model.continuing_subword_prefix(),
            Model::Mapped(_) | Model::Unigram(_) | Model::WordLevel(_) => "",
        }
    }

    /// The token that unknown words become.
    pub(crate) fn unk_token(&self) -> Option<&str> {
        match self {
            Model::Bpe(model) => model.unk_token(),
            Model::Mapped(model) => model.unk_token(),
            Model::Unigram(model) => model.unk_token(),
            Model::WordLevel(model) => Some(model.unk_token()),
            Model::WordPiece(model) => Some(model.unk_token()),
        }
    }
}

/// The tokens of a word with their places, for the tests of the models.
#[cfg(test)]
#[derive(Default)]
struct Found(Vec<(u32, usize, usize)>);

#[cfg(test)]
impl TokenSink for Found {
    fn push(&mut self, id: u32, start: usize, end: usize) {
        self.0.push((id, start, end));
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}
