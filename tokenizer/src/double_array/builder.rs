//! Where the nodes of a trie go in its array.

use std::collections::VecDeque;
use std::ops::Range;

use super::byte_set::ByteSet;
use super::sorted_keys::{SortedKey, SortedKeys};
use super::{BLOCK, DoubleArrayFault, MANY_KEYS, MAX_UNITS, NO_VALUE, ROOT, Unit, base_of, label_of, pack};
use crate::both::both;

/// Blocks that still take nodes.
const OPEN_BLOCKS: usize = 8;

/// A block that had no place for so many nodes takes no more, and one that had none for a single child is full: so building is linear.
const MAX_REFUSALS: u32 = 64;

/// What is taken of the units of a block, and of the bases that lead into it.
#[derive(Clone, Copy, Default)]
struct Block {
    units: ByteSet,
    bases: ByteSet,
    refusals: u32,
}

impl Block {
    /// A base, within the block, whose children for all labels, of which there is one at least, are free.
    #[inline]
    fn base_for(&self, labels: &[u8]) -> Option<u8> {
        let (&label, others) = labels.split_first()?;
        let free = self.units.complement();
        // Where the first child may be.
        let mut places = free;
        for &other in others {
            places = places.and(&free.exclusive_or(label ^ other));
            if places.is_empty() {
                return None;
            }
        }
        places.iter().map(|unit| unit ^ label).find(|&base| !self.bases.contains(base))
    }
}

/// Nodes each of which is the child of the one before, with the children that each has so far. A child that is not among these nodes
/// is complete: its own children are in the array.
#[derive(Default)]
struct Path {
    /// For each of these nodes where its children begin in the lists below. Each is itself what comes before them there.
    children: Vec<usize>,
    labels: Vec<u8>,
    units: Vec<Unit>,
}

impl Path {
    /// Begins with a node of this label.
    fn begin(&mut self, label: u8) {
        self.children.clear();
        self.labels.clear();
        self.units.clear();
        self.go(label);
    }

    /// How many nodes come after the first.
    fn depth(&self) -> usize {
        self.children.len().saturating_sub(1)
    }

    /// Gives the last node a child that is complete.
    #[inline]
    fn push(&mut self, label: u8, unit: Unit) {
        self.labels.push(label);
        self.units.push(unit);
    }

    /// Gives the last node a child, and goes on to that.
    #[inline]
    fn go(&mut self, label: u8) {
        self.push(label, pack(0, label, NO_VALUE));
        self.children.push(self.units.len());
    }

    /// Goes back from the last node, which has all its children.
    #[inline]
    fn back(&mut self, builder: &mut Builder) -> Result<(), DoubleArrayFault> {
        let start = self.children.pop().unwrap_or_default();
        if start == self.units.len() {
            return Ok(());
        }
        let base = builder.place(&self.labels[start..], &self.units[start..])?;
        self.labels.truncate(start);
        self.units.truncate(start);
        if let Some(unit) = self.units.last_mut() {
            unit[0] |= base << 8;
        }
        Ok(())
    }
}

/// What many keys begin with has so many bytes: the trie from there on can be made on any thread.
const HEAD: usize = 4;

/// Several keys that begin with the same [`HEAD`] bytes, and the node after these.
struct Subtree {
    keys: Range<usize>,
    unit: Unit,
}

/// How far blocks have moved.
struct Moved {
    by: u32,
}

impl Moved {
    fn unit(&self, unit: Unit) -> Unit {
        // Without children, it leads to the block of the root, which stays.
        if base_of(&unit) == 0 { unit } else { [unit[0] + (self.by << 8), unit[1]] }
    }
}

pub(super) struct Builder {
    units: Vec<Unit>,
    blocks: Vec<Block>,
    /// The blocks that still take nodes, the oldest first.
    open: VecDeque<usize>,
    path: Path,
}

