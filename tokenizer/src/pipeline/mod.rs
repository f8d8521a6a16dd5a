//! From a text to its tokens: added tokens, normalizer, pre-tokenizer, model.

mod bert;
mod byte_cuts;
mod byte_level;
mod byte_pairs;
mod chunks;
mod cuts;
mod marked_bpe;
mod marked_cuts;
mod reaches;
mod recent_words;
mod unigram;
mod whole_words;
mod word_batch;
mod word_cache;
mod word_table;

use cuts::Neighbours;
use whole_words::WholeWords;
use word_table::WordTable;
#[cfg(test)]
pub(crate) use word_table::place_of_word;

use crate::TokenizerError;
use crate::added_vocabulary::{AddedVocabulary, Piece};
use crate::compiled::{Reader, Writer};
use crate::models::{ByteMerges, Model, ModelScratch, TokenSink};
use crate::normalized::{Alignment, NoSpans, Normalized, Original, Source, Span, Spans};
use crate::normalizers::Normalizer;
use crate::pre_tokenizers::{PreTokenizer, Splits, Word};

/// The first length of a text that 32-bit spans can't hold.
const TEXT_LIMIT: usize = u32::MAX as usize;

/// A token of a sequence, with the bytes of the original text that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) word: u32,
    pub(crate) span: Span,
}

/// The tokens of a sequence.
#[derive(Debug, Default)]
pub(crate) struct Tokens(pub(crate) Vec<Token>);

/// Where tokens end up: [`Tokens`], or bare ids.
trait Collector {
    fn push(&mut self, token: Token);
    fn len(&self) -> usize;
    fn truncate(&mut self, len: usize);
}

