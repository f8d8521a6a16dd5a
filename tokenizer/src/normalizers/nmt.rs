//! The cleaning of SentencePiece's `nmt` rules: control characters dropped, rare spaces made plain ones.

use crate::normalized::{Alignment, Normalized, Source};

pub(super) fn normalize<S: Source, A: Alignment>(source: &S, out: &mut Normalized<A>) {
    for (at, c) in source.text().char_indices() {
        let becomes = match c {
            '\u{1}'..='\u{8}' | '\u{B}' | '\u{E}'..='\u{1F}' | '\u{7F}' | '\u{8F}' | '\u{9F}' => continue,
            '\t'
            | '\n'
            | '\u{C}'
            | '\r'
            | '\u{1680}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{2581}'
            | '\u{FEFF}'
            | '\u{FFFD}' => ' ',
            other => other,
        };
        out.push(becomes, source.span(at, c.len_utf8()));
    }
}
