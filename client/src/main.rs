//! The `helo-client` program.
fn main() {}
