//! Framing: lines, dots and chunks, each with its limits.

mod data;
mod limits;

pub use data::{DotDecoder, DotScanner, Scan, encode_dots};
pub use limits::Limits;
