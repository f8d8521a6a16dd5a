//! Any bytes as a weights file: read or refused, every tensor inside the file, and a session over it built or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loquat_runtime::{
    Batch, Options, Session, Weights,
    graph::{GraphBuilder, Index, Table},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(weights) = Weights::from_vec("fuzz.safetensors", bytes.to_vec()) else { return };
    for tensor in weights.iter() {
        let values: usize = tensor.shape.iter().product();
        assert_eq!(tensor.bytes.len(), values * tensor.dtype.size());
    }
    // The seeds hold the tensors of this model, so that changes to them reach the loading of each type.
    let mut builder = GraphBuilder::new("fuzz");
    let table = Table { name: "table.weight", rows: 2, index: Index::TokenIds };
    let Ok(x) = builder.embedding("table", &[table], 3) else { return };
    let Ok(x) = builder.linear(x, 2, "dense.weight", Some("dense.bias")) else { return };
    builder.prefixes(&["bert."]).output("x", x);
    let Ok(graph) = builder.finish() else { return };
    let options = Options { threads: std::num::NonZeroUsize::new(1), ..Options::default() };
    if let (Ok(session), Ok(batch)) = (Session::new(graph, weights, &options), Batch::from_ids(&[[0, 1]])) {
        let outputs = session.run(&batch).expect("ids in range run");
        assert_eq!(outputs.get("x").map(|x| x.shape), Some([2, 2]));
    }
});
