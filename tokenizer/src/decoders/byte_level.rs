//! The decoder of byte-level tokenizers: characters of their alphabet back to bytes.

use crate::byte_alphabet::byte;

/// `ByteLevel` decoder of `tokenizer.json`. Bytes that aren't UTF-8 become U+FFFD.
///
/// A token with any other character, as added tokens have them, is taken as it is.
pub(super) fn decode<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let mut bytes = Vec::new();
    for token in tokens {
        let before = bytes.len();
        for c in token.chars() {
            let Some(byte) = byte(c) else {
                bytes.truncate(before);
                bytes.extend_from_slice(token.as_bytes());
                break;
            };
            bytes.push(byte);
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_character_may_come_from_several_tokens() {
        assert_eq!(decode(["Ġa", "Ã", "©", "<|end|> ", "âĤ"].into_iter()), " aé<|end|> \u{fffd}");
    }
}
