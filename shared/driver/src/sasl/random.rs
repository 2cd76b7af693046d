//! Randomness, and its absence.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct NoRandomness;

/// Octets that nobody can guess.
pub(super) fn octets() -> Result<[u8; 32], NoRandomness> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

/// Text that never came before: the one given, for tests, or a random one. It
/// has no comma, so that it may stand in SCRAM (RFC 5802 §5.1).
pub(super) fn nonce(given: Option<&str>) -> Result<String, NoRandomness> {
    match given {
        Some(given) => Ok(given.to_owned()),
        None => Ok(STANDARD.encode(octets()?)),
    }
}
