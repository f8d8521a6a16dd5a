//! Words in 64 bytes at a time: where the well-known expressions begin them, by arithmetic on sets of positions.
//!
//! A set of positions is a `u64`, bit `n` for byte `n`. Not all beyond ASCII is understood, and only starts that bytes
//! within the window decide are given; whoever asks goes on from the last of them, and to the [`Scanner`] where there are
//! none.

use wide::u8x16;

use super::scanner::{Scanner, is_han_or_kana, is_letter_or_mark};
use crate::unicode::{RegexClass, is_numeric};

/// Bytes of a window.
pub(crate) const BYTES: usize = 64;

/// A start is decided by no more than this many bytes after it, but for white space with newlines.
const LOOK_AHEAD: u32 = 3;

/// What expressions take characters for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Letters of any kind are letters; what is neither letter nor number nor white space is a symbol.
    Plain,
    /// Letters have a case.
    ByCase,
    /// Marks are letters, Chinese and Japanese are apart, and symbols are those of Unicode.
    DeepSeek,
}

/// The positions of each class.
struct Classes {
    upper: u64,
    letter: u64,
    ascii_letter: u64,
    ascii_symbol: u64,
    /// Letters of Chinese and Japanese, where they are apart.
    apart: u64,
    number: u64,
    space: u64,
    /// U+0020 alone.
    blank: u64,
    newline: u64,
    symbol: u64,
    apostrophe: u64,
    /// Bytes of symbols after their first.
    symbol_goes_on: u64,
    /// Of characters beyond ASCII that are not understood.
    unknown: u64,
}

impl Classes {
    /// Takes ASCII apart from the rest, which stays unknown.
    #[inline(always)]
    fn of_ascii(bytes: &[u8; BYTES], reading: Reading) -> Self {
        let letter = positions(bytes, |byte| (byte | 0x20).wrapping_sub(b'a') < 26);
        let number = positions(bytes, |byte| byte.wrapping_sub(b'0') < 10);
        let blank = positions(bytes, |byte| byte == b' ');
        let space = blank | positions(bytes, |byte| byte.wrapping_sub(b'\t') < 5);
        let mut unknown = if bytes.is_ascii() { 0 } else { positions(bytes, |byte| byte >= 0x80) };
        if reading == Reading::DeepSeek {
            unknown |= positions(bytes, |byte| byte < b' ' || byte == 0x7F) & !space;
        }
        let symbol = !(letter | number | space | unknown);
        Classes {
            upper: positions(bytes, |byte| byte.wrapping_sub(b'A') < 26),
            letter,
            ascii_letter: letter,
            ascii_symbol: symbol,
            apart: 0,
            number,
            space,
            blank,
            newline: positions(bytes, |byte| byte == b'\n' || byte == b'\r'),
            symbol,
            symbol_goes_on: 0,
            apostrophe: positions(bytes, |byte| byte == b'\''),
            unknown,
        }
    }

    /// Adds the letters and symbols beyond ASCII up to the first character that is something else or goes beyond the window.
    ///
    /// White space and numbers are taken character by character, which positions of bytes can't tell, and `ſ` folds to `s`; [by
    /// case](Reading::ByCase), neither are letters of no case and marks understood.
    #[inline(never)]
    fn add_beyond_ascii(&mut self, bytes: &[u8; BYTES], reading: Reading) {
        while self.unknown != 0 {
            let at = self.unknown.trailing_zeros();
            let Some((c, length)) = char_at(bytes, at as usize) else {
                return;
            };
            let all = ((1 << length) - 1) << at;
            match (RegexClass::of(c), reading) {
                _ if c == 'ſ' => return,
                (class, Reading::DeepSeek) if is_han_or_kana(c) => {
                    if !is_letter_or_mark(class) {
                        return;
                    }
                    self.apart |= all;
                }
                (RegexClass::Mark, Reading::DeepSeek) => self.letter |= all,
                (RegexClass::Other, Reading::DeepSeek) => return,
                (RegexClass::Upper, _) => (self.letter, self.upper) = (self.letter | all, self.upper | all),
                (RegexClass::Lower, _) => self.letter |= all,
                (RegexClass::Caseless, Reading::Plain | Reading::DeepSeek) => self.letter |= all,
                (RegexClass::Mark, Reading::ByCase) => return,
                // The numbers that `Digits` knows and the expressions don't.
                (RegexClass::Other, _) if is_numeric(c) => return,
                (RegexClass::Symbol | RegexClass::Other | RegexClass::Mark, _) => {
                    self.symbol |= all;
                    self.symbol_goes_on |= all & (all << 1);
                }
                _ => return,
            }
            self.unknown &= !all;
        }
    }

