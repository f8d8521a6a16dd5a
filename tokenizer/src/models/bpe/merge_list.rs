//! Merges as a file lists them.

use std::ops::Range;

/// Pairs of tokens, the first to be merged first. One text holds all of them, each with a space between its tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeList {
    text: Vec<u8>,
    /// Where the left and the right token of each merge end; the left starts where the merge before ends.
    ends: Vec<(usize, usize)>,
}

/// Where a line has its space, if it has one and no more.
#[inline]
pub(crate) fn only_space(line: &[u8]) -> Option<usize> {
    let (mut spaces, mut middle) = (0, 0);
    for (at, &byte) in line.iter().enumerate() {
        spaces += u32::from(byte == b' ');
        middle = if byte == b' ' { at } else { middle };
    }
    (spaces == 1).then_some(middle)
}

impl MergeList {
    pub(crate) fn push(&mut self, left: &str, right: &str) {
        self.text.extend_from_slice(left.as_bytes());
        let middle = self.text.len();
        self.text.push(b' ');
        self.text.extend_from_slice(right.as_bytes());
        self.finish(middle);
    }

    /// Takes a merge written as `left right`. False where that isn't two tokens with one space between.
    pub(crate) fn push_line(&mut self, line: &str) -> bool {
        let start = self.text.len();
        self.text.extend_from_slice(line.as_bytes());
        self.finish_line(start)
    }

    /// Puts the text of the next merge together piece by piece; [`finish`](Self::finish) or
    /// [`finish_line`](Self::finish_line) ends it.
    pub(crate) fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Ends a merge whose left token ends at `middle` of the text.
    pub(crate) fn finish(&mut self, middle: usize) {
        self.ends.push((middle, self.text.len()));
    }

    /// Ends a merge written as `left right` from `start` of the text on. False, with nothing added, where that isn't two
    /// tokens with one space between.
    pub(crate) fn finish_line(&mut self, start: usize) -> bool {
        let middle = only_space(&self.text[start..]);
        match middle {
            Some(middle) => self.finish(start + middle),
            None => self.text.truncate(start),
        }
        middle.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text that holds all tokens.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where in the text the left and the right token of the merges from `first` on are.
    #[inline]
    pub(super) fn ranges_from(&self, first: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let mut start = first.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&(_, end)| end);
        self.ends.get(first..).unwrap_or_default().iter().map(move |&(middle, end)| {
            let merge = (start..middle, middle + 1..end);
            start = end;
            merge
        })
    }
}
