//! A model whose pieces have other ids than its own, which a vocabulary beside it says.

use super::vocabulary::Vocabulary;
use super::{Bpe, BpeScratch, TokenSink, Unigram, UnigramScratch};
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::numbers::Numbers;

/// What cuts words into pieces.
#[derive(Debug)]
pub(crate) enum Pieces {
    Bpe(Bpe),
    Unigram(Unigram),
}

/// The pieces of a SentencePiece model under the ids of a `vocab.json`, as Marian and M2M100 have them.
#[derive(Debug)]
pub(crate) struct Mapped {
    pieces: Pieces,
    /// The id of each piece, by its place in the model.
    ids: Numbers<u32>,
    vocabulary: Vocabulary,
    unk_id: u32,
}

impl Mapped {
    /// Pieces that the vocabulary doesn't have get `unk_id`.
    pub(crate) fn new(pieces: Pieces, vocabulary: Vocabulary, unk_id: u32) -> Self {
        let own = match &pieces {
            Pieces::Bpe(model) => model.vocabulary(),
            Pieces::Unigram(model) => model.vocabulary(),
        };
        // The ids of the model are the places of its pieces, so that all are below its length.
        let mut ids = vec![unk_id; own.len()];
        for entry in own.entries() {
            if let Some(id) = ids.get_mut(own.id_of(entry) as usize) {
                *id = vocabulary.token_to_id(own.text_of(entry)).unwrap_or(unk_id);
            }
        }
        Mapped { pieces, ids: ids.into(), vocabulary, unk_id }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("vocabulary", |writer| self.vocabulary.write(writer));
        match &self.pieces {
            Pieces::Bpe(model) => writer.within("bpe", |writer| model.write(writer)),
            Pieces::Unigram(model) => writer.within("unigram", |writer| model.write(writer)),
        }
        writer.numbers("ids", &self.ids);
        writer.number("unk_id", self.unk_id.into());
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let unk_id = reader.number("unk_id")?;
        Ok(Mapped {
            pieces: match reader.has("bpe.settings") {
                true => Pieces::Bpe(Bpe::read(&reader.within("bpe"))?),
                false => Pieces::Unigram(Unigram::read(&reader.within("unigram"))?),
            },
            ids: reader.numbers("ids")?,
            vocabulary: Vocabulary::read(&reader.within("vocabulary"))?,
            unk_id: unk_id.try_into().map_err(|_| reader.invalid("unk_id", "32 bits", unk_id.to_string()))?,
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn unk_token(&self) -> Option<&str> {
        self.vocabulary.id_to_token(self.unk_id)
    }

    pub(super) fn tokenize(
        &self,
        word: &str,
        bpe: &mut BpeScratch,
        unigram: &mut UnigramScratch,
        sink: &mut impl TokenSink,
    ) -> Result<(), TokenizerError> {
        let mut renamed = Renamed { model: self, word, sink };
        match &self.pieces {
            Pieces::Bpe(model) => model.tokenize(word, bpe, &mut renamed),
            Pieces::Unigram(model) => model.tokenize(word, unigram, &mut renamed),
        }
    }
}

/// Passes tokens on under their other ids.
struct Renamed<'a, S> {
    model: &'a Mapped,
    word: &'a str,
    sink: &'a mut S,
}

impl<S: TokenSink> TokenSink for Renamed<'_, S> {
    fn push(&mut self, id: u32, start: usize, end: usize) {
        let Mapped { ids, vocabulary, unk_id, .. } = self.model;
        let mut id = ids.get(id as usize).copied().unwrap_or(*unk_id);
        // The vocabulary is that of two models: what this one doesn't know may be a piece of the other.
        if id == *unk_id {
            id = self.word.get(start..end).and_then(|text| vocabulary.token_to_id(text)).unwrap_or(id);
        }
        self.sink.push(id, start, end);
    }

    fn len(&self) -> usize {
        self.sink.len()
    }

    fn truncate(&mut self, len: usize) {
        self.sink.truncate(len);
    }
}
