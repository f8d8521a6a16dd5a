//! Canonical ordering and composition, with the reference's rule for which original character each result stands for.
//!
//! The reference doesn't align a result with the characters it was made of. It counts: a character that heads a
//! decomposition takes the next original character in line, the rest of the decomposition shares it, and a composed
//! character takes the first of its parts and skips the others. Where marks change places, the counts don't, so a mark can
//! stand for the place it moved to. The offsets of published models were made this way.

use super::{Class, Mapping, class, compose, decompose};
use crate::normalized::{Alignment, Normalized, Source, Span};

/// Puts characters into canonical order as they come, holding back marks until a starter settles their order.
#[derive(Default)]
pub(crate) struct Decomposer {
    /// (combining class, character, whether it heads a decomposition)
    pending: Vec<(u8, char, bool)>,
    /// Spans of the source characters whose heads are pending, in the order of the source.
    spans: Vec<Span>,
    /// Span of the last source character that was used up.
    last: Span,
}

impl Decomposer {
    /// Takes the next source character; `class` is its class.
    #[inline]
    pub(crate) fn feed(
        &mut self,
        c: char,
        class: Class,
        span: Span,
        mapping: Mapping,
        emit: &mut impl FnMut(char, Class, Span),
    ) {
        let mut head = true;
        let decomposed = decompose(c, class, mapping, |part| {
            self.part(part, super::class(part), head, span, emit);
            head = false;
        });
        if !decomposed {
            self.part(c, class, true, span, emit);
        }
    }

    #[inline]
    fn part(&mut self, c: char, class: Class, head: bool, span: Span, emit: &mut impl FnMut(char, Class, Span)) {
        let ccc = class.combining_class();
        if ccc != 0 {
            self.pending.push((ccc, c, head));
            if head {
                self.spans.push(span);
            }
            return;
        }
        self.flush(emit);
        if head {
            self.last = span;
        }
        emit(c, class, self.last);
    }

    /// Lets the held back marks go; a starter or the end of the text has come.
    #[inline]
    pub(crate) fn flush(&mut self, emit: &mut impl FnMut(char, Class, Span)) {
        if !self.pending.is_empty() {
            self.flush_pending(emit);
        }
    }

    fn flush_pending(&mut self, emit: &mut impl FnMut(char, Class, Span)) {
        // Stable: marks of one class keep their order.
        self.pending.sort_by_key(|&(ccc, ..)| ccc);
        let mut spans = self.spans.drain(..);
        for (_, c, head) in self.pending.drain(..) {
            if head {
                self.last = spans.next().unwrap_or(self.last);
            }
            emit(c, class(c), self.last);
        }
    }
}

/// NFD or NFKD.
pub(crate) fn decomposed<S: Source, A: Alignment>(source: &S, mapping: Mapping, out: &mut Normalized<A>) {
    let mut decomposer = Decomposer::default();
    let emit = &mut |c, _, span| out.push(c, span);
    for (at, c) in source.text().char_indices() {
        let span = source.span(at, c.len_utf8());
        decomposer.feed(c, class(c), span, mapping, emit);
    }
    decomposer.flush(emit);
}

/// A character of the decomposed text, and how many source characters it uses up beyond its own: 0 for a head, 1 for
/// the rest of a decomposition (it uses none), -n where n further ones were composed into it.
struct Part {
    c: char,
    ccc: u8,
    change: isize,
}

/// NFC or NFKC.
pub(crate) fn composed<S: Source, A: Alignment>(source: &S, mapping: Mapping, out: &mut Normalized<A>) {
    let parts = compose_parts(ordered_parts(source.text(), mapping));
    let text = source.text();
    let mut originals = text.char_indices().map(|(at, c)| source.span(at, c.len_utf8()));
    let mut last = Span::default();
    for part in parts {
        if part.change > 0 {
            out.push(part.c, last);
            continue;
        }
        let span = originals.next().unwrap_or(last);
        last = span;
        for _ in 0..part.change.unsigned_abs() {
            last = originals.next().unwrap_or(last);
        }
        out.push(part.c, span);
    }
}

