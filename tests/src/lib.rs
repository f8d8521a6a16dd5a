//! Tests that span crates: goldens, second opinions, invariance.
