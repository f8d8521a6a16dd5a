//! WordLevel: each word is a token.

use super::TokenSink;
use super::vocabulary::Vocabulary;
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};

/// `WordLevel` of `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct WordLevel {
    vocabulary: Vocabulary,
    unk_token: String,
    unk_id: Option<u32>,
}

impl WordLevel {
    /// The vocabulary may lack the unknown token as long as no unknown word comes.
    pub(crate) fn new(vocabulary: Vocabulary, unk_token: String) -> Self {
        let unk_id = vocabulary.token_to_id(&unk_token);
        WordLevel { vocabulary, unk_token, unk_id }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("vocabulary", |writer| self.vocabulary.write(writer));
        writer.text("unk_token", &self.unk_token);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::read(&reader.within("vocabulary"))?;
        Ok(WordLevel::new(vocabulary, reader.text("unk_token")?.to_owned()))
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn unk_token(&self) -> &str {
        &self.unk_token
    }

    pub(super) fn tokenize(&self, word: &str, sink: &mut impl TokenSink) -> Result<(), TokenizerError> {
        let id = self.vocabulary.token_to_id(word).or(self.unk_id);
        let id = id.ok_or_else(|| TokenizerError::no_unknown_token(&self.unk_token, word))?;
        sink.push(id, 0, word.len());
        Ok(())
    }
}
