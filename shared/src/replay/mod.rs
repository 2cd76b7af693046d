//! Comparing a recorded dialogue with a live one.
//!
//! What is said again is the client's side; what is compared are the replies,
//! by their codes, their enhanced status codes, and what EHLO offers, and the TLS
//! sessions. Values that differ from run to run, such as queue ids, are bound: where
//! one is named again, the live one must be named. Words are compared only if asked
//! for.
//!
//! One difference is dangerous: a refusal was recorded, and the live server says
//! yes. [`Safety`] says what must be done about it, so that nothing is queued
//! and no command becomes the text of a message.
//!
//! | module | what it has |
//! |---|---|
//! | `groups` | what was sent without waiting |
//! | `compare` | what differs between two replies, or two TLS sessions |
//! | `bind` | values that are renamed from run to run |
//! | `slowdown` | how much later a reply may come |
//! | `judge` | all of these over one session |
//! | `safety` | what a live reply demands before anything else is said |
//! | `vary` | where values stand that are renamed |

mod bind;
mod compare;
mod groups;
mod judge;
mod safety;
mod slowdown;
mod vary;

use std::time::Duration;

pub use bind::{Bindings, Bound};
pub use compare::{Matching, Rules, Shape, StatusRule, compare, compare_close, compare_tls};
pub use groups::{Group, groups};
pub use judge::{Judge, Judged};
pub use safety::{Safety, begins_anew, safety};
pub use slowdown::{NotASlowdown, Slowdown};
pub use vary::{Name, NotAPattern, Pattern};

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth showing.
    Info,
    /// Doubtful.
    Warn,
    /// Not the same.
    Fail,
}

/// One difference between the recorded reply and the live one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// What differs: `bind`, `close`, `code`, `ec`, `ehlo`, `lines`, `reply`,
    /// `text`, `tls`, `took`; `auth` where a server that says yes has proven nothing.
    pub field: &'static str,
    /// What was recorded.
    pub want: String,
    /// What came.
    pub got: String,
    /// How much it matters.
    pub level: Level,
}

/// How long a reply took, for a person.
pub fn shown(took: Option<u64>) -> String {
    took.map_or_else(String::new, |nanos| {
        format!("{:.2} ms", Duration::from_nanos(nanos).as_secs_f64() * 1e3)
    })
}

fn difference(
    field: &'static str,
    want: &(impl ToString + ?Sized),
    got: &(impl ToString + ?Sized),
    level: Level,
) -> Difference {
    Difference {
        field,
        want: want.to_string(),
        got: got.to_string(),
        level,
    }
}

#[cfg(test)]
mod sample {
    //! Sessions that the tests of the parts share.

    use crate::recording::{Dialogue, Transcript};
    use crate::reply::Reply;

    /// Three commands in one group, all refused but the first.
    pub(super) const RECORDED: &str = "\
S: 220 mx
C: EHLO a
S: 250-mx
S: 250-PIPELINING
S: 250-AUTH PLAIN LOGIN
S: 250 SIZE 10
C: MAIL FROM:<a@b>
C: RCPT TO:<c@d>
C: DATA
S: 250 2.1.0 ok
S: 550 5.1.1 no
S: 554 5.5.1 no
C: QUIT
S: 221 2.0.0 bye
";

    /// Content in chunks, and then by DATA.
    pub(super) const CHUNKS: &str = "\
S: 220 mx
C: EHLO a
S: 250-mx
S: 250-PIPELINING
S: 250 CHUNKING
C: MAIL FROM:<a@b>
C: RCPT TO:<c@d>
C: BDAT 5
C| abc
S: 250 ok
S: 250 ok
S: 250 ok
C: BDAT 3 LAST
C| d
S: 552 no
C: MAIL FROM:<a@b>
S: 250 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 kept
";

    pub(super) fn dialogue(text: &str) -> Dialogue {
        let transcript: Transcript = text.parse().unwrap();
        let recording = transcript.record("127.0.0.1:1", "127.0.0.1:25").unwrap();
        recording.dialogues().remove(0)
    }

    pub(super) fn reply(wire: &str) -> Reply {
        Reply::parse(wire.as_bytes()).unwrap()
    }
}
