//! The alphabet of byte-level tokenizers: a printable character for each byte.
//!
//! Bytes that are printable in Latin-1 stand for themselves, the others for U+0100 and on, in their order. So a space is
//! `Ġ` and a newline `Ċ`.

/// Characters of the alphabet are less than this.
const LIMIT: usize = 0x144;

const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const fn chars() -> [char; 256] {
    let mut chars = ['\0'; 256];
    let mut next = 0x100;
    let mut byte = 0;
    while byte < 256 {
        chars[byte] = if stands_for_itself(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            // Never a surrogate: `next` stays below `LIMIT`.
            match char::from_u32(next - 1) {
                Some(c) => c,
                None => '\0',
            }
        };
        byte += 1;
    }
    chars
}

const fn bytes() -> [Option<u8>; LIMIT] {
    let mut bytes = [None; LIMIT];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    bytes
}

/// The character of each byte.
pub(crate) const CHARS: [char; 256] = chars();
static BYTES: [Option<u8>; LIMIT] = bytes();

/// The character of a space.
pub(crate) const SPACE: char = CHARS[b' ' as usize];

/// The byte that a character of the alphabet stands for.
#[inline]
pub(crate) fn byte(c: char) -> Option<u8> {
    BYTES.get(c as usize).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_and_comes_back() {
        for value in 0..=255 {
            assert_eq!(byte(CHARS[usize::from(value)]), Some(value));
        }
        assert_eq!([CHARS[0], CHARS[b'\n' as usize], SPACE, CHARS[0xAD]], ['Ā', 'Ċ', 'Ġ', 'Ń']);
        assert_eq!([byte('\n'), byte('\u{ad}'), byte('\u{144}'), byte('中')], [None; 4]);
    }
}
