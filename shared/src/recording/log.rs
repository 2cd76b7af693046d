//! Turns what happens in one session into lines.

use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::Duration;

use super::line::LineWriter;
use super::redact::{MARK, Redaction, Redactor};
use crate::command::Verb;
use crate::deviation::Deviation;
use crate::direction::Direction;
use crate::escape::hex;
use crate::reply::Reply;
use crate::session::{Answers, DataForm, Kind, Unit, UnitId};
use crate::time::Timestamp;

/// How a session began.
#[derive(Clone, Debug, Default)]
pub struct OpenFacts {
    /// The session's id: a UUID.
    pub id: String,
    /// Who records: `proxy`, `client`, `server`, `import`.
    pub role: &'static str,
    /// The client's address.
    pub client: Option<String>,
    /// The address it connected to.
    pub listener: Option<String>,
    /// How that is called, if it has a name.
    pub listener_name: Option<String>,
    /// The upstream server's address, for a proxy.
    pub upstream: Option<String>,
    /// The name asked for.
    pub name: Option<String>,
    /// TLS from the first byte.
    pub implicit_tls: bool,
    /// Whoever passed the connection on, if the client was told by it.
    pub via: Option<Via>,
}

/// How a client was told by whoever passed its connection on.
#[derive(Clone, Debug)]
pub struct Via {
    /// By what: `PROXY1` or `PROXY2`.
    pub protocol: &'static str,
    /// The address of the other end of the connection.
    pub peer: String,
}

/// A TLS handshake, as it is recorded.
#[derive(Clone, Debug, Default)]
pub struct TlsLine {
    /// `c` for the client's leg, `u` for the upstream's.
    pub leg: char,
    /// It succeeded.
    pub ok: bool,
    /// Such as `1.3`.
    pub version: Option<String>,
    /// By its IANA name.
    pub cipher: Option<String>,
    /// The key exchange group.
    pub kx: Option<String>,
    /// The name asked for.
    pub sni: Option<String>,
    /// SHA-256 digests of the peer's certificates, leaf first.
    pub chain: Vec<String>,
    /// `ok`, `none`, or what is wrong with the certificate.
    pub verify: String,
    /// Why it failed.
    pub alert: Option<String>,
}

/// An annotation.
#[derive(Clone, Debug, Default)]
pub struct NoteFacts {
    /// The line it is about.
    pub on: Option<u64>,
    /// Who says it.
    pub by: String,
    /// What it says.
    pub message: Option<String>,
    /// What sort of note it is.
    pub tag: Option<String>,
    /// Names and what they stand for.
    pub bind: Vec<(String, String)>,
}

/// A rule has changed something on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultFacts {
    /// The number of the rule; none if there is no rule behind it.
    pub rule: Option<u64>,
    /// What it is called.
    pub name: Option<String>,
    /// What it does.
    pub act: String,
    /// What was drawn, in millionths.
    pub drawn: Option<u32>,
    /// How long something is delayed.
    pub delay: Option<Duration>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug)]
pub struct CloseFacts {
    /// `client`, `server`, `proxy` or `timeout`.
    pub by: &'static str,
    /// `fin`, `rst` or `alert`.
    pub how: &'static str,
}

/// One session being recorded.
///
/// Each method appends lines to a buffer, the first with the number `n` that the
/// file gives, and returns how many lines it appended.
#[derive(Debug)]
pub struct SessionLog {
    session: u64,
    redactor: Redactor,
    /// Units that wait for their replies, with their lines.
    waiting: VecDeque<(UnitId, u64)>,
    digests: [Sha256; 2],
    octets: [u64; 2],
    commands: u64,
    messages: u64,
    last_verb: Option<Verb>,
    content_end: Option<UnitId>,
    /// The line of the unit that came last.
    last_line: Option<u64>,
}

/// Of units that wait for replies so many are remembered: more than an observer
/// lets a peer have (`Limits::unanswered`, and the commands of one octet each
/// that the read which passed that limit may have brought).
const WAITING: usize = 128 * 1024;

/// The verb of a line that has none.
const NO_VERB: Verb = Verb::Other(String::new());

