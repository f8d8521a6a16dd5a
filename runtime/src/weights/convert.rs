//! Stored values as `f32`.

use super::Dtype;

/// Converts one row of values. `bytes` holds as many values of `dtype` as `out` has; `scale` is what the values of an int8 row are
/// multiplied by, and 1 otherwise.
///
/// Plain loops over fixed-size chunks: the compiler turns them into vector code, which matters because packing weights is most of what
/// loading a model costs.
pub(crate) fn convert_row(dtype: Storage, bytes: &[u8], scale: f32, out: &mut [f32]) {
    match dtype {
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
            for (out, byte) in out.iter_mut().zip(bytes) {
                *out = f32::from(byte.cast_signed()) * scale;
            }
        }
    }
}

/// A type that weights may be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    F32,
    F16,
    Bf16,
    /// With one `f32` scale per row, in a tensor of its own.
    I8,
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

    pub(crate) fn size(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::F16 | Storage::Bf16 => 2,
            Storage::I8 => 1,
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
        let cases: [(Storage, Vec<u8>, f32); 4] = [
            (Storage::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect(), 1.0),
            (Storage::F16, values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(), 1.0),
            (Storage::Bf16, values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(), 1.0),
            (Storage::I8, vec![6, 0xf8, 1], 0.25),
        ];
        for (storage, bytes, scale) in cases {
            let mut shifted = vec![0];
            shifted.extend(&bytes);
            let mut out = [0.0; 3];
            convert_row(storage, &shifted[1..], scale, &mut out);
            assert_eq!(out, values, "{storage:?}");
            assert_eq!(bytes.len(), 3 * storage.size());
        }
    }
}
