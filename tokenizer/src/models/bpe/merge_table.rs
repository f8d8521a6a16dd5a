//! What two neighbouring tokens merge to, and how soon.

use std::collections::HashMap;

use super::BpeFault;
use crate::TokenizerError;
use crate::both::both;
use crate::compiled::{Reader, Writer};
use crate::large_table::LargeTable;
use crate::numbers::Numbers;
use crate::probes::{MOST_PROBES, probes};

/// The rank of a pair that doesn't merge. Later than any merge.
pub(super) const NEVER: u32 = u32::MAX;

/// Bits of an id, and of a rank, in a slot. The bit above them is set where the slot is taken.
const BITS: u32 = 21;
const LIMIT: u32 = 1 << BITS;

/// The rank in the slot of a merge that is among the large ones.
const LARGE: u32 = LIMIT - 1;

/// Bits of the filter for each merge, and most of its words: 256 KiB.
const FILTER_BITS: usize = 8;
const MOST_FILTER_WORDS: usize = 1 << 15;

/// A hash table from pairs of ids to the places of their merges in the list.
///
/// What merging a word asks for comes from all over the table, so its size decides how fast that is: a slot is eight bytes, and most pairs
/// that don't merge are turned away before. Which ones can't be foreseen, so that no branch depends on it.
#[derive(Debug)]
pub(crate) struct MergeTable {
    /// The left id, the right one and the rank, from the upper bits down; 0 where free. At most four fifths are taken.
    slots: Numbers<u64>,
    /// The hash's upper bits say where to begin; this many are not used.
    shift: u32,
    /// Two bits in one word for each pair that merges.
    filter: Numbers<u64>,
    filter_shift: u32,
    /// The ranks of merges of ids, or with ranks, that a slot has no bits for, and of those that collide with too many others.
    large: HashMap<(u32, u32), u32>,
    /// What merges become, by rank.
    ids: Numbers<u32>,
    /// The first of these, where the others follow one by one, so that there is no need to look.
    first_in_order: Option<u32>,
}

/// Takes merges in their order.
struct MergeTableBuilder {
    slots: LargeTable<u64>,
    filter: Vec<u64>,
    large: HashMap<(u32, u32), u32>,
    ids: Vec<u32>,
    /// Whether these follow each other.
    in_order: bool,
}

/// The ids of the tokens of a merge, and of what they become.
pub(crate) type Merge = (u32, u32, u32);

/// So many merges are worth a second thread.
pub(super) const MANY_MERGES: usize = 1 << 14;

/// Merges that are looked at together.
const ADDED_TOGETHER: usize = 64;

/// Half of the slots and of the words of the filter: those for the hashes whose highest bit is `number`.
struct Half<'a> {
    number: u64,
    slots: &'a mut [u64],
    filter: &'a mut [u64],
    /// Of a hash, for a place among the slots and the words of both halves.
    shifts: (u32, u32),
}

impl Half<'_> {
    /// Takes the merges that belong here, the first of which has this rank; adds the ranks of those that don't fit.
    fn take(&mut self, merges: &[Merge], rank: usize, later: &mut Vec<usize>) {
        let (mask, filter_mask) = (self.slots.len() - 1, self.filter.len() - 1);
        for (merges, start) in merges.chunks(ADDED_TOGETHER).zip((0..).step_by(ADDED_TOGETHER)) {
            let (mut ours, mut count) = ([(0, 0); ADDED_TOGETHER], 0);
            for (&(left, right, _), at) in merges.iter().zip(start..) {
                let hash = MergeTable::hash(left, right);
                // No branch could foresee this.
                ours[count] = (hash, at);
                count += usize::from(hash >> 63 == self.number);
            }
            // In a large table, one slot after the other would wait for memory.
            let slots = ours[..count].iter().map(|&(hash, _)| self.slots[(hash >> self.shifts.0) as usize & mask]);
            std::hint::black_box(slots.fold(0, |all, slot| all | slot));
            for &(hash, at) in &ours[..count] {
                let (left, right, _) = merges[at - start];
                let rank = rank + at;
                if (left | right) >= LIMIT || rank >= LARGE as usize {
                    later.push(rank);
                    continue;
                }
                self.filter[(hash >> self.shifts.1) as usize & filter_mask] |= MergeTable::bits(hash);
                let pair = MergeTable::pair(left, right);
                let slots = &mut self.slots[(hash >> self.shifts.0) as usize & mask..];
                match slots.iter_mut().take(MOST_PROBES).find(|slot| **slot == 0 || **slot >> BITS == pair) {
                    Some(slot) => *slot = pair << BITS | rank as u64,
                    None => later.push(rank),
                }
            }
        }
    }
}

