//! The dialogue on the terminal, as it happens.

use std::fmt::Write;

use shared::direction::Direction;
use shared::escape::excerpt;
use shared::session::{Kind, Unit};

use crate::screen;

/// So many lines of the message are shown: the recording has them all.
const CONTENT: usize = 6;

/// So many lines of a reply are shown: none that is meant to be read has more.
const REPLY: usize = 64;

/// So much of a line is shown.
const LINE: usize = 500;

/// Prints every unit as it happens, if that is wanted. No secrets are ever said by
/// this command.
pub(super) fn watch(shown: bool) -> Box<dyn FnMut(&Unit) + Send> {
    let mut content = 0;
    Box::new(move |unit| {
        if shown {
            screen::print(&lines(unit, &mut content));
        }
    })
}

/// A unit as lines of a transcript; `content` counts those of the message.
fn lines(unit: &Unit, content: &mut usize) -> String {
    let mut out = String::new();
    let lines = unit.bytes.split_inclusive(|&octet| octet == b'\n');
    for (index, line) in lines.enumerate() {
        if index == REPLY && unit.direction == Direction::Server {
            out.push_str("S: …\n");
            break;
        }
        let mark = match (&unit.kind, unit.direction) {
            (Kind::Data { end: false, .. }, _) => {
                *content += 1;
                if *content == CONTENT + 1 {
                    out.push_str("C| …\n");
                }
                if *content > CONTENT {
                    continue;
                }
                "C|"
            }
            (Kind::Data { .. }, _) => "C|",
            (_, Direction::Client) => "C:",
            (_, Direction::Server) => "S:",
        };
        let line = excerpt(line, LINE);
        let blank = if line.is_empty() { "" } else { " " };
        let _ = writeln!(out, "{mark}{blank}{line}");
    }
    out
}
