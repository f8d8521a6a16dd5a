//! The row-wise kernels at the sizes that MiniLM and BERT-base give them, at every level of this machine.
//!
//! `cargo bench -p loquat-benches --bench rows`. Elements per second; on one thread, data in cache.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use loquat_kernels::{
    Activation, Cpu, Exec, MatMut, MatRef, activation,
    embedding::{EmbeddingTable, Indices, Lookup, embed},
    norm::{NormParams, add_layer_norm, layer_norm},
    normalize::l2_normalize,
    pooling::{Pooling, pool},
    softmax::softmax,
};

const ROWS: usize = 128;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + 11) % 101) as f32 * 0.06 - 3.0).collect()
}

/// Benches `kernel` on a copy of the same matrix each time, so that values stay what they are in practice.
fn on_copies(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    cpu: &Cpu,
    cols: usize,
    mut kernel: impl FnMut(MatMut<'_>),
) {
    let original = values(ROWS * cols);
    let mut x = original.clone();
    group.throughput(Throughput::Elements((ROWS * cols) as u64));
    group.bench_function(format!("{name}/{ROWS}x{cols}/{}", cpu.level()), |bencher| {
        bencher.iter(|| {
            x.copy_from_slice(&original);
            if let Ok(view) = MatMut::new(&mut x, ROWS, cols, cols) {
                kernel(view);
            }
        });
    });
}

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rows");
    for cpu in Cpu::available() {
        on_copies(&mut group, "copy alone", &cpu, 384, |_| {});
        for cols in [384, 768] {
            let (gamma, beta, residual) = (values(cols), values(cols), values(ROWS * cols));
            let params = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
            on_copies(&mut group, "layer_norm", &cpu, cols, |x| {
                layer_norm(&cpu, Exec::Serial, x, params).expect("the shapes agree");
            });
            on_copies(&mut group, "add_layer_norm", &cpu, cols, |x| {
                let residual = MatRef::new(&residual, ROWS, cols, cols).expect("the matrix fits");
                add_layer_norm(&cpu, Exec::Serial, x, residual, params).expect("the shapes agree");
            });
        }
        for (name, kind) in [
            ("gelu_erf", Activation::GeluErf),
            ("gelu_tanh", Activation::GeluTanh),
            ("silu", Activation::Silu),
            ("tanh", Activation::Tanh),
        ] {
            on_copies(&mut group, name, &cpu, 1536, |x| activation::apply(&cpu, Exec::Serial, kind, x));
        }
        for cols in [128, 512] {
            on_copies(&mut group, "softmax", &cpu, cols, |x| softmax(&cpu, Exec::Serial, x));
        }
        on_copies(&mut group, "l2_normalize", &cpu, 384, |x| l2_normalize(&cpu, Exec::Serial, x));
        let (tokens, mut pooled) = (values(ROWS * 384), vec![0.0; 384]);
        for (name, kind) in [("pool mean", Pooling::Mean), ("pool max", Pooling::Max)] {
            on_copies(&mut group, name, &cpu, 384, |_| {
                let x = MatRef::new(&tokens, ROWS, 384, 384).expect("the matrix fits");
                let out = MatMut::new(&mut pooled, 1, 384, 384).expect("the row fits");
                pool(&cpu, Exec::Serial, kind, x, &[0, ROWS as u32], out).expect("the shapes agree");
            });
        }
        const VOCABULARY: usize = 2048;
        let bytes: Vec<u8> = values(VOCABULARY * 384).iter().flat_map(|x| x.to_le_bytes()).collect();
        let indices: Vec<u32> = (0..ROWS as u32).map(|i| i * 977 % VOCABULARY as u32).collect();
        let (gamma, beta) = (values(384), values(384));
        let norm = NormParams { gamma: &gamma, beta: &beta, eps: 1e-12 };
        for (name, table) in [
            ("embed f32 + norm", EmbeddingTable::F32(&bytes)),
            ("embed f16 + norm", EmbeddingTable::F16(&bytes[..bytes.len() / 2])),
            (
                "embed i8 + norm",
                EmbeddingTable::I8 { values: &bytes[..bytes.len() / 4], scales: &bytes[..VOCABULARY * 4] },
            ),
        ] {
            let words = Lookup { table, rows: VOCABULARY, indices: Indices::Rows(&indices) };
            let types = Lookup { indices: Indices::Constant(0), ..words };
            on_copies(&mut group, name, &cpu, 384, |x| {
                embed(&cpu, Exec::Serial, &[words, words, types], Some(norm), x).expect("the shapes agree");
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400))
        .sample_size(20);
    targets = rows
}
criterion_main!(benches);
