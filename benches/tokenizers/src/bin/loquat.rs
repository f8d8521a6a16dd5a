//! loquat as its users have it.

use std::num::NonZeroUsize;
use std::path::Path;

use loquat_tokenizer::Tokenizer;
use loquat_tokenizer_benches::{Engine, Ids, Result, serve};

struct Loquat(Tokenizer);

impl Engine for Loquat {
    fn load(file: &Path) -> Result<Self> {
        Ok(Loquat(Tokenizer::from_file(file)?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        Ok(Ids::Flat(self.0.encode_ids_batch(texts, None, NonZeroUsize::new(threads))?.ids))
    }
}

fn main() -> Result<()> {
    serve::<Loquat>()
}
