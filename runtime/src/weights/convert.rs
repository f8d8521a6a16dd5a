//! Stored values as `f32`.

use super::Dtype;

/// Converts one row of values. `bytes` holds as many values of `storage` as `out` has; `scales` are what integers are multiplied with.
///
/// Plain loops over fixed-size chunks: the compiler turns them into vector code, which matters because packing weights is most of what
/// loading a model costs.
pub(crate) fn convert_row(storage: Storage, bytes: &[u8], scales: RowScales<'_>, out: &mut [f32]) {
    match storage {
        Storage::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Storage::F16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = f16_to_f32(u16::from_le_bytes(*bytes));
            }
        }
        Storage::Bf16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        Storage::I8 => {
            for (scale, values, out) in scales.groups(bytes, out) {
                for (out, byte) in out.iter_mut().zip(values) {
                    *out = f32::from(byte.cast_signed()) * scale;
                }
            }
        }
        Storage::Packed8 => {
            for (scale, values, out) in scales.groups(bytes, out) {
                for (out, byte) in out.iter_mut().zip(values) {
                    // Flipping the top bit takes off the 128 that was added.
                    *out = f32::from((byte ^ 0x80).cast_signed()) * scale;
                }
            }
        }
        Storage::Packed4 => {
            let mut first = 0;
            for (group, out) in out.chunks_mut(scales.group.max(1)).enumerate() {
                let scale = scales.get(group);
                for (i, out) in out.iter_mut().enumerate() {
                    let value = first + i;
                    let code = bytes.get(value / 2).map_or(8, |byte| byte >> (4 * (value % 2)) & 0xf);
                    *out = f32::from(code.cast_signed() - 8) * scale;
                }
                first += out.len();
            }
        }
    }
}

/// The scales of one row of integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowScales<'a> {
    /// `f32`s, little-endian, one a group.
    pub(crate) scales: &'a [[u8; 4]],
    /// Values that share one.
    pub(crate) group: usize,
}

impl<'a> RowScales<'a> {
    /// For values that need none.
    pub(crate) const NONE: RowScales<'static> = RowScales { scales: &[], group: 0 };

    fn get(self, group: usize) -> f32 {
        self.scales.get(group).map_or(1.0, |bytes| f32::from_le_bytes(*bytes))
    }

    /// The groups of a row of bytes: scale, values, where they go.
    fn groups(self, bytes: &'a [u8], out: &'a mut [f32]) -> impl Iterator<Item = (f32, &'a [u8], &'a mut [f32])> {
        let group = self.group.max(1);
        let groups = bytes.chunks(group).zip(out.chunks_mut(group)).enumerate();
        groups.map(move |(i, (values, out))| (self.get(i), values, out))
    }
}

/// A form that weights may be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    F32,
    F16,
    Bf16,
    /// Integers, with scales in a tensor of their own.
    I8,
    /// Integers of 4 bits from -8 to 7, with 8 added, the first in the lowest bits of words of 32. Scales as above.
    Packed4,
    /// Integers of 8 bits with 128 added, four a word. Scales as above.
    Packed8,
}

impl Storage {
    pub(crate) fn of(dtype: Dtype) -> Option<Storage> {
        match dtype {
            Dtype::F32 => Some(Storage::F32),
            Dtype::F16 => Some(Storage::F16),
            Dtype::BF16 => Some(Storage::Bf16),
            Dtype::I8 => Some(Storage::I8),
            _ => None,
        }
    }

    /// Whether its values are integers with scales.
    pub(crate) fn is_quantized(self) -> bool {
        matches!(self, Storage::I8 | Storage::Packed4 | Storage::Packed8)
    }

    /// Bytes of a row of `width` values that the weights hold.
    pub(crate) fn row_bytes(self, width: usize) -> usize {
        match self {
            Storage::F32 => 4 * width,
            Storage::F16 | Storage::Bf16 => 2 * width,
            Storage::I8 => width,
            Storage::Packed8 => 4 * width.div_ceil(4),
            Storage::Packed4 => 4 * width.div_ceil(8),
        }
    }
}

/// The value of an IEEE half, without branches.
///
/// Its exponent and fraction are moved to where an `f32` has them, and a multiplication by 2¹¹² mends the exponent's bias; that makes
/// subnormals come out right as well. Infinities and NaNs, whose exponent would mend to a finite one, are patched afterwards.
fn f16_to_f32(bits: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * REBIAS;
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = f16_to_f32(bits);
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{bits:#06x}: {found} for {expected}");
        }
    }

    #[test]
    fn rows_convert_from_any_alignment() {
        let values = [1.5f32, -2.0, 0.25];
        let cases: [(Storage, Vec<u8>); 6] = [
            (Storage::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            (Storage::F16, values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()),
            (Storage::Bf16, values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()),
            // Two groups: a pair of quarters, and one value in eighths.
            (Storage::I8, vec![6, 0xf8, 2]),
            (Storage::Packed8, vec![134, 120, 130, 0]),
            (Storage::Packed4, vec![0x0e, 10, 0, 0]),
        ];
        let scales = [0.25f32.to_le_bytes(), 0.125f32.to_le_bytes()];
        for (storage, bytes) in cases {
            let mut shifted = vec![0];
            shifted.extend(&bytes);
            let mut out = [0.0; 3];
            convert_row(storage, &shifted[1..], RowScales { scales: &scales, group: 2 }, &mut out);
            assert_eq!(out, values, "{storage:?}");
            assert_eq!(bytes.len(), storage.row_bytes(3), "{storage:?}");
        }
    }
}
