//! One client's session: its envelope, and the answer to each command.

use std::sync::Arc;

use bytes::Bytes;
use driver::clock::Clock;
use driver::serve::{Answer, Policy};
use driver::socket::Endpoint;
use driver::stream::Stream;
use driver::tls::Facts;
use shared::command::{Command, Heard};
use shared::parameter::Parameters;
use shared::path::{ForwardPath, ReversePath};
use shared::reply::{Reply, ReplyCode};
use shared::session::{Asked, ServerSession};

use super::recipient::{Client, Recipient};
use crate::config::{Protocol, TlsMode};
use crate::settings::{Port, Site};
use crate::store::{Incoming, Trace};

/// The policy of one session.
#[derive(Debug)]
pub struct SessionPolicy {
    site: Arc<Site>,
    port: Port,
    clock: Clock,
    client: Endpoint,
    helo: Option<Helo>,
    envelope: Option<Envelope>,
    incoming: Option<Incoming>,
    counts: Counts,
    in_tls: bool,
}

#[derive(Debug)]
struct Helo {
    name: String,
    extended: bool,
}

#[derive(Debug)]
struct Envelope {
    reverse_path: ReversePath,
    smtputf8: bool,
    recipients: Vec<Recipient>,
}

/// What a client has done so far, where it may not do so for ever.
#[derive(Debug, Default)]
struct Counts {
    errors: u32,
    /// Commands that lead nowhere, since the last message.
    junk: u32,
    messages: u64,
}

impl SessionPolicy {
    /// The policy for a client that came in by a listener.
    pub fn new(site: Arc<Site>, listener: usize, clock: Clock, client: Endpoint) -> Option<Self> {
        let port = site.ports.get(listener)?.clone();
        Some(Self {
            site,
            port,
            clock,
            client,
            helo: None,
            envelope: None,
            incoming: None,
            counts: Counts::default(),
            in_tls: false,
        })
    }

    fn command(&mut self, heard: &Heard, session: &ServerSession) -> Reply {
        match (&heard.command, session.objection(heard)) {
            (Ok(command), objection) => {
                if let Some(reply) = self.demand(command) {
                    return reply;
                }
                objection.unwrap_or_else(|| self.sound(command))
            }
            (Err(error), None) => error.reply(),
            (_, Some(objection)) => objection,
        }
    }

    /// What must be before this command, whatever its place in the session.
    fn demand(&self, command: &Command) -> Option<Reply> {
        let free = matches!(
            command,
            Command::Ehlo(_)
                | Command::Helo(_)
                | Command::Lhlo(_)
                | Command::Noop
                | Command::Quit
                | Command::Rset
                | Command::StartTls
                | Command::Help(_)
        );
        // RFC 3207 §4.
        (self.port.require_tls && !self.in_tls && !free)
            .then(|| Reply::of(530, "5.7.0", "must issue a STARTTLS command first"))
    }

    fn sound(&mut self, command: &Command) -> Reply {
        let lmtp = self.port.protocol == Protocol::Lmtp;
        match command {
            // RFC 2033 §4.1: EHLO and HELO are no LMTP, and LHLO is no SMTP.
            Command::Ehlo(_) | Command::Helo(_) if lmtp => {
                Reply::of(500, "5.5.1", "this is LMTP: say LHLO")
            }
            Command::Lhlo(_) if !lmtp => Reply::of(500, "5.5.1", "this is SMTP: say EHLO"),
            Command::Ehlo(name) | Command::Lhlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Mail {
                reverse_path,
                parameters,
            } => self.mail(reverse_path, parameters),
            Command::Rcpt {
                forward_path,
                parameters,
            } => self.rcpt(forward_path, parameters),
            Command::Data => self.data(),
            Command::Rset => {
                self.envelope = None;
                self.incoming = None;
                self.junk(Reply::of(250, "2.0.0", "forgotten"))
            }
            Command::Noop => self.junk(Reply::of(250, "2.0.0", "still here")),
            Command::Quit => Reply::of(221, "2.0.0", format!("{} closing", self.site.hostname)),
            // The same for everybody, so that it tells nobody anything
            // (RFC 5321 §7.3).
            Command::Vrfy(_) => self.junk(Reply::of(252, "2.5.2", "send some mail and see")),
            Command::Help(_) => self.junk(Reply::of(
                214,
                "2.0.0",
                "RFC 5321 has all the help there is",
            )),
            Command::StartTls if self.port.tls == TlsMode::StartTls => {
                Reply::of(220, "2.0.0", "go ahead")
            }
            Command::Expn(_)
            | Command::Etrn(_)
            | Command::StartTls
            | Command::Auth { .. }
            | Command::Xclient(_)
            | Command::Bdat { .. } => Reply::of(502, "5.5.1", "not offered here"),
            _ => Reply::of(500, "5.5.1", "command not recognized"),
        }
    }