impl Builder {
    /// The array of all keys. It is the same however many threads there are.
    pub(super) fn build<K: AsRef<[u8]> + Sync>(keys: &SortedKeys<K>) -> Result<Vec<Unit>, DoubleArrayFault> {
        let mut builder = Self::new();
        let count = keys.order.len();
        let subtrees = if count < MANY_KEYS { Vec::new() } else { builder.halves(keys)? };
        let root = builder.units[ROOT as usize];
        builder.units[ROOT as usize] = builder.node(keys, 0..count, 0, label_of(&root), &subtrees)?;
        Ok(builder.finish())
    }

    /// Begins with the block of the root, which takes nothing else.
    fn new() -> Self {
        let units = (0..=u8::MAX).map(|at| pack(0, !at, NO_VALUE)).collect();
        Builder { units, blocks: vec![Block::default()], open: VecDeque::new(), path: Path::default() }
    }

    /// The subtrees of all keys: those of the second half by another builder.
    fn halves<K: AsRef<[u8]> + Sync>(&mut self, keys: &SortedKeys<K>) -> Result<Vec<Subtree>, DoubleArrayFault> {
        let count = keys.order.len();
        let is_within = |at: usize| SortedKeys::<K>::begin_alike(&keys.order[at - 1], &keys.order[at], HEAD as u32);
        let middle = (count / 2..count).find(|&at| !is_within(at)).unwrap_or(count);
        let second = || {
            let mut builder = Self::new();
            builder.subtrees(keys, middle..count).map(|found| (builder, found))
        };
        let (found, others) = both(|| self.subtrees(keys, 0..middle), second);
        let mut found = found?;
        let (builder, others) = others?;
        let moved = self.append(builder)?;
        found.extend(others.into_iter().map(|Subtree { keys, unit }| Subtree { keys, unit: moved.unit(unit) }));
        Ok(found)
    }

    /// The subtrees of some of the keys.
    fn subtrees<K: AsRef<[u8]>>(
        &mut self,
        keys: &SortedKeys<K>,
        range: Range<usize>,
    ) -> Result<Vec<Subtree>, DoubleArrayFault> {
        let mut found = Vec::new();
        let mut start = range.start;
        let alike = |before: &SortedKey, key: &SortedKey| SortedKeys::<K>::begin_alike(before, key, HEAD as u32);
        for group in keys.order[range].chunk_by(alike) {
            let range = start..start + group.len();
            start = range.end;
            if let [first, _, ..] = group {
                let unit = self.node(keys, range.clone(), HEAD, keys.byte(first, HEAD - 1), &[])?;
                found.push(Subtree { keys: range, unit });
            }
        }
        Ok(found)
    }

    /// Takes over all blocks of another builder but that of its root.
    fn append(&mut self, other: Builder) -> Result<Moved, DoubleArrayFault> {
        let before = self.blocks.len() - 1;
        if self.units.len() + other.units.len() > MAX_UNITS {
            return Err(DoubleArrayFault::TooLarge);
        }
        let moved = Moved { by: (before * BLOCK) as u32 };
        self.units.extend(other.units[BLOCK..].iter().map(|&unit| moved.unit(unit)));
        self.blocks.extend_from_slice(&other.blocks[1..]);
        self.open.extend(other.open.iter().map(|block| block + before));
        while self.open.len() > OPEN_BLOCKS {
            self.open.pop_front();
        }
        Ok(moved)
    }

