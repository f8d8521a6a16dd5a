//! What the regular expressions of the reference take a character for.

use super::BLOCK_BITS;
use super::regex_tables::{REGEX_BLOCKS, REGEX_CLASSES};

/// The kind of a character in the terms of a splitting pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegexClass {
    /// Anything else: controls, the unassigned, those of private use.
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
    /// `\p{P}` and `\p{S}`
    Symbol,
}

const CLASSES: [RegexClass; 16] = [
    RegexClass::Other,
    RegexClass::Upper,
    RegexClass::Lower,
    RegexClass::Caseless,
    RegexClass::Mark,
    RegexClass::Number,
    RegexClass::Space,
    RegexClass::Newline,
    RegexClass::Symbol,
    // So many are numbered; the rest makes looking one up need no check.
    RegexClass::Other,
    RegexClass::Other,
    RegexClass::Other,
    RegexClass::Other,
    RegexClass::Other,
    RegexClass::Other,
    RegexClass::Other,
];

impl RegexClass {
    #[inline]
    pub(crate) fn of(c: char) -> Self {
        let code = c as u32;
        let block = REGEX_BLOCKS[(code >> BLOCK_BITS) as usize] as usize;
        let number = REGEX_CLASSES[(block << BLOCK_BITS) | (code & ((1 << BLOCK_BITS) - 1)) as usize];
        CLASSES[usize::from(number & 15)]
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
        matches!(self, RegexClass::Symbol | RegexClass::Other | RegexClass::Mark)
    }
}
