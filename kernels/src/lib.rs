//! CPU kernels for transformer inference: packed GEMM, ragged attention, row-wise ops.