impl Collector for Tokens {
    #[inline]
    fn push(&mut self, token: Token) {
        self.0.push(token);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Collector for Vec<u32> {
    #[inline]
    fn push(&mut self, token: Token) {
        Vec::push(self, token.id);
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}

/// How many tokens there were.
struct Count(usize);

impl Collector for Count {
    #[inline]
    fn push(&mut self, _: Token) {
        self.0 += 1;
    }

    fn len(&self) -> usize {
        self.0
    }

    fn truncate(&mut self, len: usize) {
        self.0 = len;
    }
}

/// A shorter way to the ids for a combination of components that many models share, chosen once, at load.
#[derive(Debug)]
pub(crate) enum FastPath {
    /// Through every component, one after the other.
    None,
    Bert(Box<bert::BertPath>),
    ByteLevel(Box<byte_level::ByteLevelPath>),
    MarkedBpe(Box<marked_bpe::MarkedBpePath>),
    Unigram(Box<unigram::UnigramPath>),
    /// Through every component, and with spans, which a pre-tokenizer goes by.
    WithSpans,
}

impl FastPath {
    /// The one that gives the same ids as these components.
    fn choose(
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
    ) -> Self {
        if let Some(path) = bert::BertPath::new(added, normalizer, pre_tokenizer, model, None) {
            return FastPath::Bert(Box::new(path));
        }
        if let Some(path) = byte_level::ByteLevelPath::new(pre_tokenizer, model, None) {
            return FastPath::ByteLevel(Box::new(path));
        }
        if let Some(path) = marked_bpe::MarkedBpePath::new(added, normalizer, pre_tokenizer, model, None) {
            return FastPath::MarkedBpe(Box::new(path));
        }
        if let Some(path) = unigram::UnigramPath::new(added, normalizer, pre_tokenizer, model, None) {
            return FastPath::Unigram(Box::new(path));
        }
        Self::long(normalizer, pre_tokenizer)
    }

    /// None of the short ways.
    fn long(normalizer: Option<&Normalizer>, pre_tokenizer: Option<&PreTokenizer>) -> Self {
        if normalizer.is_some() && pre_tokenizer.is_some_and(PreTokenizer::goes_by_spans) {
            return FastPath::WithSpans;
        }
        FastPath::None
    }

    /// What going through the components again would take long to find out.
    fn write(&self, writer: &mut Writer) {
        match self {
            FastPath::None | FastPath::WithSpans => {}
            FastPath::Bert(path) => writer.within("bert_path", |writer| path.words().write(writer)),
            FastPath::ByteLevel(path) => writer.within("byte_level_path", |writer| path.write(writer)),
            FastPath::MarkedBpe(path) => writer.within("marked_bpe_path", |writer| path.tables().write(writer)),
            FastPath::Unigram(path) => writer.within("unigram_path", |writer| {
                writer.number("is_cut", path.neighbours().is_some().into());
                path.neighbours().into_iter().for_each(|neighbours| neighbours.write(writer));
            }),
        }
    }

    /// The one that [`write`](Self::write) wrote of these components.
    fn read(
        reader: &Reader,
        added: &AddedVocabulary,
        normalizer: Option<&Normalizer>,
        pre_tokenizer: Option<&PreTokenizer>,
        model: &Model,
    ) -> Result<Self, TokenizerError> {
        let misfit = |path: &str| reader.invalid(path, "components that it is a short way for", "others");
        if reader.has("bert_path.first.letters") {
            let words = WordTable::read(&reader.within("bert_path"))?;
            let path = bert::BertPath::new(added, normalizer, pre_tokenizer, model, Some(words));
            return Ok(FastPath::Bert(Box::new(path.ok_or_else(|| misfit("bert_path"))?)));
        }
        if reader.has("byte_level_path.pairs") {
            let Model::Bpe(bpe) = model else {
                return Err(misfit("byte_level_path"));
            };
            let within = reader.within("byte_level_path");
            let tables = (ByteMerges::read(&within)?, WholeWords::read(bpe, &within)?);
            let path = byte_level::ByteLevelPath::new(pre_tokenizer, model, Some(tables));
            return Ok(FastPath::ByteLevel(Box::new(path.ok_or_else(|| misfit("byte_level_path"))?)));
        }
        if reader.has("marked_bpe_path.known") {
            let tables = marked_bpe::Tables::read(&reader.within("marked_bpe_path"))?;
            let path = marked_bpe::MarkedBpePath::new(added, normalizer, pre_tokenizer, model, Some(tables));
            return Ok(FastPath::MarkedBpe(Box::new(path.ok_or_else(|| misfit("marked_bpe_path"))?)));
        }
        if reader.has("unigram_path.is_cut") {
            let within = reader.within("unigram_path");
            let neighbours = (within.number("is_cut")? != 0).then(|| Neighbours::read(&within)).transpose()?;
            let path = unigram::UnigramPath::new(added, normalizer, pre_tokenizer, model, Some(neighbours));
            return Ok(FastPath::Unigram(Box::new(path.ok_or_else(|| misfit("unigram_path"))?)));
        }
        Ok(Self::long(normalizer, pre_tokenizer))
    }
}

/// The components that turn a text into tokens, in the order of their work.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) added: AddedVocabulary,
    pub(crate) normalizer: Option<Normalizer>,
    pub(crate) pre_tokenizer: Option<PreTokenizer>,
    pub(crate) model: Model,
    fast: FastPath,
}

impl Pipeline {
    pub(crate) fn new(
        added: AddedVocabulary,
        normalizer: Option<Normalizer>,
        pre_tokenizer: Option<PreTokenizer>,
        model: Model,
    ) -> Self {
        let fast = FastPath::choose(&added, normalizer.as_ref(), pre_tokenizer.as_ref(), &model);
        Pipeline { added, normalizer, pre_tokenizer, model, fast }
    }

    /// Writes its tables.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.within("added", |writer| self.added.write(writer));
        self.model.write(writer);
        self.fast.write(writer);
    }

    /// The tables are those that [`write`](Self::write) wrote, the other components the same.
    pub(crate) fn read(
        reader: &Reader,
        normalizer: Option<Normalizer>,
        pre_tokenizer: Option<PreTokenizer>,
    ) -> Result<Self, TokenizerError> {
        let added = AddedVocabulary::read(&reader.within("added"))?;
        let model = Model::read(reader)?;
        let fast = FastPath::read(reader, &added, normalizer.as_ref(), pre_tokenizer.as_ref(), &model)?;
        Ok(Pipeline { added, normalizer, pre_tokenizer, model, fast })
    }

    /// The id of a token, added or of the vocabulary, by its exact text.
    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.added.token_to_id(token).or_else(|| self.model.vocabulary().token_to_id(token))
    }

    /// The tokens of `text` with their spans and words.
    pub(crate) fn tokens(&self, text: &str) -> Result<Tokens, TokenizerError> {
        check_length(text)?;
        if let FastPath::ByteLevel(path) = &self.fast
            && let Some(tokens) = path.tokens(self, text)
        {
            return Ok(tokens);
        }
        let mut tokens = Tokens::default();
        self.run::<Spans, _>(text, &mut tokens)?;
        Ok(tokens)
    }

    /// Appends the ids of `text`. Allocates a few buffers per call, nothing per word.
    pub(crate) fn ids(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        check_length(text)?;
        match &self.fast {
            FastPath::None => self.run::<NoSpans, _>(text, ids),
            FastPath::ByteLevel(path) => path.ids(self, text, ids),
            FastPath::MarkedBpe(path) => path.ids(self, text, ids),
            FastPath::Unigram(path) => path.ids(self, text, ids),
            FastPath::WithSpans => self.run::<Spans, _>(text, ids),
            FastPath::Bert(path) => path.ids(&self.added, text, |stretch, ids| self.stretch_ids(stretch, ids), ids),
        }
    }

