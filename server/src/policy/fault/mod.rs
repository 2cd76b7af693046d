//! Misbehaving on purpose: where the rules have their say in a session.
//!
//! The policy answers as ever; here that answer is put off, replaced, or not asked for
//! at all. Where no rule is for a stage, none of this is reached.

mod answer;
mod recipients;
mod unasked;

use std::time::Duration;

use shared::address::Domain;
use shared::command::{Command, Heard, Verb};
use shared::fault::{Event, Facts, Stage, Tally, magic};
use shared::path::{ForwardPath, ReversePath};
use shared::reply::Reply;
use shared::session::{Asked, DataForm, ServerSession};

use super::SessionPolicy;
use crate::fault::{Plan, Present, Work};

/// What one session knows of faults.
#[derive(Debug)]
pub(super) struct SessionFaults {
    _present: Present,
    tally: Tally,
    /// EHLO keywords that are left out since the last EHLO.
    pub(super) hidden: Vec<String>,
    /// EHLO lines that are added.
    pub(super) advertised: Vec<String>,
    /// What is said at the connection is said in place of the greeting.
    greeting: Option<Box<Plan>>,
    /// What STARTTLS was to do to the handshake.
    handshake: Option<Box<Plan>>,
    /// Counts MAIL commands.
    transaction: u64,
    content: Content,
    /// The verdict on the message that is coming was given already.
    answered_early: bool,
    /// A silence of so long was noticed since the client said something.
    idled: Duration,
}

/// The content that is coming in.
#[derive(Debug, Default)]
struct Content {
    octets: u64,
    lines: u64,
    /// Its beginning, if some rule looks at it.
    beginning: Vec<u8>,
    /// Where rules are looked at, once it is known.
    marks: Option<Vec<Stage>>,
}

/// So much of the content is looked at.
const BEGINNING: usize = 64 * 1024;

impl SessionFaults {
    pub(super) fn new(present: Present) -> Self {
        Self {
            _present: present,
            tally: Tally::default(),
            hidden: Vec::new(),
            advertised: Vec::new(),
            greeting: None,
            handshake: None,
            transaction: 0,
            content: Content::default(),
            answered_early: false,
            idled: Duration::ZERO,
        }
    }
}

/// What the envelope is about, as rules look at it.
#[derive(Default)]
struct Named {
    from: Option<String>,
    to: Vec<String>,
    size: Option<u64>,
    /// The mailbox that may ask for something, and its domain.
    wishes: Vec<(String, String)>,
}

impl SessionPolicy {
    /// What is to go wrong with an answer; none if nothing is.
    pub(super) fn fault_of(&mut self, asked: &Asked, session: &ServerSession) -> Option<Box<Plan>> {
        self.faults.idled = Duration::ZERO;
        if let Asked::Command(heard) = asked {
            match heard.verb {
                Verb::Mail => {
                    self.faults.transaction += 1;
                    self.forget_content();
                }
                Verb::Ehlo | Verb::Lhlo => {
                    self.faults.hidden.clear();
                    self.faults.advertised.clear();
                }
                _ => {}
            }
        }
        let at_connect = match asked {
            Asked::Greeting => self.faults.greeting.take(),
            _ => None,
        };
        at_connect.or_else(|| {
            let (stage, also) = stages(asked, session);
            let found = self.fault_at(stage, asked, session);
            let found = found.or_else(|| self.fault_at(also?, asked, session));
            found.map(Box::new)
        })
    }

    fn fault_at(&mut self, stage: Stage, asked: &Asked, session: &ServerSession) -> Option<Plan> {
        if !self.site.faults.watches(stage) {
            return None;
        }
        let named = match asked {
            Asked::Command(heard) => self.named(Some(heard)),
            _ => self.named(None),
        };
        let arg = match asked {
            Asked::Sasl(line) => line.as_ref(),
            _ => argument(session.line()),
        };
        let plan = self.fire(stage, &named, arg);
        match plan {
            Some(plan) if plan.decides() => Some(plan),
            plan => self.wish(stage, &named.wishes, plan),
        }
    }

    /// What fires at a stage.
    fn fire(&mut self, stage: Stage, named: &Named, arg: &[u8]) -> Option<Plan> {
        let received = self.incoming.as_ref().map(crate::store::Incoming::octets);
        let recipients = self.envelope.as_ref().map_or(0, |one| one.recipients.len());
        let facts = Facts {
            listener: &self.port.name,
            client: self.client.address(),
            helo: self.helo.as_ref().map(|helo| helo.name.as_str()),
            from: named.from.as_deref(),
            to: &named.to,
            user: self.auth.identity.as_ref().map(|one| one.authcid.as_str()),
            arg,
            content: &self.faults.content.beginning,
            size: named
                .size
                .or(received)
                .unwrap_or(self.faults.content.octets),
            recipients: recipients as u64,
            tls: self.in_tls,
            session: self.session,
            transaction: self.faults.transaction,
            open: self.site.faults.open(),
        };
        let event = Event {
            stage,
            now: self.clock.now(),
            facts: &facts,
        };
        let fired = self.site.faults.fire(event, &mut self.faults.tally)?;
        let plan = Plan::of(&fired, &self.site.faults);
        if plan.captured {
            self.site.monitor.capture(self.session);
        }
        Some(plan)
    }

