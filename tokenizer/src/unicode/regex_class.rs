//! What the regular expressions of the reference take a character for.

use super::BLOCK_BITS;
use super::regex_tables::{REGEX_BLOCKS, REGEX_CLASSES};

/// The kind of a character in the terms of a splitting pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegexClass {
    /// Anything else: punctuation, symbols, controls, the unassigned.
    Other,
    /// `\p{Lu}` and `\p{Lt}`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `\p{Lm}` and `\p{Lo}`
    Caseless,
    /// `\p{M}`
    Mark,
    /// `\p{N}`
    Number,
    /// `\s` but newlines
    Space,
    /// `\r` and `\n`
    Newline,
}

const CLASSES: [RegexClass; 8] = [
    RegexClass::Other,
    RegexClass::Upper,
    RegexClass::Lower,
    RegexClass::Caseless,
    RegexClass::Mark,
    RegexClass::Number,
    RegexClass::Space,
    RegexClass::Newline,
];

impl RegexClass {
    #[inline]
    pub(crate) fn of(c: char) -> Self {
        let code = c as u32;
        let block = REGEX_BLOCKS[(code >> BLOCK_BITS) as usize] as usize;
        let number = REGEX_CLASSES[(block << BLOCK_BITS) | (code & ((1 << BLOCK_BITS) - 1)) as usize];
        CLASSES[usize::from(number & 7)]
    }

    /// `\p{L}`
    #[inline]
    pub(crate) fn is_letter(self) -> bool {
        matches!(self, RegexClass::Upper | RegexClass::Lower | RegexClass::Caseless)
    }

    /// `\s`
    #[inline]
    pub(crate) fn is_space(self) -> bool {
        matches!(self, RegexClass::Space | RegexClass::Newline)
    }

    /// `[^\s\p{L}\p{N}]`
    #[inline]
    pub(crate) fn is_symbol(self) -> bool {
        matches!(self, RegexClass::Other | RegexClass::Mark)
    }
}
