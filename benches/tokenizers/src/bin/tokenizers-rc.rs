//! The release candidate of `tokenizers` 1.0, by the entry point that it recommends for benchmarks.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};
use tokenizers_rc::pipeline::{EncodeOptions, PipelineTokenizer};

struct Tokenizers(PipelineTokenizer);

impl Engine for Tokenizers {
    fn load(file: &Path) -> Result<Self> {
        let text = tokenizers_rc::canonicalize_file(file).map_err(|error| format!("{error:?}"))?;
        Ok(Tokenizers(tokenizers_rc::from_json(&text).map_err(|error| format!("{error:?}"))?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        let options = EncodeOptions { add_special_tokens: false, ..Default::default() };
        one_by_one(texts, threads, |text| {
            let mut tokens = Vec::new();
            self.0.encode_into(text, &options, &mut tokens).map_err(|error| format!("{error:?}"))?;
            Ok(tokens)
        })
    }
}

fn main() -> Result<()> {
    serve::<Tokenizers>()
}
