//! For tests: values that end right at a page which can't be touched, so that a read or write beyond them faults.

use std::ptr::NonNull;

/// A copy of some values, directly below an unmapped page.
pub(crate) struct Guarded {
    map: NonNull<libc::c_void>,
    map_len: usize,
    start: NonNull<f32>,
    len: usize,
}

impl Guarded {
    pub(crate) fn new(values: &[f32]) -> Guarded {
        // SAFETY: plain calls; the result of each is checked. The last page of the mapping is made inaccessible, and `start` is
        // as many values below it as there are.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            let bytes = size_of_val(values);
            let data_len = bytes.div_ceil(page) * page;
            let map_len = data_len + page;
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let map = libc::mmap(std::ptr::null_mut(), map_len, prot, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(map.byte_add(data_len), page, libc::PROT_NONE), 0);
            let start = map.byte_add(data_len - bytes).cast::<f32>();
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            Guarded { map: NonNull::new(map).unwrap(), map_len, start: NonNull::new(start).unwrap(), len: values.len() }
        }
    }

    pub(crate) fn values(&self) -> &[f32] {
        // SAFETY: `new` wrote `len` values there.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `values`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and no reference outlives `self`.
        unsafe { libc::munmap(self.map.as_ptr(), self.map_len) };
    }
}