    /// The node after the first `depth` bytes of these keys, which they share, the last of them `label`: everything below it is put in the
    /// array, but for subtrees, which are there.
    ///
    /// One pass over the keys does this, a node before its parent: so the children of a node are known when its base is chosen.
    fn node<K: AsRef<[u8]>>(
        &mut self,
        keys: &SortedKeys<K>,
        range: Range<usize>,
        depth: usize,
        label: u8,
        subtrees: &[Subtree],
    ) -> Result<Unit, DoubleArrayFault> {
        let mut path = std::mem::take(&mut self.path);
        path.begin(label);
        let mut subtrees = subtrees.iter().peekable();
        let mut at = range.start;
        while at < range.end {
            let subtree = subtrees.next_if(|subtree| subtree.keys.start == at);
            let last = subtree.map_or(at, |subtree| subtree.keys.end - 1);
            let (key, next) = (&keys.order[at], keys.order[..range.end].get(last + 1));
            let shared = next.map_or(depth, |next| keys.shared(&keys.order[last], next) as usize);
            // The next is no less, so it is the same where it shares all.
            if let Some(next) = next.filter(|next| next.len as usize == shared) {
                return Err(DoubleArrayFault::Repeated { place: next.place as usize });
            }
            // The path has what this key shares with the one before. Others go through the nodes of what it shares with the next.
            for at in depth + path.depth()..shared {
                path.go(keys.byte(key, at));
            }
            let shares = depth + path.depth();
            let (len, value) = (key.len as usize, key.value);
            let unit = match subtree {
                Some(subtree) => Some(self.tail(keys, key, shares..HEAD, subtree.unit)?),
                None if len > shares => {
                    let unit = pack(0, keys.byte(key, len - 1), value);
                    Some(self.tail(keys, key, shares..len, unit)?)
                }
                None => None,
            };
            match (unit, path.units.last_mut()) {
                (Some(unit), _) => path.push(label_of(&unit), unit),
                (None, Some(unit)) => unit[1] = value,
                (None, None) => {}
            }
            while depth + path.depth() > shared {
                path.back(self)?;
            }
            at = last + 1;
        }
        path.back(self)?;
        let unit = path.units.first().copied().unwrap_or(pack(0, label, NO_VALUE));
        self.path = path;
        Ok(unit)
    }

    /// Puts the nodes for these bytes of a key, through which no other key goes, but for the first of them, and gives that. `unit` is the
    /// last.
    #[inline]
    fn tail<K: AsRef<[u8]>>(
        &mut self,
        keys: &SortedKeys<K>,
        key: &SortedKey,
        bytes: Range<usize>,
        mut unit: Unit,
    ) -> Result<Unit, DoubleArrayFault> {
        for at in (bytes.start..bytes.end - 1).rev() {
            let base = self.place(&[label_of(&unit)], &[unit])?;
            unit = pack(base, keys.byte(key, at), NO_VALUE);
        }
        Ok(unit)
    }

    /// Puts children with these labels and units where they are free, and says for which base.
    #[inline]
    fn place(&mut self, labels: &[u8], children: &[Unit]) -> Result<u32, DoubleArrayFault> {
        let base = self.base_for(labels)?;
        let block = &mut self.blocks[base as usize / BLOCK];
        for (&label, &child) in labels.iter().zip(children) {
            let unit = base ^ u32::from(label);
            block.units.insert(unit as u8);
            self.units[unit as usize] = child;
        }
        Ok(base)
    }

    /// A base for a node with these labels, taken.
    #[inline]
    fn base_for(&mut self, labels: &[u8]) -> Result<u32, DoubleArrayFault> {
        let mut at = 0;
        while let Some(&block) = self.open.get(at) {
            let state = &mut self.blocks[block];
            if let Some(base) = state.base_for(labels) {
                state.bases.insert(base);
                return Ok((block * BLOCK) as u32 | u32::from(base));
            }
            state.refusals += 1;
            if labels.len() == 1 || state.refusals >= MAX_REFUSALS {
                self.open.remove(at);
            } else {
                at += 1;
            }
        }
        if self.open.len() >= OPEN_BLOCKS {
            self.open.pop_front();
        }
        let block = self.blocks.len();
        if block * BLOCK >= MAX_UNITS {
            return Err(DoubleArrayFault::TooLarge);
        }
        self.units.resize((block + 1) * BLOCK, pack(0, 0, NO_VALUE));
        let mut state = Block::default();
        state.bases.insert(0);
        self.blocks.push(state);
        self.open.push_back(block);
        Ok((block * BLOCK) as u32)
    }

    /// Labels the free units so that no walk takes one of them for a child.
    fn finish(mut self) -> Vec<Unit> {
        for (units, block) in self.units.chunks_mut(BLOCK).zip(&self.blocks).skip(1) {
            // Each base that is taken has a child here, so where a unit is free, a base is.
            let Some(free_base) = block.bases.complement().iter().next() else {
                continue;
            };
            for at in block.units.complement().iter() {
                units[usize::from(at)] = pack(0, at ^ free_base, NO_VALUE);
            }
        }
        self.units
    }
}
