//! The compiled form of a tokenizer: its tables as they are in memory, to be used in place from a mapped file.
//!
//! Reading a vocabulary takes time mostly for what is made of it: hash tables, tries, the ranks of merges. A compiled file has these as
//! they are, so that opening it takes about as long as mapping it, whatever the size of the vocabulary. What is small (which normalizer,
//! which template, which added tokens) is written as JSON and lists, and made again.
//!
//! Whatever the bytes, nothing is read beyond them: tables are looked at through checked slices, walks through them end, texts are UTF-8.
//! A damaged table gives wrong ids; [`verify`] finds out whether it is damaged.

mod sections;

pub(crate) use sections::{MAGIC, Reader, Writer, verify};

use sections::File;

use crate::decoders::Decoder;
use crate::normalizers::{Normalizer, Precompiled};
use crate::numbers::Bytes;
use crate::options::{Padding, Side, Truncation};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::PreTokenizer;
use crate::processors::PostProcessor;
use crate::special_tokens::SpecialTokens;
use crate::{Tokenizer, TokenizerError};

/// Which normalizer, pre-tokenizer, post-processor and decoder.
const COMPONENTS: &str = "components";

/// Which tokens play which part, and what the files ask for by default.
const DEFAULTS: &str = "defaults";

/// The compiled form of a tokenizer.
pub(crate) fn write(tokenizer: &Tokenizer) -> Vec<u8> {
    let Tokenizer { pipeline, processor, decoder, special_tokens, .. } = tokenizer;
    let mut writer = Writer::default();
    writer.json(COMPONENTS, &(&pipeline.normalizer, &pipeline.pre_tokenizer, processor, decoder));
    let lengths = (&tokenizer.default_truncation, &tokenizer.default_padding, tokenizer.model_max_length);
    let sides = (tokenizer.padding_side, tokenizer.truncation_side);
    writer.json(DEFAULTS, &(special_tokens, lengths, sides, tokenizer.clean_up));
    for (place, map) in maps(&pipeline.normalizer).into_iter().enumerate() {
        writer.within(&map_name(place), |writer| map.write(writer));
    }
    pipeline.write(&mut writer);
    writer.finish()
}

fn maps(normalizer: &Option<Normalizer>) -> Vec<&Precompiled> {
    normalizer.as_ref().map(Normalizer::maps).unwrap_or_default()
}

fn map_name(place: usize) -> String {
    format!("map{place}")
}

/// The tokenizer whose compiled form this is.
pub(crate) fn read(name: &str, bytes: Bytes) -> Result<Tokenizer, TokenizerError> {
    type Lengths = (Option<Truncation>, Option<Padding>, Option<usize>);
    let file = File::open(name, bytes)?;
    let reader = file.reader();
    let components: (Option<Normalizer>, Option<PreTokenizer>, PostProcessor, Decoder) = reader.json(COMPONENTS)?;
    let (mut normalizer, pre_tokenizer, processor, decoder) = components;
    let defaults: (SpecialTokens, Lengths, (Side, Side), Option<bool>) = reader.json(DEFAULTS)?;
    let (special_tokens, (default_truncation, default_padding, model_max_length), sides, clean_up) = defaults;
    for (place, map) in normalizer.as_mut().map(Normalizer::maps_mut).unwrap_or_default().into_iter().enumerate() {
        map.read(&reader.within(&map_name(place)))?;
    }
    Ok(Tokenizer {
        pipeline: Pipeline::read(&reader, normalizer, pre_tokenizer)?,
        processor,
        decoder,
        special_tokens,
        default_truncation,
        default_padding,
        model_max_length,
        padding_side: sides.0,
        truncation_side: sides.1,
        clean_up,
    })
}
