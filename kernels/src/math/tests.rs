//! Sweeps over the bit patterns of `f32`, at every level, against `f64`.
//!
//! Every 4001th pattern by default; `LOQUAT_SWEEP_STRIDE=1 cargo test --release -p loquat-kernels sweep` takes all of them
//! (some half an hour of CPU time), and a larger stride suits an emulated CPU.

use pulp::{Simd, WithSimd};

use super::*;
use crate::{Activation, Cpu, Level, activation};

#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Activation(Activation),
}

struct Map<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl WithSimd for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        crate::row::map::<S>(self.values, |x| match self.function {
            Function::Exp => exp(simd, x),
            Function::Activation(activation) => activation::apply_vec(simd, activation, x),
        });
    }
}

impl Function {
    const ALL: [Function; 6] = [
        Function::Exp,
        Function::Activation(Activation::GeluErf),
        Function::Activation(Activation::GeluTanh),
        Function::Activation(Activation::Silu),
        Function::Activation(Activation::Tanh),
        Function::Activation(Activation::Sigmoid),
    ];

    fn run(self, cpu: &Cpu, values: &mut [f32]) {
        cpu.arch().dispatch(Map { function: self, values });
    }

    fn truth(self, x: f64) -> f64 {
        match self {
            Function::Exp => x.exp(),
            Function::Activation(activation) => activation::reference::apply(activation, x),
        }
    }

    /// Where the function is used.
    fn domain(self, x: f32) -> bool {
        !x.is_nan() && (!matches!(self, Function::Exp) || x <= 88.0)
    }

    /// The largest error allowed at `x`.
    fn bound(self, x: f32, truth: f64, level: Level) -> f64 {
        /// What `exp` gives up at most.
        const FLUSHED: f64 = 8.5e-39;
        // Without FMA every step of a polynomial rounds twice.
        let fma = level != Level::Scalar;
        match self {
            Function::Exp => ((if fma { 1.0 } else { 1.25 }) * ulp(truth)).max(FLUSHED),
            Function::Activation(Activation::Tanh) => 3.0 * ulp(truth),
            Function::Activation(Activation::Sigmoid) => (3.0 * ulp(truth)).max(FLUSHED),
            Function::Activation(Activation::Silu) => (4.0 * ulp(truth)).max(FLUSHED * 100.0),
            Function::Activation(Activation::GeluErf) if x >= 0.0 => 4.0 * ulp(truth),
            Function::Activation(Activation::GeluErf) => (1e-6 * truth.abs()).max(1e-7),
            // An error of the exponent, which grows with the cube of x, is an error of the result relative to it.
            Function::Activation(Activation::GeluTanh) => {
                let exponent = 1.6 * f64::from(x.min(0.0).abs()) * (1.0 + 0.045 * f64::from(x * x));
                ((1e-6_f64).max(2e-7 * exponent) * truth.abs()).max(FLUSHED * 20.0)
            }
            Function::Activation(_) => 0.0,
        }
    }

    /// What no result may leave.
    fn range(self) -> std::ops::RangeInclusive<f32> {
        match self {
            Function::Exp => 0.0..=f32::INFINITY,
            Function::Activation(Activation::Tanh) => -1.0..=1.0,
            Function::Activation(Activation::Sigmoid) => 0.0..=1.0,
            Function::Activation(Activation::GeluErf | Activation::GeluTanh) => -0.170_05..=f32::INFINITY,
            Function::Activation(Activation::Silu) => -0.278_47..=f32::INFINITY,
            Function::Activation(_) => 0.0..=f32::INFINITY,
        }
    }
}

/// Distance between the two `f32` around `value`, down to the smallest subnormal.
fn ulp(value: f64) -> f64 {
    let exponent = value.abs().log2().floor().clamp(-126.0, 127.0);
    (exponent - 23.0).exp2()
}

/// Error of a result in `f64`; overflow to infinity is right where the truth rounds to it.
fn error(found: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    let overflows = found == f32::INFINITY && truth > f64::from(f32::MAX);
    if found == rounded || overflows || (found.is_nan() && truth.is_nan()) {
        0.0
    } else {
        (f64::from(found) - truth).abs()
    }
}

