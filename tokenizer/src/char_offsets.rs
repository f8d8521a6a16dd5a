//! From byte offsets to character offsets.

/// Bytes between two counts. A lookup counts at most this many bytes; the counts take 8/256 of the text.
const STEP: usize = 256;

/// How many characters lie before any byte of a text, in constant time.
pub(crate) struct CharIndex<'a> {
    text: &'a [u8],
    /// Characters that begin before byte `n * STEP`.
    counts: Vec<usize>,
}

fn begins_char(&byte: &u8) -> bool {
    // Bytes 10xxxxxx continue a character.
    byte & 0xC0 != 0x80
}

impl<'a> CharIndex<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        let mut before = 0;
        let mut counts = vec![0];
        for step in text.chunks(STEP) {
            before += step.iter().filter(|byte| begins_char(byte)).count();
            counts.push(before);
        }
        CharIndex { text, counts }
    }

    /// Characters that begin before byte `at`; all of them where the text is shorter.
    pub(crate) fn chars_before(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        let step = at / STEP;
        let rest = &self.text[step * STEP..at];
        self.counts[step] + rest.iter().filter(|byte| begins_char(byte)).count()
    }
}
