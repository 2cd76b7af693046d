//! One client's session: the answer to each command.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driver::clock::Clock;
use driver::sasl::Channel;
use driver::sasl::server::Identity;
use driver::serve::{Answer, Due, Policy};
use driver::socket::Endpoint;
use driver::stream::Stream;
use driver::strike::{Strike, TlsStrike};
use driver::tls::Facts;
use ipnet::IpNet;
use shared::command::{Command, Heard, Verb};
use shared::deviation::Deviation;
use shared::extension::{Xclient, Xforward};
use shared::reply::Reply;
use shared::session::{Asked, ServerSession};

use super::auth::Auth;
use super::client::Client;
use super::fault::SessionFaults;
use super::hello::Helo;
use super::transaction::Envelope;
use crate::config::{Protocol, TlsMode};
use crate::fault::Saying;
use crate::monitor::Limit;
use crate::settings::{Port, Site};
use crate::store::Incoming;

/// The policy of one session.
#[derive(Debug)]
pub struct SessionPolicy {
    pub(super) site: Arc<Site>,
    pub(super) port: Port,
    pub(super) clock: Clock,
    /// The session in the recording.
    pub(super) session: u64,
    pub(super) client: Client,
    pub(super) helo: Option<Helo>,
    pub(super) envelope: Option<Envelope>,
    pub(super) incoming: Option<Incoming>,
    /// Why the chunk that is coming in will be refused.
    pub(super) refused_chunk: Option<Reply>,
    pub(super) counts: Counts,
    pub(super) auth: Auth,
    pub(super) in_tls: bool,
    pub(super) tls_version: Option<String>,
    pub(super) faults: SessionFaults,
}

/// What a client has done so far, where it may not do so for ever.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) errors: u32,
    /// Commands that lead nowhere, since the last message.
    pub(super) junk: u32,
    pub(super) messages: u64,
}

/// Who is served, and where.
#[derive(Clone, Debug)]
pub struct Served {
    /// The listener it came in by, counted from 0.
    pub listener: usize,
    /// The client.
    pub client: Endpoint,
    /// The session in the recording.
    pub session: u64,
}

impl SessionPolicy {
    /// The policy for a client; none if there is no such listener.
    pub fn new(site: Arc<Site>, clock: Clock, served: Served) -> Option<Self> {
        let port = site.ports.get(served.listener)?.clone();
        let faults = SessionFaults::new(site.faults.enter());
        Some(Self {
            site,
            port,
            clock,
            session: served.session,
            client: Client::new(served.client),
            helo: None,
            envelope: None,
            incoming: None,
            refused_chunk: None,
            counts: Counts::default(),
            auth: Auth::default(),
            in_tls: false,
            tls_version: None,
            faults,
        })
    }

    /// TLS is in force, and what came before is forgotten (RFC 3207 §4.2).
    pub fn enter_tls(&mut self, facts: &Facts, channel: Channel) {
        self.in_tls = true;
        let certificate = facts.chain.first();
        let names = certificate.map(|der| driver::tls::names(der));
        self.forget_auth(channel, names.unwrap_or_default());
        self.tls_version.clone_from(&facts.version);
        self.helo = None;
        self.abandon();
    }

    async fn command(&mut self, heard: &Heard, session: &ServerSession) -> Reply {
        if let Some(reply) = self.intolerance(heard) {
            return reply;
        }
        match (&heard.command, session.objection(heard)) {
            (Ok(command), objection) => {
                if let Some(reply) = self.demand(command) {
                    return reply;
                }
                match (objection, command) {
                    (Some(objection), _) => objection,
                    (None, Command::Auth { mechanism, initial }) => {
                        self.begin_auth(mechanism, initial.as_ref()).await
                    }
                    (None, command) => self.sound(command),
                }
            }
            (Err(error), None) => error.reply(),
            (_, Some(objection)) => objection,
        }
    }

