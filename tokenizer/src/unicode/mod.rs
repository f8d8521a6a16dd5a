//! What the reference knows about each code point.
//!
//! The reference mixes the Unicode versions of several libraries (mappings of Unicode 9, categories
//! of Unicode 8, the lower case of its compiler), and ids and offsets depend on all of them. The
//! tables are therefore measured on the reference by `tools/reference/tokenizer_unicode.py`, and
//! don't move when the Rust toolchain does.

pub(crate) mod forms;
#[rustfmt::skip]
mod scripts;
mod regex_class;
#[rustfmt::skip]
mod regex_tables;
#[rustfmt::skip]
mod tables;

pub(crate) use regex_class::RegexClass;

use tables::{
    CANONICAL_BLOCKS, CANONICAL_CHARS, CANONICAL_ENDS, CANONICAL_NUMBERS, CLASS_BLOCKS, CLASS_NUMBERS, CLASSES,
    COMPATIBILITY_BLOCKS, COMPATIBILITY_CHARS, COMPATIBILITY_ENDS, COMPATIBILITY_NUMBERS, COMPOSITIONS,
    SPECIAL_LOWERCASE,
};

const BLOCK_BITS: u32 = 7;

const CONTROL: u8 = 1;
const WHITESPACE: u8 = 1 << 1;
const PUNCTUATION: u8 = 1 << 2;
const NONSPACING: u8 = 1 << 3;
const MARK: u8 = 1 << 4;
const WORD: u8 = 1 << 5;
const CANONICAL: u8 = 1 << 6;
const COMPATIBILITY: u8 = 1 << 7;

/// The properties of one code point.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    flags: u8,
    ccc: u8,
    lower: i32,
}

/// Two table reads: the block of the code point, then its class in the block.
#[inline]
pub(crate) fn class(c: char) -> Class {
    let code = c as u32;
    let block = CLASS_BLOCKS[(code >> BLOCK_BITS) as usize] as usize;
    let number = CLASS_NUMBERS[(block << BLOCK_BITS) | (code & ((1 << BLOCK_BITS) - 1)) as usize];
    let (flags, ccc, lower) = CLASSES[number as usize];
    Class { flags, ccc, lower }
}

impl Class {
    /// What BERT's text cleaning drops: NUL, U+FFFD and the "other" categories but tab and newlines.
    #[inline]
    pub(crate) fn is_control(self) -> bool {
        self.flags & CONTROL != 0
    }

    #[inline]
    pub(crate) fn is_whitespace(self) -> bool {
        self.flags & WHITESPACE != 0
    }

    /// ASCII punctuation and symbols, and the punctuation categories.
    #[inline]
    pub(crate) fn is_punctuation(self) -> bool {
        self.flags & PUNCTUATION != 0
    }

    /// A nonspacing mark, which BERT's accent stripping drops.
    #[inline]
    pub(crate) fn is_nonspacing(self) -> bool {
        self.flags & NONSPACING != 0
    }

    /// A mark of any kind, which the `StripAccents` normalizer drops.
    #[inline]
    pub(crate) fn is_mark(self) -> bool {
        self.flags & MARK != 0
    }

    /// `\w` of a regular expression.
    #[inline]
    pub(crate) fn is_word(self) -> bool {
        self.flags & WORD != 0
    }

    /// The canonical combining class of a character that doesn't decompose.
    #[inline]
    pub(crate) fn combining_class(self) -> u8 {
        self.ccc
    }

    #[inline]
    fn has_canonical(self) -> bool {
        self.flags & CANONICAL != 0
    }

    #[inline]
    fn has_compatibility(self) -> bool {
        self.flags & COMPATIBILITY != 0
    }
}

/// Whether `c` is a number of any kind, as the `Digits` pre-tokenizer has it.
pub(crate) fn is_numeric(c: char) -> bool {
    let after = scripts::NUMERIC.partition_point(|&(first, _)| first <= c as u32);
    after.checked_sub(1).is_some_and(|at| c as u32 <= scripts::NUMERIC[at].1)
}

/// The number of the script of `c`, as the `UnicodeScripts` pre-tokenizer has it (Han and the Japanese syllabaries are
/// one); `None` for a space and for what is of no script.
pub(crate) fn script(c: char) -> Option<u8> {
    let after = scripts::SCRIPTS.partition_point(|&(first, _)| first <= c as u32);
    let (_, number) = scripts::SCRIPTS[after.checked_sub(1)?];
    (number != 0).then_some(number)
}

