//! Bytes written as text.

/// The byte that each character of the standard alphabet stands for; 0xFF for any other.
const SIXES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sixes = [0xFF; 256];
    let mut at = 0;
    while at < alphabet.len() {
        sixes[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    sixes
};

/// Decodes the standard alphabet with padding; the error is a place and what is there.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, (usize, String)> {
    let padding = text.len() - text.trim_end_matches('=').len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return Err((0, format!("{} characters, {padding} of them padding", text.len())));
    }
    let digits = &text.as_bytes()[..text.len() - padding];
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (place, four) in digits.chunks(4).enumerate() {
        let mut bits = 0u32;
        for (at, &digit) in four.iter().enumerate() {
            let six = SIXES[usize::from(digit)];
            if six == 0xFF {
                return Err((place * 4 + at, format!("the byte 0x{digit:02X}")));
            }
            bits |= u32::from(six) << (18 - 6 * at);
        }
        // Bits beyond the last whole byte are padding too.
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4648_are_decoded() {
        let examples =
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba")];
        for (text, bytes) in examples {
            assert_eq!(decode(text).as_deref(), Ok(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode("+/+/").as_deref(), Ok(&[0xFB, 0xFF, 0xBF][..]));
    }

    #[test]
    fn faults_are_located() {
        assert_eq!(decode("Zm9vY-==").map_err(|(at, _)| at), Err(5));
        assert!(decode("Zm9").is_err());
        assert!(decode("Z===").is_err());
        assert!(decode("Z\u{e9}=").is_err());
    }
}
