//! SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS (RFC 5802, RFC 7677, RFC 9266).
//!
//! Neither end sends the password: each proves that it knows it, over what both
//! have said. A -PLUS proves the same over the TLS session underneath, so that
//! whoever has a session with each of them is found out.
//!
//! ```text
//! C: n,,n=user,r=rOprNGfwEbeRWgbNEkqO
//! S: r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096
//! C: c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=
//! S: v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=
//! ```

mod client;
mod keys;
mod message;
mod server;

use super::mechanism::{BeginClient, BeginServer};
use super::{Initial, Mechanism, Needs, Transfer};
use client::Client;
use keys::Hash;
use server::Server;

pub(super) const SHA_256_PLUS: Mechanism = row(
    "SCRAM-SHA-256-PLUS",
    true,
    |context| Ok(Box::new(Server::plus(Hash::Sha256, context)?)),
    |credentials, context| Ok(Box::new(Client::plus(Hash::Sha256, credentials, context)?)),
);

pub(super) const SHA_1_PLUS: Mechanism = row(
    "SCRAM-SHA-1-PLUS",
    true,
    |context| Ok(Box::new(Server::plus(Hash::Sha1, context)?)),
    |credentials, context| Ok(Box::new(Client::plus(Hash::Sha1, credentials, context)?)),
);

pub(super) const SHA_256: Mechanism = row(
    "SCRAM-SHA-256",
    false,
    |context| Ok(Box::new(Server::bare(Hash::Sha256, context)?)),
    |credentials, context| Ok(Box::new(Client::bare(Hash::Sha256, credentials, context)?)),
);

pub(super) const SHA_1: Mechanism = row(
    "SCRAM-SHA-1",
    false,
    |context| Ok(Box::new(Server::bare(Hash::Sha1, context)?)),
    |credentials, context| Ok(Box::new(Client::bare(Hash::Sha1, credentials, context)?)),
);

/// What all of them have in common.
const fn row(
    name: &'static str,
    channel_binding: bool,
    server: BeginServer,
    client: BeginClient,
) -> Mechanism {
    Mechanism {
        name,
        needs: Needs::Password,
        transfer: Transfer::Mutual,
        channel_binding,
        authzid: true,
        initial: Initial::Expected,
        server,
        client,
    }
}

/// How often a server of ours hashes, and the least a client of ours does: less
/// invites guessing (RFC 7677 §4).
pub(super) const FEWEST: u32 = 4096;

/// The most a client of ours does: a second of work.
pub(super) const MOST: u32 = 2_000_000;
