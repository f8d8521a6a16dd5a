//! Encodes documents and writes all that is known of each token, for `tools/reference/tokenizer_differential.py` to compare.
//!
//!     cargo run --release -p loquat-tokenizer --example encode_documents -- TOKENIZER DOCUMENTS OUT
//!
//! A document is its length in four bytes, little endian, then UTF-8. What comes out is a record for each: the number of tokens,
//! the ids, the offsets in characters (start and end of each), the words (-1 for none), the type ids, and the special tokens mask, all
//! as 32-bit numbers; then the ids turned back into text, with and without special tokens, each in the form of a document. Ids made the
//! fast way, counts, and decoding token by token are compared on the spot.

use std::io::Write;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, tokenizer, documents, out] = &arguments[..] else {
        return Err("expected TOKENIZER DOCUMENTS OUT".into());
    };
    let path = std::path::Path::new(tokenizer);
    let tokenizer = if path.is_dir() { Tokenizer::from_folder(path)? } else { Tokenizer::from_file(path)? };
    let bytes = std::fs::read(documents)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(out)?);
    let mut rest = &bytes[..];
    let mut ids = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("a document is cut")?;
        let text = std::str::from_utf8(text)?;
        let encoding = tokenizer.encode(text, None, &EncodeOptions::default())?;
        ids.clear();
        tokenizer.encode_ids(text, None, &mut ids)?;
        if ids != encoding.ids {
            return Err(format!("the fast way gives other ids for {text:?}").into());
        }
        if tokenizer.count_tokens(text)? != ids.len() {
            return Err(format!("the count is another for {text:?}").into());
        }
        let offsets = encoding.char_offsets(text).into_iter().flat_map(|(start, end)| [start as u32, end as u32]);
        let words = encoding.word_ids.iter().map(|word| word.unwrap_or(u32::MAX));
        let mask = encoding.special_tokens_mask.iter().map(|&special| u32::from(special));
        let columns =
            ids.iter().copied().chain(offsets).chain(words).chain(encoding.type_ids.iter().copied()).chain(mask);
        for value in std::iter::once(ids.len() as u32).chain(columns) {
            out.write_all(&value.to_le_bytes())?;
        }
        for skip_special_tokens in [true, false] {
            let options = DecodeOptions { skip_special_tokens, clean_up: None };
            let decoded = tokenizer.decode(&ids, &options)?;
            let mut stream = tokenizer.decode_stream(&options);
            let parts: Result<String, _> = ids.iter().map(|&id| stream.push(id)).collect();
            // What is no character can come out otherwise in a stream, as its documentation says.
            if parts? + &stream.finish()? != decoded && !decoded.contains(char::REPLACEMENT_CHARACTER) {
                return Err(format!("decoding token by token gives another text for {text:?}").into());
            }
            out.write_all(&(decoded.len() as u32).to_le_bytes())?;
            out.write_all(decoded.as_bytes())?;
        }
        rest = after;
    }
    Ok(out.flush()?)
}
