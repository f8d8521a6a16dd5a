//! Where texts whose spaces are marks are cut: before spaces, and between two characters of ASCII that no token has side by side.

use super::byte_pairs::BytePairs;
use super::cuts::Neighbours;
use super::reaches::Reaches;
use crate::pre_tokenizers::window::{BYTES, positions};

/// Between which bytes there is a cut.
#[derive(Debug)]
pub(super) struct MarkedCuts {
    pairs: BytePairs,
}

impl MarkedCuts {
    /// Before spaces alone, where there are no neighbours to go by.
    pub(super) fn new(neighbours: Option<&Neighbours>) -> Self {
        let mut pairs = BytePairs::new();
        for first in (0..=u8::MAX).filter(|&first| first != b' ') {
            pairs.add(first, b' ');
            if let Some(neighbours) = neighbours.filter(|_| first.is_ascii()) {
                let apart = (0..0x80).filter(|&second| second != b' ' && !neighbours.are(first, second));
                apart.for_each(|second| pairs.add(first, second));
            }
        }
        MarkedCuts { pairs }
    }

    /// The positions from 1 on of the window at `at` before which there is a cut. The end of the text counts as one; in the window, spaces
    /// are behind it.
    #[inline]
    pub(super) fn of_window(&self, window: &[u8; BYTES], text: &[u8], at: usize, reaches: &Reaches) -> u64 {
        let lower = positions(window, |byte| byte.wrapping_sub(b'a') < 26);
        let upper = positions(window, |byte| byte.wrapping_sub(b'A') < 26);
        let spaces = positions(window, |byte| byte == b' ');
        let beyond = if window.is_ascii() { 0 } else { positions(window, |byte| byte >= 0x80) };
        let before_spaces = spaces & !(spaces << 1) & !1;
        // Hardly ever is there a cut between two letters, but for a small and a capital one.
        let joined = (lower & (lower | upper) << 1) | (upper & upper << 1) | (beyond | spaces) | (beyond | spaces) << 1;
        let mut others = !joined & !1;
        let mut cuts = before_spaces;
        while others != 0 {
            let place = others.trailing_zeros() as usize;
            let is_cut = self.pairs.has(window[(place + BYTES - 1) % BYTES], window[place]);
            cuts |= u64::from(is_cut) << place;
            others &= others - 1;
        }
        let length = text.len() - at;
        if length < BYTES {
            cuts = cuts & ((1 << length) - 1) | 1 << length;
        }
        if !reaches.is_empty() {
            cuts &= !Self::reached_over(before_spaces, window, text, at, reaches);
        }
        cuts
    }

    /// Of the places where spaces begin, those where a token may reach over them.
    #[inline]
    fn reached_over(mut begins: u64, window: &[u8; BYTES], text: &[u8], at: usize, reaches: &Reaches) -> u64 {
        let mut reached = 0;
        while begins != 0 {
            let place = begins.trailing_zeros() as usize;
            if reaches.before()[usize::from(window[(place + BYTES - 1) % BYTES])]
                && reaches.over(text, at + place).is_some()
            {
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
            if self.pairs.has(first, second) {
                match reaches.over(text, at) {
                    Some(end) => at = end,
                    None => return at,
                }
            }
        }
        text.len()
    }
}
