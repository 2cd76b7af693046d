//! From a frame to the TCP segment in it.

mod fragments;
mod link;
mod network;

pub use network::{Decoder, Found};
