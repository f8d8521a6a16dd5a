//! Hugging Face's `tokenizers` of today, by its fast batches.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, serve};

struct Tokenizers(tokenizers::Tokenizer);

impl Engine for Tokenizers {
    fn load(file: &Path) -> Result<Self> {
        Ok(Tokenizers(tokenizers::Tokenizer::from_file(file)?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        if threads == 1 {
            let encode = |text: &&str| Ok(self.0.encode_fast(*text, false)?.get_ids().to_vec());
            return Ok(Ids::Lists(texts.iter().map(encode).collect::<Result<_>>()?));
        }
        let encodings = self.0.encode_batch_fast(texts.to_vec(), false)?;
        Ok(Ids::Lists(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect()))
    }
}

fn main() -> Result<()> {
    serve::<Tokenizers>()
}
