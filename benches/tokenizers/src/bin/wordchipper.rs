//! wordchipper, text by text. It knows the expressions of OpenAI's vocabularies; the tokens it reads from `tokenizer.tiktoken`, which lies
//! beside the `tokenizer.json`.

use std::path::Path;
use std::sync::Arc;

use loquat_tokenizer_benches::{Engine, Ids, Result, one_by_one, serve};
use wordchipper::pretrained::openai::OATokenizer;
use wordchipper::{TokenEncoder, TokenEncoderOptions, UnifiedTokenVocab};

struct Wordchipper(Arc<dyn TokenEncoder<u32>>);

impl Engine for Wordchipper {
    fn load(file: &Path) -> Result<Self> {
        let file = file.with_file_name("tokenizer.tiktoken");
        let tokenizer = match std::fs::read(&file)?.iter().filter(|&&byte| byte == b'\n').count() {
            ..60_000 => OATokenizer::R50kBase,
            ..150_000 => OATokenizer::Cl100kBase,
            _ => OATokenizer::O200kBase,
        };
        let vocab: UnifiedTokenVocab<u32> = tokenizer.load_path(&file).map_err(|error| format!("{error:?}"))?;
        let concurrent = std::thread::available_parallelism()?.get() > 1;
        let options = TokenEncoderOptions { concurrent, ..TokenEncoderOptions::default() };
        Ok(Wordchipper(options.build(Arc::new(vocab))))
    }

    fn encode(&self, texts: &[&str], threads: usize) -> Result<Ids> {
        one_by_one(texts, threads, |text| {
            let mut ids = Vec::new();
            self.0.try_encode_append(text, &mut ids, None).map_err(|error| format!("{error:?}"))?;
            Ok(ids)
        })
    }
}

fn main() -> Result<()> {
    serve::<Wordchipper>()
}
