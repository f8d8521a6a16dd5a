//! What a kernel refuses to do.

/// A call whose arguments don't fit together. Nothing was computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A dimension of one argument contradicts another.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The dimension.
        what: &'static str,
        /// What the other arguments ask for.
        expected: usize,
        /// What was passed.
        found: usize,
    },
    /// A matrix reaches beyond its slice, or its row stride is smaller than its width.
    #[error("a {rows} x {cols} matrix with row stride {row_stride} doesn't fit in {len} values")]
    View {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Distance between rows, in values.
        row_stride: usize,
        /// Length of the slice.
        len: usize,
    },
    /// An index points outside of what it indexes.
    #[error("{what} at position {position}: {index} is out of range, there are {len}")]
    Index {
        /// What the index selects.
        what: &'static str,
        /// Where the index stands.
        position: usize,
        /// The index.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// Cumulative sequence lengths that don't ascend, or that don't end where the rows do.
    #[error("cumulative sequence lengths: entry {position} is {found}, expected {expected}")]
    Lengths {
        /// Index into the cumulative lengths.
        position: usize,
        /// What it holds.
        found: usize,
        /// What it should be, in words.
        expected: String,
    },
    /// A size that doesn't fit in memory or overflows.
    #[error("{what} is too large: {rows} x {cols}")]
    TooLarge {
        /// The object.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// Weights packed for another level are met by this one.
    #[error("weights packed for kernel {packed} can't be used by {used}: pack them again")]
    Panel {
        /// The kernel that the weights were packed for.
        packed: &'static str,
        /// The kernel that was to read them.
        used: &'static str,
    },
}

/// `Ok` if `found == expected`.
pub(crate) fn expect_eq(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found == expected { Ok(()) } else { Err(KernelError::Shape { what, expected, found }) }
}
