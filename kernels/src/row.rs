//! A row as whole vectors and a tail: the loops that the row-wise kernels share.
//!
//! The tail is padded to a whole vector and goes through the same arithmetic, so an element's result doesn't depend on where in a
//! row it stands. Reductions keep four partial vectors, which hides the latency of the additions; their order depends on the
//! row's length and the vector's alone.
//!
//! Closures that take vectors are `#[inline(always)]`, here and at the callers: one that isn't inlined is compiled without the
//! level's instructions, and each of its operations becomes a call.

use pulp::Simd;

/// Lanes of the widest vector of any level.
const WIDEST: usize = 16;

/// The tail of a row as a vector, `pad` beyond it.
#[inline(always)]
fn load_tail<S: Simd>(tail: &[f32], pad: f32) -> S::f32s {
    let mut padded = [pad; WIDEST];
    padded[..tail.len()].copy_from_slice(tail);
    S::as_simd_f32s(&padded).0[0]
}

/// Writes as much of `vector` as the tail has room for.
#[inline(always)]
fn store_tail<S: Simd>(tail: &mut [f32], vector: S::f32s) {
    let mut padded = [0.0; WIDEST];
    S::as_mut_simd_f32s(&mut padded).0[0] = vector;
    tail.copy_from_slice(&padded[..tail.len()]);
}

/// Replaces each element by `f` of it.
#[inline(always)]
pub(crate) fn map<S: Simd>(row: &mut [f32], f: impl Fn(S::f32s) -> S::f32s) {
    let (vectors, tail) = S::as_mut_simd_f32s(row);
    for x in vectors {
        *x = f(*x);
    }
    if !tail.is_empty() {
        let x = load_tail::<S>(tail, 0.0);
        store_tail::<S>(tail, f(x));
    }
}

/// Replaces each element by `f` of it and of the elements of two other rows at its place.
#[inline(always)]
pub(crate) fn map_with<S: Simd>(
    row: &mut [f32],
    others: [&[f32]; 2],
    f: impl Fn(S::f32s, S::f32s, S::f32s) -> S::f32s,
) {
    let (vectors, tail) = S::as_mut_simd_f32s(row);
    let (a, a_tail) = S::as_simd_f32s(others[0]);
    let (b, b_tail) = S::as_simd_f32s(others[1]);
    for ((x, a), b) in vectors.iter_mut().zip(a).zip(b) {
        *x = f(*x, *a, *b);
    }
    if !tail.is_empty() {
        let x = f(load_tail::<S>(tail, 0.0), load_tail::<S>(a_tail, 0.0), load_tail::<S>(b_tail, 0.0));
        store_tail::<S>(tail, x);
    }
}

/// Adds another row to this one.
#[inline(always)]
pub(crate) fn add<S: Simd>(simd: S, row: &mut [f32], other: &[f32]) {
    let (vectors, tail) = S::as_mut_simd_f32s(row);
    let (others, other_tail) = S::as_simd_f32s(other);
    for (x, other) in vectors.iter_mut().zip(others) {
        *x = simd.add_f32s(*x, *other);
    }
    if !tail.is_empty() {
        let sum = simd.add_f32s(load_tail::<S>(tail, 0.0), load_tail::<S>(other_tail, 0.0));
        store_tail::<S>(tail, sum);
    }
}

/// Four partial results that take turns.
struct Partial<V> {
    parts: [V; 4],
}

impl<V: Copy> Partial<V> {
    #[inline(always)]
    fn fold(self, join: impl Fn(V, V) -> V) -> V {
        let [a, b, c, d] = self.parts;
        join(join(a, b), join(c, d))
    }
}

/// Joins `f` of each vector to the partial results in turn. `pad` fills the tail: `f` of it must be neutral.
#[inline(always)]
fn fold<S: Simd>(row: &[f32], neutral: S::f32s, pad: f32, f: impl Fn(S::f32s, S::f32s) -> S::f32s) -> Partial<S::f32s> {
    let (vectors, tail) = S::as_simd_f32s(row);
    let mut parts = [neutral; 4];
    let (fours, rest) = pulp::as_arrays::<4, _>(vectors);
    for four in fours {
        for (part, x) in parts.iter_mut().zip(four) {
            *part = f(*part, *x);
        }
    }
    for (part, x) in parts.iter_mut().zip(rest) {
        *part = f(*part, *x);
    }
    if !tail.is_empty() {
        parts[3] = f(parts[3], load_tail::<S>(tail, pad));
    }
    Partial { parts }
}

/// Sum of the elements.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let partial = fold::<S>(
        row,
        simd.splat_f32s(0.0),
        0.0,
        #[inline(always)]
        |sum, x| simd.add_f32s(sum, x),
    );
    simd.reduce_sum_f32s(partial.fold(
        #[inline(always)]
        |a, b| simd.add_f32s(a, b),
    ))
}

/// Sum of the squared distances from `center`.
#[inline(always)]
pub(crate) fn sum_of_squares<S: Simd>(simd: S, row: &[f32], center: f32) -> f32 {
    let centers = simd.splat_f32s(center);
    let partial = fold::<S>(
        row,
        simd.splat_f32s(0.0),
        center,
        #[inline(always)]
        |sum, x| {
            let distance = simd.sub_f32s(x, centers);
            simd.mul_add_e_f32s(distance, distance, sum)
        },
    );
    simd.reduce_sum_f32s(partial.fold(
        #[inline(always)]
        |a, b| simd.add_f32s(a, b),
    ))
}

/// Largest `f` of an element (a `NaN` may or may not count); negative infinity for an empty row.
#[inline(always)]
pub(crate) fn max_of<S: Simd>(simd: S, row: &[f32], f: impl Fn(S::f32s) -> S::f32s) -> f32 {
    // Padding with an element of the row can't change the result.
    let Some(pad) = row.first() else { return f32::NEG_INFINITY };
    let lowest = simd.splat_f32s(f32::NEG_INFINITY);
    let partial = fold::<S>(
        row,
        lowest,
        *pad,
        #[inline(always)]
        |max, x| simd.max_f32s(max, f(x)),
    );
    simd.reduce_max_f32s(partial.fold(
        #[inline(always)]
        |a, b| simd.max_f32s(a, b),
    ))
}

/// Replaces each element by `f` of it and gives the sum of the new ones.
#[inline(always)]
pub(crate) fn map_sum<S: Simd>(simd: S, row: &mut [f32], f: impl Fn(S::f32s) -> S::f32s) -> f32 {
    let (vectors, tail) = S::as_mut_simd_f32s(row);
    let mut parts = [simd.splat_f32s(0.0); 4];
    let (fours, rest) = pulp::as_arrays_mut::<4, _>(vectors);
    for four in fours {
        for (part, x) in parts.iter_mut().zip(four) {
            *x = f(*x);
            *part = simd.add_f32s(*part, *x);
        }
    }
    for (part, x) in parts.iter_mut().zip(rest) {
        *x = f(*x);
        *part = simd.add_f32s(*part, *x);
    }
    if !tail.is_empty() {
        let x = load_tail::<S>(tail, 0.0);
        store_tail::<S>(tail, f(x));
        // `f` of the padding isn't zero: pad again.
        parts[3] = simd.add_f32s(parts[3], load_tail::<S>(tail, 0.0));
    }
    simd.reduce_sum_f32s(Partial { parts }.fold(
        #[inline(always)]
        |a, b| simd.add_f32s(a, b),
    ))
}

/// Rows that a worker takes at least: enough work to be worth handing over, some microseconds.
pub(crate) fn rows_per_block(cols: usize) -> usize {
    (8192 / cols.max(1)).max(1)
}
