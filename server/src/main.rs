//! The `helo-server` program.
fn main() {}