/// Slots that are looked at together.
const TOGETHER: usize = 4;

/// How far the upper bits of a hash, which are a place among so many, a power of two that is not 1, have to go down.
fn shift(places: usize) -> u32 {
    u64::BITS - places.trailing_zeros()
}

impl MergeTableBuilder {
    fn with_capacity(merges: usize) -> Self {
        let size = (merges + merges / 4 + 1).next_power_of_two().max(2);
        let words = (merges * FILTER_BITS / 64).next_power_of_two().clamp(2, MOST_FILTER_WORDS);
        MergeTableBuilder {
            slots: LargeTable::new(size),
            filter: vec![0; words],
            large: HashMap::new(),
            ids: Vec::with_capacity(merges),
            in_order: true,
        }
    }

    /// Adds all merges, first those of the first list, for which the caller has made room. The table is the same however many threads there are.
    fn extend(&mut self, merges: &[Vec<Merge>; 2]) {
        let [before, after] = merges;
        if before.len() + after.len() < MANY_MERGES {
            return merges.iter().flatten().for_each(|&merge| self.push(merge));
        }
        merges.iter().flatten().for_each(|&(.., id)| self.push_id(id));
        let shifts = (shift(self.slots.len()), shift(self.filter.len()));
        let middles = (self.slots.len() / 2, self.filter.len() / 2);
        let (slots, filters) = (self.slots.split_at_mut(middles.0), self.filter.split_at_mut(middles.1));
        let take = |half: &mut Half| {
            let mut later = Vec::new();
            half.take(before, 0, &mut later);
            half.take(after, before.len(), &mut later);
            later
        };
        let mut first = Half { number: 0, slots: slots.0, filter: filters.0, shifts };
        let mut second = Half { number: 1, slots: slots.1, filter: filters.1, shifts };
        let (mut later, others) = both(|| take(&mut first), || take(&mut second));
        later.extend(others);
        later.sort_unstable();
        for rank in later {
            let merge = before.get(rank).or_else(|| after.get(rank - before.len()));
            if let Some(&(left, right, _)) = merge {
                self.insert(left, right, rank as u32);
            }
        }
    }

    /// Adds the next merge of the list, for which the caller has made room.
    fn push(&mut self, (left, right, id): Merge) {
        // The caller counts.
        let rank = self.ids.len() as u32;
        self.push_id(id);
        self.insert(left, right, rank);
    }

    fn push_id(&mut self, id: u32) {
        let rank = self.ids.len() as u32;
        self.ids.push(id);
        self.in_order &= self.ids[0].checked_add(rank) == Some(id);
    }

    /// Where a pair is listed twice, the last place counts, as the reference has it.
    fn insert(&mut self, left: u32, right: u32, rank: u32) {
        let hash = MergeTable::hash(left, right);
        let word = (hash >> shift(self.filter.len())) as usize;
        self.filter[word] |= MergeTable::bits(hash);
        if (left | right) >= LIMIT || rank >= LARGE {
            self.large.insert((left, right), rank);
        }
        if (left | right) < LIMIT {
            let pair = MergeTable::pair(left, right);
            let mut places = probes((hash >> shift(self.slots.len())) as usize, self.slots.len());
            match places.find(|&at| self.slots[at] == 0 || self.slots[at] >> BITS == pair) {
                Some(at) => self.slots[at] = pair << BITS | u64::from(rank.min(LARGE)),
                None => _ = self.large.insert((left, right), rank),
            }
        }
    }

