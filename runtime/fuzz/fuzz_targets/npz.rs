//! Any bytes as an archive of NumPy arrays, or as the only array of one: read or refused, every array inside the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loquat_runtime::Weights;

fuzz_target!(|bytes: &[u8]| {
    let file = if bytes.starts_with(b"PK") { bytes.to_vec() } else { archive("array.npy", bytes) };
    let Ok(weights) = Weights::from_vec("fuzz.npz", file) else { return };
    for tensor in weights.iter() {
        let values: usize = tensor.shape.iter().product();
        assert_eq!(tensor.bytes.len(), values * tensor.dtype.size());
    }
});

/// An archive of one stored entry, without checksums.
fn archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let size = (bytes.len() as u32).to_le_bytes();
    let name_len = (name.len() as u16).to_le_bytes();
    // Version, flags, method, time, date and checksum are zeros.
    let common = [&[0; 14][..], &size, &size, &name_len, &[0; 2]].concat();
    let mut file = [&b"PK\x03\x04"[..], common.as_slice(), name.as_bytes(), bytes].concat();
    let directory = file.len() as u32;
    file.extend([&b"PK\x01\x02\0\0"[..], common.as_slice(), &[0; 14], name.as_bytes()].concat());
    let len = (file.len() as u32 - directory).to_le_bytes();
    file.extend([&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], len.as_slice(), &directory.to_le_bytes(), &[0; 2]].concat());
    file
}
