//! Sets of bytes.

/// A set of bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    #[inline]
    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        let mut word = 0;
        std::iter::from_fn(move || {
            while *rest.get(word)? == 0 {
                word += 1;
            }
            let byte = (word * 64) as u8 | rest[word].trailing_zeros() as u8;
            rest[word] &= rest[word] - 1;
            Some(byte)
        })
    }

    #[inline]
    pub(super) fn complement(&self) -> Self {
        ByteSet(self.0.map(|word| !word))
    }

    #[inline]
    pub(super) fn and(&self, other: &Self) -> Self {
        ByteSet(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    /// `byte ^ label` of every byte in it.
    #[inline]
    pub(super) fn exclusive_or(&self, label: u8) -> Self {
        /// Swaps neighbouring groups of bits; `LOW` has the lower group of each two.
        const LOW: [u64; 6] = [
            0x5555_5555_5555_5555,
            0x3333_3333_3333_3333,
            0x0F0F_0F0F_0F0F_0F0F,
            0x00FF_00FF_00FF_00FF,
            0x0000_FFFF_0000_FFFF,
            0x0000_0000_FFFF_FFFF,
        ];
        let mut words = std::array::from_fn(|at| self.0[at ^ usize::from(label >> 6)]);
        let mut bits = label & 63;
        while bits != 0 {
            let bit = bits.trailing_zeros();
            let low = LOW[bit as usize];
            words = words.map(|word: u64| (word & low) << (1 << bit) | word >> (1 << bit) & low);
            bits &= bits - 1;
        }
        ByteSet(words)
    }
}
