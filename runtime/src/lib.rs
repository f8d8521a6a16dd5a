//! Graph compiler and executor for ragged transformer inference.
