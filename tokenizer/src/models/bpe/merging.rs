//! Merging the symbols of a word: the lowest rank first, the leftmost of equals.
//!
//! A pass over all pairs for each merge is fastest for a word of ordinary length. Longer ones keep their pairs in a heap,
//! which takes n log n steps for n symbols.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::byte_merges::ByteMerges;
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

/// Symbols that a scratch may keep room for; a longer word gives its memory back.
const KEPT_SYMBOLS: usize = 1 << 16;

impl Scratch {
    /// Gives back what a very long word took.
    pub(crate) fn shrink(&mut self) {
        if self.symbols.capacity() > KEPT_SYMBOLS {
            *self = Scratch::default();
        }
    }
}

impl MergeTable {
    /// Merges `scratch.symbols` until no pair merges any more.
    #[inline]
    pub(crate) fn merge(&self, scratch: &mut Scratch) {
        match scratch.symbols.len() {
            0 | 1 => {}
            2..=SHORT => {
                let symbols = &mut scratch.symbols;
                let mut merges = [Merge::NONE; SHORT];
                for (merge, pair) in merges.iter_mut().zip(symbols.windows(2)) {
                    *merge = self.get(pair[0].id, pair[1].id);
                }
                self.merge_short(symbols, &merges);
            }
            _ => self.merge_long(scratch),
        }
    }

    /// As [`merge`](Self::merge) for a word of single bytes, the merges of whose pairs `of_bytes` knows.
    #[inline]
    pub(crate) fn merge_bytes(&self, word: &[u8], of_bytes: &ByteMerges, scratch: &mut Scratch) {
        scratch.symbols.clear();
        scratch.symbols.extend(word.iter().map(|&byte| Symbol { id: of_bytes.id(byte), len: 1 }));
        if !(2..=SHORT).contains(&word.len()) {
            return self.merge(scratch);
        }
        let mut merges = [Merge::NONE; SHORT];
        for (merge, pair) in merges.iter_mut().zip(word.windows(2)) {
            *merge = of_bytes.get(pair[0], pair[1]);
        }
        self.merge_short(&mut scratch.symbols, &merges);
    }

    /// `merges` has the merge of each symbol with the next.
    fn merge_short(&self, symbols: &mut Vec<Symbol>, merges: &[Merge; SHORT]) {
        const LAST: usize = SHORT - 1;
        let count = symbols.len().min(SHORT);
        // What each place would merge to; `keys` has the rank above the place, so that the least of them is next.
        let mut becomes = [0; SHORT];
        let mut keys = [u64::MAX; SHORT];
        let key = |merge: Merge, place: usize| match merge.rank {
            NEVER => u64::MAX,
            rank => u64::from(rank) << 32 | place as u64,
        };
        let mut next = [0u8; SHORT];
        let mut previous = [0u8; SHORT];
        for place in 0..SHORT {
            keys[place] = if place + 1 < count { key(merges[place], place) } else { u64::MAX };
            becomes[place] = merges[place].id;
            next[place] = place as u8 + 1;
            previous[place] = (place as u8).wrapping_sub(1);
        }
        let used = count.next_multiple_of(4).min(SHORT);
        loop {
            // Four minima at a time don't wait for each other.
            let mut least = [u64::MAX; 4];
            for four in keys[..used].chunks_exact(4) {
                for (least, &key) in least.iter_mut().zip(four) {
                    *least = key.min(*least);
                }
            }
            let first = least[0].min(least[1]).min(least[2].min(least[3]));
            if first == u64::MAX {
                break;
            }
            let at = first as usize & LAST;
            let gone = usize::from(next[at]) & LAST;
            let after = usize::from(next[gone]);
            symbols[at] = Symbol { id: becomes[at], len: symbols[at].len + symbols[gone].len };
            symbols[gone].len = 0;
            keys[gone] = u64::MAX;
            next[at] = after as u8;
            if after < count {
                previous[after] = at as u8;
            }
            for (left, right) in [(at, after), (usize::from(previous[at]), at)] {
                if left < count {
                    let right = symbols.get(right);
                    let merge = right.map_or(Merge::NONE, |right| self.get(symbols[left].id, right.id));
                    becomes[left] = merge.id;
                    keys[left] = key(merge, left);
                }
            }
        }
        symbols.retain(|symbol| symbol.len > 0);
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
