//! Both halves of SASL: against each other, against the examples of the RFCs,
//! against rsasl's halves, and against bytes that are no message at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod binding;
mod dialogue;
mod examples;
mod laws;
mod pairs;
mod rsasl_peer;
