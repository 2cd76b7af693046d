//! The subcommands, a file each.

pub mod checks;
pub mod judge;
pub mod replay;
pub mod send;
pub mod test;
