//! Merges as a file lists them.

/// Pairs of tokens, the first to be merged first. One string holds the texts of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeList {
    text: String,
    /// Where the left and the right token of each merge end; the left starts where the merge before ends.
    ends: Vec<(usize, usize)>,
}

impl MergeList {
    pub(crate) fn push(&mut self, left: &str, right: &str) {
        self.text.push_str(left);
        let middle = self.text.len();
        self.text.push_str(right);
        self.ends.push((middle, self.text.len()));
    }

    /// Takes a merge written as `left right`. False where that isn't two tokens with one space between.
    pub(crate) fn push_line(&mut self, line: &str) -> bool {
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            return false;
        };
        self.push(left, right);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(middle, end)| {
            let merge = (&self.text[start..middle], &self.text[middle..end]);
            start = end;
            merge
        })
    }
}
