//! Transformer architectures as loquat graphs.
