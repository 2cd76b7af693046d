//! One SMTP session, as bytes in and units out.
//!
//! The [`Observer`] follows both directions of a session and cuts them into
//! [`Unit`]s; [`ServerSession`] and [`ClientSession`] are built on it, each
//! speaking one side. A recording made by either looks like one made by the
//! proxy, which only observes.

mod buffer;
mod client;
mod observer;
mod server;
mod unit;

pub use client::{ClientOutput, ClientSession, Heard};
pub use observer::{Observer, Peers};
pub use server::{Asked, ServerOutput, ServerSession};
pub use unit::{Answers, DataForm, Kind, RawReason, Unit, UnitId};
