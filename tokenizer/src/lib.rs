//! Tokenizers for transformer models, exact to the reference, with offsets.
