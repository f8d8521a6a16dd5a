//! rust_tokenizers' BERT, for an uncased vocabulary. It reads `vocab.txt`, which lies beside the `tokenizer.json`.

use std::path::Path;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};
use rust_tokenizers::tokenizer::{BertTokenizer, Tokenizer};

struct Bert(BertTokenizer);

impl Engine for Bert {
    fn load(file: &Path) -> Result<Self> {
        Ok(Bert(BertTokenizer::from_file(file.with_file_name("vocab.txt"), true, true)?))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        one_by_one(texts, threads, |text| {
            let ids = self.0.convert_tokens_to_ids(&self.0.tokenize(text));
            Ok(ids.into_iter().map(|id| id as u32).collect())
        })
    }
}

fn main() -> Result<()> {
    serve::<Bert>()
}
