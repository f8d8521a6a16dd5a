//! BERT's normalizer: clean the text, set ideographs apart, strip accents, lower the case, in one pass.

use serde::{Deserialize, Serialize};

use crate::normalized::{Alignment, Normalized, Source, Span};
use crate::unicode::forms::Decomposer;
use crate::unicode::{Class, Mapping, class, is_chinese, lowercase};

/// Marks an ASCII byte that cleaning drops; not an ASCII value itself.
const DROPPED: u8 = 0xFF;

/// `BertNormalizer` of `tokenizer.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "[bool; 4]", into = "[bool; 4]")]
pub(crate) struct BertNormalizer {
    pub(crate) clean_text: bool,
    pub(crate) handle_chinese_chars: bool,
    pub(crate) strip_accents: bool,
    pub(crate) lowercase: bool,
    /// What each ASCII byte becomes. ASCII decomposes into itself and starts a new run of marks.
    ascii: [u8; 128],
}

impl From<[bool; 4]> for BertNormalizer {
    fn from([clean_text, handle_chinese_chars, strip_accents, lowercase]: [bool; 4]) -> Self {
        BertNormalizer::new(clean_text, handle_chinese_chars, Some(strip_accents), lowercase)
    }
}

impl From<BertNormalizer> for [bool; 4] {
    fn from(normalizer: BertNormalizer) -> Self {
        let BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase, .. } = normalizer;
        [clean_text, handle_chinese_chars, strip_accents, lowercase]
    }
}

impl BertNormalizer {
    /// `strip_accents: None` follows `lowercase`, as the original BERT does.
    pub(crate) fn new(
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: Option<bool>,
        lowercase: bool,
    ) -> Self {
        let mut ascii = [0; 128];
        for (byte, becomes) in (0..).zip(&mut ascii) {
            let class = class(char::from(byte));
            *becomes = match byte {
                _ if clean_text && class.is_control() => DROPPED,
                _ if clean_text && class.is_whitespace() => b' ',
                b'A'..=b'Z' if lowercase => byte.to_ascii_lowercase(),
                _ => byte,
            };
        }
        BertNormalizer {
            clean_text,
            handle_chinese_chars,
            strip_accents: strip_accents.unwrap_or(lowercase),
            lowercase,
            ascii,
        }
    }

    /// What an ASCII byte becomes; `None` where it is dropped.
    pub(crate) fn ascii(&self, byte: u8) -> Option<u8> {
        self.ascii.get(usize::from(byte)).copied().filter(|&becomes| becomes != DROPPED)
    }

    pub(super) fn normalize<S: Source, A: Alignment>(&self, source: &S, out: &mut Normalized<A>) {
        let text = source.text();
        let mut decomposer = Decomposer::default();
        for (at, c) in text.char_indices() {
            if let Some(&becomes) = self.ascii.get(c as usize) {
                // A dropped character is gone before marks are put in order: it doesn't part them.
                if becomes != DROPPED {
                    decomposer.flush(&mut |c, class, span| self.finish(c, class, span, out));
                    out.push(char::from(becomes), source.span(at, 1));
                }
            } else {
                self.beyond_ascii(c, source.span(at, c.len_utf8()), &mut decomposer, out);
            }
        }
        decomposer.flush(&mut |c, class, span| self.finish(c, class, span, out));
    }

    fn beyond_ascii<A: Alignment>(&self, c: char, span: Span, decomposer: &mut Decomposer, out: &mut Normalized<A>) {
        let of_c = class(c);
        let (c, of_c) = match () {
            _ if self.clean_text && of_c.is_control() => return,
            _ if self.clean_text && of_c.is_whitespace() => (' ', class(' ')),
            _ => (c, of_c),
        };
        let apart = self.handle_chinese_chars && is_chinese(c);
        let space = (' ', class(' '));
        let (before, after) = if apart { (Some(space), Some(space)) } else { (None, None) };
        for (c, of_c) in before.into_iter().chain([(c, of_c)]).chain(after) {
            if !self.strip_accents {
                self.finish(c, of_c, span, out);
            } else if A::KEPT || !of_c.is_nonspacing() {
                decomposer
                    .feed(c, of_c, span, Mapping::Canonical, &mut |c, class, span| self.finish(c, class, span, out));
            }
            // A mark that will be dropped only matters for the spans of the marks it changes places with.
        }
    }

    #[inline]
    fn finish<A: Alignment>(&self, c: char, class: Class, span: Span, out: &mut Normalized<A>) {
        if self.strip_accents && class.is_nonspacing() {
            return;
        }
        if self.lowercase {
            lowercase(c, class, |lower| out.push(lower, span));
        } else {
            out.push(c, span);
        }
    }
}

impl std::fmt::Debug for BertNormalizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BertNormalizer")
            .field("clean_text", &self.clean_text)
            .field("handle_chinese_chars", &self.handle_chinese_chars)
            .field("strip_accents", &self.strip_accents)
            .field("lowercase", &self.lowercase)
            .finish()
    }
}
