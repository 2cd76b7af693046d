//! One client's session: its envelope, and the answer to each command.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use driver::clock::Clock;
use driver::serve::{Answer, Policy};
use driver::tls::Facts;
use shared::command::{Command, Heard};
use shared::parameter::Parameters;
use shared::path::{ForwardPath, ReversePath};
use shared::reply::{Reply, ReplyCode};
use shared::session::{Asked, ServerSession};

use super::recipient::Recipient;
use crate::settings::Site;
use crate::store::{Incoming, Trace};

/// After so many refused commands a session is ended: RFC 5321 §4.3.2 lets a
/// server defend itself with 421.
const MOST_ERRORS: u32 = 100;

/// The policy of one session.
#[derive(Debug)]
pub struct SessionPolicy {
    site: Arc<Site>,
    clock: Clock,
    client: IpAddr,
    helo: Option<Helo>,
    envelope: Option<Envelope>,
    incoming: Option<Incoming>,
    errors: u32,
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

impl SessionPolicy {
    /// The policy for a client with that address.
    pub fn new(site: Arc<Site>, clock: Clock, client: IpAddr) -> Self {
        Self {
            site,
            clock,
            client,
            helo: None,
            envelope: None,
            incoming: None,
            errors: 0,
            in_tls: false,
        }
    }

    fn command(&mut self, heard: &Heard, session: &ServerSession) -> Reply {
        let objection = session.objection(heard);
        match (&heard.command, objection) {
            (Ok(command), None) => self.sound(command),
            (_, Some(objection)) => objection,
            (Err(error), None) => error.reply(),
        }
    }

    fn sound(&mut self, command: &Command) -> Reply {
        match command {
            Command::Ehlo(name) => self.hello(name, true),
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
                Reply::of(250, "2.0.0", "forgotten")
            }
            Command::Noop => Reply::of(250, "2.0.0", "still here"),
            Command::Quit => Reply::of(221, "2.0.0", format!("{} closing", self.site.hostname)),
            // The same for everybody, so that it tells nobody anything
            // (RFC 5321 §7.3).
            Command::Vrfy(_) => Reply::of(252, "2.5.2", "send some mail and see"),
            Command::Help(_) => Reply::of(214, "2.0.0", "RFC 5321 has all the help there is"),
            Command::StartTls if self.site.offers_tls => Reply::of(220, "2.0.0", "go ahead"),
            Command::Expn(_)
            | Command::Etrn(_)
            | Command::StartTls
            | Command::Auth { .. }
            | Command::Lhlo(_)
            | Command::Xclient(_)
            | Command::Xforward(_)
            | Command::Bdat { .. } => Reply::of(502, "5.5.1", "not offered here"),
            _ => Reply::of(500, "5.5.1", "command not recognized"),
        }
    }

    fn hello(&mut self, name: &str, extended: bool) -> Reply {
        self.envelope = None;
        self.helo = Some(Helo {
            name: name.to_owned(),
            extended,
        });
        let greeting = format!("{} greets {name} [{}]", self.site.hostname, self.client);
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
            format!("SIZE {}", self.site.max_size),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
        ];
        if self.site.offers_tls && !self.in_tls {
            lines.push("STARTTLS".into());
        }
        lines.push("ENHANCEDSTATUSCODES".into());
        lines
    }

    fn mail(&mut self, reverse_path: &ReversePath, parameters: &Parameters) -> Reply {
        let known = ["SIZE", "BODY", "SMTPUTF8"];
        if let Err(reply) = self.check_parameters(parameters, &known) {
            return reply;
        }
        if let Some(size) = parameters.get("SIZE") {
            match size.value.as_deref().map(str::parse::<u64>) {
                Some(Ok(size)) if size > self.site.max_size => return too_big(),
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
        let decided = self.site.recipient(forward_path, self.client);
        let most = self.site.max_recipients;
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
            client: self.client,
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
            self.site.max_size,
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
        let extended = self.helo.as_ref().is_some_and(|helo| helo.extended);
        match (extended, smtputf8, self.in_tls) {
            (false, _, _) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPS",
            (true, true, false) => "UTF8SMTP",
            (true, true, true) => "UTF8SMTPS",
        }
    }

    async fn end_of_data(&mut self) -> Reply {
        self.envelope = None;
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
            Asked::EndOfData { .. } => self.end_of_data().await,
        };
        if reply.code().is_refusal() {
            self.errors += 1;
        }
        if self.errors > MOST_ERRORS {
            return Answer::Reply(Reply::of(421, "4.7.0", "too many errors, closing"));
        }
        Answer::Reply(reply)
    }

    async fn content(&mut self, bytes: Bytes) {
        if let Some(incoming) = &mut self.incoming {
            incoming.write(&bytes);
        }
    }

    fn tls_started(&mut self, _facts: &Facts) {
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
