//! Says a recorded session again.

use std::io;

use std::time::Duration;

use driver::sasl::client::Credentials;
use driver::talk::{Broken, Talk};
use driver::tls::{self, Verify};
use shared::command::Verb;
use shared::extension::Offered;
use shared::recording::{Answer, Dialogue, Exchange, Said};
use shared::replay::{Group, Judge, Name, Safety, begins_anew, compare_tls, groups, safety};
use shared::reply::Reply;
use shared::session::{DataForm, Heard};
use shared::time::Timestamp;

use super::report::{Reporter, Step};
use super::rewrite::Rewritten;
use super::rules;
use crate::cli::{OnMismatch, Replay};

/// Says one session again.
pub(super) struct Player<'a> {
    pub(super) options: &'a Replay,
    pub(super) dialogue: &'a Dialogue,
    pub(super) rewritten: &'a Rewritten,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) talk: Talk,
    pub(super) report: &'a mut Reporter,
    pub(super) judge: Judge,
    pub(super) offered: Offered,
    pub(super) step: usize,
    handshakes: usize,
    /// The certificate of this TLS session verifies.
    pub(super) verified: bool,
    /// Lines of the recording up to here were said.
    pub(super) said: usize,
    /// When the recorded client had its last reply.
    recorded_at: Timestamp,
    /// How the server ended the session.
    pub(super) ended: Option<&'static str>,
    /// 221 came, then and now.
    pub(super) has_quit: bool,
    pub(super) course: Course,
}

