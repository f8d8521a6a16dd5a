//! Tokens like `<0xC3>` back to the bytes that they stand for.

use super::pieces::Pieces;

/// The byte of a token that stands for one.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Bytes side by side become one piece, or as many replacement characters where they aren't UTF-8.
pub(super) fn decode(tokens: &Pieces) -> Pieces {
    let mut out = Pieces::default();
    let mut bytes = Vec::new();
    for token in tokens.iter() {
        match byte_of(token) {
            Some(byte) => bytes.push(byte),
            None => {
                flush(&mut bytes, &mut out);
                out.push(token);
            }
        }
    }
    flush(&mut bytes, &mut out);
    out
}

fn flush(bytes: &mut Vec<u8>, out: &mut Pieces) {
    match std::str::from_utf8(bytes) {
        Ok("") => {}
        Ok(text) => out.push(text),
        Err(_) => bytes.iter().for_each(|_| out.push("\u{FFFD}")),
    }
    bytes.clear();
}