    /// What a strict server has against a command that can be understood.
    fn intolerance(&self, heard: &Heard) -> Option<Reply> {
        // RFC 6531 §3.1 allows them in EHLO's successors; addresses are judged apart.
        let odd = |one: &&Deviation| **one != Deviation::EightBit;
        let deviation = heard.deviations.iter().find(odd)?;
        self.site.strict.then(|| match deviation {
            Deviation::TalkBeforeGreeting | Deviation::UnannouncedPipelining => {
                Reply::of(503, "5.5.0", "improper use of command pipelining")
            }
            other => Reply::of(501, "5.5.2", format!("bad syntax: {other}")),
        })
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
        if self.port.require_tls && !self.in_tls && !free {
            // RFC 3207 §4.
            return Some(Reply::of(
                530,
                "5.7.0",
                "must issue a STARTTLS command first",
            ));
        }
        let sends = matches!(command, Command::Mail { .. } | Command::Vrfy(_));
        // RFC 4954 §6.
        (sends && self.must_authenticate())
            .then(|| Reply::of(530, "5.7.0", "authentication required"))
    }

    /// Nothing is taken from this client before AUTH. On a submission port that is
    /// so for all but those who are known by their address (RFC 6409 §4.3).
    fn must_authenticate(&self) -> bool {
        let known = || self.site.trusts(&self.asking());
        let submission = self.port.protocol == Protocol::Submission;
        !self.is_authenticated() && (self.port.require_auth || (submission && !known()))
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
                self.abandon();
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
            Command::StartTls if self.port.tls == TlsMode::StartTls && !self.hides("STARTTLS") => {
                Reply::of(220, "2.0.0", "go ahead")
            }
            Command::Xclient(said) => self.xclient(said),
            Command::Xforward(said) => self.xforward(said),
            // BDAT is answered at the end of its chunk.
            Command::Expn(_) | Command::Etrn(_) | Command::StartTls | Command::Bdat { .. } => {
                Reply::of(502, "5.5.1", "not offered here")
            }
            _ => Reply::of(500, "5.5.1", "command not recognized"),
        }
    }

    fn hides(&self, keyword: &str) -> bool {
        let mut hidden = self.site.hidden.iter().chain(&self.faults.hidden);
        hidden.any(|one| one.eq_ignore_ascii_case(keyword))
    }

    /// The connection comes from one of these.
    pub(super) fn believes(&self, hosts: &[IpNet]) -> bool {
        let address = self.client.connected_from();
        let address = address.map(|address| address.to_canonical());
        address.is_some_and(|address| hosts.iter().any(|host| host.contains(&address)))
    }

    /// A proxy says who the client is: the session begins anew, as if that client
    /// had just connected (Postfix's XCLIENT_README).
    fn xclient(&mut self, said: &Xclient) -> Reply {
        if !self.believes(&self.site.xclient_hosts) || self.hides("XCLIENT") {
            return Reply::of(550, "5.7.0", "you are not believed");
        }
        self.abandon();
        self.client.become_client(said);
        let certificate = std::mem::take(&mut self.auth.certificate);
        self.forget_auth(self.auth.channel.clone(), certificate);
        self.auth.identity = said.login.as_ref().and_then(|login| {
            Some(Identity {
                // Here it must be known: it goes into the account of a message.
                authcid: login.given()?.reveal().to_owned(),
                authzid: None,
                mechanism: "XCLIENT",
            })
        });
        self.helo = None;
        self.greeting()
    }

    fn xforward(&mut self, said: &Xforward) -> Reply {
        if !self.believes(&self.site.xforward_hosts) || self.hides("XFORWARD") {
            return Reply::of(550, "5.7.0", "you are not believed");
        }
        self.client.forward(said);
        Reply::of(250, "2.0.0", "noted")
    }

    fn greeting(&self) -> Reply {
        Reply::of(220, "", format!("{} ESMTP Heloscope", self.site.hostname))
    }

    /// Counts a command that leads nowhere: too many of them are errors.
    fn junk(&mut self, reply: Reply) -> Reply {
        self.counts.junk = self.counts.junk.saturating_add(1);
        if self.counts.junk > self.site.limits.max_junk {
            self.site.monitor.tripped(Limit::Junk);
            self.error();
        }
        reply
    }

    fn error(&mut self) {
        self.counts.errors = self.counts.errors.saturating_add(1);
    }
}

