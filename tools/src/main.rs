//! The `loquat` command.

fn main() {}
