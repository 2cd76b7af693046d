//! Faults on purpose: rules that say when a server is to misbehave, and how.
//!
//! ```text
//! on rcpt if to ~ "^full@" : reply 452 4.2.2 "mailbox full"
//! on rcpt first 2 per triplet within 10m : reply 451 4.7.1 "try later"
//! on dot nth 1 : keep; no-reply; reset
//! on body-byte(4096) prob 0.1 : reset
//! ```
//!
//! [`rule`] is what a rule says, [`parse`] and its `Display` are how it is written,
//! [`engine`] tells what fires at an event, [`preset`] and [`catalogue`] are rules with
//! names. Nothing happens here: who serves a session asks the engine and does what it
//! says.
//!
//! **The same seed gives the same faults.** A draw of `prob` is a function of the seed,
//! the rule's text, and what is counted: with a key (`per to`) the how-manieth time it is
//! for that key, without one the session's number and the how-manieth time within it. No
//! generator is shared, so neither load nor the number of connections changes a draw.

pub mod action;
pub mod catalogue;
pub mod condition;
mod counter;
mod cursor;
pub mod draw;
pub mod engine;
pub mod magic;
pub mod parse;
pub mod preset;
mod print;
pub mod rule;

pub use action::Action;
pub use condition::{Condition, Facts, Pattern};
pub use engine::{Engine, Event, Fired, Firing, RuleId, Tally};
pub use parse::ParseError;
pub use rule::{Count, Key, Rule, Stage, When, Which};
