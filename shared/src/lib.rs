//! The protocol half of Heloscope: SMTP as values, without IO.
//!
//! Nothing in this crate opens a socket or a file, spawns a task, reads a clock
//! or draws a random number: bytes, times and keys come in as arguments, and
//! what should be done comes out as values. `helo-driver` does it.
//!
//! # Reading order
//!
//! | module | what it holds |
//! |---|---|
//! | [`grammar`] | a cursor over one line, a function per ABNF rule |
//! | [`address`], [`path`], [`parameter`] | what stands in `MAIL` and `RCPT` |
//! | [`command`], [`reply`], [`status`] | one line of the client, one reply of the server |
//! | [`codec`] | lines, dots and chunks, with limits |
//! | [`content`] | what is odd about mail data, and how servers read it |
//! | [`extension`] | the table of SMTP extensions, and what each of them says |
//! | [`proxy`] | the PROXY protocol's header, before all SMTP |
//! | [`stage`] | which command may follow which |
//! | [`deviation`] | every departure from an RFC that we can name |
//! | [`session`] | the observer, and the client's and server's halves built on it |
//! | [`quantity`] | times and sizes as people write them |
//! | [`recording`] | the format on disk, its reader, redaction, the text transcript |
//! | [`check`] | what is asked of a server, and how the answer is judged |
//! | [`diagnosis`] | what a refusal usually means |
//! | [`fault`] | rules for misbehaving on purpose, and what fires when |
//! | [`script`] | a server's whole part of a session, and playing it |
//! | [`replay`] | comparing a recorded dialogue with a live one |
//! | [`message`] | the marked test message |
//!
//! # RFC index
//!
//! | RFC | what of it | where |
//! |---|---|---|
//! | RFC 5321 | SMTP | everywhere |
//! | RFC 1870 | SIZE | [`extension`], [`parameter`] |
//! | RFC 2033 | LMTP: one reply per recipient | [`session`] |
//! | RFC 2034, RFC 3463 | enhanced status codes | [`status`] |
//! | RFC 2852 | DELIVERBY: BY | [`extension`] |
//! | RFC 2920 | PIPELINING | [`session`], [`deviation`] |
//! | RFC 3030 | BDAT, BODY=BINARYMIME | [`codec`], [`session`], [`extension`] |
//! | RFC 3207 | STARTTLS | [`session`] |
//! | RFC 3461 | DSN: RET, ENVID, NOTIFY, ORCPT; xtext | [`extension`], [`parameter`] |
//! | RFC 4865 | FUTURERELEASE: HOLDFOR, HOLDUNTIL | [`extension`] |
//! | RFC 4155 | the first line of a message in an mbox | [`message`] |
//! | RFC 4954 | AUTH, and the parameter of MAIL | [`session`], [`recording`], [`extension`] |
//! | RFC 6152 | 8BITMIME | [`extension`] |
//! | RFC 6531 | SMTPUTF8 | [`address`], [`extension`] |
//! | RFC 6533 | ORCPT beyond US-ASCII | [`extension`] |
//! | RFC 6710 | MT-PRIORITY | [`extension`] |
//! | RFC 8689 | REQUIRETLS: the parameter | [`extension`] |
//! | RFC 9422 | LIMITS | [`extension`] |
pub mod address;
pub mod check;
pub mod codec;
pub mod command;
pub mod content;
pub mod deviation;
pub mod diagnosis;
pub mod direction;
pub mod escape;
pub mod extension;
pub mod fault;
pub mod grammar;
pub mod message;
pub mod parameter;
pub mod path;
pub mod proxy;
pub mod quantity;
pub mod recording;
pub mod replay;
pub mod reply;
pub mod script;
pub mod session;
pub mod stage;
pub mod status;
pub mod time;