    /// What a mailbox asks for, added to what is to be done anyway.
    fn wish(
        &self,
        stage: Stage,
        mailboxes: &[(String, String)],
        plan: Option<Plan>,
    ) -> Option<Plan> {
        let Some(domain) = self.site.faults.magic().and_then(Domain::name) else {
            return plan;
        };
        let theirs = mailboxes
            .iter()
            .filter(|(_, at)| at.eq_ignore_ascii_case(domain));
        let mut magic = false;
        for (local_part, _) in theirs {
            let Some((there, action)) = magic::asked(local_part) else {
                continue;
            };
            magic = true;
            if there == stage {
                let mut wish = plan.unwrap_or_default();
                wish.grant(&action, local_part, &self.site.faults);
                if stage == Stage::Rcpt && wish.saying.is_none() && wish.strike.end.is_none() {
                    wish.work = Some(Work::Accept);
                }
                return Some(wish);
            }
        }
        // What happens to it later can only happen if it is taken now.
        if magic && stage == Stage::Rcpt {
            let mut plan = plan.unwrap_or_default();
            plan.work = Some(Work::Accept);
            return Some(plan);
        }
        plan
    }

    fn named(&self, heard: Option<&Heard>) -> Named {
        let command = heard.and_then(|heard| heard.command.as_ref().ok());
        let mut named = Named::default();
        let envelope = self.envelope.as_ref();
        named.from = envelope.map(|one| sender(&one.reverse_path));
        match command {
            Some(Command::Mail {
                reverse_path,
                parameters,
            }) => {
                named.from = Some(sender(reverse_path));
                let declared = parameters.value("SIZE").and_then(|size| size.parse().ok());
                named.size = Some(declared.unwrap_or(0));
                if let Some(mailbox) = reverse_path.mailbox() {
                    named.wishes.push(parts(mailbox));
                }
            }
            Some(Command::Rcpt { forward_path, .. }) => {
                named.to = vec![recipient(forward_path)];
                named.wishes.extend(forward_path.mailbox().map(parts));
            }
            _ => {
                for taken in envelope.iter().flat_map(|one| &one.recipients) {
                    named.to.push(recipient(&taken.forward_path));
                    let mailbox = taken.forward_path.mailbox();
                    named.wishes.extend(mailbox.map(parts));
                }
            }
        }
        named
    }

    /// A message has ended, or a transaction begins.
    pub(super) fn forget_content(&mut self) {
        self.faults.content = Content::default();
    }
}

impl Plan {
    /// It leaves nothing for others to decide.
    pub(super) fn decides(&self) -> bool {
        self.work.is_some() || self.saying.is_some() || self.strike.end.is_some()
    }
}

fn early() -> Reply {
    Reply::of(250, "2.0.0", "kept, says a rule before it has come")
}

fn going(stage: Stage) -> Reply {
    let reply = Reply::of(421, "4.3.2", "shutting down, closing");
    match stage {
        Stage::Greeting => reply.without_status(),
        _ => reply,
    }
}

/// The stage of what is asked, and another one that it may be taken for.
fn stages(asked: &Asked, session: &ServerSession) -> (Stage, Option<Stage>) {
    let bdat = session.form() == Some(DataForm::Bdat);
    let stage = match asked {
        Asked::Greeting => Stage::Greeting,
        Asked::Sasl(_) => Stage::AuthStep,
        Asked::EndOfData { last: true } if bdat => return (Stage::Bdat, Some(Stage::Dot)),
        Asked::EndOfData { last: false } => Stage::Bdat,
        Asked::EndOfData { last: true } => Stage::Dot,
        Asked::Command(heard) => match heard.verb {
            Verb::Auth => Stage::Auth,
            Verb::Bdat => Stage::Bdat,
            Verb::Data => Stage::Data,
            Verb::Ehlo => Stage::Ehlo,
            Verb::Etrn => Stage::Etrn,
            Verb::Expn => Stage::Expn,
            Verb::Helo => Stage::Helo,
            Verb::Help => Stage::Help,
            Verb::Lhlo => Stage::Lhlo,
            Verb::Mail => Stage::Mail,
            Verb::Noop => Stage::Noop,
            Verb::Quit => Stage::Quit,
            Verb::Rcpt => Stage::Rcpt,
            Verb::Rset => Stage::Rset,
            Verb::StartTls => Stage::StartTls,
            Verb::Vrfy => Stage::Vrfy,
            Verb::Xclient => Stage::Xclient,
            _ => Stage::Unknown,
        },
    };
    (stage, None)
}

/// What follows the verb of a line.
fn argument(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let verb = line.iter().position(u8::is_ascii_whitespace);
    let rest = verb.and_then(|end| line.get(end..));
    rest.unwrap_or_default().trim_ascii_start()
}

fn sender(path: &ReversePath) -> String {
    path.mailbox().map(ToString::to_string).unwrap_or_default()
}

fn recipient(path: &ForwardPath) -> String {
    path.mailbox()
        .map_or_else(|| "postmaster".to_owned(), ToString::to_string)
}

/// The local-part and the domain of a mailbox.
fn parts(mailbox: &shared::address::Mailbox) -> (String, String) {
    let domain = mailbox.domain().name().unwrap_or_default();
    (mailbox.local_part().content().to_owned(), domain.to_owned())
}
