//! Sets of two bytes that are side by side.

const WORDS: usize = (1 << 16) / 64;

/// A bit for each two bytes, the first above the second.
#[derive(Debug)]
pub(super) struct BytePairs(Box<[u64; WORDS]>);

impl BytePairs {
    /// How many numbers hold a set.
    pub(super) const WORDS: usize = WORDS;

    pub(super) fn new() -> Self {
        BytePairs(Box::new([0; WORDS]))
    }

    /// The set that these numbers hold; the first ones, where there are more.
    pub(super) fn of_words(words: &[u64]) -> Self {
        let mut pairs = Self::new();
        pairs.0.iter_mut().zip(words).for_each(|(to, &word)| *to = word);
        pairs
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0[..]
    }

    #[inline]
    fn place(first: u8, second: u8) -> usize {
        usize::from(first) << 8 | usize::from(second)
    }

    pub(super) fn add(&mut self, first: u8, second: u8) {
        let place = Self::place(first, second);
        self.0[place / 64] |= 1 << (place % 64);
    }

    #[inline]
    pub(super) fn has(&self, first: u8, second: u8) -> bool {
        let place = Self::place(first, second);
        self.0[place / 64] >> (place % 64) & 1 == 1
    }
}
