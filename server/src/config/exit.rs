//! When the server ends by itself, and what there must have been by then.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use shared::quantity::Period;

use crate::expect::Expectations;

/// For shells and CI: when to end, and what to expect.
#[serde_as]
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Ending")]
pub struct Exit {
    /// What there must have been at the end, such as messages=3,duplicates=0: status 1
    /// if not. Each is a count, an operator (= >= <=) and a number; the counts are
    /// messages, duplicates, refused, recipients, octets, sessions, timeouts, broken,
    /// refusals
    #[arg(
        long,
        value_name = "COUNTS",
        default_value_t,
        hide_default_value = true
    )]
    #[serde_as(as = "DisplayFromStr")]
    pub expect: Expectations,
    /// End when so many messages were kept
    #[arg(long, value_name = "N")]
    pub exit_after_messages: Option<u64>,
    /// End when so many sessions are over
    #[arg(long, value_name = "N")]
    pub exit_after_sessions: Option<u64>,
    /// End when there was no session for so long
    #[arg(long, value_name = "TIME")]
    #[serde_as(as = "Option<DisplayFromStr>")]
    pub exit_idle: Option<Period>,
}
