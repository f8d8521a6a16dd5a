//! Any bytes as a file that PyTorch saved: read or refused, every tensor inside the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loquat_runtime::Weights;

fuzz_target!(|bytes: &[u8]| {
    let Ok(weights) = Weights::from_vec("fuzz.bin", bytes.to_vec()) else { return };
    for tensor in weights.iter() {
        let values: usize = tensor.shape.iter().product();
        assert_eq!(tensor.bytes.len(), values * tensor.dtype.size());
    }
});
