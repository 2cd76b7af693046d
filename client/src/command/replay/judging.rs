//! What came of a step is judged, and reported.

use driver::talk::Broken;
use shared::recording::{Answer, Exchange, Said};
use shared::replay::{Difference, Level};
use shared::reply::Reply;
use shared::session::Heard;

use super::player::{Course, Next, Player};
use super::report::Step;
use crate::cli::OnMismatch;

impl Player<'_> {
    /// Compares what was heard with what was recorded; `more` was found already.
    pub(super) fn judge(
        &mut self,
        exchange: Option<&Exchange>,
        want: Option<&Answer>,
        heard: &Heard,
        more: Option<Difference>,
    ) {
        let said = exchange.map(|exchange| &exchange.said);
        if let (Some(Said::Command { line, .. }), Some(exchange)) = (said, exchange) {
            let now = self.rewritten.instead_of(exchange).unwrap_or(line);
            self.judge.bindings().said(line, now);
        }
        let mut judged = self
            .judge
            .reply(said, want, heard.reply.as_ref(), heard.took);
        judged.differences.extend(more);
        self.stop_at(&judged.differences);
        self.report.step(&Step {
            number: self.step,
            n: exchange.map_or(0, |exchange| exchange.n),
            said,
            instead: exchange.and_then(|exchange| self.rewritten.instead_of(exchange)),
            want,
            got: Ok(heard),
            differences: judged.differences,
            bound: judged.bound,
        });
    }

    /// The first difference that fails may be the end.
    pub(super) fn stop_at(&mut self, differences: &[Difference]) {
        let failed = differences.iter().any(|one| one.level == Level::Fail);
        if failed && self.options.on_mismatch == OnMismatch::Stop {
            self.course = Course::Stopped;
        }
    }

    /// The live server did not answer where the recorded one did: that is a
    /// difference, and the end. What is wrong with us or with TLS is none.
    pub(super) fn missing(
        &mut self,
        exchange: Option<&Exchange>,
        want: Option<&Answer>,
        error: Broken,
    ) -> Result<Next, Broken> {
        if matches!(error, Broken::Journal(_) | Broken::Handshake(_)) {
            return Err(error);
        }
        self.note_end(&error);
        self.unanswered(exchange, want, &error.to_string());
        Ok(Next::Stop)
    }

    /// Nothing was answered, and this is why.
    pub(super) fn unanswered(
        &mut self,
        exchange: Option<&Exchange>,
        want: Option<&Answer>,
        why: &str,
    ) {
        let recorded = want.and_then(|answer| answer.reply.as_ref());
        let differences = vec![Difference {
            field: "reply",
            want: recorded.map_or_else(|| "(none)".into(), Reply::to_string),
            got: format!("({why})"),
            level: Level::Fail,
        }];
        self.stop_at(&differences);
        self.report.step(&Step {
            number: self.step,
            n: exchange.map_or(0, |exchange| exchange.n),
            said: exchange.map(|exchange| &exchange.said),
            instead: exchange.and_then(|exchange| self.rewritten.instead_of(exchange)),
            want,
            got: Err(why),
            differences,
            bound: Vec::new(),
        });
    }

    /// A difference that belongs to nothing that was said.
    pub(super) fn at_the_end(&mut self, n: u64, got: &str, difference: Difference) {
        let differences = vec![difference];
        self.stop_at(&differences);
        self.report.step(&Step {
            number: self.step,
            n,
            said: None,
            instead: None,
            want: None,
            got: Err(got),
            differences,
            bound: Vec::new(),
        });
    }
}
