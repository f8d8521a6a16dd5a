//! Merging with the pairs in a heap, which takes n log n steps for n symbols.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::merge_table::{MergeTable, NEVER};

/// No neighbour.
const NOWHERE: u32 = u32::MAX;

/// A symbol in a list, with the rank of its merge with the next: [`NEVER`] where it is no more.
#[derive(Clone, Copy, Debug)]
struct Linked {
    id: u32,
    rank: u32,
    previous: u32,
    next: u32,
}

/// A word while it is merged.
#[derive(Debug, Default)]
pub(super) struct HeapWord {
    linked: Vec<Linked>,
    /// (rank, place) of pairs; outdated ones stay until they come up.
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl HeapWord {
    /// Takes `count` symbols, of which `symbol` gives the id and the rank of the merge with the next. A text is less than 4 GiB, so
    /// places fit.
    pub(super) fn set(&mut self, count: usize, symbol: impl Fn(usize) -> (u32, u32)) {
        self.linked.clear();
        self.linked.extend((0..count).map(|place| {
            let (id, rank) = symbol(place);
            let previous = place.checked_sub(1).map_or(NOWHERE, |previous| previous as u32);
            let next = if place + 1 < count { place as u32 + 1 } else { NOWHERE };
            Linked { id, rank, previous, next }
        }));
        let mut pairs = std::mem::take(&mut self.heap).into_vec();
        pairs.clear();
        let ranks = self.linked.iter().zip(0..).filter(|(linked, _)| linked.rank != NEVER);
        pairs.extend(ranks.map(|(linked, place)| Reverse((linked.rank, place))));
        self.heap = pairs.into();
    }

    pub(super) fn merge(&mut self, merges: &MergeTable) {
        while let Some(Reverse((rank, place))) = self.heap.pop() {
            let Linked { rank: current, previous, next, .. } = self.linked[place as usize];
            if current != rank {
                continue;
            }
            let after = self.linked[next as usize].next;
            self.linked[next as usize].rank = NEVER;
            self.linked[place as usize].id = merges.id(rank);
            self.linked[place as usize].next = after;
            if let Some(after) = self.linked.get_mut(after as usize) {
                after.previous = place;
            }
            self.look_up(merges, place);
            if previous != NOWHERE {
                self.look_up(merges, previous);
            }
        }
    }

    /// Finds out what the symbol at `place` and the next merge to.
    fn look_up(&mut self, merges: &MergeTable, place: u32) {
        let here = self.linked[place as usize];
        let rank = self.linked.get(here.next as usize).map_or(NEVER, |next| merges.rank(here.id, next.id));
        self.linked[place as usize].rank = rank;
        if rank != NEVER {
            self.heap.push(Reverse((rank, place)));
        }
    }

    /// The tokens that are left: their ids, and where they begin.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = at;
            let Linked { id, next, .. } = *self.linked.get(start)?;
            at = next as usize;
            Some((id, start))
        })
    }

    /// How many symbols there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.linked.capacity()
    }
}