    /// The position from which on nothing is certain.
    #[inline]
    fn certain(&self, length: usize) -> u32 {
        let known = self.unknown.trailing_zeros();
        // Beyond the end of the text there is nothing to wait for.
        if length < BYTES && known == u64::BITS { u64::BITS } else { known.saturating_sub(LOOK_AHEAD) }
    }

    #[inline(always)]
    fn of(bytes: &[u8; BYTES], reading: Reading) -> Self {
        let mut classes = Classes::of_ascii(bytes, reading);
        if classes.unknown != 0 {
            classes.add_beyond_ascii(bytes, reading);
        }
        classes
    }
}

/// The positions of the bytes that `is_in` takes.
#[inline(always)]
pub(crate) fn positions(bytes: &[u8; BYTES], is_in: impl Fn(u8) -> bool) -> u64 {
    // Without branches, so that compilers make vector instructions of it.
    let mut flags = [0; BYTES];
    for (flag, &byte) in flags.iter_mut().zip(bytes) {
        *flag = if is_in(byte) { u8::MAX } else { 0 };
    }
    let (sixteens, _) = flags.as_chunks();
    sixteens.iter().rev().fold(0, |set, &sixteen| set << 16 | u64::from(u8x16::new(sixteen).to_bitmask()))
}

/// The character beyond ASCII at `at` and how many bytes it has, if all of them are there.
#[inline]
fn char_at(bytes: &[u8; BYTES], at: usize) -> Option<(char, u32)> {
    let byte = |after: usize| bytes.get(at + after).map(|&byte| u32::from(byte));
    let (first, second) = (byte(0).filter(|&first| first >= 0x80)?, byte(1)? & 0x3F);
    let (code, length) = match first {
        ..0xE0 => ((first & 0x1F) << 6 | second, 2),
        0xE0..0xF0 => ((first & 0xF) << 12 | second << 6 | (byte(2)? & 0x3F), 3),
        _ => ((first & 0x7) << 18 | second << 12 | (byte(2)? & 0x3F) << 6 | (byte(3)? & 0x3F), 4),
    };
    Some((char::from_u32(code)?, length))
}

/// The positions from 1 on where words begin for certain, given that one begins at 0.
///
/// `length` is how many of the bytes are text, all where it is 64 or more; bytes beyond must be spaces. The end of the
/// text counts as a start where it is in the window.
#[inline]
pub(crate) fn starts(scanner: Scanner, bytes: &[u8; BYTES], length: usize) -> u64 {
    // What a scanner doesn't ask for is not made.
    let (starts, certain) = match scanner {
        Scanner::Gpt2 => {
            let classes = Classes::of(bytes, Reading::Plain);
            (gpt2(&classes, bytes, 0), classes.certain(length))
        }
        Scanner::DigitsGpt2 => {
            let classes = Classes::of(bytes, Reading::Plain);
            (gpt2(&classes, bytes, classes.number), classes.certain(length))
        }
        Scanner::Cl100k { digits } => cl100k(&Classes::of(bytes, Reading::Plain), bytes, length, digits),
        Scanner::O200k { contractions } => o200k(&Classes::of(bytes, Reading::ByCase), bytes, length, contractions),
        Scanner::DeepSeek => deep_seek(&Classes::of(bytes, Reading::DeepSeek), length),
    };
    let starts = starts & below(certain) & !1;
    if length < BYTES {
        // The last word ends with the text, if it is certain at all.
        starts & below(length as u32) | (1 << length) & below(certain) & !1
    } else {
        starts
    }
}

/// All positions less than `limit`.
#[inline]
fn below(limit: u32) -> u64 {
    1u64.checked_shl(limit).map_or(u64::MAX, |bit| bit - 1)
}

