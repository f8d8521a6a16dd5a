//! Merging a word of ordinary length: a pass over all pairs for each merge.

use super::merge_table::{MergeTable, NEVER};

/// Most symbols of a short word.
pub(super) const SHORT: usize = 32;

/// A short word while it is merged.
pub(super) struct ShortWord {
    /// The tokens; where one is no more, the links leave it out.
    ids: [u32; SHORT],
    /// The rank of the merge of each with the next, above its place, so that the least of them is the next to do. They are written one by
    /// one and read soon after, which a processor does faster when it need not put several together for a vector.
    keys: [u64; SHORT],
    next: [u8; SHORT],
    previous: [u8; SHORT],
    count: usize,
}

impl ShortWord {
    const LAST: usize = SHORT - 1;

    #[inline]
    fn key(rank: u32, place: usize) -> u64 {
        u64::from(rank) << 32 | place as u64
    }

    /// `count` tokens, of which `token` gives the id and the rank of the merge with the next.
    #[inline]
    pub(super) fn new(count: usize, token: impl Fn(usize) -> (u32, u32)) -> Self {
        let mut word = ShortWord {
            ids: [0; SHORT],
            keys: [u64::MAX; SHORT],
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
    pub(super) fn merge(&mut self, merges: &MergeTable) {
        let used = self.count.next_multiple_of(4).min(SHORT);
        loop {
            // Four minima at a time don't wait for each other.
            let mut least = [u64::MAX; 4];
            for four in self.keys[..used].chunks_exact(4) {
                for (least, &key) in least.iter_mut().zip(four) {
                    *least = key.min(*least);
                }
            }
            let first = least[0].min(least[1]).min(least[2].min(least[3]));
            let (rank, at) = ((first >> 32) as u32, first as usize & Self::LAST);
            if rank == NEVER {
                break;
            }
            let gone = usize::from(self.next[at]) & Self::LAST;
            let after = usize::from(self.next[gone]);
            let id = merges.id(rank);
            self.ids[at] = id;
            self.keys[gone] = u64::MAX;
            self.next[at] = after as u8;
            self.keys[at] = u64::MAX;
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
    pub(super) fn tokens(&self) -> impl Iterator<Item = (u32, usize, usize)> {
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
