//! SASL: how a client proves who it is (RFC 4422), as SMTP carries it (RFC 4954).
//!
//! Both halves of every mechanism stand side by side, a file for each family, a
//! row in [`ALL`] for each name. A half is a value that eats messages and says
//! what to do; it does no IO, and the only file ever read is one of accounts.
//!
//! | module | what it has |
//! |---|---|
//! | [`server`] | the half that asks, and what it answers with |
//! | [`client`] | the half that proves, and how it chooses a mechanism |
//! | [`accounts`] | who may log in, and with what |
//! | [`channel`] | what lies under the exchange: TLS and channel binding |
//! | [`message`] | the base64 lines of RFC 4954 §4 |
//!
//! ```text
//! C: AUTH SCRAM-SHA-256 <client-first>      server::Exchange::step(Some(..))
//! S: 334 <server-first>                     → Step::Challenge
//! C: <client-final>                         step(Some(..))
//! S: 334 <server-final>                     → Step::Challenge
//! C: (an empty line)                        step(Some(&[]))
//! S: 235 2.7.0 ok                           → Step::Done
//! ```

pub mod accounts;
pub mod channel;
pub mod client;
mod cram_md5;
mod external;
mod gs2;
mod login;
mod mechanism;
pub mod message;
mod oauth;
mod plain;
mod prepare;
mod random;
mod scram;
pub mod server;

pub use accounts::{Accounts, NameCase};
pub use channel::{Channel, ChannelBinding, Plus};
pub use mechanism::{ClearText, Initial, Mechanism, Needs, Transfer, find};
pub use message::Message;
pub use random::NoRandomness;

/// Every mechanism, in the order a client prefers them: bound to the TLS session
/// first, for that stops whoever sits in the middle, whatever the hash.
pub static ALL: [Mechanism; 10] = [
    scram::SHA_256_PLUS,
    scram::SHA_1_PLUS,
    scram::SHA_256,
    scram::SHA_1,
    external::EXTERNAL,
    oauth::OAUTHBEARER,
    oauth::XOAUTH2,
    cram_md5::CRAM_MD5,
    plain::PLAIN,
    login::LOGIN,
];
