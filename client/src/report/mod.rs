//! Prints reports: the only place that does.

mod text;

use serde::Serialize;
use shared::check::Report;

use crate::cli::Output;
use crate::screen;

/// What a report says besides verdicts.
#[derive(Clone, Debug, Serialize)]
pub struct Meta {
    /// The server.
    pub target: Option<String>,
    /// Where the evidence is.
    pub recording: Option<String>,
    /// Every leg that was wanted was run to its end.
    pub complete: bool,
    /// What else the reader must know.
    pub remarks: Vec<String>,
}

/// A report as JSON: the verdicts, and what else there is to say.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    report: &'a Report,
    overall: &'static str,
    #[serde(flatten)]
    meta: &'a Meta,
}

/// Prints a report as asked.
pub fn print(report: &Report, meta: &Meta, output: &Output) -> serde_json::Result<()> {
    if output.json {
        let whole = Whole {
            report,
            overall: report.overall().name(),
            meta,
        };
        screen::print(&(serde_json::to_string_pretty(&whole)? + "\n"));
    } else {
        screen::print(&text::render(report, meta));
    }
    Ok(())
}
