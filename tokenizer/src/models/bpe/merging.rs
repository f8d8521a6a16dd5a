//! Merging the symbols of a word: the lowest rank first, the leftmost of equals.
//!
//! A pass over all pairs for each merge is fastest for a word of ordinary length. Longer ones keep their pairs in a heap,
//! which takes n log n steps for n symbols.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::byte_merges::ByteMerges;
use super::merge_table::{MergeTable, NEVER};

/// Words of at most so many symbols are merged without a heap.
const SHORT: usize = 32;

/// With more merges, a rank and a place are too large for a number.
const MOST_SHORT: usize = i32::MAX as usize / SHORT;

/// No neighbour.
const NOWHERE: u32 = u32::MAX;

/// A symbol of a word: a token, and how many bytes of the word it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) id: u32,
    pub(crate) len: u32,
}

/// A symbol in a list, with the rank of its merge with the next. One of length 0 is no more.
#[derive(Clone, Copy, Debug)]
struct Linked {
    symbol: Symbol,
    rank: u32,
    previous: u32,
    next: u32,
}

/// Working memory, kept from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A word as the vocabulary writes it: no longer than a token.
    pub(crate) written: Vec<u8>,
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

/// A short word while it is merged.
struct ShortWord {
    /// The tokens; where one is no more, the links leave it out.
    ids: [u32; SHORT],
    /// The rank of the merge of each with the next, above its place, so that the least of them is the next to do.
    keys: [i32; SHORT],
    next: [u8; SHORT],
    previous: [u8; SHORT],
    count: usize,
}

impl ShortWord {
    const LAST: usize = SHORT - 1;
    /// Where there is nothing to merge.
    const NOTHING: i32 = i32::MAX;

    #[inline]
    fn key(rank: u32, place: usize) -> i32 {
        if rank == NEVER { Self::NOTHING } else { (rank as usize * SHORT + place) as i32 }
    }

    /// `count` tokens, of which `token` gives the id and the rank of the merge with the next.
    #[inline]
    fn new(count: usize, token: impl Fn(usize) -> (u32, u32)) -> Self {
        let mut word = ShortWord {
            ids: [0; SHORT],
            keys: [Self::NOTHING; SHORT],
            next: const { links(1) },
            previous: const { links(-1) },
            count: count.min(SHORT),
        };
        for place in 0..word.count {
            let (id, rank) = token(place);
            word.ids[place] = id;
            word.keys[place] = Self::key(rank, place);
        }
        word
    }

    #[inline]
    fn merge(&mut self, merges: &MergeTable) {
        let used = self.count.next_multiple_of(4).min(SHORT);
        loop {
            // Four minima at a time don't wait for each other.
            let mut least = [Self::NOTHING; 4];
            for four in self.keys[..used].chunks_exact(4) {
                for (least, &key) in least.iter_mut().zip(four) {
                    *least = key.min(*least);
                }
            }
            let first = least[0].min(least[1]).min(least[2].min(least[3]));
            if first == Self::NOTHING {
                break;
            }
            let (rank, at) = (first as u32 / SHORT as u32, first as usize & Self::LAST);
            let gone = usize::from(self.next[at]) & Self::LAST;
            let after = usize::from(self.next[gone]);
            let id = merges.id(rank);
            self.ids[at] = id;
            self.keys[gone] = Self::NOTHING;
            self.next[at] = after as u8;
            self.keys[at] = Self::NOTHING;
            if after < self.count {
                let after = after & Self::LAST;
                self.previous[after] = at as u8;
                self.keys[at] = Self::key(merges.rank(id, self.ids[after]), at);
            }
            if at > 0 {
                let before = usize::from(self.previous[at]) & Self::LAST;
                self.keys[before] = Self::key(merges.rank(self.ids[before], id), before);
            }
        }
    }

    /// The tokens that are left: their ids, where they begin, and where the next does.
    #[inline]
    fn tokens(&self) -> impl Iterator<Item = (u32, usize, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at;
            at = usize::from(*self.next.get(start).filter(|_| start < self.count)?);
            Some((self.ids[start], start, at))
        })
    }
}

/// The places before or after each.
const fn links(by: i8) -> [u8; SHORT] {
    let mut links = [0; SHORT];
    let mut place = 0;
    while place < SHORT {
        links[place] = (place as u8).wrapping_add_signed(by);
        place += 1;
    }
    links
}

impl MergeTable {
    /// Merges `scratch.symbols` until no pair merges any more.
    #[inline]
    pub(crate) fn merge(&self, scratch: &mut Scratch) {
        let symbols = &mut scratch.symbols;
        match symbols.len() {
            0 | 1 => {}
            2..=SHORT if self.len() < MOST_SHORT => {
                let mut word = ShortWord::new(symbols.len(), |place| {
                    let (id, next) = (symbols[place].id, symbols.get(place + 1));
                    (id, next.map_or(NEVER, |next| self.rank(id, next.id)))
                });
                word.merge(self);
                let mut count = 0;
                for (id, start, end) in word.tokens() {
                    let len = symbols[start..end].iter().map(|symbol| symbol.len).sum();
                    symbols[count] = Symbol { id, len };
                    count += 1;
                }
                symbols.truncate(count);
            }
            _ => self.merge_long(scratch),
        }
    }

    /// Appends the ids that merging gives for a word of bytes, whose merges `of_bytes` knows.
    #[inline]
    pub(crate) fn merge_bytes(&self, word: &[u8], of_bytes: &ByteMerges, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if word.len() <= SHORT && self.len() < MOST_SHORT {
            let mut short = ShortWord::new(word.len(), |place| {
                let (byte, next) = (word[place], word.get(place + 1));
                (of_bytes.id(byte), next.map_or(NEVER, |&next| of_bytes.rank(byte, next)))
            });
            short.merge(self);
            ids.extend(short.tokens().map(|(id, ..)| id));
            return;
        }
        scratch.symbols.clear();
        scratch.symbols.extend(word.iter().map(|&byte| Symbol { id: of_bytes.id(byte), len: 1 }));
        self.merge_long(scratch);
        ids.extend(scratch.symbols.iter().map(|symbol| symbol.id));
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
            Linked { symbol, rank: NEVER, previous, next: place }
        }));
        if let Some(last) = linked.last_mut() {
            last.next = NOWHERE;
        }
        for place in 0..linked.len() as u32 {
            self.look_up(linked, place, heap);
        }
        while let Some(Reverse((rank, place))) = heap.pop() {
            let here = linked[place as usize];
            if here.symbol.len == 0 || here.rank != rank {
                continue;
            }
            let gone = linked[here.next as usize];
            linked[here.next as usize].symbol.len = 0;
            linked[place as usize].symbol = Symbol { id: self.id(rank), len: here.symbol.len + gone.symbol.len };
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
        let rank = next.map_or(NEVER, |next| self.rank(here.symbol.id, next.symbol.id));
        linked[place as usize].rank = rank;
        if rank != NEVER {
            heap.push(Reverse((rank, place)));
        }
    }
}
