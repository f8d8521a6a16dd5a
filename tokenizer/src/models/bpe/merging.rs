//! Merging the symbols of a word: the lowest rank first, the leftmost of equals.
//!
//! A pass over all pairs for each merge is fastest for a word of ordinary length. Longer ones keep their
//! pairs in a heap, which takes n log n steps for n symbols.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::merge_table::{Merge, MergeTable, NEVER};

/// Words of at most so many symbols are merged without a heap.
const SHORT: usize = 32;

/// No neighbour.
const NOWHERE: u32 = u32::MAX;

/// A symbol of a word: a token, and how many bytes of the word it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) id: u32,
    pub(crate) len: u32,
}

/// A symbol in a list, with what it and the next would merge to. One of length 0 is no more.
#[derive(Clone, Copy, Debug)]
struct Linked {
    symbol: Symbol,
    merge: Merge,
    previous: u32,
    next: u32,
}

/// Working memory, kept from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The word as symbols: before merging single characters, after it the tokens.
    pub(crate) symbols: Vec<Symbol>,
    /// A character with its affixes.
    pub(super) piece: String,
    linked: Vec<Linked>,
    /// (rank, place) of pairs; outdated ones stay until they come up.
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl MergeTable {
    /// Merges `scratch.symbols` until no pair merges any more.
    #[inline]
    pub(crate) fn merge(&self, scratch: &mut Scratch) {
        match scratch.symbols.len() {
            0 | 1 => {}
            2..=SHORT => self.merge_short(&mut scratch.symbols),
            _ => self.merge_long(scratch),
        }
    }

    fn merge_short(&self, symbols: &mut Vec<Symbol>) {
        let mut merges = [Merge::NONE; SHORT];
        let mut pairs = symbols.len() - 1;
        for (merge, pair) in merges.iter_mut().zip(symbols.windows(2)) {
            *merge = self.get(pair[0].id, pair[1].id);
        }
        loop {
            let (mut at, mut lowest) = (0, NEVER);
            for (place, merge) in merges[..pairs].iter().enumerate() {
                if merge.rank < lowest {
                    (at, lowest) = (place, merge.rank);
                }
            }
            if lowest == NEVER {
                return;
            }
            symbols[at] = Symbol { id: merges[at].id, len: symbols[at].len + symbols[at + 1].len };
            symbols.remove(at + 1);
            merges.copy_within(at + 1..pairs, at);
            pairs -= 1;
            if at < pairs {
                merges[at] = self.get(symbols[at].id, symbols[at + 1].id);
            }
            if let Some(before) = at.checked_sub(1) {
                merges[before] = self.get(symbols[before].id, symbols[at].id);
            }
        }
    }

    fn merge_long(&self, scratch: &mut Scratch) {
        let Scratch { symbols, linked, heap, .. } = scratch;
        linked.clear();
        heap.clear();
        // A text is less than 4 GiB, so places fit.
        let mut place = 0;
        linked.extend(symbols.iter().map(|&symbol| {
            let previous = if place == 0 { NOWHERE } else { place - 1 };
            place += 1;
            Linked { symbol, merge: Merge::NONE, previous, next: place }
        }));
        if let Some(last) = linked.last_mut() {
            last.next = NOWHERE;
        }
        for place in 0..linked.len() as u32 {
            self.look_up(linked, place, heap);
        }
        while let Some(Reverse((rank, place))) = heap.pop() {
            let here = linked[place as usize];
            if here.symbol.len == 0 || here.merge.rank != rank {
                continue;
            }
            let gone = linked[here.next as usize];
            linked[here.next as usize].symbol.len = 0;
            linked[place as usize].symbol = Symbol { id: here.merge.id, len: here.symbol.len + gone.symbol.len };
            linked[place as usize].next = gone.next;
            if let Some(next) = linked.get_mut(gone.next as usize) {
                next.previous = place;
            }
            self.look_up(linked, place, heap);
            if here.previous != NOWHERE {
                self.look_up(linked, here.previous, heap);
            }
        }
        symbols.clear();
        symbols.extend(linked.iter().map(|linked| linked.symbol).filter(|symbol| symbol.len > 0));
    }

    /// Finds out what the symbol at `place` and the next merge to.
    fn look_up(&self, linked: &mut [Linked], place: u32, heap: &mut BinaryHeap<Reverse<(u32, u32)>>) {
        let here = linked[place as usize];
        let next = linked.get(here.next as usize);
        let merge = next.map_or(Merge::NONE, |next| self.get(here.symbol.id, next.symbol.id));
        linked[place as usize].merge = merge;
        if merge.rank != NEVER {
            heap.push(Reverse((merge.rank, place)));
        }
    }
}