impl SessionLog {
    /// The log of a session with that number in its file.
    pub fn new(session: u64, redaction: Redaction) -> Self {
        Self {
            session,
            redactor: Redactor::new(redaction),
            waiting: VecDeque::new(),
            digests: [Sha256::new(), Sha256::new()],
            octets: [0; 2],
            commands: 0,
            messages: 0,
            last_verb: None,
            content_end: None,
            last_line: None,
        }
    }

    /// The session's number.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// The beginning.
    pub fn open(&mut self, n: u64, at: Timestamp, facts: &OpenFacts, out: &mut Vec<u8>) -> u64 {
        let mut line = self.line(out, n, at, "open");
        line.text("id", &facts.id);
        line.text("role", facts.role);
        line.text_if("c", facts.client.as_deref());
        line.text_if("l", facts.listener.as_deref());
        line.text_if("ln", facts.listener_name.as_deref());
        line.text_if("u", facts.upstream.as_deref());
        line.text_if("un", facts.name.as_deref());
        if let Some(via) = &facts.via {
            let via = serde_json::json!({"proto": via.protocol, "peer": via.peer});
            line.json("via", &via.to_string());
        }
        line.text_if("tls", facts.implicit_tls.then_some("implicit"));
        line.end();
        1
    }

    /// One unit, with secrets replaced.
    pub fn unit(&mut self, n: u64, unit: &Unit, out: &mut Vec<u8>) -> u64 {
        let masked = self.redactor.mask(unit);
        let payload = masked.as_ref().map_or(&unit.bytes[..], |(bytes, _)| bytes);
        let verb = match &unit.kind {
            // A secret that stands where a verb should is not to be named as one.
            Kind::Command {
                verb: Verb::Other(_),
            } if masked.is_some() => Some(&NO_VERB),
            Kind::Command { verb } => Some(verb),
            _ => None,
        };
        self.account(unit, verb, payload);
        self.last_line = Some(n);
        let re = self.reference(n, unit);
        let kind = match unit.kind {
            Kind::Command { .. } => "cmd",
            Kind::Sasl { .. } => "sasl",
            Kind::Data { .. } => "data",
            Kind::Reply { .. } => "rep",
            Kind::Raw { .. } => "raw",
        };
        let mut line = self.line(out, n, unit.at, kind);
        let mut direction = [0; 4];
        line.text("d", unit.direction.letter().encode_utf8(&mut direction));
        line.text_if("verb", verb.map(Verb::name));
        write_kind(&mut line, unit, re);
        line.number_if("rd", unit.read);
        if let Some(began) = unit.began {
            line.number("span", unit.at.nanos().saturating_sub(began.nanos()));
        }
        line.flag("more", unit.more);
        if !unit.deviations.is_empty() {
            line.list(
                "dev",
                unit.deviations.iter().map(|deviation| deviation.name()),
            );
        }
        line.payload(payload);
        if let Some((_, masked)) = &masked {
            let (offset, length, tag) = (masked.offset, MARK.len(), &masked.tag);
            line.json(
                "x",
                &format!(
                    "[{{\"off\":{offset},\"len\":{length},\"why\":\"auth\",\"eq\":\"{tag}\"}}]"
                ),
            );
        }
        line.end();
        1 + self.note_queue_id(n, unit, out)
    }

    /// The result of a TLS handshake.
    pub fn tls(&mut self, n: u64, at: Timestamp, tls: &TlsLine, out: &mut Vec<u8>) -> u64 {
        let mut line = self.line(out, n, at, "tls");
        let mut leg = [0; 4];
        line.text("leg", tls.leg.encode_utf8(&mut leg));
        line.json("ok", if tls.ok { "true" } else { "false" });
        line.text_if("ver", tls.version.as_deref());
        line.text_if("cipher", tls.cipher.as_deref());
        line.text_if("kx", tls.kx.as_deref());
        line.text_if("sni", tls.sni.as_deref());
        line.list("chain", tls.chain.iter());
        line.text("verify", &tls.verify);
        line.text_if("alert", tls.alert.as_deref());
        line.end();
        1
    }

    /// A certificate, by its digest and DER in base64.
    #[expect(clippy::too_many_arguments, reason = "what a line of this kind says")]
    pub fn certificate(
        &self,
        n: u64,
        at: Timestamp,
        sha256: &str,
        der: &[u8],
        out: &mut Vec<u8>,
    ) -> u64 {
        use base64::Engine;
        let mut line = self.line(out, n, at, "cert");
        line.text("sha256", sha256);
        line.text(
            "der",
            &base64::engine::general_purpose::STANDARD.encode(der),
        );
        line.end();
        1
    }

