//! Benchmarks of loquat's kernels and models, alone and against peers.