fn ordered_parts(text: &str, mapping: Mapping) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(text.len());
    let mut unordered = 0;
    for c in text.chars() {
        let mut head = true;
        let mut push = |c: char, class: Class| {
            let ccc = class.combining_class();
            if ccc == 0 {
                parts[unordered..].sort_by_key(|part| part.ccc);
                unordered = parts.len() + 1;
            }
            let change = isize::from(!head);
            head = false;
            parts.push(Part { c, ccc, change });
        };
        let of_c = class(c);
        if !decompose(c, of_c, mapping, |part| push(part, class(part))) {
            push(c, of_c);
        }
    }
    parts[unordered..].sort_by_key(|part| part.ccc);
    parts
}

/// Composes in place of the starters, by the algorithm of UAX #15: a mark joins the last starter unless a mark of
/// its own or a higher class stands between.
fn compose_parts(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    let mut starter: Option<usize> = None;
    let mut between: Option<u8> = None;
    for part in parts {
        if let Some(at) = starter
            && between.is_none_or(|ccc| ccc < part.ccc)
            && let Some(joined) = compose(out[at].c, part.c)
        {
            out[at].c = joined;
            out[at].change += part.change - 1;
            continue;
        }
        if part.ccc == 0 {
            starter = Some(out.len());
            between = None;
        } else if starter.is_some() {
            between = Some(part.ccc);
        }
        out.push(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalized::{Original, Spans};

    type Form = fn(&str) -> Normalized<Spans>;

    fn form(text: &str, apply: impl Fn(&Original, &mut Normalized<Spans>)) -> Normalized<Spans> {
        let mut out = Normalized::default();
        apply(&Original { text, base: 0 }, &mut out);
        out
    }

    fn nfd(text: &str) -> Normalized<Spans> {
        form(text, |source, out| decomposed(source, Mapping::Canonical, out))
    }

    fn nfkd(text: &str) -> Normalized<Spans> {
        form(text, |source, out| decomposed(source, Mapping::Compatibility, out))
    }

    fn nfc(text: &str) -> Normalized<Spans> {
        form(text, |source, out| composed(source, Mapping::Canonical, out))
    }

    fn nfkc(text: &str) -> Normalized<Spans> {
        form(text, |source, out| composed(source, Mapping::Compatibility, out))
    }

    /// Texts with each character that any form changes or moves, alone and beside marks that it may change places or
    /// compose with.
    fn texts() -> impl Iterator<Item = String> {
        (0..=0x10FFFF)
            .filter_map(char::from_u32)
            .filter(|&c| {
                let of_c = class(c);
                let hangul = ('가'..='힣').contains(&c) && (c as u32).is_multiple_of(97);
                hangul || of_c.ccc != 0 || of_c.has_canonical() || of_c.has_compatibility()
            })
            .flat_map(|c| [c.to_string(), format!("e\u{301}{c}\u{323}\u{301}")])
    }

    #[test]
    fn forms_of_forms_are_what_the_standard_says() {
        // Each of the first is each of the second, for any text (UAX #15, conformance).
        let equal: [(&str, Form, Form, Form); 5] = [
            ("NFD NFD = NFD", nfd, nfd, nfd),
            ("NFC NFD = NFC", nfd, nfc, nfc),
            ("NFD NFC = NFD", nfc, nfd, nfd),
            ("NFKD NFC = NFKD", nfc, nfkd, nfkd),
            ("NFKC NFKD = NFKC", nfkd, nfkc, nfkc),
        ];
        let mut wrong = Vec::new();
        for text in texts() {
            for (name, inner, outer, direct) in equal {
                if outer(inner(&text).text()).text() != direct(&text).text() {
                    wrong.push(format!("{name}: {}", text.escape_unicode()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn spans_never_go_backwards() {
        for text in texts() {
            for form in [nfd, nfkd, nfc, nfkc] {
                let normalized = form(&text);
                let mut last = Span::default();
                for (at, c) in normalized.text().char_indices() {
                    let span = normalized.span(at, c.len_utf8());
                    assert!(span.start >= last.start && span.end >= last.end, "{text:?}");
                    assert!(text.get(span.start as usize..span.end as usize).is_some(), "{text:?}");
                    last = span;
                }
            }
        }
    }
}