    fn build(self) -> MergeTable {
        MergeTable {
            shift: shift(self.slots.len()),
            slots: self.slots.into(),
            filter_shift: shift(self.filter.len()),
            filter: self.filter.into(),
            large: self.large,
            first_in_order: self.ids.first().copied().filter(|_| self.in_order),
            ids: self.ids.into(),
        }
    }
}

impl MergeTable {
    /// The table of all these merges, those of the first list before those of the second.
    pub(crate) fn new(merges: &[Vec<Merge>; 2]) -> Result<Self, BpeFault> {
        let count = merges[0].len().saturating_add(merges[1].len());
        if u32::try_from(count).is_err() {
            return Err(BpeFault::TooMany);
        }
        let mut builder = MergeTableBuilder::with_capacity(count);
        builder.extend(merges);
        Ok(builder.build())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.numbers("slots", &self.slots);
        writer.numbers("filter", &self.filter);
        let mut large: Vec<[u32; 3]> = self.large.iter().map(|(&(left, right), &rank)| [left, right, rank]).collect();
        large.sort_unstable();
        writer.numbers("large", &large);
        writer.numbers("ids", &self.ids);
        writer.number("in_order", self.first_in_order.is_some().into());
    }

    pub(super) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let (slots, filter) = (reader.slots("slots")?, reader.slots("filter")?);
        let large: Numbers<[u32; 3]> = reader.numbers("large")?;
        let ids: Numbers<u32> = reader.numbers("ids")?;
        let in_order = reader.number("in_order")? != 0;
        Ok(MergeTable {
            shift: shift(slots.len()),
            slots,
            filter_shift: shift(filter.len()),
            filter,
            large: large.iter().map(|&[left, right, rank]| ((left, right), rank)).collect(),
            first_in_order: ids.first().copied().filter(|_| in_order),
            ids,
        })
    }

    #[inline]
    fn hash(left: u32, right: u32) -> u64 {
        let key = (u64::from(left) << 32) | u64::from(right);
        // Fibonacci hashing after a fold that lets the left token reach every bit.
        (key ^ (key >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The bits of a hash in its word of the filter.
    #[inline]
    fn bits(hash: u64) -> u64 {
        1 << (hash >> 32 & 63) | 1 << (hash >> 26 & 63)
    }

    #[inline]
    fn pair(left: u32, right: u32) -> u64 {
        1 << (2 * BITS) | u64::from(left) << BITS | u64::from(right)
    }

    /// The rank of the merge of `left` with `right`, [`NEVER`] where they don't.
    #[inline]
    pub(super) fn rank(&self, left: u32, right: u32) -> u32 {
        let hash = Self::hash(left, right);
        let bits = Self::bits(hash);
        let may_merge = self.filter.get((hash >> self.filter_shift) as usize).is_some_and(|word| word & bits == bits);
        if (left | right) >= LIMIT {
            return if may_merge { self.large_rank(left, right) } else { NEVER };
        }
        let first = if may_merge { (hash >> self.shift) as usize } else { 0 };
        let pair = if may_merge { Self::pair(left, right) } else { 0 };
        let Some(slots) = self.slots.get(first..).and_then(<[u64]>::first_chunk::<TOGETHER>) else {
            return self.rank_from(first, left, right);
        };
        let (mut found, mut is_settled) = (0, !may_merge);
        for &slot in slots {
            found |= slot & 0u64.wrapping_sub(u64::from(slot >> BITS == pair));
            is_settled |= slot == 0;
        }
        let rank = found as u32 % LIMIT;
        if (found == 0 && !is_settled) || rank == LARGE {
            return self.rank_from(first, left, right);
        }
        // All bits of no rank are set.
        rank | u32::from(found != 0).wrapping_sub(1)
    }

    /// The rank of a merge that the filter lets pass, slot by slot.
    #[cold]
    fn rank_from(&self, first: usize, left: u32, right: u32) -> u32 {
        let slots = &*self.slots;
        let pair = Self::pair(left, right);
        for at in probes(first, slots.len()) {
            match slots[at] {
                0 => return NEVER,
                slot if slot >> BITS == pair => match slot as u32 % LIMIT {
                    LARGE => return self.large_rank(left, right),
                    rank => return rank,
                },
                _ => {}
            }
        }
        self.large_rank(left, right)
    }

    #[cold]
    fn large_rank(&self, left: u32, right: u32) -> u32 {
        self.large.get(&(left, right)).copied().unwrap_or(NEVER)
    }

    /// What the merge of this rank becomes, which [`rank`](Self::rank) gave.
    #[inline]
    pub(super) fn id(&self, rank: u32) -> u32 {
        match self.first_in_order {
            Some(first) => first.wrapping_add(rank),
            None => self.ids.get(rank as usize).copied().unwrap_or_default(),
        }
    }
}

/// Where among so many slots a merge is looked for first.
#[cfg(test)]
pub(crate) fn place_of_pair(left: u32, right: u32, slots: usize) -> usize {
    (MergeTable::hash(left, right) >> shift(slots)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_any_size_have_a_free_place() {
        for merges in (0..100).chain([MANY_MERGES as u32 - 1, MANY_MERGES as u32, 100_000]) {
            let mut table = MergeTableBuilder::with_capacity(merges as usize);
            let mut all: Vec<Merge> = (0..merges).map(|rank| (rank, rank, rank)).collect();
            let others = all.split_off(merges as usize / 3);
            table.extend(&[all, others]);
            let table = table.build();
            assert!(table.slots.contains(&0), "{merges}");
            assert!((0..merges).all(|rank| table.rank(rank, rank) == rank), "{merges}");
        }
    }

    #[test]
    fn merges_that_collide_are_found_like_others() {
        for (merges, homes) in [(2 * MOST_PROBES, 1), (MANY_MERGES, 8)] {
            let mut table = MergeTableBuilder::with_capacity(merges);
            let shift = shift(table.slots.len());
            // Near the middle, where the halves that two threads fill meet.
            let middle = table.slots.len() as u64 / 2;
            let is_home = |hash: u64| (middle - homes..middle).contains(&(hash >> shift));
            let pairs = (0..LIMIT - 1).flat_map(|left| (0..1 << 12).map(move |right| (left, right)));
            let collide = pairs.filter(|&(left, right)| is_home(MergeTable::hash(left, right)));
            let mut collide: Vec<Merge> =
                collide.zip(0..).map(|((left, right), id)| (left, right, 2 * id)).take(merges - 1).collect();
            let absent = collide.pop().expect("a merge");
            // The first and the last come again.
            collide.extend([collide[0], collide[merges - 3]]);
            table.extend(&[collide[..merges / 2].to_vec(), collide[merges / 2..].to_vec()]);
            let table = table.build();
            assert_eq!(table.slots.iter().filter(|&&slot| slot != 0).count(), MOST_PROBES + homes as usize - 1);
            for (&(left, right, id), rank) in
                collide.iter().zip(0..).skip(1).filter(|&(_, rank)| rank != merges as u32 - 3)
            {
                assert_eq!(table.rank(left, right), rank);
                assert_eq!(table.id(rank), id);
            }
            assert_eq!(table.rank(absent.0, absent.1), NEVER);
        }
    }

    #[test]
    fn merges_with_large_ids_and_ranks_are_found_like_others() {
        const MERGES: u32 = LIMIT + 1000;
        let mut table = MergeTableBuilder::with_capacity(MERGES as usize);
        let pair = |rank: u32| match rank % 3 {
            0 => (rank, rank / 2),
            1 => (rank / 2, 5),
            _ => (u32::MAX - rank, rank),
        };
        let merge = |rank: u32| {
            let (left, right) = pair(rank % (LIMIT - 10));
            (left, right, rank ^ 1)
        };
        table.extend(&[(0..MERGES).map(merge).collect(), Vec::new()]);
        let table = table.build();
        for rank in 0..MERGES {
            let (left, right) = pair(rank % (LIMIT - 10));
            // The last place of those that are listed twice.
            let expected = if rank < MERGES - (LIMIT - 10) { rank + LIMIT - 10 } else { rank };
            assert_eq!(table.rank(left, right), expected);
            assert_eq!(table.id(expected), expected ^ 1);
            assert_eq!(table.rank(left, right ^ 1 << 31), NEVER);
        }
    }
}