/// How the session goes, compared with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// All that was recorded was said.
    Recorded,
    /// Something was left out: it does not end where the recorded one did.
    Derailed,
    /// Only closing was safe, at once.
    BrokenOff,
    /// A difference ended the whole replay, as asked.
    Stopped,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    On,
    /// On, but not with this transaction.
    Skip,
    Stop,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        options: &'a Replay,
        talk: Talk,
        dialogue: &'a Dialogue,
        rewritten: &'a Rewritten,
        report: &'a mut Reporter,
    ) -> Self {
        let mut judge = Judge::new(rules(options), options.vary.clone());
        for (old, new) in &rewritten.message_ids {
            // Both are ours: whatever they are, they are meant.
            let _ = judge.bindings().bind(&Name::MessageId, old, new);
        }
        Self {
            options,
            dialogue,
            rewritten,
            credentials: None,
            talk,
            report,
            judge,
            offered: Offered::default(),
            step: 0,
            handshakes: 0,
            verified: false,
            said: 0,
            recorded_at: dialogue.at,
            ended: None,
            has_quit: false,
            course: Course::Recorded,
        }
    }

    /// AUTH is performed with these.
    pub(super) const fn log_in_with(&mut self, credentials: &'a Credentials) {
        self.credentials = Some(credentials);
    }

    /// A difference ended the whole replay.
    pub(super) fn was_stopped(&self) -> bool {
        self.course == Course::Stopped
    }

    /// The connection, to be closed.
    pub(super) fn leave(self) -> Talk {
        self.talk
    }

    /// Says the session again; an error only where that tells nothing of the server.
    pub(super) async fn play(&mut self) -> Result<(), Broken> {
        self.session().await?;
        let unsaid = self.dialogue.exchanges.len().saturating_sub(self.said);
        if unsaid > 0 {
            let note = format!("{unsaid} of the recorded lines were not said");
            self.report.note(&note);
        }
        if unsaid > 0 || self.course >= Course::BrokenOff {
            return Ok(());
        }
        self.ending().await
    }

    async fn session(&mut self) -> Result<(), Broken> {
        if self.options.target.implicit_tls {
            self.handshake().await?;
        }
        if self.greeting().await? != Next::On {
            return Ok(());
        }
        let mut skipping = false;
        for group in groups(self.dialogue) {
            self.step += 1;
            for turn in self.turns(group) {
                skipping &= !turn.first().is_some_and(|first| begins_anew(&first.said));
                if skipping {
                    continue;
                }
                self.pause(turn).await;
                let next = if group.is_auth() {
                    self.auth(turn).await?
                } else {
                    self.turn(turn).await?
                };
                self.recorded_at = last_answer(turn).unwrap_or(self.recorded_at);
                match next {
                    Next::On => {}
                    Next::Skip => skipping = true,
                    Next::Stop => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Waits as the recorded client did, or faster.
    async fn pause(&self, turn: &[Exchange]) {
        let Some(first) = turn.first() else {
            return;
        };
        let recorded = first.at.since(self.recorded_at);
        let (wait, cut) = self.options.pace.pause(recorded, self.options.max_wait);
        if cut {
            let (recorded, wait) = (recorded.as_secs_f32(), wait.as_secs_f32());
            self.report.note(&format!(
                "here the recorded client waited for {recorded:.1} s: --max-wait makes it {wait:.1} s"
            ));
        }
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }

    /// What of a group is said in one write: all of it, where that is allowed here
    /// too.
    fn turns<'g>(&self, group: Group<'g>) -> Vec<&'g [Exchange]> {
        let one = group.exchanges.len() < 2 || group.is_bdat() || group.is_auth();
        if one || self.offered.has("PIPELINING") {
            return vec![group.exchanges];
        }
        let lines = group.exchanges.len();
        self.report.note(&format!(
            "{lines} lines came in one group; PIPELINING is not offered here, so they are said one by one"
        ));
        group.exchanges.chunks(1).collect()
    }

    async fn greeting(&mut self) -> Result<Next, Broken> {
        let want = self.dialogue.greeting.as_ref();
        match self.talk.hear(self.options.timeout).await {
            Ok(heard) => {
                self.judge(None, want, &heard, None);
                self.recorded_at = want.map_or(self.recorded_at, |want| want.at);
                if self.was_stopped() {
                    return Ok(Next::Stop);
                }
                let accepted = heard.reply.is_some_and(|reply| reply.code().is_positive());
                Ok(if accepted { Next::On } else { Next::Stop })
            }
            Err(error @ Broken::Closed) if want.is_none() => {
                self.note_end(&error);
                Ok(Next::Stop)
            }
            Err(error) => self.missing(None, want, error),
        }
    }

    /// Says some lines in one write, and hears what is answered to each. A live yes
    /// where a no was recorded may leave the server waiting for mail data: then only
    /// closing is safe.
    async fn turn(&mut self, turn: &[Exchange]) -> Result<Next, Broken> {
        let bytes: Vec<u8> = turn.iter().flat_map(|one| self.bytes_of(one)).collect();
        let bdat = turn.first().is_some_and(|first| is_bdat(&first.said));
        if bdat && !self.offered.has("CHUNKING") {
            // Content that no BDAT announces would be taken for commands.
            return self.leave_out(turn).await;
        }
        self.said += turn.len();
        if let Err(error) = self.talk.say(&bytes, self.options.timeout).await {
            let first = turn.first();
            return self.missing(first, first.and_then(|first| first.answers.first()), error);
        }
        let (mut next, mut waits_for_data) = (Next::On, false);
        for (index, exchange) in turn.iter().enumerate() {
            if index == 0 && bdat && turn.len() > 1 {
                // Its content is what is answered.
                continue;
            }
            match self.answers(exchange, &mut waits_for_data).await? {
                Next::On => {}
                Next::Skip => next = Next::Skip,
                Next::Stop => return Ok(Next::Stop),
            }
        }
        match next {
            Next::Skip if waits_for_data => Ok(self.break_off()),
            Next::Skip => self.reset().await,
            next => Ok(next),
        }
    }

    /// Hears all that is to be answered to one exchange.
    async fn answers(&mut self, exchange: &Exchange, data: &mut bool) -> Result<Next, Broken> {
        let unfinished = matches!(
            exchange.said,
            Said::Content {
                complete: false,
                ..
            }
        );
        if unfinished || self.recorded_client_left_at(exchange) {
            self.report.note("here the recorded client left");
            return Ok(Next::Stop);
        }
        let mut next = Next::On;
        for index in 0..exchange.answers.len().max(1) {
            let want = exchange.answers.get(index);
            let heard = match self.talk.hear(self.options.timeout).await {
                Ok(heard) => heard,
                // As it was recorded.
                Err(error @ Broken::Closed) if want.is_none() => {
                    self.note_end(&error);
                    return Ok(Next::Stop);
                }
                Err(error) => return self.missing(Some(exchange), want, error),
            };
            self.judge(Some(exchange), want, &heard, None);
            if self.was_stopped() {
                return Ok(Next::Stop);
            }
            let Some(reply) = &heard.reply else {
                return Ok(Next::Stop);
            };
            *data = reply.code().is_intermediate();
            match self.after(exchange, want, &heard, reply).await? {
                Next::On => {}
                Next::Skip => next = Next::Skip,
                Next::Stop => return Ok(Next::Stop),
            }
        }
        Ok(next)
    }

    /// What a reply changes, and what it demands.
    async fn after(
        &mut self,
        exchange: &Exchange,
        want: Option<&Answer>,
        heard: &Heard,
        reply: &Reply,
    ) -> Result<Next, Broken> {
        if reply.code().number() == 421 {
            // The session is over (RFC 5321 §3.8).
            return Ok(Next::Stop);
        }
        let accepted = reply.code().is_positive();
        match exchange.said.verb() {
            Some(Verb::Ehlo | Verb::Lhlo) if accepted => self.offered = heard.offered(),
            Some(Verb::Quit) => self.has_quit = accepted && is_positive(want),
            Some(Verb::StartTls) if accepted => self.handshake().await?,
            Some(Verb::StartTls) if is_positive(want) => {
                self.report
                    .note("what was said inside TLS is not said in the clear");
                return Ok(self.break_off());
            }
            _ => {}
        }
        if self.was_stopped() {
            return Ok(Next::Stop);
        }
        Ok(match safety(&exchange.said, want, reply) {
            Safety::GoOn => Next::On,
            Safety::Reset if self.may_continue(exchange, want, reply) => Next::On,
            Safety::Reset => Next::Skip,
            Safety::Close => self.break_off(),
        })
    }

    /// A part of the envelope was refused now, and the rest is wanted all the same.
    fn may_continue(&self, exchange: &Exchange, want: Option<&Answer>, reply: &Reply) -> bool {
        let envelope = matches!(exchange.said.verb(), Some(Verb::Mail | Verb::Rcpt));
        self.options.on_mismatch == OnMismatch::Continue
            && envelope
            && is_positive(want)
            && reply.code().is_refusal()
    }

    fn break_off(&mut self) -> Next {
        self.course = self.course.max(Course::BrokenOff);
        Next::Stop
    }

    pub(super) fn unless_stopped(&self) -> Next {
        if self.was_stopped() {
            Next::Stop
        } else {
            Next::On
        }
    }

    /// Nothing was answered to this or to what came after it, and it was not the
    /// server that had closed: nothing is waited for.
    fn recorded_client_left_at(&self, exchange: &Exchange) -> bool {
        let last = self
            .dialogue
            .exchanges
            .iter()
            .rev()
            .find(|exchange| !exchange.answers.is_empty());
        let close = self.dialogue.close.as_ref();
        last.is_none_or(|last| last.n < exchange.n)
            && exchange.answers.is_empty()
            && close.is_none_or(|close| close.by != "server")
    }

    async fn handshake(&mut self) -> Result<(), Broken> {
        let failed =
            |error: anyhow::Error| Broken::Handshake(io::Error::other(format!("{error:#}")));
        let ca = self.options.ca.as_deref();
        let client = tls::Client::new(Verify::Noted, ca).map_err(failed)?;
        let name = tls::server_name(self.options.tls_name()).map_err(failed)?;
        let facts = self
            .talk
            .start_tls(&client, name, self.options.timeout)
            .await?;
        self.verified = facts.verify == "ok";
        let version = facts.version.as_deref();
        self.report.note(&format!(
            "TLS {} {}, certificate: {}",
            version.unwrap_or_default(),
            facts.cipher.as_deref().unwrap_or_default(),
            shared::escape::escape(facts.verify.as_bytes())
        ));
        let want = self.dialogue.handshakes.get(self.handshakes);
        self.handshakes += 1;
        if let Some(want) = want.filter(|want| want.ok) {
            let differences = compare_tls(want, version, &facts.verify);
            self.stop_at(&differences);
            if !differences.is_empty() {
                self.report.step(&Step {
                    number: self.step,
                    n: want.n,
                    said: None,
                    instead: None,
                    want: None,
                    got: Err("TLS"),
                    differences,
                    bound: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// RSET; where that does not help, nothing more is said.
    async fn reset(&mut self) -> Result<Next, Broken> {
        self.course = self.course.max(Course::Derailed);
        self.talk.say(b"RSET\r\n", self.options.timeout).await?;
        let heard = match self.talk.hear(self.options.timeout).await {
            Err(Broken::Journal(error)) => return Err(Broken::Journal(error)),
            other => other.ok(),
        };
        let done = heard
            .and_then(|heard| heard.reply)
            .is_some_and(|reply| reply.code().is_positive());
        self.report.note(if done {
            "RSET: the rest of this transaction is left out"
        } else {
            "RSET was refused: nothing more is said"
        });
        Ok(if done { Next::Skip } else { self.break_off() })
    }

    /// A BDAT that must not be said here.
    async fn leave_out(&mut self, turn: &[Exchange]) -> Result<Next, Broken> {
        if let Some(exchange) = turn.first() {
            let why = "not said: CHUNKING is not offered";
            let want = turn.last().and_then(|last| last.answers.first());
            self.unanswered(Some(exchange), want, why);
        }
        self.reset().await
    }

    pub(super) fn is_loopback(&self) -> bool {
        let addresses = self.talk.stream().addresses();
        addresses.is_some_and(|(_, server)| server.ip().to_canonical().is_loopback())
    }

    /// What goes over the wire.
    fn bytes_of(&self, exchange: &Exchange) -> Vec<u8> {
        let instead = self.rewritten.instead_of(exchange);
        instead.map_or_else(|| bytes_of(exchange), <[u8]>::to_vec)
    }
}

/// When the last of the recorded replies came.
fn last_answer(turn: &[Exchange]) -> Option<Timestamp> {
    let answers = turn.iter().flat_map(|exchange| &exchange.answers);
    answers.map(|answer| answer.at).max()
}

fn is_positive(answer: Option<&Answer>) -> bool {
    answer
        .and_then(|answer| answer.reply.as_ref())
        .is_some_and(|reply| reply.code().is_positive())
}

fn is_bdat(said: &Said) -> bool {
    said.verb() == Some(&Verb::Bdat)
}

/// What went over the wire.
fn bytes_of(exchange: &Exchange) -> Vec<u8> {
    match &exchange.said {
        Said::Command { line, .. } | Said::Sasl { line, .. } => line.clone(),
        Said::Content {
            wire,
            complete,
            form,
            ..
        } => {
            let mut bytes = wire.clone();
            if *complete && *form == DataForm::Dot {
                bytes.extend_from_slice(b".\r\n");
            }
            bytes
        }
        Said::Raw { .. } => Vec::new(),
    }
}
