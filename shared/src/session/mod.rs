//! One SMTP session, as bytes in and units out.

mod unit;

pub use unit::{Answers, DataForm, Kind, RawReason, Unit, UnitId};
