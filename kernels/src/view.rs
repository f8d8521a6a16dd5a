//! Row-major `f32` matrices with a row stride, over borrowed slices.

use crate::KernelError;

/// The length that `rows` rows of `cols` values at `row_stride` reach to, if they are consistent with `len`.
fn check(len: usize, rows: usize, cols: usize, row_stride: usize) -> Result<(), KernelError> {
    let error = KernelError::View { rows, cols, row_stride, len };
    if row_stride < cols {
        return Err(error);
    }
    let needed = match rows {
        0 => Some(0),
        _ => (rows - 1).checked_mul(row_stride).and_then(|start| start.checked_add(cols)),
    };
    if needed.is_some_and(|needed| needed <= len) { Ok(()) } else { Err(error) }
}

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatRef<'a> {
    /// `rows × cols` values, row `i` starting at `data[i * row_stride]`.
    ///
    /// # Errors
    /// If the last row reaches beyond `data`, or `row_stride < cols`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Result<Self, KernelError> {
        check(data.len(), rows, cols, row_stride)?;
        Ok(MatRef { data, rows, cols, row_stride })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance between the starts of two rows, in values.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Row `i`, `cols` values.
    ///
    /// # Panics
    /// If `i >= rows`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        &self.data[i * self.row_stride..][..self.cols]
    }

    /// Columns `start .. start + len` of every row.
    ///
    /// # Errors
    /// If they reach beyond the matrix.
    pub fn columns(self, start: usize, len: usize) -> Result<MatRef<'a>, KernelError> {
        let end = start.saturating_add(len);
        if end > self.cols {
            return Err(KernelError::Shape { what: "end of the column range", expected: self.cols, found: end });
        }
        let data = if self.rows == 0 { &[] } else { &self.data[start..] };
        Ok(MatRef { data, cols: len, ..self })
    }

    /// Rows `start .. start + len`.
    ///
    /// # Errors
    /// If they reach beyond the matrix.
    pub fn row_range(self, start: usize, len: usize) -> Result<MatRef<'a>, KernelError> {
        let end = start.saturating_add(len);
        if end > self.rows {
            return Err(KernelError::Shape { what: "end of the row range", expected: self.rows, found: end });
        }
        let data = if len == 0 { &[] } else { &self.data[start * self.row_stride..] };
        Ok(MatRef { data, rows: len, ..self })
    }

    /// A block that is known to lie inside.
    ///
    /// # Panics
    /// If it doesn't.
    pub(crate) fn block(self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> MatRef<'a> {
        assert!(
            rows.start < rows.end && rows.end <= self.rows && columns.start <= columns.end && columns.end <= self.cols
        );
        let data = &self.data[rows.start * self.row_stride + columns.start..];
        MatRef { data, rows: rows.len(), cols: columns.len(), row_stride: self.row_stride }
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }
}

/// A matrix to write.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// `rows × cols` values, row `i` starting at `data[i * row_stride]`.
    ///
    /// # Errors
    /// If the last row reaches beyond `data`, or `row_stride < cols`.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Result<Self, KernelError> {
        check(data.len(), rows, cols, row_stride)?;
        Ok(MatMut { data, rows, cols, row_stride })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance between the starts of two rows, in values.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Row `i`, `cols` values.
    ///
    /// # Panics
    /// If `i >= rows`.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        &mut self.data[i * self.row_stride..][..self.cols]
    }

    /// The same matrix, to read.
    pub fn as_ref(&self) -> MatRef<'_> {
        MatRef { data: self.data, rows: self.rows, cols: self.cols, row_stride: self.row_stride }
    }

    /// The same matrix for a shorter time, so that it can be passed on and used again.
    pub fn reborrow(&mut self) -> MatMut<'_> {
        MatMut { data: self.data, rows: self.rows, cols: self.cols, row_stride: self.row_stride }
    }

    /// A handle from which several workers take disjoint blocks.
    pub(crate) fn shared(self) -> SharedMat<'a> {
        SharedMat {
            start: self.data.as_mut_ptr(),
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            _data: std::marker::PhantomData,
        }
    }
}

/// An exclusively borrowed matrix whose parts are handed to several workers.
#[derive(Clone, Copy)]
pub(crate) struct SharedMat<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    _data: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the handle is a plain address; making references from it is `unsafe`, and the caller vouches for disjointness there.
unsafe impl Send for SharedMat<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMat<'_> {}

impl<'a> SharedMat<'a> {
    /// Rows `start .. start + len` as a matrix of their own.
    ///
    /// # Safety
    /// The range lies inside the matrix, and no other live block or row shares a row with it.
    pub(crate) unsafe fn rows_mut(&self, start: usize, len: usize) -> MatMut<'a> {
        debug_assert!(start + len <= self.rows);
        let reach = if len == 0 { 0 } else { (len - 1) * self.row_stride + self.cols };
        let offset = if len == 0 { 0 } else { start * self.row_stride };
        // SAFETY: the view was checked against its slice, so the reach of rows inside it is too; the caller vouches for exclusivity.
        let data = unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), reach) };
        MatMut { data, rows: len, cols: self.cols, row_stride: self.row_stride }
    }

    /// Address of an element, for kernels that write tiles which share rows with other workers' tiles.
    pub(crate) fn element(&self, row: usize, col: usize) -> *mut f32 {
        debug_assert!(row < self.rows && col <= self.cols);
        self.start.wrapping_add(row * self.row_stride + col)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_reaches_beyond_its_slice_is_refused() {
        let data = [0.0; 10];
        assert!(MatRef::new(&data, 2, 4, 6).is_ok());
        assert!(MatRef::new(&data, 2, 5, 6).is_err());
        assert!(MatRef::new(&data, 2, 4, 3).is_err());
        assert!(MatRef::new(&data, usize::MAX, 1, usize::MAX).is_err());
        assert!(MatRef::new(&[], 0, 4, 4).is_ok());
    }

    #[test]
    fn sub_views_select_what_they_say() {
        let data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let view = MatRef::new(&data, 3, 4, 4).unwrap();
        let part = view.columns(1, 2).unwrap().row_range(1, 2).unwrap();
        assert_eq!(part.row(0), [5.0, 6.0]);
        assert_eq!(part.row(1), [9.0, 10.0]);
        assert!(view.columns(3, 2).is_err());
        assert!(view.row_range(usize::MAX, 2).is_err());
    }
}
