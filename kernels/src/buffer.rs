//! `f32` buffers that start at a cache line.

use std::ops::{Deref, DerefMut};

use crate::KernelError;

/// Values of a cache line.
pub(crate) const LINE: usize = 16;

/// One cache line of `f32`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A zeroed `f32` buffer whose start is aligned to 64 bytes.
///
/// Alignment is for speed alone (a vector load never crosses a cache line); no kernel relies on it to be right.
///
/// ```
/// let mut buffer = loquat_kernels::AlignedBuf::zeroed(100)?;
/// buffer[99] = 1.0;
/// assert_eq!(buffer.len(), 100);
/// assert_eq!(buffer.as_ptr() as usize % 64, 0);
/// # Ok::<(), loquat_kernels::KernelError>(())
/// ```
pub struct AlignedBuf {
    lines: Box<[Line]>,
    len: usize,
}

/// The part of a buffer that starts at a cache line: at most [`LINE`] values shorter.
pub(crate) fn from_line(values: &mut [f32]) -> &mut [f32] {
    let skipped = values.as_ptr().align_offset(align_of::<Line>()).min(LINE).min(values.len());
    &mut values[skipped..]
}

impl AlignedBuf {
    /// `len` zeros. Large buffers come from the system already zeroed, so pages are only touched when written.
    ///
    /// # Errors
    /// If the memory can't be had.
    pub fn zeroed(len: usize) -> Result<AlignedBuf, KernelError> {
        let lines = bytemuck::allocation::try_zeroed_slice_box(len.div_ceil(LINE))
            .map_err(|()| KernelError::TooLarge { what: "a buffer of f32", rows: 1, cols: len })?;
        Ok(AlignedBuf { lines, len })
    }
}

impl Deref for AlignedBuf {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_within_sixteen_values() {
        let mut buffer = AlignedBuf::zeroed(64).unwrap();
        for start in 0..64 {
            let whole = from_line(&mut buffer[start..]);
            assert_eq!(whole.len(), (64 - start) / LINE * LINE);
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(matches!(AlignedBuf::zeroed(usize::MAX / 2), Err(KernelError::TooLarge { .. })));
        assert!(AlignedBuf::zeroed(0).unwrap().is_empty());
    }
}
