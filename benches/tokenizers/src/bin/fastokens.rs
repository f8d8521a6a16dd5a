//! fastokens, text by text.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};

struct Fastokens(fastokens::Tokenizer);

impl Engine for Fastokens {
    fn load(file: &Path) -> Result<Self> {
        Ok(Fastokens(fastokens::Tokenizer::from_file(file).map_err(|error| format!("{error:?}"))?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        one_by_one(texts, threads, |text| Ok(self.0.encode(text).map_err(|error| format!("{error:?}"))?))
    }
}

fn main() -> Result<()> {
    serve::<Fastokens>()
}
