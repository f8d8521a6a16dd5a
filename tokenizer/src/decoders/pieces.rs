//! The tokens of a text on their way through a chain of decoders.

/// Texts, one after the other in one string.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    text: String,
    ends: Vec<usize>,
}

impl Pieces {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }

    pub(super) fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
        self.end();
    }

    /// What is put here before [`end`](Self::end) is one more piece.
    pub(super) fn open(&mut self) -> &mut String {
        &mut self.text
    }

    pub(super) fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    /// All of them joined.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl<'a> FromIterator<&'a str> for Pieces {
    fn from_iter<I: IntoIterator<Item = &'a str>>(pieces: I) -> Self {
        let mut all = Pieces::default();
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}
