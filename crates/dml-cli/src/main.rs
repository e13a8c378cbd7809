//! The `dml` binary.
fn main() {}
