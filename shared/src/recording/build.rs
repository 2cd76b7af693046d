//! From records to dialogues.

use std::collections::BTreeMap;

use super::dialogue::{Answer, Dialogue, Ending, Exchange, Handshake, Said};
use super::log::deviations;
use super::{Record, Recording};
use crate::command::Verb;
use crate::direction::Direction;
use crate::reply::Reply;
use crate::session::DataForm;

impl Recording {
    /// Its sessions as dialogues, in order of their beginning.
    pub fn dialogues(&self) -> Vec<Dialogue> {
        let mut order = Vec::new();
        let mut builders: BTreeMap<u64, Builder> = BTreeMap::new();
        for record in self.records() {
            let Some(session) = record.session() else {
                continue;
            };
            builders
                .entry(session)
                .or_insert_with(|| {
                    order.push(session);
                    Builder::new(session)
                })
                .take(record);
        }
        order
            .into_iter()
            .filter_map(|session| builders.remove(&session))
            .map(|builder| builder.dialogue)
            .collect()
    }
}

struct Builder {
    dialogue: Dialogue,
    in_tls: bool,
    /// Pieces of a unit of each side that goes on.
    pieces: [Vec<u8>; 2],
    /// Content is being collected in the last exchange.
    in_content: bool,
}

impl Builder {
    fn new(session: u64) -> Self {
        Self {
            dialogue: Dialogue {
                session,
                n: 0,
                at: crate::time::Timestamp::default(),
                client: None,
                server: None,
                implicit_tls: false,
                facts: BTreeMap::new(),
                greeting: None,
                exchanges: Vec::new(),
                unsolicited: Vec::new(),
                handshakes: Vec::new(),
                close: None,
            },
            in_tls: false,
            pieces: [Vec::new(), Vec::new()],
            in_content: false,
        }
    }

    fn take(&mut self, record: &Record) {
        match record.kind() {
            "open" => self.open(record),
            "cmd" | "sasl" => self.line(record),
            "data" => self.data(record),
            "rep" => self.reply(record),
            "raw" => self.raw(record),
            "gap" => self.gap(record),
            "tls" => self.tls(record),
            "note" => self.note(record),
            "close" => {
                self.dialogue.close = Some(Ending {
                    n: record.n(),
                    at: record.at(),
                    by: record.text("by").unwrap_or_default().to_owned(),
                    how: record.text("how").unwrap_or_default().to_owned(),
                });
            }
            _ => {}
        }
    }

    fn open(&mut self, record: &Record) {
        let address = |name| record.text(name).and_then(|text| text.parse().ok());
        self.dialogue.n = record.n();
        self.dialogue.at = record.at();
        self.dialogue.client = address("c");
        self.dialogue.server = address("u").or_else(|| address("l"));
        self.dialogue.implicit_tls = record.text("tls") == Some("implicit");
        self.in_tls = self.dialogue.implicit_tls;
    }

    /// The whole payload of a unit, once its last piece is here.
    fn whole(&mut self, record: &Record) -> Option<Vec<u8>> {
        let side = record.direction().unwrap_or(Direction::Client).index();
        let held = self.pieces.get_mut(side)?;
        held.extend(record.payload().unwrap_or_default());
        (!record.flag("more")).then(|| std::mem::take(held))
    }

    fn line(&mut self, record: &Record) {
        let Some(line) = self.whole(record) else {
            return;
        };
        let redacted = record.field("x").is_some();
        let said = if record.kind() == "sasl" {
            Said::Sasl { line, redacted }
        } else {
            let verb = Verb::of(&line);
            Said::Command {
                verb,
                line,
                redacted,
            }
        };
        self.in_content = false;
        self.say(record, said);
    }

    fn data(&mut self, record: &Record) {
        let form = match record.text("form") {
            Some("bdat") => DataForm::Bdat,
            _ => DataForm::Dot,
        };
        if !self.in_content {
            let (wire, complete, missing) = (Vec::new(), false, 0);
            self.say(
                record,
                Said::Content {
                    form,
                    wire,
                    complete,
                    missing,
                },
            );
            self.in_content = true;
        }
        let Some(exchange) = self.dialogue.exchanges.last_mut() else {
            return;
        };
        exchange.n = record.n();
        exchange.at = record.at();
        exchange.deviations.extend(deviations(record));
        if let Said::Content { wire, complete, .. } = &mut exchange.said {
            let end = record.flag("end");
            if !(end && form == DataForm::Dot) {
                wire.extend(record.payload().unwrap_or_default());
            }
            *complete |= end;
            self.in_content = !end;
        }
    }

    fn gap(&mut self, record: &Record) {
        if record.direction() != Some(Direction::Client) || !self.in_content {
            return;
        }
        let last = self.dialogue.exchanges.last_mut();
        if let Some(Said::Content { missing, .. }) = last.map(|exchange| &mut exchange.said) {
            *missing = missing.saturating_add(record.number("len").unwrap_or_default());
        }
    }

    fn raw(&mut self, record: &Record) {
        let payload = record.payload().unwrap_or_default();
        let why = record.text("why").unwrap_or_default();
        if record.direction() == Some(Direction::Server) {
            let answer = answer(record, payload);
            self.dialogue.unsolicited.push(answer);
            return;
        }
        let last = self
            .dialogue
            .exchanges
            .last_mut()
            .map(|exchange| &mut exchange.said);
        match last {
            Some(Said::Raw {
                octets,
                why: before,
            }) if before == why => {
                *octets += payload.len() as u64;
            }
            _ => {
                let octets = payload.len() as u64;
                let why = why.to_owned();
                self.say(record, Said::Raw { octets, why });
            }
        }
    }

    fn reply(&mut self, record: &Record) {
        let Some(wire) = self.whole(record) else {
            return;
        };
        let answer = answer(record, wire);
        let re = record.number("re").unwrap_or_default();
        let dialogue = &mut self.dialogue;
        if re == 0 {
            if dialogue.greeting.is_none()
                && dialogue.exchanges.iter().all(|e| e.answers.is_empty())
            {
                dialogue.greeting = Some(answer);
            } else {
                dialogue.unsolicited.push(answer);
            }
            return;
        }
        match dialogue
            .exchanges
            .iter_mut()
            .rev()
            .find(|exchange| exchange.n == re)
        {
            Some(exchange) => exchange.answers.push(answer),
            None => dialogue.unsolicited.push(answer),
        }
    }

    fn tls(&mut self, record: &Record) {
        let text = |name| record.text(name).map(str::to_owned);
        let handshake = Handshake {
            n: record.n(),
            ok: record.flag("ok"),
            version: text("ver"),
            cipher: text("cipher"),
            verify: text("verify"),
            alert: text("alert"),
        };
        self.in_tls |= handshake.ok;
        self.dialogue.handshakes.push(handshake);
    }

    fn note(&mut self, record: &Record) {
        if record.text("tag") == Some("session") {
            let facts = record
                .bindings("bind")
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.dialogue.facts.extend(facts);
        }
    }

    fn say(&mut self, record: &Record, said: Said) {
        self.dialogue.exchanges.push(Exchange {
            n: record.n(),
            at: record.at(),
            in_tls: self.in_tls,
            deviations: match said {
                Said::Content { .. } => Vec::new(),
                _ => deviations(record),
            },
            said,
            answers: Vec::new(),
        });
    }
}

fn answer(record: &Record, wire: Vec<u8>) -> Answer {
    Answer {
        n: record.n(),
        at: record.at(),
        took: record.number("took"),
        reply: Reply::parse(&wire),
        wire,
        deviations: deviations(record),
    }
}