    /// Counts a command that leads nowhere: too many of them are errors.
    fn junk(&mut self, reply: Reply) -> Reply {
        self.counts.junk += 1;
        if self.counts.junk > self.site.limits.max_junk {
            self.counts.errors += 1;
        }
        reply
    }

    fn hello(&mut self, name: &str, extended: bool) -> Reply {
        self.envelope = None;
        self.helo = Some(Helo {
            name: name.to_owned(),
            extended,
        });
        let greeting = match self.client.ip() {
            Some(address) => format!("{} greets {name} [{address}]", self.site.hostname),
            None => format!("{} greets {name}", self.site.hostname),
        };
        let code = ReplyCode::new(250);
        match code.filter(|_| extended) {
            None => Reply::of(250, "", greeting),
            Some(code) => {
                let mut lines = vec![greeting];
                lines.extend(self.extensions());
                Reply::multi(code, lines)
            }
        }
    }

    fn extensions(&self) -> Vec<String> {
        let mut lines = vec![
            "PIPELINING".into(),
            format!("SIZE {}", self.site.limits.max_size.0),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
        ];
        if self.port.tls == TlsMode::StartTls && !self.in_tls {
            lines.push("STARTTLS".into());
        }
        lines.push("ENHANCEDSTATUSCODES".into());
        lines
    }

    fn mail(&mut self, reverse_path: &ReversePath, parameters: &Parameters) -> Reply {
        if self.counts.messages >= self.site.limits.max_messages {
            return Reply::of(452, "4.5.3", "too many messages in one session");
        }
        let known = ["SIZE", "BODY", "SMTPUTF8"];
        if let Err(reply) = self.check_parameters(parameters, &known) {
            return reply;
        }
        if let Some(size) = parameters.get("SIZE") {
            match size.value.as_deref().map(str::parse::<u64>) {
                Some(Ok(size)) if size > self.site.limits.max_size.0 => return too_big(),
                Some(Ok(_)) => {}
                _ => return Reply::of(501, "5.5.4", "SIZE needs a number"),
            }
        }
        let body = parameters
            .get("BODY")
            .map(|body| body.value.as_deref().unwrap_or(""));
        if !matches!(
            body.map(str::to_ascii_uppercase).as_deref(),
            None | Some("7BIT" | "8BITMIME")
        ) {
            return Reply::of(501, "5.5.4", "BODY is 7BIT or 8BITMIME");
        }
        let smtputf8 = parameters.get("SMTPUTF8").is_some();
        if !smtputf8
            && reverse_path
                .mailbox()
                .is_some_and(|mailbox| !mailbox.is_ascii())
        {
            return needs_smtputf8();
        }
        self.envelope = Some(Envelope {
            reverse_path: reverse_path.clone(),
            smtputf8,
            recipients: Vec::new(),
        });
        Reply::of(250, "2.1.0", "sender noted")
    }

    fn rcpt(&mut self, forward_path: &ForwardPath, parameters: &Parameters) -> Reply {
        if let Err(reply) = self.check_parameters(parameters, &[]) {
            return reply;
        }
        let client = Client {
            address: self.client.ip(),
            relay_policy: self.port.relay_policy,
        };
        let decided = self.site.recipient(forward_path, &client);
        let most = self.site.limits.max_recipients;
        let Some(envelope) = &mut self.envelope else {
            return Reply::of(503, "5.5.1", "MAIL first");
        };
        if !envelope.smtputf8
            && forward_path
                .mailbox()
                .is_some_and(|mailbox| !mailbox.is_ascii())
        {
            return needs_smtputf8();
        }
        if envelope.recipients.len() >= most {
            return Reply::of(452, "4.5.3", "too many recipients");
        }
        match decided {
            Ok(recipient) => {
                envelope.recipients.push(recipient);
                Reply::of(250, "2.1.5", "recipient taken")
            }
            Err(reply) => reply,
        }
    }

    /// Unknown parameters are refused: RFC 5321 §4.1.1.11.
    fn check_parameters(&self, parameters: &Parameters, known: &[&str]) -> Result<(), Reply> {
        let extended = self.helo.as_ref().is_some_and(|helo| helo.extended);
        match parameters
            .iter()
            .find(|one| !extended || !known.contains(&one.keyword.as_str()))
        {
            Some(unknown) => Err(Reply::of(
                555,
                "5.5.4",
                format!("parameter {} not recognized", unknown.keyword),
            )),
            None => Ok(()),
        }
    }