/// Letters of the contraction whose apostrophe is at `at`, 0 where there is none.
#[inline]
fn contraction(bytes: &[u8; BYTES], at: u32, fold: u8) -> u32 {
    let letter = |after: usize| bytes.get(at as usize + after).map_or(0, |&byte| byte | fold);
    match (letter(1), letter(2)) {
        (b's' | b't' | b'm' | b'd', _) => 1,
        (b'r' | b'v', b'e') | (b'l', b'l') => 2,
        _ => 0,
    }
}

/// The positions of `set`, lowest first.
#[inline]
fn each(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let at = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (at < u64::BITS).then_some(at)
    })
}

/// `cut_out` are characters that are words by themselves, before the expression is applied.
#[inline]
fn gpt2(classes: &Classes, bytes: &[u8; BYTES], cut_out: u64) -> u64 {
    let &Classes { letter, number, space, blank, symbol, apostrophe, .. } = classes;
    // A run begins where its class does, or with the blank before it.
    let runs = (letter & !(letter << 1)) | (number & !(number << 1)) | (symbol & !(symbol << 1));
    let runs = (runs & !(blank << 1)) | cut_out;
    // The last white space before anything else is parted from the rest.
    let mut starts = runs | (space & !(space << 1)) | (space & !((space | cut_out) >> 1));
    for at in each(apostrophe & (runs | 1)) {
        let letters = contraction(bytes, at, 0);
        if letters > 0 {
            starts &= !(2 << at);
            starts |= 1u64.checked_shl(at + 1 + letters).unwrap_or(0);
        }
    }
    starts
}

/// What the later expressions have in common: numbers, white space and symbols.
struct Common {
    starts: u64,
    /// The position from which on nothing is certain.
    certain: u32,
    /// The last bytes of the characters that begin the word of a letter right after them.
    leads: u64,
}

/// `cut_out` are characters that are no part of what the expression sees.
#[inline]
fn common(classes: &Classes, length: usize, digits: usize, cut_out: u64) -> Common {
    let &Classes { number, space, blank, newline, symbol, symbol_goes_on, unknown, .. } = classes;
    let mut certain = classes.certain(length);
    // Newlines right after symbols belong to them: a carry from the first newline of a run goes through the run.
    let first = newline & (symbol << 1);
    let taken = newline & !newline.wrapping_add(first);
    let free = space & !taken;
    let plain = space & !newline;
    let begins_symbols = symbol & !(symbol << 1) & !(blank << 1);
    let mut starts = (free & !(free << 1)) | (plain & !((space | cut_out) >> 1)) | begins_symbols;
    // White space after the last newline among it is parted from what is before.
    for at in each(plain & (newline << 1)) {
        let end = at + (plain >> at).trailing_ones();
        let rest = newline.checked_shr(end).unwrap_or(0);
        let rest_unknown = unknown.checked_shr(end).unwrap_or(0);
        if (end >= u64::BITS && length >= BYTES) || rest_unknown & 1 == 1 {
            // A newline may yet come.
            certain = certain.min(at);
        } else if rest & 1 == 0 {
            starts |= 1 << at;
        }
    }
    let mut chunks = number & !(number << 1);
    starts |= chunks;
    if digits == 1 {
        starts |= number;
    } else {
        let later = number & (number << 1) & (number << 2) & (number << 3);
        while chunks & (later >> 3) != 0 {
            chunks = (chunks << 3) & later;
            starts |= chunks;
        }
    }
    let mut leads = plain | begins_symbols;
    if symbol_goes_on != 0 {
        // From the first byte of a symbol to its last.
        for _ in 1..4 {
            let later = (leads << 1) & symbol_goes_on;
            leads = (leads & !(later >> 1)) | later;
        }
    }
    Common { starts, certain, leads }
}

#[inline]
fn cl100k(classes: &Classes, bytes: &[u8; BYTES], length: usize, digits: usize) -> (u64, u32) {
    let Common { mut starts, certain, leads } = common(classes, length, digits, 0);
    let letter = classes.letter;
    starts |= letter & !(letter << 1) & !(leads << 1);
    for at in each(classes.apostrophe & leads) {
        let letters = contraction(bytes, at, 0x20);
        if letters > 0 {
            starts |= 1u64.checked_shl(at + 1 + letters).unwrap_or(0);
        }
    }
    (starts, certain)
}

