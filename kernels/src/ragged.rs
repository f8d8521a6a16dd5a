//! Sequences of different lengths that lie one behind the other: cumulative lengths say where each begins and ends.

use crate::KernelError;

/// Checks that `cu` ascends and ends with `rows`; gives the longest sequence.
pub(crate) fn validate_lengths(cu: &[u32], rows: usize) -> Result<usize, KernelError> {
    let lengths = |position: usize, expected: String| KernelError::Lengths {
        position,
        found: cu.get(position).map_or(0, |entry| *entry as usize),
        expected,
    };
    let Some(first) = cu.first() else {
        return Err(lengths(0, "at least one entry".into()));
    };
    let mut longest = 0;
    for (i, pair) in cu.windows(2).enumerate() {
        match pair[1].checked_sub(pair[0]) {
            Some(len) => longest = longest.max(len as usize),
            None => return Err(lengths(i + 1, format!("at least {}", pair[0]))),
        }
    }
    let total = (cu[cu.len() - 1] - first) as usize;
    if total != rows {
        return Err(lengths(cu.len() - 1, format!("{} (the matrix has {rows} rows)", *first as usize + rows)));
    }
    Ok(longest)
}

/// Rows of sequence `i`.
pub(crate) fn range(cu: &[u32], i: usize) -> std::ops::Range<usize> {
    (cu[i] - cu[0]) as usize..(cu[i + 1] - cu[0]) as usize
}
