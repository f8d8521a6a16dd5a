//! One stretch of memory for all weights, in pages as large as the system gives.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::{AlignedBuf, KernelError};

/// The size of a huge page on x86-64 and, usually, on AArch64.
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed `f32` memory that asks for huge pages.
///
/// A model's weights are read once per run, front to back: in pages of 4 KiB that is an address translation every 64 cache lines,
/// which short inputs wait for, and as many page faults when the weights are packed.
pub(crate) enum Slab {
    /// Memory of its own, with `len` values from byte `start` on.
    Mapped { map: MmapMut, start: usize, len: usize },
    /// Where that can't be had, or isn't worth it.
    Heap(AlignedBuf),
}

impl Slab {
    pub(crate) fn zeroed(len: usize) -> Result<Slab, KernelError> {
        match Slab::mapped(len) {
            Some(slab) => Ok(slab),
            None => AlignedBuf::zeroed(len).map(Slab::Heap),
        }
    }

    /// `None` for less than a huge page, and where the system has no such memory.
    fn mapped(len: usize) -> Option<Slab> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        if bytes < HUGE_PAGE {
            return None;
        }
        let map = MmapMut::map_anon(bytes.checked_add(HUGE_PAGE)?).ok()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        if start > HUGE_PAGE {
            return None;
        }
        // Without huge pages it is memory like any other.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, start, bytes);
        Some(Slab::Mapped { map, start, len })
    }
}

impl Deref for Slab {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Slab::Mapped { map, start, len } => bytemuck::cast_slice(&map[*start..][..len * size_of::<f32>()]),
            Slab::Heap(buffer) => buffer,
        }
    }
}

impl DerefMut for Slab {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Slab::Mapped { map, start, len } => bytemuck::cast_slice_mut(&mut map[*start..][..*len * size_of::<f32>()]),
            Slab::Heap(buffer) => buffer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_slabs_are_zeroed_aligned_and_writable() {
        for len in [0, 1, 1000, HUGE_PAGE / 4, HUGE_PAGE / 4 + 1, 3 * HUGE_PAGE / 4 + 5] {
            let mut slab = Slab::zeroed(len).unwrap();
            assert_eq!(slab.len(), len);
            assert!(slab.iter().all(|value| *value == 0.0));
            assert_eq!(slab.as_ptr() as usize % 64, 0);
            slab.fill(1.0);
            assert_eq!(slab.iter().sum::<f32>(), len as f32);
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(matches!(Slab::zeroed(usize::MAX / 2), Err(KernelError::TooLarge { .. })));
        assert!(matches!(Slab::zeroed(usize::MAX / 8), Err(KernelError::TooLarge { .. })));
    }
}