#[inline]
fn o200k(classes: &Classes, bytes: &[u8; BYTES], length: usize, contractions: bool) -> (u64, u32) {
    let digits = if contractions { 3 } else { 1 };
    let Common { mut starts, mut certain, leads } = common(classes, length, digits, 0);
    let &Classes { letter, upper, newline, .. } = classes;
    let lower = letter & !upper;
    starts |= (letter & !(letter << 1) & !(leads << 1)) | (upper & (lower << 1));
    let mut end = 0;
    for at in each(if contractions { classes.apostrophe & (letter << 1) } else { 0 }) {
        let letters = contraction(bytes, at, 0x20);
        // The letter before may be the end of another contraction; then this is the beginning of a word.
        if letters > 0 && at != end {
            end = at + 1 + letters;
            starts &= !(below(end) & !below(at));
            starts |= 1u64.checked_shl(end).unwrap_or(0);
        }
    }
    // A slash after newlines after symbols still belongs to them.
    let slash = each(newline << 1 & classes.symbol).find(|&at| bytes.get(at as usize) == Some(&b'/'));
    certain = certain.min(slash.unwrap_or(u64::BITS));
    (starts, certain)
}

#[inline]
fn deep_seek(classes: &Classes, length: usize) -> (u64, u32) {
    let &Classes { letter, ascii_letter, ascii_symbol, apart, number, space, .. } = classes;
    let Common { mut starts, certain, leads } = common(classes, length, 3, number | apart);
    let led_by_symbol = (leads & ascii_symbol) << 1 & ascii_letter;
    let led = led_by_symbol | (leads & space) << 1;
    starts |= (letter & !(letter << 1) & !led) | (apart & !(apart << 1));
    // A symbol leads letters of ASCII only: a carry from the first goes to what is behind the last.
    starts |= ascii_letter.wrapping_add(led_by_symbol) & !ascii_letter & letter;
    (starts, certain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCANNERS: [Scanner; 7] = [
        Scanner::Gpt2,
        Scanner::Cl100k { digits: 3 },
        Scanner::Cl100k { digits: 1 },
        Scanner::O200k { contractions: true },
        Scanner::O200k { contractions: false },
        Scanner::DeepSeek,
        Scanner::DigitsGpt2,
    ];

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-zA-Z]{1,9}",
            3 => "[a-zA-Z]{0,2}('s|'t|'re|'Ve|'m|'LL|'D|'ſ|'|''|'r|'l|'ll's)[a-zA-Z]{0,2}",
            3 => "[ \\t\\r\\n\u{b}\u{c}]{1,4}",
            2 => " {1,20}",
            2 => "[0-9]{1,9}",
            3 => "[.,!?/\"#\\-()_$\u{0}\u{1c}\u{7f}]{1,3}[\\n/]{0,3}",
            2 => "[éÉжЖ中カ・\u{3099}½٣—“€😀ǅ\u{300}\u{3000}]{1,3}",
            1 => "[ .'\\-]{0,2}[a-z中é\u{300}\u{200d}\u{1}]{1,3}",
        1 => "[a-zA-Zé中ж]{1,2}(’|'|—)?[sſSé]",
        ];
        (prop::collection::vec(piece, 0..30), any::<bool>()).prop_map(|(pieces, ascii)| {
            let text = pieces.concat();
            if ascii { text.chars().filter(char::is_ascii).collect() } else { text }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn starts_are_those_of_the_scanner(text in text()) {
            for scanner in SCANNERS {
                let mut window = [b' '; BYTES];
                let length = text.len().min(BYTES);
                window[..length].copy_from_slice(&text.as_bytes()[..length]);
                let found: Vec<usize> = each(starts(scanner, &window, text.len())).map(|at| at as usize).collect();
                let mut expected = Vec::new();
                let mut at = 0;
                while at < text.len() && expected.len() < found.len() {
                    at = scanner.end(&text, at);
                    expected.push(at);
                }
                prop_assert_eq!(&found, &expected, "{:?} {:?}", scanner, &text);
                // All of a plain text is settled, and nearly all of a plain window.
                let is_plain = |byte: u8| byte.is_ascii() && (scanner != Scanner::DeepSeek || !byte.is_ascii_control() || byte.is_ascii_whitespace());
                if text.bytes().all(is_plain) && text.len() < BYTES && !text.is_empty() && !text.contains('/') {
                    prop_assert_eq!(found.last(), Some(&text.len()), "{:?} {:?}", scanner, &text);
                }
            }
        }
    }
}
