//! The GEMM at the shapes of MiniLM and BERT-base, in every arithmetic at every level of this machine, between runs of the peak loop.
//!
//! Throughput is in floating-point operations: `Gelem/s` reads as GFLOP/s. Each shape is followed by its share of the peak, from
//! rounds that alternate the product and the peak loop, so that both see the same clock and the same neighbours.
//!
//!     cargo bench -p loquat-benches --bench gemm

use std::{hint::black_box, time::Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loquat_kernels::{
    AlignedBuf, Arithmetic, Cpu, Epilogue, Exec, MatMut, MatRef, PackedRhs, gemm,
    gemm::{kernel_for, scratch_len},
    peak,
};

/// Rows, output columns, reduction.
const SHAPES: [(usize, usize, usize); 9] = [
    (16, 1152, 384),
    (128, 1152, 384),
    (128, 384, 384),
    (128, 1536, 384),
    (128, 384, 1536),
    (256, 1536, 384),
    (128, 2304, 768),
    (128, 3072, 768),
    (128, 768, 3072),
];

/// Rounds of the peak loop that take about as long as one product.
const PEAK_ROUNDS: u64 = 20_000;

struct Product {
    cpu: Cpu,
    shape: (usize, usize, usize),
    strides: (usize, usize),
    lhs: AlignedBuf,
    rhs: PackedRhs,
    scratch: AlignedBuf,
    bias: Vec<f32>,
    out: AlignedBuf,
}

impl Product {
    fn new(cpu: Cpu, arithmetic: Arithmetic, shape: (usize, usize, usize)) -> Product {
        let (m, n, k) = shape;
        // As the memory plan lays activations out: rows an odd number of cache lines apart.
        let stride = |width: usize| width.next_multiple_of(32) + 16;
        let mut lhs = AlignedBuf::zeroed(m * stride(k)).expect("memory");
        for (i, value) in lhs.iter_mut().enumerate() {
            *value = (i % 17) as f32 * 0.01;
        }
        let fill = |row: usize, values: &mut [f32]| {
            for (i, value) in values.iter_mut().enumerate() {
                *value = ((row + i) % 13) as f32 * 0.01;
            }
        };
        let kernel = kernel_for(&cpu, arithmetic, n);
        let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &fill).expect("memory");
        Product {
            cpu,
            shape,
            strides: (stride(k), stride(n)),
            lhs,
            scratch: AlignedBuf::zeroed(scratch_len(&rhs, m, 1).expect("it fits")).expect("memory"),
            rhs,
            bias: vec![0.5; n],
            out: AlignedBuf::zeroed(m * stride(n)).expect("memory"),
        }
    }

    fn flop(&self) -> u64 {
        let (m, n, k) = self.shape;
        2 * (m * n * k) as u64
    }

    fn run(&mut self) {
        let (m, n, k) = self.shape;
        let lhs = MatRef::new(&self.lhs, m, k, self.strides.0).expect("shape");
        let out = MatMut::new(&mut self.out, m, n, self.strides.1).expect("shape");
        let epilogue = Epilogue { bias: Some(&self.bias), ..Epilogue::default() };
        gemm(&self.cpu, Exec::Serial, lhs, &self.rhs, &epilogue, &mut self.scratch, out).expect("shape");
    }

    /// Minimum, median and maximum share of the peak over alternating rounds.
    fn share_of_peak(&mut self) -> [f64; 3] {
        const ROUNDS: usize = 101;
        let rate = |flop: u64, start: Instant| flop as f64 / start.elapsed().as_nanos() as f64;
        let mut shares: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                let peak = rate(peak::products(&self.cpu, self.rhs.arithmetic(), PEAK_ROUNDS), start);
                let repeats = (20_000_000 / self.flop()).max(1);
                let start = Instant::now();
                (0..repeats).for_each(|_| self.run());
                rate(repeats * self.flop(), start) / peak
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        [shares[0], shares[ROUNDS / 2], shares[ROUNDS - 1]]
    }
}

fn products(criterion: &mut Criterion) {
    for cpu in Cpu::available() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16x3, Arithmetic::Bf16, Arithmetic::Int8, Arithmetic::Int4] {
            // Levels that have no kernels of their own for it run those of one below.
            if kernel_for(&cpu, arithmetic, 32).arithmetic == arithmetic {
                products_in(criterion, cpu, arithmetic);
            }
        }
    }
}

fn products_in(criterion: &mut Criterion, cpu: Cpu, arithmetic: Arithmetic) {
    let name = format!("gemm/{}/{}", cpu.level(), arithmetic.name());
    let mut group = criterion.benchmark_group(&name);
    group.throughput(Throughput::Elements(peak::products(&cpu, arithmetic, PEAK_ROUNDS)));
    group.bench_function("peak", |bencher| bencher.iter(|| peak::products(&cpu, arithmetic, black_box(PEAK_ROUNDS))));
    for shape in SHAPES {
        let mut product = Product::new(cpu, arithmetic, shape);
        let (m, n, k) = shape;
        group.throughput(Throughput::Elements(product.flop()));
        group.bench_function(BenchmarkId::from_parameter(format!("{m}x{n}x{k}")), |bencher| {
            bencher.iter(|| product.run());
        });
        let [min, median, max] = product.share_of_peak().map(|share| 100.0 * share);
        println!("{name}/{m}x{n}x{k}: {median:.0} % of peak in the same round (min {min:.0}, max {max:.0})");
    }
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
