//! `checks`: the catalogue.

use std::fmt::Write;

use shared::check::{ALL, Check, On};

use crate::screen;

/// Prints it.
pub fn run() {
    let mut out = String::new();
    for check in ALL {
        describe(check, &mut out).unwrap_or_default();
    }
    screen::print(&out);
}

fn describe(check: &Check, out: &mut String) -> std::fmt::Result {
    let severity = format!("{:?}", check.severity).to_lowercase();
    writeln!(out, "{:<20} {severity:<9} {}", check.id, check.question)?;
    for (leg, on) in [("localhost", check.localhost), ("remote", check.remote)] {
        match on {
            On::Skip => {}
            On::NotJudged => writeln!(out, "{:<20} {leg}: shown, not judged", "")?,
            On::Judged(expected) => writeln!(out, "{:<20} {leg}: {expected}", "")?,
        }
    }
    Ok(())
}
