//! bpe-openai, text by text. It has the vocabularies of GPT-3.5 and GPT-4o in it; which one is meant follows from the size of the
//! one that it is given.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};

struct BpeOpenai(&'static bpe_openai::Tokenizer);

impl Engine for BpeOpenai {
    fn load(file: &Path) -> Result<Self> {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let tokens = json["model"]["vocab"].as_object().map_or(0, |vocab| vocab.len());
        match tokens {
            100_000..100_300 => Ok(BpeOpenai(bpe_openai::cl100k_base())),
            199_900..200_100 => Ok(BpeOpenai(bpe_openai::o200k_base())),
            tokens => Err(format!("no vocabulary of {tokens} tokens").into()),
        }
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        one_by_one(texts, threads, |text| Ok(self.0.encode(text)))
    }
}

fn main() -> Result<()> {
    serve::<BpeOpenai>()
}
