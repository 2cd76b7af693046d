//! The `helo-recorder` program.
fn main() {}