    /// An annotation of this session.
    pub fn note(&mut self, n: u64, at: Timestamp, note: &NoteFacts, out: &mut Vec<u8>) -> u64 {
        write_note(
            LineWriter::begin(out, n, Some(self.session), at, "note"),
            note,
        );
        1
    }

    /// Something happens on purpose, because of the unit that came last.
    pub fn fault(&mut self, n: u64, at: Timestamp, fault: &FaultFacts, out: &mut Vec<u8>) -> u64 {
        let mut line = self.line(out, n, at, "fault");
        line.number_if("on", self.last_line);
        line.text("act", &fault.act);
        line.number_if("rule", fault.rule);
        line.text_if("name", fault.name.as_deref());
        line.number_if("draw", fault.drawn.map(u64::from));
        let millis = fault.delay.map(|delay| delay.as_millis());
        line.number_if("ms", millis.and_then(|millis| u64::try_from(millis).ok()));
        line.end();
        1
    }

    /// Bytes of one direction are missing here.
    #[expect(clippy::too_many_arguments, reason = "what a line of this kind says")]
    pub fn gap(
        &mut self,
        n: u64,
        at: Timestamp,
        direction: Direction,
        octets: u64,
        why: &str,
        out: &mut Vec<u8>,
    ) -> u64 {
        let mut line = self.line(out, n, at, "gap");
        let mut letter = [0; 4];
        line.text("d", direction.letter().encode_utf8(&mut letter));
        line.number("len", octets);
        line.text("why", why);
        line.end();
        1
    }

    /// The end, with the sums of what was recorded.
    pub fn close(&mut self, n: u64, at: Timestamp, close: CloseFacts, out: &mut Vec<u8>) -> u64 {
        let [client, server] = std::mem::take(&mut self.digests).map(hex_digest);
        let [from_client, from_server] = self.octets;
        let after = self
            .last_verb
            .as_ref()
            .map(|verb| verb.name().to_ascii_lowercase());
        let mut line = self.line(out, n, at, "close");
        line.text("by", close.by);
        line.text("how", close.how);
        line.text_if("after", after.as_deref());
        line.json("bytes", &format!("[{from_client},{from_server}]"));
        line.number("cmds", self.commands);
        line.number("msgs", self.messages);
        line.list("sha256", [client, server].iter());
        line.end();
        1
    }

    fn line<'a>(&self, out: &'a mut Vec<u8>, n: u64, at: Timestamp, kind: &str) -> LineWriter<'a> {
        LineWriter::begin(out, n, Some(self.session), at, kind)
    }

    fn account(&mut self, unit: &Unit, verb: Option<&Verb>, payload: &[u8]) {
        let side = unit.direction.index();
        if let (Some(digest), Some(octets)) =
            (self.digests.get_mut(side), self.octets.get_mut(side))
        {
            digest.update(payload);
            *octets += payload.len() as u64;
        }
        match &unit.kind {
            Kind::Command { .. } if !unit.more => {
                self.commands += 1;
                self.last_verb = verb.cloned();
            }
            Kind::Data {
                end: true,
                last: true,
                ..
            } => self.content_end = Some(unit.id),
            _ => {}
        }
    }

    /// Remembers the line of a unit that will be answered; finds the line of the
    /// unit that a reply answers.
    fn reference(&mut self, n: u64, unit: &Unit) -> Option<u64> {
        match unit.kind {
            Kind::Command { .. } | Kind::Sasl { .. } | Kind::Data { end: true, .. } => {
                if !unit.more {
                    self.waiting.push_back((unit.id, n));
                }
                if self.waiting.len() > WAITING {
                    self.waiting.pop_front();
                }
                None
            }
            Kind::Reply {
                answers: Answers::Unit(id),
                ..
            } => {
                while self
                    .waiting
                    .front()
                    .is_some_and(|(waiting, _)| *waiting < id)
                {
                    self.waiting.pop_front();
                }
                let found = self.waiting.front().filter(|(waiting, _)| *waiting == id);
                Some(found.map_or(0, |(_, n)| *n))
            }
            Kind::Reply { .. } => Some(0),
            _ => None,
        }
    }

    /// Binds the queue id that a server names when it takes a message.
    fn note_queue_id(&mut self, n: u64, unit: &Unit, out: &mut Vec<u8>) -> u64 {
        let Kind::Reply { code, answers, .. } = unit.kind else {
            return 0;
        };
        let to_content = matches!(answers, Answers::Unit(id) if Some(id) == self.content_end);
        if !to_content || !code.is_positive() || unit.more {
            return 0;
        }
        self.messages += 1;
        let text = Reply::parse(&unit.bytes).map(|reply| reply.text());
        let id = text.as_deref().and_then(queue_id);
        id.map_or(0, |id| {
            let note = NoteFacts {
                on: Some(n),
                by: "helo".into(),
                bind: vec![("qid".into(), id.into())],
                ..NoteFacts::default()
            };
            self.note(n + 1, unit.at, &note, out)
        })
    }
}

