//! Who may log in, and with what.
//!
//! [`table`] keeps and compares, [`mod@file`] reads. A comparison takes the same time
//! wherever the difference is, and one that must fail because nobody has that
//! name takes the same way as one with a wrong password.

pub mod file;
pub mod table;

pub use file::FileError;
pub(super) use table::Found;
pub use table::{AccountError, Accounts, NameCase};
