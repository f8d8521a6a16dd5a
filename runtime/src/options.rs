//! What a session can be asked for.

use std::num::NonZeroUsize;

use loquat_kernels::{Arithmetic, Level};

/// How a [`Session`](crate::Session) runs. None of it but the precision and the level changes results.
///
/// ```
/// use loquat_runtime::{Options, Parallel};
/// let options = Options { parallel: Parallel::Team, ..Options::default() };
/// assert_eq!(options.shard_tokens, 128);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads, the caller's included. `None` takes as many as the machine has cores.
    pub threads: Option<NonZeroUsize>,
    /// How exactly matrix products are computed.
    pub precision: Precision,
    /// Weights of linear layers, by the graph's names, whose products are computed in `bf16` where others are in int8, and in `f32` where
    /// others are in int4. Those that quantised weights hold as they were are kept so in any case.
    pub keep_high: Vec<String>,
    /// How a batch is spread over the threads.
    pub parallel: Parallel,
    /// Tokens that are taken through the whole model together, 1 or more. 128 keeps the activations of one shard of a small encoder in the
    /// L2 cache; more saves reading the weights so often.
    pub shard_tokens: usize,
    /// Names of passes to leave out, for finding out what one of them is worth.
    pub disabled_passes: Vec<String>,
    /// The outputs to compute. `None` computes all; asking for fewer can save a lot, since nothing is computed that no output needs.
    pub outputs: Option<Vec<String>>,
    /// The instruction-set level. `None` takes the machine's best, or what the environment says.
    pub level: Option<Level>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: None,
            precision: Precision::default(),
            keep_high: Vec::new(),
            parallel: Parallel::default(),
            shard_tokens: 128,
            disabled_passes: Vec::new(),
            outputs: None,
            level: None,
        }
    }
}

/// How exactly matrix products are computed, in the terms of PyTorch's `float32_matmul_precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// `highest`: `f32` multiply-adds.
    F32,
    /// `high`: each value as the sum of two `bf16`, three products of these. Errors are near those of `f32`, a product's about 2⁻¹⁶ of its
    /// terms; several times as fast where the machine has AMX, and the same as [`F32`](Precision::F32) where it hasn't.
    Bf16x3,
    /// `medium`: weights and activations rounded to `bf16`, sums in `f32`. Without AMX the same as [`F32`](Precision::F32).
    Bf16,
    /// Weights and activations rounded to bytes, with a scale for each column of weights and each row of activations; sums are exact.
    Int8,
    /// Weights rounded to four bits, with a scale for each 32 inputs of an output, activations to 16 bits, likewise; sums in `f32`. A seventh of
    /// the memory, and as much less to read for each token of a lone sequence. With many tokens the other precisions are faster.
    Int4,
    /// What quantised weights say of themselves ([`Quantization::precision`](crate::weights::Quantization::precision)); with other weights
    /// the fastest way that stays within `f32` tolerances on this machine, which today is [`Precision::F32`] everywhere.
    #[default]
    Auto,
}

impl Precision {
    /// The arithmetic that is asked for.
    pub(crate) fn arithmetic(self) -> Arithmetic {
        match self {
            Precision::F32 | Precision::Auto => Arithmetic::F32,
            Precision::Bf16x3 => Arithmetic::Bf16x3,
            Precision::Bf16 => Arithmetic::Bf16,
            Precision::Int8 => Arithmetic::Int8,
            Precision::Int4 => Arithmetic::Int4,
        }
    }
}

/// How a batch is spread over the threads. The results are the same, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parallel {
    /// Sharded where that keeps all threads busy, else as a team.
    #[default]
    Auto,
    /// Each thread takes whole sequences through the whole model: no waiting, best for many sequences.
    Sharded,
    /// All threads work on each step together: best for a lone sequence.
    Team,
}
