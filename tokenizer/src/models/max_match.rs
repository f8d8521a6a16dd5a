//! The longest-match-first tokens of a word in one pass over its bytes, however long the tokens are: the LinMaxMatch
//! algorithm of "Fast WordPiece Tokenization" (Song et al., 2021).
//!
//! Where no longer token can come of the bytes read so far, a precomputed link says which tokens they are and which node
//! stands for the rest of them, so that no byte is read twice.

use super::vocabulary::Vocabulary;
use crate::double_array::DoubleArray;

/// No node.
const NONE: u32 = u32::MAX;

/// All links together may hold so many tokens for each byte of the vocabulary. Those of real vocabularies hold about one; a
/// vocabulary made for it would take the square of its longest token.
const LINKED_PER_BYTE: usize = 8;

/// A place in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    base: u32,
    node: u32,
}

/// What becomes of the bytes that lead to a node when no longer token can come of them.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The node of those bytes that are in no token yet; `NONE` where there is no way to go on.
    rest: Place,
    /// The one token, or where in `linked` the tokens begin.
    token: u32,
    tokens: u32,
}

const DEAD_END: Link = Link { rest: Place { base: 0, node: NONE }, token: 0, tokens: 0 };

/// A vocabulary compiled for the longest match first.
#[derive(Debug)]
pub(crate) struct MaxMatch {
    /// Every prefix of a token, with the number of its node.
    trie: DoubleArray,
    links: Vec<Link>,
    linked: Vec<u32>,
    root: Place,
    /// Where continuations begin.
    suffixes: Place,
}

/// A node while links are made.
struct Node {
    parent: u32,
    /// The byte that leads here from the parent.
    byte: u8,
    /// Bytes from the root, or from where continuations begin.
    level: u32,
    id: Option<u32>,
}

impl MaxMatch {
    /// `prefix` marks the continuations. `None` where the vocabulary is too large, or made to take more memory than its size.
    pub(crate) fn new(vocabulary: &Vocabulary, prefix: &str) -> Option<Self> {
        let (nodes, keys, suffixes) = nodes(vocabulary, prefix.as_bytes());
        let trie = DoubleArray::build(&keys).ok()?;
        let places = places(&trie, &nodes);
        let linked = Vec::with_capacity(vocabulary.len());
        let (root, suffixes) = (places[0], places[suffixes as usize]);
        let mut automaton = MaxMatch { trie, links: vec![DEAD_END; nodes.len()], linked, root, suffixes };
        let limit = vocabulary.text_len().saturating_add(64).saturating_mul(LINKED_PER_BYTE);
        for node in by_level(&nodes) {
            automaton.link(node, &nodes[node as usize]);
            if automaton.linked.len() > limit {
                return None;
            }
        }
        Some(automaton)
    }

    /// Links a node whose parent, and all nodes of lower levels, are linked.
    fn link(&mut self, at: u32, node: &Node) {
        if let Some(id) = node.id {
            self.links[at as usize] = Link { rest: self.suffixes, token: id, tokens: 1 };
            return;
        }
        let first = self.linked.len();
        let mut link = self.links[node.parent as usize];
        while link.rest.node != NONE {
            match link.tokens {
                1 => self.linked.push(link.token),
                tokens => self.linked.extend_from_within(link.token as usize..(link.token + tokens) as usize),
            }
            if let Some(rest) = self.step(link.rest, node.byte) {
                let tokens = (self.linked.len() - first) as u32;
                let token = match tokens {
                    1 => self.linked.pop().unwrap_or_default(),
                    _ => first as u32,
                };
                self.links[at as usize] = Link { rest, token, tokens };
                return;
            }
            link = self.links[link.rest.node as usize];
        }
        self.linked.truncate(first);
    }

    #[inline]
    fn step(&self, place: Place, byte: u8) -> Option<Place> {
        let (base, value) = self.trie.child(place.base, byte)?;
        Some(Place { base, node: value })
    }

    /// Appends the tokens of `word`; `false` where it has none, and what was appended is to be taken back.
    #[inline]
    pub(crate) fn tokenize(&self, word: &[u8], ids: &mut Vec<u32>) -> bool {
        let mut place = self.root;
        for &byte in word {
            place = loop {
                if let Some(child) = self.step(place, byte) {
                    break child;
                }
                let Some(rest) = self.take_link(place, ids) else {
                    return false;
                };
                place = rest;
            };
        }
        while place != self.suffixes {
            let Some(rest) = self.take_link(place, ids) else {
                return false;
            };
            place = rest;
        }
        true
    }

    #[inline]
    fn take_link(&self, place: Place, ids: &mut Vec<u32>) -> Option<Place> {
        let link = &self.links[place.node as usize];
        if link.rest.node == NONE {
            return None;
        }
        match link.tokens {
            1 => ids.push(link.token),
            tokens => ids.extend_from_slice(&self.linked[link.token as usize..(link.token + tokens) as usize]),
        }
        Some(link.rest)
    }
}

/// The nodes of the trie, parents before children and the root first; the bytes that lead to each but the root, in
/// ascending order, with its number; and the node where continuations begin.
fn nodes<'a>(vocabulary: &'a Vocabulary, prefix: &'a [u8]) -> (Vec<Node>, Vec<(&'a [u8], u32)>, u32) {
    let mut tokens: Vec<(u64, &[u8], Option<u32>)> = Vec::with_capacity(vocabulary.len() + 1);
    // Comparing the first bytes as a number settles most.
    let head = |token: &[u8]| token.iter().chain(&[0; 8]).take(8).fold(0, |head, &byte| head << 8 | u64::from(byte));
    for entry in vocabulary.entries() {
        let token = vocabulary.text_of(entry).as_bytes();
        tokens.push((head(token), token, Some(vocabulary.id_of(entry))));
    }
    tokens.push((head(prefix), prefix, None));
    tokens.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)));

    let mut nodes = vec![Node { parent: NONE, byte: 0, level: 0, id: None }];
    let mut keys = Vec::with_capacity(vocabulary.len() * 3);
    let mut path = vec![0];
    let mut before: &[u8] = &[];
    let mut suffixes = 0;
    for (_, token, id) in tokens {
        let shared = before.iter().zip(token).take_while(|(before, byte)| before == byte).count();
        path.truncate(shared + 1);
        for (at, &byte) in token.iter().enumerate().skip(shared) {
            let parent = path[at];
            let number = nodes.len() as u32;
            let level = match &token[..=at] == prefix {
                true => 0,
                false => nodes[parent as usize].level + 1,
            };
            nodes.push(Node { parent, byte, level, id: None });
            keys.push((&token[..=at], number));
            path.push(number);
        }
        let last = path[token.len()];
        match id {
            Some(id) => nodes[last as usize].id = Some(id),
            None => suffixes = last,
        }
        before = token;
    }
    (nodes, keys, suffixes)
}

fn places(trie: &DoubleArray, nodes: &[Node]) -> Vec<Place> {
    let mut places = vec![Place { base: trie.root_base(), node: 0 }];
    for node in &nodes[1..] {
        let child = trie.child(places[node.parent as usize].base, node.byte);
        let (base, node) = child.unwrap_or((0, NONE));
        places.push(Place { base, node });
    }
    places
}

/// All nodes that can be linked, those of lower levels first. No node leads on from the root or from where continuations begin
/// but by a byte.
fn by_level(nodes: &[Node]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..nodes.len() as u32).filter(|&node| nodes[node as usize].level > 0).collect();
    order.sort_by_key(|&node| nodes[node as usize].level);
    order
}