impl SessionPolicy {
    /// The answer without any fault.
    pub(super) async fn answer_to(&mut self, asked: Asked, session: &ServerSession) -> Answer {
        let reply = match asked {
            Asked::Greeting => self.greeting(),
            Asked::Command(heard) if is_foreign(&heard.verb) => {
                return Answer::Last(Reply::of(554, "5.5.1", "this is no web server, closing"));
            }
            Asked::Command(heard) => self.command(&heard, session).await,
            Asked::Sasl(line) => self.go_on_with_auth(&line).await,
            Asked::EndOfData { last: false } => self.end_of_chunk(),
            Asked::EndOfData { last: true } => {
                let replies = self.end_of_data(session.examined()).await;
                if replies.iter().any(|one| one.code().is_refusal()) {
                    self.error();
                }
                return Answer::Replies(replies);
            }
        };
        if reply.code().is_refusal() {
            self.error();
        }
        if self.counts.errors > self.site.limits.max_errors {
            self.site.monitor.tripped(Limit::Errors);
            return Answer::Reply(Reply::of(421, "4.7.0", "too many errors, closing"));
        }
        Answer::Reply(reply)
    }
}

impl Policy for SessionPolicy {
    async fn asked(&mut self, asked: Asked, session: &ServerSession) -> Answer {
        let ends = matches!(asked, Asked::EndOfData { .. });
        let quiet = self.was_answered_early(&asked);
        let mut plan = self.fault_of(&asked, session);
        if quiet {
            plan.get_or_insert_default().saying = Some(Saying::Nothing);
        }
        let decided = plan.as_ref().is_some_and(|plan| plan.decides());
        let given = if decided {
            None
        } else {
            self.faults_by_recipient(&asked)
        };
        let answer = match (given, plan) {
            (Some(mut given), plan) => {
                given
                    .strike
                    .join(plan.map(|plan| plan.strike).unwrap_or_default());
                Box::pin(self.verdicts_by_recipient(session, *given)).await
            }
            // Rare, and large: sessions that behave have no room for it.
            (_, Some(plan)) => Box::pin(self.answer_by(asked, session, plan)).await,
            (_, None) => self.answer_to(asked, session).await,
        };
        if ends {
            self.forget_content();
        }
        answer
    }

    async fn content(&mut self, bytes: Bytes) -> Option<Box<Strike>> {
        self.take_content(&bytes);
        self.fault_within(&bytes)
    }

    fn connected(&mut self) -> Option<Box<Strike>> {
        self.fault_at_connect()
    }

    fn shaking_hands(&mut self) -> Option<Box<TlsStrike>> {
        self.fault_of_handshake()
    }

    fn idle_after(&self) -> Option<Duration> {
        self.next_idle()
    }

    fn idle(&mut self, period: Duration) -> Option<Box<Strike>> {
        self.fault_of_silence(period)
    }

    fn tls_started(&mut self, facts: &Facts, stream: &Stream) {
        self.enter_tls(facts, stream.channel());
    }

    fn gave_up(&mut self, due: Due) {
        self.site.monitor.tripped(due.into());
    }
}

/// Another protocol's first word: a browser that was sent here, or an open proxy
/// (the words that Postfix refuses, `smtpd_forbidden_commands`). Going on would
/// let a web page speak SMTP.
fn is_foreign(verb: &Verb) -> bool {
    let Verb::Other(word) = verb else {
        return false;
    };
    let letter = word.starts_with(|c: char| c.is_ascii_alphabetic());
    matches!(word.as_str(), "CONNECT" | "GET" | "POST") || !(letter || word.is_empty())
}
