//! What the actions that fire at one event come to.

use std::collections::HashMap;
use std::time::Duration;

use driver::handshake::Break;
use driver::strike::{End, Manner, Strike, TlsStrike};
use shared::fault::action::Hello;
use shared::fault::draw::SplitMix64;
use shared::fault::{Action, Fired, Firing, Stage};
use shared::recording::{FaultFacts, NoteFacts};
use shared::reply::{Reply, ReplyCode, ReplyLine};

use super::Faults;
use super::shelf::Wanted;

/// Replies by the files they are in.
pub(crate) type Files = HashMap<String, Reply>;

/// What becomes of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is done, and a refusal becomes a yes.
    Accept,
    /// A yes is said, and nothing is kept.
    Discard,
    /// It is done, whatever is said about it.
    Keep,
}

/// What is said in place of the server's own reply.
#[derive(Clone, Debug)]
pub(crate) enum Saying {
    /// A reply.
    Reply(Reply),
    /// A refusal for now or for good, by what was asked.
    Refusal(Refusal),
    /// Octets.
    Octets(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// How it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For now: 4yz.
    Defer,
    /// For good: 5yz.
    Reject,
}

/// All that is to be done at one event.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an action of its own"
)]
pub(crate) struct Plan {
    pub(crate) work: Option<Work>,
    pub(crate) saying: Option<Saying>,
    pub(crate) twice: bool,
    pub(crate) truncated: Option<usize>,
    pub(crate) garbage: Vec<u8>,
    pub(crate) early: bool,
    pub(crate) injected: Vec<u8>,
    pub(crate) hidden: Vec<String>,
    pub(crate) advertised: Vec<String>,
    pub(crate) shut: Option<Duration>,
    pub(crate) captured: bool,
    pub(crate) strike: Strike,
    pub(crate) wanted: Wanted,
    pub(crate) breaks: Option<Break>,
}

impl Plan {
    /// What these firings come to.
    pub(crate) fn of(fired: &Fired, faults: &Faults) -> Self {
        let mut plan = Self::default();
        for firing in &fired.0 {
            let delay = plan.strike.delay;
            for action in &firing.rule.actions {
                plan.take(action, firing, faults);
            }
            let delay = plan.strike.delay.saturating_sub(delay);
            plan.strike.faults.push(FaultFacts {
                rule: Some(firing.id.0),
                name: (!firing.name.is_empty()).then(|| firing.name.to_string()),
                act: acts(&firing.rule.actions),
                drawn: firing.drawn,
                delay: (!delay.is_zero()).then_some(delay),
            });
        }
        plan
    }

    /// And what a mailbox asks for.
    pub(crate) fn grant(&mut self, action: &Action, mailbox: &str, faults: &Faults) {
        self.apply(action, faults);
        self.strike.faults.push(FaultFacts {
            name: Some(format!("magic {mailbox}")),
            act: action.to_string(),
            ..FaultFacts::default()
        });
    }

