//! What is said otherwise than recorded: other recipients, another Date and Message-ID.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, anyhow};
use shared::address::Mailbox;
use shared::command::{Verb, bdat_size};
use shared::escape::excerpt;
use shared::grammar::Cursor;
use shared::message::rfc5322_date;
use shared::path::ForwardPath;
use shared::recording::{Dialogue, Exchange, Said};
use shared::session::DataForm;
use shared::time::Timestamp;

use crate::cli::{Refresh, Replay};
use crate::exit::{Failure, Status};

/// Where mail for some recipients goes instead: `KEY=MAILBOX`, the key a mailbox, a
/// domain, `postmaster` or `*`.
#[derive(Clone, Debug)]
pub struct Redirection {
    key: String,
    to: Mailbox,
}

impl FromStr for Redirection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The last equals sign: those before it belong to a local-part.
        let (key, to) = text
            .rsplit_once('=')
            .ok_or("a redirection is written KEY=MAILBOX")?;
        let key = key.strip_prefix('@').unwrap_or(key);
        if key.is_empty() || key.contains(|c: char| c.is_control() || c == ' ') {
            return Err("the key is a mailbox, a domain, postmaster or *".into());
        }
        let to = to.parse().map_err(|error| format!("{to:?}: {error}"))?;
        Ok(Self {
            key: key.to_ascii_lowercase(),
            to,
        })
    }
}

/// What of one session is said otherwise.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// By the line number of what was recorded: the octets that are said instead.
    octets: BTreeMap<u64, Vec<u8>>,
    /// Message-IDs, old and new.
    pub(super) message_ids: Vec<(String, String)>,
}

impl Rewritten {
    /// All that is said otherwise of a session.
    pub(super) fn of(
        dialogue: &Dialogue,
        options: &Replay,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let mut rewritten = Self::default();
        if !options.rcpt_map.is_empty() {
            rewritten.redirect(dialogue, &options.rcpt_map)?;
        }
        if !options.refresh.is_empty() {
            rewritten
                .refresh(dialogue, &options.refresh, now)
                .map_err(Failure::with(Status::NoVerdict))?;
        }
        Ok(rewritten)
    }

    /// What is said instead of this, if something else is.
    pub(super) fn instead_of(&self, exchange: &Exchange) -> Option<&[u8]> {
        self.octets.get(&exchange.n).map(Vec::as_slice)
    }

    /// A recipient that cannot be read might be any: then nothing is said at all.
    fn redirect(&mut self, dialogue: &Dialogue, map: &[Redirection]) -> Result<(), Failure> {
        for exchange in &dialogue.exchanges {
            let Said::Command {
                verb: Verb::Rcpt,
                line,
                ..
            } = &exchange.said
            else {
                continue;
            };
            let redirected = redirected(line, map).with_context(|| {
                let (line, n) = (excerpt(line, 60), exchange.n);
                format!("--rcpt-map cannot be kept to: no recipient can be read in {line} (n={n})")
            });
            let line = redirected.map_err(Failure::with(Status::Input))?;
            if let Some(line) = line {
                self.octets.insert(exchange.n, line);
            }
        }
        Ok(())
    }

    fn refresh(
        &mut self,
        dialogue: &Dialogue,
        what: &[Refresh],
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let mut begins = true;
        let mut before: Option<&Exchange> = None;
        for exchange in &dialogue.exchanges {
            match &exchange.said {
                Said::Content {
                    form,
                    wire,
                    complete,
                    ..
                } if begins && *complete => {
                    let header = Header::new(what, now)?;
                    let mut octets = header.rewrite(wire, &mut self.message_ids);
                    match form {
                        DataForm::Dot => octets.extend_from_slice(b".\r\n"),
                        DataForm::Bdat => self.measure(before, octets.len()),
                    }
                    self.octets.insert(exchange.n, octets);
                    begins = false;
                }
                Said::Content { .. } => begins = false,
                said => begins |= said.verb() == Some(&Verb::Mail),
            }
            before = Some(exchange);
        }
        Ok(())
    }

