//! Where texts whose spaces are marks are cut: before spaces, and between two characters of ASCII that no token has side by side.

use super::cuts::Neighbours;
use super::reaches::Reaches;
use crate::pre_tokenizers::window::{BYTES, positions};

/// Between which bytes there is a cut.
#[derive(Debug)]
pub(super) struct MarkedCuts {
    /// A bit for each two bytes, the first above the second.
    pairs: Box<[u64; PAIRS]>,
}

const PAIRS: usize = (1 << 16) / 64;

impl MarkedCuts {
    /// Before spaces alone, where there are no neighbours to go by.
    pub(super) fn new(neighbours: Option<&Neighbours>) -> Self {
        let mut cuts = MarkedCuts { pairs: Box::new([0; PAIRS]) };
        for first in (0..=u8::MAX).filter(|&first| first != b' ') {
            cuts.add(first, b' ');
            if let Some(neighbours) = neighbours.filter(|_| first.is_ascii()) {
                let apart = (0..0x80).filter(|&second| second != b' ' && !neighbours.are(first, second));
                apart.for_each(|second| cuts.add(first, second));
            }
        }
        cuts
    }

    fn add(&mut self, first: u8, second: u8) {
        let place = usize::from(first) << 8 | usize::from(second);
        self.pairs[place / 64] |= 1 << (place % 64);
    }

    #[inline(always)]
    fn is_between(&self, first: u8, second: u8) -> bool {
        self.pairs[usize::from(first) << 2 | usize::from(second) >> 6] >> (second & 63) & 1 == 1
    }

    /// The positions from 1 on of the window at `at` before which there is a cut. The end of the text counts as one; in the window, spaces
    /// are behind it.
    #[inline]
    pub(super) fn of_window(&self, window: &[u8; BYTES], text: &[u8], at: usize, reaches: &Reaches) -> u64 {
        // Without branches: where words end is hard to foretell.
        let mut cuts = 0;
        for (place, two) in (1..).zip(window.windows(2)) {
            cuts |= u64::from(self.is_between(two[0], two[1])) << place;
        }
        let length = text.len() - at;
        if length < BYTES {
            cuts = cuts & ((1 << length) - 1) | 1 << length;
        }
        if !reaches.is_empty() {
            cuts &= !Self::reached_over(window, text, at, reaches);
        }
        cuts
    }

    /// Where spaces begin that a token may reach over.
    #[inline]
    fn reached_over(window: &[u8; BYTES], text: &[u8], at: usize, reaches: &Reaches) -> u64 {
        let spaces = positions(window, |byte| byte == b' ');
        let mut begins = spaces & !(spaces << 1) & !1;
        let mut reached = 0;
        while begins != 0 {
            let place = begins.trailing_zeros() as usize;
            if reaches.before()[usize::from(window[place - 1])] && reaches.over(text, at + place).is_some() {
                reached |= 1 << place;
            }
            begins &= begins - 1;
        }
        reached
    }

    /// The first cut after `at`, or the end of the text.
    pub(super) fn after(&self, text: &[u8], mut at: usize, reaches: &Reaches) -> usize {
        while let Some(&[first, second]) = text.get(at..).and_then(<[u8]>::first_chunk) {
            at += 1;
            if self.is_between(first, second) {
                match reaches.over(text, at) {
                    Some(end) => at = end,
                    None => return at,
                }
            }
        }
        text.len()
    }
}
