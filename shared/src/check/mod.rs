//! What is asked of a server, and how the answers are judged.
//!
//! A check is a row of [`ALL`]: a question, the [`Script`]s that ask it, and a
//! judge. Scripts are data that a program plays; judges read recorded
//! [dialogues](crate::recording::Dialogue) and nothing else: they do not learn
//! which server was asked, and they find their exchanges by what was said, so
//! recordings made by others can be judged as well. [`judge`] puts a whole
//! recording into one [`Report`]: a row per check, a column per [`Leg`].
//!
//! A verdict of pass that rests on a refusal stands only while the server
//! accepted an ordinary recipient before and after: a server that refuses
//! everyone looks exactly like one that refuses to relay.

mod context;
mod facts;
mod finding;
mod greylist;
mod leg;
mod observe;
mod plan;
mod report;
mod row;
mod script;

mod auth;
mod cmd_privileged;
mod conn_banner;
mod conn_ehlo;
mod deliver_null_sender;
mod deliver_self;
mod delivery;
mod enum_expn;
mod enum_rcpt;
mod enum_vrfy;
mod enumeration;
mod helo_name;
mod helo_own_name;
mod helo_required;
mod identity;
mod info_version;
mod leg_masked;
mod limit_size;
mod proto;
mod rcpt_abuse;
mod rcpt_case;
mod rcpt_dangerous;
mod rcpt_own_forms;
mod rcpt_plus;
mod rcpt_postmaster;
mod rcpt_quoted;
mod rcpt_unknown;
mod received;
mod recipients;
mod relay;
mod sender_domain;
mod sender_own_domain;
mod tls_offered;
mod tls_strip;
mod trace_headers;
mod turn;

pub use context::Context;
pub use facts::{Facts, literal};
pub(crate) use finding::Outcome;
pub use finding::{Evidence, Finding, Severity, Verdict};
pub use greylist::greylisted;
pub use leg::{Arrival, Family, Leg, LegKind};
pub use plan::plan;
pub use report::{Cell, Cure, Delivery, LegSummary, Report, Row, Totals, judge};
pub use row::{Check, Group, Mta, On, Safety, Stop};
pub use script::{OWN_LITERAL, Script, Setting, Special, Step, When};

/// Every check, in the order of a report's rows.
pub const ALL: &[Check] = &[
    conn_banner::CHECK,
    conn_ehlo::CHECK,
    leg_masked::CHECK,
    deliver_self::CHECK,
    deliver_null_sender::CHECK,
    relay::plain::CHECK,
    relay::null_sender::CHECK,
    relay::own_sender::CHECK,
    relay::percent_hack::CHECK,
    relay::bang_path::CHECK,
    relay::source_route::CHECK,
    relay::quoted_local::CHECK,
    relay::double_at::CHECK,
    relay::literal::CHECK,
    relay::domain_match::CHECK,
    relay::helo_trust::CHECK,
    relay::mixed::CHECK,
    auth::plaintext_offer::CHECK,
    auth::port25::CHECK,
    auth::mechs::CHECK,
    tls_offered::CHECK,
    tls_strip::CHECK,
    enum_vrfy::CHECK,
    enum_expn::CHECK,
    enum_rcpt::CHECK,
    info_version::CHECK,
    cmd_privileged::CHECK,
    helo_required::CHECK,
    helo_name::CHECK,
    helo_own_name::CHECK,
    sender_own_domain::CHECK,
    sender_domain::CHECK,
    rcpt_postmaster::CHECK,
    rcpt_abuse::CHECK,
    rcpt_unknown::CHECK,
    rcpt_plus::CHECK,
    rcpt_quoted::CHECK,
    rcpt_case::CHECK,
    rcpt_own_forms::CHECK,
    rcpt_dangerous::CHECK,
    limit_size::CHECK,
    proto::verbs::CHECK,
    proto::sequence::CHECK,
    proto::reset::CHECK,
    proto::second_transaction::CHECK,
    proto::pipelining::CHECK,
    proto::replies::CHECK,
    proto::params::CHECK,
    proto::eight_bit::CHECK,
    proto::smtputf8::CHECK,
    proto::bdat::CHECK,
    proto::dots::CHECK,
    proto::octets::CHECK,
    proto::http::CHECK,
    trace_headers::CHECK,
];

/// What stands for the check in a [`Script`] that asks for the ordinary local
/// recipient and belongs to no check.
pub const BASELINE: &str = "baseline";

/// The check of that id.
pub fn named(id: &str) -> Option<&'static Check> {
    ALL.iter().find(|check| check.id == id)
}
