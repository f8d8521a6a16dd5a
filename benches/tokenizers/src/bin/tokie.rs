//! tokie, by its flat batches. Their number of threads is that of the processors that the process may use.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, serve};

struct Tokie(tokie::Tokenizer);

impl Engine for Tokie {
    fn load(file: &Path) -> Result<Self> {
        Ok(Tokie(tokie::Tokenizer::from_json(file).map_err(|error| format!("{error:?}"))?))
    }

    fn encode(&self, texts: &[&str], _: usize) -> Result<Ids> {
        Ok(Ids::Flat(self.0.encode_batch_flat(texts, false).0))
    }
}

fn main() -> Result<()> {
    serve::<Tokie>()
}
