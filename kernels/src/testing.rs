//! What the tests of the row-wise kernels share.

use std::num::NonZeroUsize;

use crate::{Exec, Team};

/// Row widths around the vector lengths of all levels, and around four vectors.
pub(crate) const WIDTHS: [usize; 18] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 129, 384, 385];

/// Deterministic values in `-2 .. 2`.
pub(crate) fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

/// Calls `check` with teams of 2 and 3.
pub(crate) fn with_teams(check: impl Fn(Exec<'_>)) {
    for threads in [2, 3] {
        let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        let lease = team.lease_blocking();
        check(Exec::Team(&lease));
    }
}
