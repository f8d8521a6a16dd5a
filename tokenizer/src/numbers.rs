//! Tables of numbers and texts: in memory of their own where they were just made, in place in the bytes of a compiled file where they come
//! from one. Whoever reads them sees a slice either way.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use yoke::Yoke;

use crate::large_table::LargeTable;

/// The bytes of a file, or of a table, whoever owns them.
pub(crate) type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A number, or several of them side by side, that files hold with the lowest byte first.
pub(crate) trait Element: Pod {
    /// From the order of a file's bytes to the machine's, and back.
    fn swapped(self) -> Self;
}

impl Element for u32 {
    fn swapped(self) -> Self {
        self.to_le()
    }
}

impl Element for u64 {
    fn swapped(self) -> Self {
        self.to_le()
    }
}

impl Element for u128 {
    fn swapped(self) -> Self {
        self.to_le()
    }
}

impl Element for f64 {
    fn swapped(self) -> Self {
        f64::from_bits(self.to_bits().to_le())
    }
}

impl<const N: usize> Element for [u32; N]
where
    [u32; N]: Pod,
{
    fn swapped(self) -> Self {
        self.map(u32::to_le)
    }
}

/// The bytes of these numbers as a file holds them.
pub(crate) fn to_file<T: Element>(numbers: &[T]) -> Vec<u8> {
    let swapped: Vec<T> = numbers.iter().map(|number| number.swapped()).collect();
    bytemuck::cast_slice(&swapped).to_vec()
}

/// A slice of numbers.
pub(crate) struct Numbers<T: Element>(Yoke<&'static [T], Bytes>);

/// A vector as the owner of its bytes.
struct Owned<T>(Vec<T>);

impl<T: Pod> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl<T: Pod> AsRef<[u8]> for LargeTable<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

impl<T: Element + Send + Sync> Numbers<T> {
    /// The numbers at `range` of a file. `None` where these bytes aren't there, or aren't whole numbers.
    pub(crate) fn in_file(file: &Bytes, range: Range<usize>) -> Option<Self> {
        let bytes = || (**file).as_ref().get(range.clone());
        if !bytes()?.len().is_multiple_of(size_of::<T>()) {
            return None;
        }
        let in_place = |file: &Bytes| {
            Yoke::try_attach_to_cart(Arc::clone(file), |file| {
                let bytes = file.as_ref().get(range.clone()).ok_or(())?;
                bytemuck::try_cast_slice(bytes).map_err(|_| ())
            })
        };
        if cfg!(target_endian = "little")
            && let Ok(numbers) = in_place(file)
        {
            return Some(Numbers(numbers));
        }
        // Bytes that begin at an odd address, or are the wrong way round, are copied.
        let numbers =
            bytes()?.chunks_exact(size_of::<T>()).map(|bytes| bytemuck::pod_read_unaligned::<T>(bytes).swapped());
        Some(numbers.collect::<Vec<T>>().into())
    }
}

impl<T: Element + Send + Sync> From<Vec<T>> for Numbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::all_of(Arc::new(Owned(numbers)))
    }
}

impl<T: Element + Send + Sync> From<LargeTable<T>> for Numbers<T> {
    fn from(table: LargeTable<T>) -> Self {
        Self::all_of(Arc::new(table))
    }
}

impl<T: Element + Send + Sync> Numbers<T> {
    /// All that the owner of such numbers has.
    fn all_of(owner: Bytes) -> Self {
        // They come from a slice of the same type, so they can be one again.
        Numbers(Yoke::attach_to_cart(owner, |owner| bytemuck::try_cast_slice(owner.as_ref()).unwrap_or_default()))
    }
}

impl<T: Element + Send + Sync> Default for Numbers<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T: Element> Deref for Numbers<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.0.get()
    }
}

impl<T: Element> fmt::Debug for Numbers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

/// A text.
pub(crate) struct Text(Yoke<&'static str, Bytes>);

impl Text {
    /// The text at `range` of a file. `None` where it isn't there, or isn't UTF-8.
    pub(crate) fn in_file(file: &Bytes, range: Range<usize>) -> Option<Self> {
        let text = Yoke::try_attach_to_cart(Arc::clone(file), |file| {
            let bytes = file.as_ref().get(range).ok_or(())?;
            simdutf8::basic::from_utf8(bytes).map_err(|_| ())
        });
        text.ok().map(Text)
    }

    /// `None` where the bytes aren't UTF-8.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        let length = bytes.len();
        Self::in_file(&(Arc::new(bytes) as Bytes), 0..length)
    }
}

impl Default for Text {
    fn default() -> Self {
        let nothing: Bytes = Arc::new([0u8; 0]);
        Text(Yoke::attach_to_cart(nothing, |_| ""))
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of text", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_place_and_from_odd_addresses() {
        let numbers = [[1u32, 2], [3, u32::MAX]];
        for before in 0..9 {
            let bytes: Vec<u8> = std::iter::repeat_n(7, before).chain(to_file(&numbers)).collect();
            let end = bytes.len();
            let file: Bytes = Arc::new(bytes);
            let read = Numbers::<[u32; 2]>::in_file(&file, before..end).expect("numbers");
            assert_eq!(*read, numbers);
            assert!(Numbers::<[u32; 2]>::in_file(&file, before..end - 1).is_none());
            assert!(Numbers::<[u32; 2]>::in_file(&file, before..end + 8).is_none());
            let whole = Numbers::<f64>::in_file(&file, before..end).expect("numbers");
            assert_eq!(whole[0].to_bits(), 2 << 32 | 1);
        }
        assert!(Numbers::<u128>::default().is_empty());
    }

    #[test]
    fn text_is_what_is_utf8() {
        let file: Bytes = Arc::new("aé".as_bytes());
        assert_eq!(&*Text::in_file(&file, 0..3).expect("a text"), "aé");
        assert!(Text::in_file(&file, 0..2).is_none());
        assert!(Text::in_file(&file, 1..4).is_none());
        assert!(Text::new(vec![0xFF]).is_none());
    }
}