    /// BDAT tells how much follows (RFC 3030 §2).
    fn measure(&mut self, bdat: Option<&Exchange>, octets: usize) {
        let Some((exchange, line)) = bdat.and_then(|exchange| match &exchange.said {
            Said::Command { line, .. } => Some((exchange, line)),
            _ => None,
        }) else {
            return;
        };
        if let Some((_, last)) = bdat_size(line) {
            let last = if last { " LAST" } else { "" };
            let line = format!("BDAT {octets}{last}\r\n");
            self.octets.insert(exchange.n, line.into_bytes());
        }
    }
}

/// The line with another forward-path; `None` if the map leaves it as it is.
fn redirected(line: &[u8], map: &[Redirection]) -> anyhow::Result<Option<Vec<u8>>> {
    let text = str::from_utf8(line)?;
    let colon = text.find(':').ok_or_else(|| anyhow!("there is no colon"))?;
    let (head, rest) = text.split_at(colon + 1);
    let path = rest.trim_start_matches([' ', '\t']);
    let blank = rest.get(..rest.len() - path.len()).unwrap_or("");
    let mut cursor = Cursor::new(path);
    let (forward_path, _) = ForwardPath::read(&mut cursor)?;
    let rest = cursor.rest();
    if !rest.starts_with([' ', '\t', '\r', '\n']) {
        return Err(anyhow!("the path does not end"));
    }
    let to = destination(&forward_path, map);
    Ok(to.map(|to| format!("{head}{blank}<{to}>{rest}").into_bytes()))
}

/// The most special key decides.
fn destination<'a>(path: &ForwardPath, map: &'a [Redirection]) -> Option<&'a Mailbox> {
    let (mailbox, domain) = match path.mailbox() {
        None => ("postmaster".to_owned(), None),
        Some(mailbox) => {
            let text = mailbox.to_string().to_ascii_lowercase();
            let domain = text.rsplit_once('@').map(|(_, domain)| domain.to_owned());
            (text, domain)
        }
    };
    let keyed = |key: &str| map.iter().find(|one| one.key == key);
    keyed(&mailbox)
        .or_else(|| keyed(&domain?))
        .or_else(|| keyed("*"))
        .map(|one| &one.to)
}

/// What a header is given anew.
struct Header {
    date: Option<String>,
    id: Option<String>,
}

impl Header {
    fn new(what: &[Refresh], now: Timestamp) -> anyhow::Result<Self> {
        let id = if what.contains(&Refresh::Msgid) {
            let mut octets = [0; 12];
            getrandom::fill(&mut octets)
                .map_err(|error| anyhow!("no randomness for a Message-ID: {error}"))?;
            Some(shared::escape::hex(&octets))
        } else {
            None
        };
        Ok(Self {
            date: what.contains(&Refresh::Date).then(|| rfc5322_date(now)),
            id,
        })
    }

    /// Gives a header new fields in place of those it has. A field that the piece of
    /// content ends in is left: the rest of it comes later.
    fn rewrite(&self, wire: &[u8], ids: &mut Vec<(String, String)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(wire.len() + 64);
        let mut rest = wire;
        while let Some((field, after)) = first_field(rest) {
            let name = field.split(|&octet| octet == b':').next().unwrap_or(field);
            let name = name.trim_ascii_end();
            match (&self.date, &self.id) {
                (Some(date), _) if name.eq_ignore_ascii_case(b"Date") => {
                    out.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
                }
                (_, Some(id)) if name.eq_ignore_ascii_case(b"Message-ID") => {
                    let old = id_in(field);
                    let domain = old.as_deref().and_then(|old| old.rsplit_once('@'));
                    let domain = domain.map_or("replay.invalid", |(_, domain)| domain);
                    let new = format!("{id}@{domain}");
                    out.extend_from_slice(format!("Message-ID: <{new}>\r\n").as_bytes());
                    ids.extend(old.map(|old| (old, new)));
                }
                _ => out.extend_from_slice(field),
            }
            rest = after;
        }
        out.extend_from_slice(rest);
        out
    }
}