    /// How many tokens `text` has.
    pub(crate) fn count(&self, text: &str) -> Result<usize, TokenizerError> {
        check_length(text)?;
        match &self.fast {
            FastPath::None => self.count_all::<NoSpans>(text),
            FastPath::Bert(path) => path.count(&self.added, text, |stretch, ids| self.stretch_ids(stretch, ids)),
            FastPath::ByteLevel(path) => path.count(self, text),
            FastPath::MarkedBpe(path) => path.count(self, text),
            FastPath::Unigram(path) => path.count(self, text),
            FastPath::WithSpans => self.count_all::<Spans>(text),
        }
    }

    /// How many tokens `text` has, by way of every component.
    fn count_all<A: Alignment>(&self, text: &str) -> Result<usize, TokenizerError> {
        let mut count = Count(0);
        self.run::<A, _>(text, &mut count)?;
        Ok(count.0)
    }

    /// Appends the ids of a stretch without added tokens, by way of every component.
    fn stretch_ids(&self, stretch: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        Run::<NoSpans, _>::new(self, ids).stretch(&Original { text: stretch, base: 0 })
    }

    fn run<A: Alignment, C: Collector>(&self, text: &str, out: &mut C) -> Result<(), TokenizerError> {
        check_length(text)?;
        let mut pieces = Vec::new();
        self.added.split_text(text, &mut pieces);
        let mut run = Run::<A, C>::new(self, out);
        for piece in pieces {
            let original = Original { text: &text[piece.start..piece.end], base: piece.start };
            match piece.added {
                Some(id) => run.added(id, original.span(0, original.text.len())),
                None => run.stretch(&original)?,
            }
        }
        Ok(())
    }
}

fn check_length(text: &str) -> Result<(), TokenizerError> {
    match text.len() {
        ..TEXT_LIMIT => Ok(()),
        bytes => Err(TokenizerError::TextTooLong { bytes, limit: TEXT_LIMIT }),
    }
}

/// The buffers of one run and the count of its words.
struct Run<'a, A, C> {
    pipeline: &'a Pipeline,
    normalized: Normalized<A>,
    pieces: Vec<Piece>,
    splits: Splits<A>,
    /// Whether the stretch begins the text.
    begins_text: bool,
    scratch: ModelScratch,
    word: u32,
    out: &'a mut C,
}

impl<'a, A: Alignment, C: Collector> Run<'a, A, C> {
    fn new(pipeline: &'a Pipeline, out: &'a mut C) -> Self {
        let normalized = Normalized::default();
        let scratch = ModelScratch::default();
        let splits = Splits::default();
        Run { pipeline, normalized, pieces: Vec::new(), splits, begins_text: false, scratch, word: 0, out }
    }

    fn added(&mut self, id: u32, span: Span) {
        let word = self.word;
        self.out.push(Token { id, word, span });
        self.word += 1;
    }

    /// A stretch of text between added tokens.
    fn stretch(&mut self, original: &Original) -> Result<(), TokenizerError> {
        self.begins_text = original.base == 0;
        self.normalized.clear();
        self.normalized.reserve(original.text.len());
        match &self.pipeline.normalizer {
            Some(normalizer) => normalizer.normalize(original, &mut self.normalized)?,
            None => self.normalized.copy(original),
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        let added = &self.pipeline.added;
        added.split_normalized(self.normalized.text(), &mut pieces);
        for &Piece { start, end, added } in &pieces {
            match added {
                Some(id) => self.added(id, self.normalized.original(start, end)),
                None => self.words(Word { start, end })?,
            }
        }
        self.pieces = pieces;
        Ok(())
    }

    /// A stretch of normalized text between added tokens.
    fn words(&mut self, within: Word) -> Result<(), TokenizerError> {
        self.splits.begin(within, self.begins_text);
        if let Some(pre_tokenizer) = &self.pipeline.pre_tokenizer {
            pre_tokenizer.apply(&self.normalized, &mut self.splits)?;
        }
        let normalized = self.splits.text(&self.normalized);
        let text = normalized.text();
        for word in self.splits.words() {
            let mut placed = Placed { normalized, base: word.start, word: self.word, out: self.out };
            let model = &self.pipeline.model;
            model.tokenize(&text[word.start..word.end], &mut self.scratch, &mut placed)?;
            self.word += 1;
        }
        Ok(())
    }
}

/// Gives the tokens of one word their place in the original text.
struct Placed<'a, A, C> {
    normalized: &'a Normalized<A>,
    base: usize,
    word: u32,
    out: &'a mut C,
}

impl<A: Alignment, C: Collector> TokenSink for Placed<'_, A, C> {
    #[inline]
    fn push(&mut self, id: u32, start: usize, end: usize) {
        let span = self.normalized.original(self.base + start, self.base + end);
        let word = self.word;
        self.out.push(Token { id, word, span });
    }

    fn len(&self) -> usize {
        self.out.len()
    }

    fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }
}