    fn data(&mut self) -> Reply {
        let Some(envelope) = &self.envelope else {
            return Reply::of(503, "5.5.1", "MAIL first");
        };
        let mut users: Vec<&str> = Vec::new();
        let mut foreign = false;
        for recipient in &envelope.recipients {
            match recipient {
                Recipient::Local { user } if !users.contains(&user.as_str()) => users.push(user),
                Recipient::Local { .. } => {}
                Recipient::Foreign => foreign = true,
            }
        }
        let trace = Trace {
            reverse_path: envelope.reverse_path.to_string(),
            helo: self.helo.as_ref().map_or("unknown", |helo| &helo.name),
            client: self.client.ip(),
            protocol: self.protocol(envelope.smtputf8),
            hostname: self.site.hostname.to_string(),
            at: self.clock.now(),
        };
        let witness = foreign.then_some(&self.site.witness);
        match Incoming::begin(
            &self.site.store,
            &users,
            witness,
            &trace,
            self.site.limits.max_size.0,
        ) {
            Ok(incoming) => {
                self.incoming = Some(incoming);
                Reply::of(354, "", "go ahead, end with CRLF dot CRLF")
            }
            Err(error) => {
                tracing::error!("cannot take mail: {error:#}");
                Reply::of(452, "4.3.1", "the mail store cannot be written")
            }
        }
    }

    /// The keyword of RFC 3848 and RFC 6531 §4.3.
    fn protocol(&self, smtputf8: bool) -> &'static str {
        if self.port.protocol == Protocol::Lmtp {
            return match (smtputf8, self.in_tls) {
                (false, false) => "LMTP",
                (false, true) => "LMTPS",
                (true, false) => "UTF8LMTP",
                (true, true) => "UTF8LMTPS",
            };
        }
        let extended = self.helo.as_ref().is_some_and(|helo| helo.extended);
        match (extended, smtputf8, self.in_tls) {
            (false, _, _) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPS",
            (true, true, false) => "UTF8SMTP",
            (true, true, true) => "UTF8SMTPS",
        }
    }

    /// The verdict on a message; in LMTP, one for each recipient.
    async fn end_of_data(&mut self) -> Vec<Reply> {
        let recipients = self
            .envelope
            .take()
            .map_or(0, |envelope| envelope.recipients.len());
        self.counts.messages += 1;
        self.counts.junk = 0;
        let verdict = self.keep().await;
        let replies = match self.port.protocol {
            Protocol::Lmtp => recipients.max(1),
            Protocol::Smtp | Protocol::Submission => 1,
        };
        vec![verdict; replies]
    }

    async fn keep(&mut self) -> Reply {
        let Some(incoming) = self.incoming.take() else {
            return Reply::of(502, "5.5.1", "BDAT is not offered here");
        };
        if incoming.is_too_big() {
            return too_big();
        }
        match incoming.keep().await {
            Ok(id) => Reply::of(250, "2.0.0", format!("kept, queued as {id}")),
            Err(error) => {
                tracing::error!("cannot keep a message: {error:#}");
                Reply::of(452, "4.3.1", "the mail store cannot be written")
            }
        }
    }
}

impl Policy for SessionPolicy {
    async fn asked(&mut self, asked: Asked, session: &ServerSession) -> Answer {
        let reply = match asked {
            Asked::Greeting => {
                Reply::of(220, "", format!("{} ESMTP Heloscope", self.site.hostname))
            }
            Asked::Command(heard) => self.command(&heard, session),
            Asked::Sasl(_) => Reply::of(503, "5.5.1", "no AUTH is under way"),
            Asked::EndOfData { .. } => {
                let replies = self.end_of_data().await;
                self.counts.errors += u32::from(replies.iter().any(|one| one.code().is_refusal()));
                return Answer::Replies(replies);
            }
        };
        if reply.code().is_refusal() {
            self.counts.errors += 1;
        }
        if self.counts.errors > self.site.limits.max_errors {
            return Answer::Reply(Reply::of(421, "4.7.0", "too many errors, closing"));
        }
        Answer::Reply(reply)
    }

    async fn content(&mut self, bytes: Bytes) {
        if let Some(incoming) = &mut self.incoming {
            incoming.write(&bytes);
        }
    }

    fn tls_started(&mut self, _facts: &Facts, _stream: &Stream) {
        self.in_tls = true;
        self.helo = None;
        self.envelope = None;
    }
}

fn too_big() -> Reply {
    Reply::of(552, "5.3.4", "message too big")
}

/// RFC 6531 §3.5.
fn needs_smtputf8() -> Reply {
    Reply::of(553, "5.6.7", "the address needs SMTPUTF8")
}