/// An annotation that belongs to the file.
pub(super) fn file_note(n: u64, at: Timestamp, note: &NoteFacts, out: &mut Vec<u8>) {
    write_note(LineWriter::begin(out, n, None, at, "note"), note);
}

impl NoteFacts {
    /// Appends it as a note of the file, with that line number.
    pub fn write(&self, n: u64, at: Timestamp, out: &mut Vec<u8>) {
        file_note(n, at, self, out);
    }
}

fn write_note(mut line: LineWriter<'_>, note: &NoteFacts) {
    line.number_if("on", note.on);
    line.text("by", &note.by);
    line.text_if("msg", note.message.as_deref());
    line.text_if("tag", note.tag.as_deref());
    if !note.bind.is_empty() {
        let map: serde_json::Map<_, _> = note
            .bind
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        line.json("bind", &serde_json::Value::Object(map).to_string());
    }
    line.end();
}

fn write_kind(line: &mut LineWriter<'_>, unit: &Unit, re: Option<u64>) {
    match &unit.kind {
        Kind::Command { .. } => {}
        Kind::Sasl { mechanism } => {
            line.text("mech", mechanism);
        }
        Kind::Data { form, end, last } => {
            line.text(
                "form",
                match form {
                    DataForm::Bdat => "bdat",
                    DataForm::Dot => "dot",
                },
            );
            line.flag("end", *end);
            line.flag("last", *last);
        }
        Kind::Reply {
            code, status, took, ..
        } => {
            line.number("code", code.number().into());
            if let Some(status) = status {
                line.text("ec", &status.to_string());
            }
            line.number_if("re", re);
            line.number_if("took", *took);
        }
        Kind::Raw { why } => {
            line.text("why", why.name());
        }
    }
}

/// The queue id in a reply to the end of data, as the common servers give it.
pub(crate) fn queue_id(text: &str) -> Option<&str> {
    let word_after = |mark: &str| {
        let rest = text.get(text.find(mark)? + mark.len()..)?;
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(rest.len());
        rest.get(..end)
    };
    let sendmail = || {
        text.find(" Message accepted")
            .and_then(|end| text.get(..end)?.rsplit(' ').next())
    };
    ["queued as ", "queued with id ", "queue id ", "id=", " qp "]
        .into_iter()
        .find_map(word_after)
        .or_else(sendmail)
        .map(|id| id.trim_end_matches('.'))
        .filter(|id| (4..=64).contains(&id.len()))
}

fn hex_digest(digest: Sha256) -> String {
    hex(&digest.finalize())
}

/// The deviations a record names.
pub(super) fn deviations(record: &super::Record) -> Vec<Deviation> {
    record.texts("dev").filter_map(Deviation::named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_are_found() {
        for (text, id) in [
            ("Ok: queued as 4F1bC2", Some("4F1bC2")),
            ("OK id=1tABCd-000000001-AbCd", Some("1tABCd-000000001-AbCd")),
            ("4AOCx1 Message accepted for delivery", Some("4AOCx1")),
            ("Message queued with id 1f0e.", Some("1f0e")),
            ("ok 1700000000 qp 1234", Some("1234")),
            ("ok", None),
        ] {
            assert_eq!(queue_id(text), id);
        }
    }
}
