//! The IO half of Heloscope: sockets, TLS, clocks, and the recording on disk.
//!
//! It knows no SMTP beyond what `helo-shared`'s sessions tell it to do, no
//! subcommands, no policies and no reports.
//!
//! | module | what it does |
//! |---|---|
//! | [`clock`] | wall-clock anchor plus monotonic time |
//! | [`socket`] | a TCP or UNIX socket, and where its ends are |
//! | [`stream`] | a connection, plain or TLS, that changes from one to the other |
//! | [`tls`] | configurations, minted certificates, what a handshake showed |
//! | [`journal`] | the recording on disk: durability, failure |
//! | [`tap`] | following the recording while it is made |
//! | [`talk`] | drives a `ClientSession` |
//! | [`serve`] | drives a `ServerSession` |
//! | [`strike`], [`handshake`] | what goes wrong on purpose |
//! | [`net`] | binding, connecting, network namespaces |
//! | [`listen`] | several listening sockets, and saying where they are |
//! | [`proxied`] | the PROXY header at the start of a connection |
//! | [`process`] | signals, logging |
//! | [`sasl`] | SASL, both halves: who a client is |

pub mod clock;
pub mod handshake;
pub mod journal;
pub mod listen;
pub mod net;
pub mod process;
pub mod proxied;
pub mod sasl;
pub mod serve;
mod shelf;
pub mod socket;
pub mod stream;
pub mod strike;
pub mod talk;
pub mod tap;
pub mod tls;