/// The lower case of `c`, whose class the caller has already looked up.
#[inline]
pub(crate) fn lowercase(c: char, class: Class, mut emit: impl FnMut(char)) {
    if class.lower == 0 {
        return emit(c);
    }
    match (c as u32).checked_add_signed(class.lower).and_then(char::from_u32) {
        Some(lower) => emit(lower),
        None => {
            if let Ok(at) = SPECIAL_LOWERCASE.binary_search_by_key(&(c as u32), |entry| entry.0) {
                chars(SPECIAL_LOWERCASE[at].1).for_each(emit);
            }
        }
    }
}

/// Which decomposition: canonical (NFD, NFC) or compatibility (NFKD, NFKC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    Canonical,
    Compatibility,
}

/// What `c` decomposes into, fully; `false` (and nothing emitted) where it doesn't.
#[inline]
pub(crate) fn decompose(c: char, class: Class, mapping: Mapping, emit: impl FnMut(char)) -> bool {
    if mapping == Mapping::Compatibility && class.has_compatibility() {
        let numbers = (&COMPATIBILITY_BLOCKS[..], &COMPATIBILITY_NUMBERS[..]);
        mapped(c, numbers, &COMPATIBILITY_ENDS, &COMPATIBILITY_CHARS).for_each(emit);
        true
    } else if class.has_canonical() {
        let numbers = (&CANONICAL_BLOCKS[..], &CANONICAL_NUMBERS[..]);
        mapped(c, numbers, &CANONICAL_ENDS, &CANONICAL_CHARS).for_each(emit);
        true
    } else {
        decompose_hangul(c, emit)
    }
}

fn mapped(
    c: char,
    (blocks, numbers): (&[u8], &[u16]),
    ends: &'static [u16],
    text: &'static [u32],
) -> impl Iterator<Item = char> {
    let code = c as u32;
    let block = blocks[(code >> BLOCK_BITS) as usize] as usize;
    let number = numbers[(block << BLOCK_BITS) | (code & ((1 << BLOCK_BITS) - 1)) as usize] as usize;
    // Number 0 means no mapping, which the class has already excluded.
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    chars(&text[start as usize..ends[number] as usize])
}

fn chars(codes: &'static [u32]) -> impl Iterator<Item = char> {
    codes.iter().filter_map(|&code| char::from_u32(code))
}

/// The one character that `first` and `second` compose to, if there is one.
pub(crate) fn compose(first: char, second: char) -> Option<char> {
    compose_hangul(first, second).or_else(|| {
        let pair = (first as u32, second as u32);
        let at = COMPOSITIONS.binary_search_by_key(&pair, |&(a, b, _)| (a, b)).ok()?;
        char::from_u32(COMPOSITIONS[at].2)
    })
}

// Hangul syllables are computed; names and constants of the Unicode Standard, section 3.12.
const S_BASE: u32 = 0xAC00;
const L_BASE: u32 = 0x1100;
const V_BASE: u32 = 0x1161;
const T_BASE: u32 = 0x11A7;
const L_COUNT: u32 = 19;
const V_COUNT: u32 = 21;
const T_COUNT: u32 = 28;
const S_COUNT: u32 = L_COUNT * V_COUNT * T_COUNT;

fn decompose_hangul(c: char, emit: impl FnMut(char)) -> bool {
    let Some(s) = (c as u32).checked_sub(S_BASE).filter(|&s| s < S_COUNT) else {
        return false;
    };
    let l = L_BASE + s / (V_COUNT * T_COUNT);
    let v = V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT;
    let t = T_BASE + s % T_COUNT;
    [Some(l), Some(v), (t != T_BASE).then_some(t)].into_iter().flatten().filter_map(char::from_u32).for_each(emit);
    true
}

fn compose_hangul(first: char, second: char) -> Option<char> {
    let (first, second) = (first as u32, second as u32);
    if (L_BASE..L_BASE + L_COUNT).contains(&first) && (V_BASE..V_BASE + V_COUNT).contains(&second) {
        let syllable = ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
        return char::from_u32(S_BASE + syllable);
    }
    let takes_final = (S_BASE..S_BASE + S_COUNT).contains(&first) && (first - S_BASE).is_multiple_of(T_COUNT);
    if takes_final && (T_BASE + 1..T_BASE + T_COUNT).contains(&second) {
        return char::from_u32(first + (second - T_BASE));
    }
    None
}

/// The ideograph blocks that BERT sets spaces around; the list is BERT's, not Unicode's.
#[inline]
pub(crate) fn is_chinese(c: char) -> bool {
    matches!(
        c as u32,
        0x3400..=0x4DBF
            | 0x4E00..=0x9FFF
            | 0xF900..=0xFAFF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0x2F800..=0x2FA1F
    )
}
