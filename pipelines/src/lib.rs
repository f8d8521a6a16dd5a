//! Transformer NLP in pure Rust: sentence embeddings and more, fast, exact and batch-invariant.
