//! One session, followed to its end.

use std::collections::VecDeque;
use std::sync::Arc;

use driver::tap::{Opened, SessionTap, Shown};
use shared::command::Verb;
use shared::direction::Direction;
use shared::escape::excerpt;
use shared::recording::{CloseFacts, Record, TlsLine};
use shared::session::{Answers, DataForm, Kind, UnitId};
use shared::stage::Step;
use shared::time::Timestamp;

use super::sessions::{Ended, Entry, Shared, Summary, Tls, lock};
use super::{Event, Inner};

/// Of units that wait for replies so many are remembered: more than an observer lets
/// a client have.
const WAITING: usize = 128 * 1024;

/// So many characters of the client's name for itself are shown.
const NAME: usize = 255;

/// What a reply says.
struct Verdict {
    takes_message: bool,
    refuses: bool,
}

/// A session that is being followed.
pub(super) struct Followed {
    monitor: Arc<Inner>,
    /// None if sessions are only counted.
    entry: Option<Shared>,
    /// Units that wait for replies, and what they ask for.
    waiting: VecDeque<(UnitId, Step)>,
    /// The content that was taken last: in LMTP there are more replies to it.
    taken: Option<UnitId>,
    /// When it was last heard of.
    heard: Timestamp,
    over: bool,
}

impl Followed {
    pub(super) fn begin(monitor: Arc<Inner>, opened: Opened<'_>) -> Self {
        let entry = monitor.sessions.as_ref().map(|sessions| {
            let entry = sessions.add(Summary {
                id: opened.session,
                uuid: opened.facts.id.clone(),
                listener: opened.facts.listener_name.clone(),
                local: opened.facts.listener.clone(),
                client: opened.facts.client.clone(),
                start: opened.at,
                ..Summary::default()
            });
            lock(&entry).push(opened.lines);
            entry
        });
        monitor.counts.change(|tally| tally.open += 1);
        let followed = Self {
            monitor,
            entry,
            waiting: VecDeque::new(),
            taken: None,
            heard: opened.at,
            over: false,
        };
        followed.tell(Event::Opened);
        followed
    }

    fn tell(&self, event: impl FnOnce(Summary) -> Event) {
        if let Some(entry) = &self.entry {
            self.monitor.tell(|| event(lock(entry).summary.clone()));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &self.entry {
            change(&mut lock(entry));
        }
    }

    /// What a unit asks for, if it will be answered.
    fn ask(&mut self, shown: Shown<'_>, kind: &Kind) {
        let step = match kind {
            Kind::Command { verb } => Step::of(verb),
            Kind::Sasl { .. } => Step::Auth,
            Kind::Data {
                form,
                end: true,
                last,
            } => match form {
                DataForm::Dot => Step::EndOfData,
                DataForm::Bdat => Step::Bdat { last: *last },
            },
            _ => return,
        };
        if !shown.more() && self.waiting.len() < WAITING {
            self.waiting.push_back((shown.id(), step));
        }
    }

    /// What a reply answers; `None` if it answers nothing that was asked.
    fn answered(&mut self, answers: Answers) -> Option<Step> {
        match answers {
            Answers::Greeting => Some(Step::Greeting),
            Answers::Nothing => None,
            Answers::Unit(id) => {
                while self.waiting.front().is_some_and(|(asked, _)| *asked < id) {
                    self.waiting.pop_front();
                }
                // It stays: in LMTP more replies to it may follow.
                let asked = self.waiting.front().filter(|(asked, _)| *asked == id);
                asked.map(|(_, step)| *step)
            }
        }
    }

    /// What a reply says, when it is whole.
    fn verdict(&mut self, shown: Shown<'_>, kind: &Kind) -> Option<Verdict> {
        let Kind::Reply {
            code,
            answers,
            took,
            ..
        } = kind
        else {
            return None;
        };
        if shown.more() {
            return None;
        }
        let step = self.answered(*answers);
        self.monitor.metrics.replied(step, *code, *took);
        let refuses = code.is_refusal();
        if refuses {
            self.monitor.counts.change(|tally| tally.refusals += 1);
        }
        let to_content = matches!(step, Some(Step::EndOfData | Step::Bdat { last: true }));
        let takes_message = match answers {
            Answers::Unit(id) if to_content && code.is_positive() => {
                self.taken.replace(*id) != Some(*id)
            }
            _ => false,
        };
        Some(Verdict {
            takes_message,
            refuses,
        })
    }

    fn end(&mut self, at: Timestamp, ended: Ended) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.change(|entry| {
            entry.summary.end = Some(at);
            entry.summary.ended = Some(ended);
        });
        self.monitor.metrics.ended(ended);
        self.tell(Event::Closed);
        self.monitor.counts.change(|tally| {
            tally.open = tally.open.saturating_sub(1);
            tally.sessions += 1;
            tally.timeouts += u64::from(ended.by == "timeout");
            tally.broken += u64::from(ended.how == "rst" || ended.by == "crash");
        });
    }
}

impl SessionTap for Followed {
    fn unit(&mut self, shown: Shown<'_>) {
        let kind = shown.kind();
        self.heard = shown.at();
        self.ask(shown, &kind);
        self.monitor
            .metrics
            .passed(shown.direction(), shown.octets());
        let verdict = self.verdict(shown, &kind);
        self.change(|entry| {
            match &kind {
                Kind::Data { end: false, .. } => entry.push_content(shown.lines(), shown.octets()),
                _ => entry.push(shown.lines()),
            }
            let summary = &mut entry.summary;
            match shown.direction() {
                Direction::Client => summary.octets_in += shown.octets(),
                Direction::Server => summary.octets_out += shown.octets(),
            }
            if let Kind::Command { verb } = &kind
                && !shown.more()
            {
                summary.commands += 1;
                if matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Lhlo) {
                    summary.helo = name_said(shown.lines());
                }
            }
            if let Some(verdict) = verdict {
                summary.messages += u64::from(verdict.takes_message);
                summary.refusals += u64::from(verdict.refuses);
            }
        });
    }

    fn tls(&mut self, tls: &TlsLine, lines: &[u8]) {
        self.monitor.metrics.shook_hands(tls);
        self.change(|entry| {
            entry.push(lines);
            entry.summary.tls = Some(Tls {
                ok: tls.ok,
                version: tls.version.clone(),
                cipher: tls.cipher.clone(),
                sni: tls.sni.clone(),
                alert: tls.alert.clone(),
            });
        });
    }

    fn noted(&mut self, lines: &[u8]) {
        self.change(|entry| entry.push(lines));
    }

    fn closed(&mut self, at: Timestamp, close: CloseFacts, lines: &[u8]) {
        self.change(|entry| entry.push(lines));
        let (by, how) = (close.by, close.how);
        self.end(at, Ended { by, how });
    }
}

impl Drop for Followed {
    /// Its task was ended, or panicked: nobody has closed it.
    fn drop(&mut self) {
        let (by, how) = ("crash", "rst");
        self.end(self.heard, Ended { by, how });
    }
}

/// The argument of EHLO, HELO or LHLO, as recorded.
fn name_said(lines: &[u8]) -> Option<String> {
    let line = lines.split_inclusive(|&octet| octet == b'\n').next()?;
    let said = Record::parse(line)?.payload()?;
    let name = said.get(4..).unwrap_or_default().trim_ascii();
    Some(excerpt(name, NAME))
}