#[test]
fn sweep_stays_within_the_bounds() {
    let stride: usize = match std::env::var("LOQUAT_SWEEP_STRIDE") {
        Ok(stride) => stride.parse().expect("LOQUAT_SWEEP_STRIDE is a number"),
        Err(_) => 4001,
    };
    const CHUNK: usize = 1 << 12;
    let chunks = (1_usize << 32).div_ceil(stride * CHUNK);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let cpus = Cpu::available();
    // Worst error in bounds, per function and level.
    let worst = std::sync::Mutex::new(vec![vec![(0.0, 0.0_f32, 0.0_f32); cpus.len()]; Function::ALL.len()]);
    let work = || {
        let mut own = vec![vec![(0.0, 0.0, 0.0); cpus.len()]; Function::ALL.len()];
        let mut found = vec![0.0; CHUNK];
        loop {
            let chunk = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if chunk >= chunks {
                break;
            }
            for (function, own) in Function::ALL.into_iter().zip(&mut own) {
                let inputs: Vec<f32> = (0..CHUNK)
                    .filter_map(|i| u32::try_from((chunk * CHUNK + i) * stride).ok())
                    .map(f32::from_bits)
                    .filter(|x| function.domain(*x))
                    .collect();
                let truths: Vec<f64> = inputs.iter().map(|x| function.truth(f64::from(*x))).collect();
                for (cpu, own) in cpus.iter().zip(own) {
                    let found = &mut found[..inputs.len()];
                    found.copy_from_slice(&inputs);
                    function.run(cpu, found);
                    for ((x, truth), found) in inputs.iter().zip(&truths).zip(found) {
                        let error = error(*found, *truth);
                        let in_bounds =
                            if error == 0.0 { 0.0 } else { error / function.bound(*x, *truth, cpu.level()) };
                        let in_range = function.range().contains(found);
                        let excess = if in_range && !in_bounds.is_nan() { in_bounds } else { f64::INFINITY };
                        if excess > own.0 {
                            *own = (excess, *x, *found);
                        }
                    }
                }
            }
        }
        let mut worst = worst.lock().unwrap();
        for (worst, own) in worst.iter_mut().flatten().zip(own.into_iter().flatten()) {
            if own.0 > worst.0 {
                *worst = own;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    let mut failures = String::new();
    for (function, levels) in Function::ALL.into_iter().zip(worst.into_inner().unwrap()) {
        for (cpu, (excess, x, found)) in cpus.iter().zip(levels) {
            let truth = function.truth(f64::from(x));
            let line = format!(
                "{function:?} {}: {excess:.3} of the bound, at {x:e}: found {found:e}, expected {truth:e}\n",
                cpu.level()
            );
            print!("{line}");
            if excess > 1.0 {
                failures += &line;
            }
        }
    }
    assert!(failures.is_empty(), "beyond the bounds:\n{failures}");
}

#[test]
fn special_values_map_to_the_limits() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases = [
        (Function::Activation(Activation::Relu), [0.0, inf, 0.0]),
        (Function::Activation(Activation::GeluErf), [0.0, inf, 0.0]),
        (Function::Activation(Activation::GeluTanh), [0.0, inf, 0.0]),
        (Function::Activation(Activation::Silu), [0.0, inf, 0.0]),
        (Function::Activation(Activation::Tanh), [-1.0, 1.0, 0.0]),
        (Function::Activation(Activation::Sigmoid), [0.0, 1.0, 0.5]),
    ];
    for cpu in Cpu::available() {
        for (function, [low, high, zero]) in cases {
            let mut values = [-inf, inf, 0.0, -0.0, nan, -nan, f32::MIN, f32::MAX];
            function.run(&cpu, &mut values);
            // The fitted tail of GELU ends within 1e-24 of 0.
            let near = |found: f32, expected: f32| found == expected || (found - expected).abs() < 1e-20;
            let label = format!("{function:?} {}: {values:?}", cpu.level());
            assert!(near(values[0], low) && near(values[6], low), "{label}");
            assert!(near(values[1], high), "{label}");
            assert!(values[2] == zero && values[3] == zero, "{label}");
            assert!(values[4].is_nan() && values[5].is_nan(), "{label}");
        }
    }
}

#[test]
fn exp_gives_zero_far_below() {
    for cpu in Cpu::available() {
        let mut values = [f32::NEG_INFINITY, -1e30, -100.0, -87.7, 0.0, f32::NAN];
        Function::Exp.run(&cpu, &mut values);
        assert_eq!(values[..5], [0.0, 0.0, 0.0, 0.0, 1.0], "{}", cpu.level());
        assert!(values[5].is_nan(), "{}", cpu.level());
    }
}

#[test]
fn a_place_in_the_row_does_not_change_a_bit() {
    let inputs: Vec<f32> = (0..67).map(|i| (i as f32 - 40.0) * 0.37).collect();
    for cpu in Cpu::available() {
        for function in Function::ALL {
            let mut row = inputs.clone();
            function.run(&cpu, &mut row);
            for (x, found) in inputs.iter().zip(&row) {
                let mut alone = [*x];
                function.run(&cpu, &mut alone);
                assert_eq!(alone[0].to_bits(), found.to_bits(), "{function:?} {} at {x}", cpu.level());
            }
        }
    }
}
