//! The suite against real mail servers and clients.

use anyhow::Result;

/// Runs it.
pub(crate) fn run() -> Result<()> {
    Ok(())
}
