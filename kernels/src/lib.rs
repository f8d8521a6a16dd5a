//! CPU kernels for transformer inference: packed GEMM, ragged attention and row-wise operations.
//!
//! The crate knows slices, strides, packed panels and cumulative sequence lengths; it knows no graphs, models or files.
//!
//! * [`Cpu`] is the instruction-set level that a call runs at. One can only be made for what this machine has, which is
//!   what makes every SIMD kernel behind it sound to call.
//! * [`MatRef`] and [`MatMut`] are row-major `f32` matrices with a row stride.
//! * [`Team`] is a fixed set of threads for fork-join work; [`Exec`] says whether a kernel may use one.
//!
//! Results never depend on how work is split: every output element is reduced in one fixed order, so a row's bits are the same
//! alone, in a batch, and on any number of threads.
//!
//! ```
//! use loquat_kernels::{Cpu, Epilogue, Exec, MatMut, MatRef, PackedRhs, gemm};
//!
//! let cpu = Cpu::detect()?;
//! // out[2, 3] = lhs[2, 4] · weightᵀ, the weight stored as [3 outputs, 4 inputs] like a PyTorch `Linear`.
//! let weight = [[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]];
//! let rhs = PackedRhs::pack(&cpu, Exec::Serial, 4, 3, &|column, row| row.copy_from_slice(&weight[column]))?;
//! let lhs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
//! let mut out = [0.0; 6];
//! gemm(
//!     &cpu,
//!     Exec::Serial,
//!     MatRef::new(&lhs, 2, 4, 4)?,
//!     &rhs,
//!     &Epilogue::default(),
//!     &mut [],
//!     MatMut::new(&mut out, 2, 3, 3)?,
//! )?;
//! assert_eq!(out, [1.0, 4.0, 10.0, 5.0, 12.0, 26.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
mod buffer;
mod cpu;
pub mod elementwise;
pub mod embedding;
mod error;
pub mod fourier;
pub mod gather;
pub mod gemm;
#[cfg(all(test, unix))]
mod guard;
mod math;
pub mod neighbours;
pub mod norm;
pub mod normalize;
pub mod peak;
pub mod pooling;
mod ragged;
pub mod rotary;
mod row;
mod slab;
pub mod softmax;
mod team;
#[cfg(test)]
mod testing;
mod transpose;
mod view;

pub use activation::Activation;
pub use attention::{AttentionSpec, ContentBias, PositionBias, RelativeBias, Segments, attention, biased_attention};
pub use buffer::AlignedBuf;
pub use cpu::{Cpu, CpuError, Features, LEVEL_VARIABLE, Level, ParseLevelError};
pub use error::KernelError;
pub use gemm::{Arithmetic, Epilogue, PackedRhs, RhsShape, gemm, int4};
pub use team::{Exec, Lease, Team};
pub use view::{MatMut, MatRef};
