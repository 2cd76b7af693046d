//! What each command is answered.

mod auth;
mod client;
mod fault;
mod hello;
pub mod persona;
mod recipient;
mod session;
mod transaction;
mod verdict;

pub use session::{Served, SessionPolicy};

/// Users that every domain must have (RFC 5321 §4.5.1, RFC 2142 §4).
pub const ALWAYS: [&str; 2] = ["postmaster", "abuse"];

/// Whose mail it is that is for a mailbox of no user.
pub const CATCH_ALL: &str = "catchall";