/// The first field of a header with its folded lines, and what follows it; `None` at
/// the end of the header, or where the field may go on.
fn first_field(header: &[u8]) -> Option<(&[u8], &[u8])> {
    if header.starts_with(b"\r\n") || header.starts_with(b"\n") {
        return None;
    }
    let mut end = 0;
    loop {
        let line = header
            .get(end..)?
            .iter()
            .position(|&octet| octet == b'\n')?;
        end += line + 1;
        match header.get(end)? {
            b' ' | b'\t' => {}
            _ => return header.split_at_checked(end),
        }
    }
}

fn id_in(field: &[u8]) -> Option<String> {
    let text = str::from_utf8(field).ok()?;
    let (_, from) = text.split_once('<')?;
    let (id, _) = from.split_once('>')?;
    let sound = !id.is_empty() && id.chars().all(|c| c.is_ascii_graphic());
    sound.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(line: &str, map: &[&str]) -> Option<String> {
        let map: Vec<Redirection> = map.iter().map(|one| one.parse().unwrap()).collect();
        let line = redirected(line.as_bytes(), &map).unwrap()?;
        Some(String::from_utf8(line).unwrap())
    }

    #[test]
    fn the_most_special_key_decides() {
        let map = [
            "*=all@s.test",
            "@Two.test=two@s.test",
            "A@one.test=a@s.test",
        ];
        for (line, expected) in [
            ("RCPT TO:<a@ONE.test>\r\n", "RCPT TO:<a@s.test>\r\n"),
            (
                "RCPT TO:<a@two.test> NOTIFY=NEVER\r\n",
                "RCPT TO:<two@s.test> NOTIFY=NEVER\r\n",
            ),
            (
                "rcpt to: <@x.test:b@one.test>\r\n",
                "rcpt to: <all@s.test>\r\n",
            ),
            ("RCPT TO:b@one.test\r\n", "RCPT TO:<all@s.test>\r\n"),
            ("RCPT TO:<Postmaster>\r\n", "RCPT TO:<all@s.test>\r\n"),
        ] {
            assert_eq!(mapped(line, &map).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(
            mapped("RCPT TO:<a@one.test>\r\n", &["two.test=x@s.test"]),
            None
        );
        assert_eq!(
            mapped("RCPT TO:<Postmaster>\r\n", &["two.test=x@s.test"]),
            None
        );
    }

    #[test]
    fn who_cannot_be_read_is_not_passed_by() {
        let map = ["*=all@s.test".parse().unwrap()];
        for line in [
            "RCPT <a@b.test>\r\n",
            "RCPT TO:<a@b.test\r\n",
            "RCPT TO:<a@b.test>x\r\n",
            "RCPT TO:<>\r\n",
            "RCPT TO:<a b@c.test>\r\n",
        ] {
            assert!(redirected(line.as_bytes(), &map).is_err(), "{line}");
        }
        for wrong in ["a@b.test", "=a@b.test", "*=nobody", "* =a@b.test"] {
            assert!(wrong.parse::<Redirection>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_are_given_anew_and_nothing_else_changes() {
        let header = Header {
            date: Some("today".into()),
            id: Some("new".into()),
        };
        let mut ids = Vec::new();
        let before = b"Subject: Date: x\r\nDATE: long\r\n ago\r\nMessage-Id:\r\n <old@x.test>\r\n\
            \r\nDate: stays\r\n";
        let after = b"Subject: Date: x\r\nDate: today\r\nMessage-ID: <new@x.test>\r\n\
            \r\nDate: stays\r\n";
        assert_eq!(header.rewrite(before, &mut ids), after);
        assert_eq!(ids, [("old@x.test".to_owned(), "new@x.test".to_owned())]);
        // The last field may go on in the next chunk, and there may be no header.
        for whole in [
            &b"Subject: x\r\nDate: long\r\n"[..],
            b"",
            b"\r\nDate: x\r\n\r\n",
        ] {
            assert_eq!(header.rewrite(whole, &mut ids), whole);
        }
    }
}
