//! What goes wrong where no reply is due: at the connection, in the handshake, within the
//! content, after a silence.

use std::time::Duration;

use driver::strike::{End, Strike, TlsStrike};
use shared::fault::Stage;
use shared::quantity::Period;
use shared::reply::Reply;

use super::{BEGINNING, Named, early, going};
use crate::fault::{Plan, Saying, encoded, first_code};
use crate::policy::SessionPolicy;

impl SessionPolicy {
    /// What is to go wrong before anything is said.
    pub(in crate::policy) fn fault_at_connect(&mut self) -> Option<Box<Strike>> {
        if !self.site.faults.watches(Stage::Connect) {
            return None;
        }
        let mut plan = self.fire(Stage::Connect, &Named::default(), b"")?;
        if plan.saying.is_some() || plan.shut.is_some() {
            self.faults.greeting = Some(Box::new(plan));
            return None;
        }
        let mut strike = std::mem::take(&mut plan.strike);
        strike.octets = plan.octets(&[]);
        Some(Box::new(strike))
    }

    /// What is to go wrong with the handshake.
    pub(in crate::policy) fn fault_of_handshake(&mut self) -> Option<Box<TlsStrike>> {
        let begun = self.faults.handshake.take();
        let fired = if self.site.faults.watches(Stage::Tls) {
            let fired = self.fire(Stage::Tls, &Named::default(), b"");
            fired.map(Box::new)
        } else {
            None
        };
        let plan = match (begun, fired) {
            (Some(begun), Some(mut fired)) if !fired.is_about_tls() => {
                fired.wanted = begun.wanted;
                fired.breaks = begun.breaks;
                fired
            }
            (_, Some(fired)) => fired,
            (Some(begun), None) => begun,
            (None, None) => return None,
        };
        Some(Box::new(plan.into_handshake(&self.site.faults)))
    }

    /// What is to go wrong within the content.
    pub(in crate::policy) fn fault_within(&mut self, octets: &[u8]) -> Option<Box<Strike>> {
        let faults = &self.site.faults;
        self.faults.idled = Duration::ZERO;
        if faults.reads_content() {
            let content = &mut self.faults.content.beginning;
            let room = BEGINNING.saturating_sub(content.len());
            content.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
        let watched = faults.watches(Stage::BodyByte(0)) || faults.watches(Stage::BodyLine(0));
        let content = &mut self.faults.content;
        let before = (content.octets, content.lines);
        content.octets = content.octets.saturating_add(octets.len() as u64);
        if !watched {
            return None;
        }
        content.lines += memchr::memchr_iter(b'\n', octets).count() as u64;
        let after = (content.octets, content.lines);
        let marks = content.marks.get_or_insert_with(|| {
            faults.marks(|stage| matches!(stage, Stage::BodyByte(_) | Stage::BodyLine(_)))
        });
        let passed = |stage: &Stage| match *stage {
            Stage::BodyByte(mark) => before.0 < mark && mark <= after.0,
            Stage::BodyLine(mark) => before.1 < mark && mark <= after.1,
            _ => false,
        };
        let mut reached: Vec<Stage> = Vec::new();
        for stage in marks.iter().filter(|stage| passed(stage)) {
            if !reached.contains(stage) {
                reached.push(*stage);
            }
        }
        let named = self.named(None);
        let plan = reached
            .into_iter()
            .find_map(|stage| self.fire(stage, &named, b""))?;
        Some(Box::new(self.unasked(plan)))
    }

    /// A plan where no reply is due.
    fn unasked(&mut self, mut plan: Plan) -> Strike {
        if let Some(period) = plan.shut {
            self.site.faults.shut(self.clock.now(), period);
            plan.saying = Some(Saying::Reply(going(Stage::Any)));
            plan.strike.end = plan.strike.end.or(Some(End::Close));
        }
        let mut replies: Vec<Reply> = match &plan.saying {
            Some(Saying::Reply(reply)) => vec![reply.clone()],
            _ => Vec::new(),
        };
        if plan.early {
            replies.push(early());
            self.faults.answered_early = true;
        }
        let octets = plan.octets(&replies).unwrap_or_else(|| encoded(&replies));
        let mut strike = plan.strike;
        // A 421 closes, asked for or not (RFC 5321 §3.8).
        if first_code(&octets).is_some_and(|code| code.number() == 421) {
            strike.end = strike.end.or(Some(End::Close));
        }
        strike.octets = (!octets.is_empty()).then_some(octets);
        strike
    }

    /// After how long a silence a rule is looked at, next.
    pub(in crate::policy) fn next_idle(&self) -> Option<Duration> {
        let faults = &self.site.faults;
        if !faults.watches(Stage::Idle(Period::default())) {
            return None;
        }
        let marks = faults.marks(|stage| matches!(stage, Stage::Idle(_)));
        let periods = marks.into_iter().filter_map(|stage| match stage {
            Stage::Idle(period) => Some(period.0),
            _ => None,
        });
        periods.filter(|period| *period > self.faults.idled).min()
    }

    pub(in crate::policy) fn fault_of_silence(&mut self, period: Duration) -> Option<Box<Strike>> {
        self.faults.idled = period;
        let stage = Stage::Idle(Period(period));
        let named = self.named(None);
        let plan = self.fire(stage, &named, b"")?;
        Some(Box::new(self.unasked(plan)))
    }
}
