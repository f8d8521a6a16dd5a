//! Normalized text, and where in the original each of its bytes comes from.

/// A range of bytes of the original text.
///
/// 32 bits halve the memory of the alignment; [`crate::TokenizerError::TextTooLong`] keeps longer texts out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What a normalized text remembers about its origin: [`Spans`], or [`NoSpans`] where only ids are asked for.
pub(crate) trait Alignment: Default {
    /// Whether spans are kept at all.
    const KEPT: bool;
    fn clear(&mut self);
    fn reserve(&mut self, bytes: usize);
    fn push(&mut self, span: Span, bytes: usize);
    fn get(&self, byte: usize) -> Span;
}

/// One span per byte of the normalized text, never going backwards.
#[derive(Default)]
pub(crate) struct Spans(Vec<Span>);

impl Alignment for Spans {
    const KEPT: bool = true;

    fn clear(&mut self) {
        self.0.clear();
    }

    fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    #[inline]
    fn push(&mut self, span: Span, bytes: usize) {
        for _ in 0..bytes {
            self.0.push(span);
        }
    }

    #[inline]
    fn get(&self, byte: usize) -> Span {
        self.0.get(byte).copied().unwrap_or_default()
    }
}

/// Keeps nothing, so that encoding to ids pays nothing for offsets.
#[derive(Default)]
pub(crate) struct NoSpans;

impl Alignment for NoSpans {
    const KEPT: bool = false;

    fn clear(&mut self) {}

    fn reserve(&mut self, _: usize) {}

    #[inline]
    fn push(&mut self, _: Span, _: usize) {}

    #[inline]
    fn get(&self, _: usize) -> Span {
        Span::default()
    }
}

/// What a normalizer reads: characters with their spans.
pub(crate) trait Source {
    fn text(&self) -> &str;
    /// The span of the character at byte `at` that is `bytes` long.
    fn span(&self, at: usize, bytes: usize) -> Span;
}

/// A stretch of the original text that starts at byte `base` of it.
pub(crate) struct Original<'a> {
    pub(crate) text: &'a str,
    pub(crate) base: usize,
}

impl Source for Original<'_> {
    #[inline]
    fn text(&self) -> &str {
        self.text
    }

    #[inline]
    fn span(&self, at: usize, bytes: usize) -> Span {
        let start = self.base + at;
        Span { start: start as u32, end: (start + bytes) as u32 }
    }
}

/// Normalized text with its alignment.
#[derive(Default)]
pub(crate) struct Normalized<A> {
    text: String,
    alignment: A,
}

impl<A: Alignment> Normalized<A> {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.alignment.clear();
    }

    /// Bytes of text that there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Makes room for text that is as long as its source, as most normalized text is.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
        self.alignment.reserve(bytes);
    }

    #[inline]
    pub(crate) fn push(&mut self, c: char, span: Span) {
        self.text.push(c);
        self.alignment.push(span, c.len_utf8());
    }

    /// Appends text that comes from nowhere; only where no spans are kept.
    #[inline]
    pub(crate) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
        self.alignment.push(Span::default(), text.len());
    }

    /// Takes the source over as it is.
    pub(crate) fn copy<S: Source>(&mut self, source: &S) {
        self.copy_part(source, 0, source.text().len());
    }

    /// Takes bytes `start..end` of the source over as they are.
    pub(crate) fn copy_part<S: Source>(&mut self, source: &S, start: usize, end: usize) {
        let part = &source.text()[start..end];
        if A::KEPT {
            for (at, c) in part.char_indices() {
                self.push(c, source.span(start + at, c.len_utf8()));
            }
        } else {
            self.text.push_str(part);
        }
    }

    /// The original bytes that the normalized bytes `start..end` come from.
    #[inline]
    pub(crate) fn original(&self, start: usize, end: usize) -> Span {
        Span { start: self.alignment.get(start).start, end: self.alignment.get(end.saturating_sub(1)).end }
    }
}

impl<A: Alignment> Source for Normalized<A> {
    #[inline]
    fn text(&self) -> &str {
        &self.text
    }

    #[inline]
    fn span(&self, at: usize, _bytes: usize) -> Span {
        self.alignment.get(at)
    }
}
