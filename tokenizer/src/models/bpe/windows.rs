//! Merging a long word window by window, in time linear in its length.
//!
//! That the tokens are the same rests on two properties of merging by rank, whatever the merges are. Let a word be cut into X, Y and Z, and Y
//! not be empty.
//!
//! 1. If tokens of a word end at both ends of Y, then Y by itself merges to those between: no merge went over its ends, and the first
//!    merge within Y of those that were left has always been the next within Y.
//! 2. If a token of XY begins where Y does, and a token of YZ ends where Y does, then the tokens of XYZ are those of X, Y and Z. As long as no
//!    merge goes over an end of Y, what is done within XY is what XY by itself does, in the same order, and so it is with YZ; thus the first to
//!    go over one would be among the merges of XY or of YZ.
//!
//! So a window may begin where any token begins of what is merged so far, and from the first place on where a token begins
//! in both, its tokens are those of the word. Where there is none, the window was too small.

use super::heap::HeapWord;
use super::merge_table::{MergeTable, NEVER};
use super::short_word::{SHORT, ShortWord};

/// A token: its id, and the symbol of the word with which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) start: u32,
}

/// A long word while it is merged.
#[derive(Debug, Default)]
pub(super) struct Windows {
    tokens: Vec<Token>,
    window: Vec<Token>,
    heap: HeapWord,
}

impl Windows {
    /// Merges a word of `count` symbols, of which `symbol` gives the id and the rank of the merge with the next. A text is less than
    /// 4 GiB, so places fit.
    pub(super) fn merge(
        &mut self,
        merges: &MergeTable,
        count: usize,
        symbol: impl Fn(usize) -> (u32, u32),
    ) -> &[Token] {
        self.tokens.clear();
        let (mut end, mut size) = (0, SHORT);
        while end < count {
            // The last tokens may be others for want of what comes behind them.
            let overlap = size / 4;
            let first = self.tokens.iter().rposition(|token| token.start as usize + overlap <= end).unwrap_or(0);
            let start = self.tokens.get(first).map_or(0, |token| token.start as usize);
            let window = start..count.min(start + size);
            // Half of a window is new, so that doubling takes no more than a share of the time.
            let is_large_enough = 2 * (end - start) <= size;
            if is_large_enough {
                self.merge_window(merges, window.len(), |place| symbol(start + place));
                if let Some((known, new)) = self.join(first, start, end) {
                    self.tokens.truncate(known);
                    let place = |token: &Token| Token { start: token.start + start as u32, ..*token };
                    self.tokens.extend(self.window[new..].iter().map(place));
                    (end, size) = (window.end, SHORT);
                    continue;
                }
            }
            size *= 2;
        }
        &self.tokens
    }

    fn merge_window(&mut self, merges: &MergeTable, count: usize, symbol: impl Fn(usize) -> (u32, u32)) {
        let symbol = |place| {
            let (id, rank) = symbol(place);
            (id, if place + 1 < count { rank } else { NEVER })
        };
        self.window.clear();
        if count <= SHORT {
            let mut word = ShortWord::new(count, symbol);
            word.merge(merges);
            self.window.extend(word.tokens().map(|(id, start, _)| Token { id, start: start as u32 }));
        } else {
            self.heap.set(count, symbol);
            self.heap.merge(merges);
            self.window.extend(self.heap.tokens().map(|(id, start)| Token { id, start: start as u32 }));
        }
    }

    /// How many of the tokens stay, and from which one on those of the window follow, which begins at `start` with token `first`. What
    /// is merged so far ends at `end`.
    fn join(&self, first: usize, start: usize, end: usize) -> Option<(usize, usize)> {
        if start == 0 {
            return Some((0, 0));
        }
        let mut known = first + 1;
        for (new, token) in self.window.iter().enumerate().skip(1) {
            let begins = token.start as usize + start;
            let begin = |known: usize| self.tokens.get(known).map_or(end, |token| token.start as usize);
            while begin(known) < begins && known < self.tokens.len() {
                known += 1;
            }
            if begin(known) == begins {
                return Some((known, new));
            }
        }
        None
    }

    /// How many symbols there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.tokens.capacity().max(self.window.capacity()).max(self.heap.capacity())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(merges: &[(u32, u32, u32)]) -> MergeTable {
        MergeTable::new(&[merges.to_vec(), Vec::new()]).expect("few merges")
    }

    fn merged(windows: &mut Windows, merges: &MergeTable, word: &[u32]) -> Vec<Token> {
        let symbol =
            |place: usize| (word[place], word.get(place + 1).map_or(NEVER, |&next| merges.rank(word[place], next)));
        windows.merge(merges, word.len(), symbol).to_vec()
    }

    /// The definition: the pair of lowest rank, the leftmost of them, again and again.
    fn reference(merges: &MergeTable, word: &[u32]) -> Vec<Token> {
        let mut tokens: Vec<Token> = word.iter().zip(0..).map(|(&id, start)| Token { id, start }).collect();
        loop {
            let rank = |pair: &[Token]| Some(merges.rank(pair[0].id, pair[1].id)).filter(|&rank| rank != NEVER);
            let pairs = tokens.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at)));
            let Some((rank, at)) = pairs.min() else {
                return tokens;
            };
            tokens.remove(at + 1);
            tokens[at].id = merges.id(rank);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

        #[test]
        fn tokens_are_those_of_the_definition(
            symbols in 1u32..6,
            pairs in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..40),
            word in prop::collection::vec(any::<u32>(), 0..400),
        ) {
            // What a merge makes may be what others make, or a symbol.
            let known = |place: u32| symbols + place;
            let merge = |(&(left, right, id), place): (&(u32, u32, u32), u32)| {
                (left % known(place), right % known(place), if id % 4 > 0 { known(place) } else { id / 4 % known(place) })
            };
            let merges = table(&pairs.iter().zip(0..).map(merge).collect::<Vec<_>>());
            let word: Vec<u32> = word.iter().map(|symbol| symbol % symbols).collect();
            prop_assert_eq!(merged(&mut Windows::default(), &merges, &word), reference(&merges, &word));
        }
    }

    #[test]
    fn tokens_that_depend_on_what_is_far_away_are_those_of_the_definition() {
        const SYMBOLS: u32 = 300;
        let pair = |left: u32| (left, left + 1, SYMBOLS + left);
        let rising: Vec<_> = (0..SYMBOLS - 1).map(pair).collect();
        let falling: Vec<_> = rising.iter().rev().copied().collect();
        let doubling: Vec<_> = (0..9).map(|size| (size, size, size + 1)).collect();
        let mut windows = Windows::default();
        for merges in [rising, falling, doubling].map(|merges| table(&merges)) {
            for count in (0..100).chain([255, 256, 257, 299, 300, 301, 600, 700]) {
                for step in [0, 1, SYMBOLS - 1] {
                    let word: Vec<u32> = (0..count).map(|place| place * step % SYMBOLS).collect();
                    assert_eq!(merged(&mut windows, &merges, &word), reference(&merges, &word), "{count} {step}");
                }
            }
        }
    }
}