    fn take(&mut self, action: &Action, firing: &Firing, faults: &Faults) {
        match action {
            Action::Delay { least, most } => {
                let millis = |period: Duration| u64::try_from(period.as_millis());
                let (least, most) = (
                    millis(least.0).unwrap_or(u64::MAX),
                    millis(most.0).unwrap_or(u64::MAX),
                );
                let millis = firing.between(least, most);
                let delay = self.strike.delay;
                self.strike.delay = delay.saturating_add(Duration::from_millis(millis));
            }
            Action::Garbage(count) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                self.garbage = SplitMix64::new(firing.random).octets(count);
            }
            other => self.apply(other, faults),
        }
    }

    fn apply(&mut self, action: &Action, faults: &Faults) {
        let strike = &mut self.strike;
        match action {
            Action::Reply { code, status, text } => {
                self.saying = Some(Saying::Reply(reply(*code, *status, text.as_deref())));
            }
            Action::ReplyLines(path) => {
                self.saying = faults.lines_of(path).map(Saying::Reply);
            }
            Action::ReplyRaw(octets) => self.saying = Some(Saying::Octets(octets.clone())),
            Action::Defer => self.saying = Some(Saying::Refusal(Refusal::Defer)),
            Action::Reject => self.saying = Some(Saying::Refusal(Refusal::Reject)),
            Action::NoReply => self.saying = Some(Saying::Nothing),
            Action::Accept => self.work = Some(Work::Accept),
            Action::Discard => self.work = Some(Work::Discard),
            Action::Keep => self.work = Some(Work::Keep),
            Action::ReplySplit { at, pause } => {
                strike.manner = Manner::Split {
                    at: size(*at),
                    pause: pause.0,
                };
            }
            Action::Drip { octets, every } => {
                strike.manner = Manner::Drip {
                    octets: size(*octets),
                    every: every.0,
                };
            }
            Action::ReplyTruncate(count) => self.truncated = Some(size(*count)),
            Action::ReplyTwice => self.twice = true,
            Action::EarlyReply => self.early = true,
            Action::ThrottleIn(rate) => strike.read_rate = Some(rate.0),
            Action::ThrottleOut(rate) => strike.write_rate = Some(rate.0),
            Action::StallRead(period) => strike.stall = period.0,
            Action::Hang => strike.end = Some(End::Hang),
            Action::Close => strike.end = Some(End::Close),
            Action::Reset => strike.end = Some(End::Reset),
            Action::HalfClose => strike.end = Some(End::HalfClose),
            Action::Shutdown(period) => self.shut = Some(period.0),
            Action::Hide(keyword) => self.hidden.push(keyword.clone()),
            Action::Advertise(line) => self.advertised.push(line.clone()),
            Action::InjectBeforeTls(octets) => self.injected.clone_from(octets),
            Action::Tag(name) => strike.notes.push(note(Some(name), None)),
            Action::Label(text) => strike.notes.push(note(None, Some(text))),
            Action::Capture => self.captured = true,
            Action::TlsCert(_) | Action::TlsVersion(_) => {
                let more = Wanted::of([action]);
                self.wanted.profile = more.profile.or(self.wanted.profile);
                self.wanted.version = more.version.or(self.wanted.version);
            }
            Action::TlsAlert(alert) => self.breaks = Some(Break::Alert(alert.number())),
            Action::TlsCloseAfter(Hello::Client) => self.breaks = Some(Break::AfterClientHello),
            Action::TlsCloseAfter(Hello::Server) => self.breaks = Some(Break::AfterServerHello),
            Action::TlsHang => self.breaks = Some(Break::Hang),
            Action::Delay { least, .. } => strike.delay = strike.delay.saturating_add(least.0),
            // Drawn for a rule alone, see `take`.
            Action::Garbage(_) => {}
        }
    }

    /// What was asked is done, and not only answered.
    pub(crate) fn does_the_work(&self) -> bool {
        match (&self.work, &self.saying) {
            (Some(Work::Accept | Work::Keep), _) => true,
            (Some(Work::Discard), _) => false,
            (None, Some(Saying::Reply(reply))) => !reply.code().is_refusal(),
            (None, Some(Saying::Refusal(_))) => false,
            (None, Some(Saying::Octets(octets))) => first_code(octets).is_some_and(is_good),
            (None, Some(Saying::Nothing)) => true,
            // A connection that ends instead of an answer ends before the work.
            (None, None) => self.strike.end.is_none() || self.truncated.is_some() || self.twice,
        }
    }

    /// What is said in place of replies, if it is not just those.
    pub(crate) fn octets(&self, replies: &[Reply]) -> Option<Vec<u8>> {
        let plain = !self.twice
            && self.truncated.is_none()
            && self.garbage.is_empty()
            && !matches!(self.saying, Some(Saying::Octets(_) | Saying::Nothing));
        if plain {
            return None;
        }
        let mut said = match &self.saying {
            Some(Saying::Octets(octets)) => octets.clone(),
            Some(Saying::Nothing) => Vec::new(),
            _ => encoded(replies),
        };
        if self.twice {
            said.extend_from_within(..);
        }
        said.truncate(self.truncated.unwrap_or(usize::MAX));
        let mut octets = self.garbage.clone();
        octets.append(&mut said);
        Some(octets)
    }

    /// What is to go wrong with a TLS handshake, if it is.
    pub(crate) fn into_handshake(self: Box<Self>, faults: &Faults) -> TlsStrike {
        TlsStrike {
            config: faults.shelf().get(self.wanted),
            breaks: self.breaks,
            strike: self.strike,
        }
    }

    /// It says how the handshake goes.
    pub(crate) fn is_about_tls(&self) -> bool {
        self.breaks.is_some() || self.wanted != Wanted::default()
    }
}

impl Refusal {
    /// The reply that says so.
    pub(crate) fn reply(self, stage: Stage) -> Reply {
        let (code, status) = match (self, stage) {
            (Self::Defer, Stage::Connect | Stage::Greeting) => (421, "4.3.2"),
            (Self::Defer, Stage::StartTls | Stage::Auth | Stage::AuthStep) => (454, "4.7.0"),
            (Self::Defer, Stage::Rcpt | Stage::DotRcpt) => (450, "4.2.0"),
            (Self::Defer, _) => (451, "4.3.0"),
            (Self::Reject, Stage::Connect | Stage::Greeting) => (554, "5.3.2"),
            (Self::Reject, Stage::Auth | Stage::AuthStep) => (535, "5.7.8"),
            (Self::Reject, Stage::Mail | Stage::Rcpt | Stage::DotRcpt) => (550, "5.7.1"),
            (Self::Reject, _) => (554, "5.7.1"),
        };
        let text = match self {
            Self::Defer => "not now, by a rule",
            Self::Reject => "no, by a rule",
        };
        let reply = Reply::of(code, status, text);
        match stage {
            Stage::Greeting => reply.without_status(),
            _ => reply,
        }
    }
}

/// Replies as they are sent.
pub(crate) fn encoded(replies: &[Reply]) -> Vec<u8> {
    let mut octets = Vec::new();
    for reply in replies {
        reply.encode(&mut octets);
    }
    octets
}

/// The code that octets begin with.
pub(crate) fn first_code(octets: &[u8]) -> Option<ReplyCode> {
    let line = octets.split(|&octet| octet == b'\n').next()?;
    ReplyLine::parse(line).map(|line| line.code)
}

fn is_good(code: ReplyCode) -> bool {
    !code.is_refusal()
}

fn reply(
    code: ReplyCode,
    status: Option<shared::status::EnhancedStatusCode>,
    text: Option<&str>,
) -> Reply {
    let own = if code.is_refusal() {
        "no, by a rule"
    } else {
        "yes, by a rule"
    };
    let text = text.unwrap_or(own);
    let reply = Reply::new(code, text);
    match status {
        Some(status) => reply.with_status(status),
        None => reply,
    }
}

fn note(tag: Option<&str>, message: Option<&str>) -> NoteFacts {
    NoteFacts {
        by: "rule".into(),
        tag: tag.map(str::to_owned),
        message: message.map(str::to_owned),
        ..NoteFacts::default()
    }
}

fn acts(actions: &[Action]) -> String {
    let acts: Vec<String> = actions.iter().map(ToString::to_string).collect();
    acts.join("; ")
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
