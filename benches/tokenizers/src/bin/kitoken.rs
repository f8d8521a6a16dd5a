//! kitoken, text by text.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};

struct Kitoken(kitoken::Kitoken);

impl Engine for Kitoken {
    fn load(file: &Path) -> Result<Self> {
        Ok(Kitoken(kitoken::Kitoken::from_tokenizers_file(file).map_err(|error| format!("{error:?}"))?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        one_by_one(texts, threads, |text| Ok(self.0.encode(text, true).map_err(|error| format!("{error:?}"))?))
    }
}

fn main() -> Result<()> {
    serve::<Kitoken>()
}
