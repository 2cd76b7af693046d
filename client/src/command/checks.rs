//! `checks`: the catalogue.

use shared::check::{ALL, On};

/// Prints it.
pub fn run() {
    for check in ALL {
        let severity = format!("{:?}", check.severity).to_lowercase();
        anstream::println!("{:<20} {:<9} {}", check.id, severity, check.question);
        for (leg, on) in [("localhost", check.localhost), ("remote", check.remote)] {
            match on {
                On::Skip => {}
                On::NotJudged => anstream::println!("{:<20} {leg}: shown, not judged", ""),
                On::Judged(expected) => anstream::println!("{:<20} {leg}: {expected}", ""),
            }
        }
    }
}
