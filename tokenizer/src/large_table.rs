//! Tables of which a text asks for places all over: so large that what a processor keeps of its page tables would not do for pages of
//! ordinary size. They lie in memory of their own, which begins with a cache line, and in huge pages where the system has them.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// So many elements, at first all zeros.
pub(crate) struct LargeTable<T> {
    memory: Memory<T>,
    len: usize,
}

enum Memory<T> {
    /// From the system: the table begins at so many bytes.
    Mapped(MmapMut, usize),
    /// Where the system has no such thing.
    Own(Vec<T>),
}

impl<T: Pod> LargeTable<T> {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let memory = if bytes < HUGE { MmapMut::map_anon(bytes).map(|map| (map, 0)) } else { huge(bytes) };
        let memory = match memory {
            Ok((map, start)) => Memory::Mapped(map, start),
            Err(_) => Memory::Own(vec![T::zeroed(); len]),
        };
        LargeTable { memory, len }
    }
}

/// Memory for so many bytes, and where in it a page begins.
fn huge(bytes: usize) -> std::io::Result<(MmapMut, usize)> {
    let map = MmapMut::map_anon(bytes + HUGE)?;
    // Advice that the system may well not take.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    let start = (map.as_ptr() as usize).wrapping_neg() % HUGE;
    Ok((map, start))
}

impl<T: Pod> Deref for LargeTable<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.memory {
            Memory::Mapped(map, start) => bytemuck::cast_slice(&map[*start..*start + self.len * size_of::<T>()]),
            Memory::Own(own) => own,
        }
    }
}

impl<T: Pod> DerefMut for LargeTable<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.memory {
            Memory::Mapped(map, start) => {
                bytemuck::cast_slice_mut(&mut map[*start..*start + self.len * size_of::<T>()])
            }
            Memory::Own(own) => own,
        }
    }
}

impl<T> fmt::Debug for LargeTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_any_size_are_zeros_at_first_and_keep_what_is_written() {
        for len in [1, 1000, HUGE / 8, HUGE / 8 + 1, HUGE] {
            let mut table = LargeTable::<u64>::new(len);
            assert_eq!(table.len(), len);
            assert!(table.iter().all(|&number| number == 0));
            table.iter_mut().zip(1..).for_each(|(number, place)| *number = place);
            assert!(table.iter().zip(1..).all(|(&number, place)| number == place));
        }
    }
}
