//! Says a recorded session again.

use std::io;

use driver::talk::{Broken, Talk};
use driver::tls::{self, Verify};
use shared::command::Verb;
use shared::extension::Offered;
use shared::recording::{Answer, Dialogue, Exchange, Said};
use shared::replay::{
    Difference, Group, Level, Matching, Rules, Safety, begins_anew, compare, compare_tls, groups, safety,
};
use shared::reply::Reply;
use shared::session::{DataForm, Heard};

use super::report::{Reporter, Step};
use crate::cli::{Match, Replay};

/// Says one session again.
pub(super) struct Player<'a> {
    options: &'a Replay,
    dialogue: &'a Dialogue,
    talk: Talk,
    report: Reporter,
    offered: Offered,
    step: usize,
    handshakes: usize,
    /// Lines of the recording up to here were said.
    said: usize,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    On,
    /// On, but not with this transaction.
    Skip,
    Stop,
}

impl<'a> Player<'a> {
    pub(super) fn new(options: &'a Replay, talk: Talk, dialogue: &'a Dialogue) -> Self {
        Self {
            options,
            dialogue,
            talk,
            report: Reporter {
                json: options.json,
                session: dialogue.session,
                worst: None,
            },
            offered: Offered::default(),
            step: 0,
            handshakes: 0,
            said: 0,
        }
    }

    /// The connection, to be closed, and the worst difference.
    pub(super) fn leave(self) -> (Talk, Option<Level>) {
        (self.talk, self.report.worst)
    }

    /// Says the session again; an error only where that tells nothing of the server.
    pub(super) async fn play(&mut self) -> Result<(), Broken> {
        let played = self.session().await;
        let unsaid = self.dialogue.exchanges.len() - self.said;
        if played.is_ok() && unsaid > 0 {
            let note = format!("{unsaid} of the recorded lines were not said");
            self.report.note(&note);
        }
        played
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
                match self.turn(turn).await? {
                    Next::On => {}
                    Next::Skip => skipping = true,
                    Next::Stop => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// What of a group is said in one write: all of it, where that is allowed here
    /// too.
    fn turns<'g>(&self, group: Group<'g>) -> Vec<&'g [Exchange]> {
        let one = group.exchanges.len() < 2 || group.is_bdat();
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
                self.judge(None, want, &heard);
                let accepted = heard.reply.is_some_and(|reply| reply.code().is_positive());
                Ok(if accepted { Next::On } else { Next::Stop })
            }
            Err(Broken::Closed) if want.is_none() => Ok(Next::Stop),
            Err(error) => self.missing(None, want, error),
        }
    }

    /// Says some lines in one write, and hears what is answered to each. A live yes
    /// where a no was recorded may leave the server waiting for mail data: then only
    /// closing is safe.
    async fn turn(&mut self, turn: &[Exchange]) -> Result<Next, Broken> {
        let bytes: Vec<u8> = turn.iter().flat_map(bytes_of).collect();
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
            Next::Skip if waits_for_data => Ok(Next::Stop),
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
                Err(Broken::Closed) if want.is_none() => return Ok(Next::Stop),
                Err(error) => return self.missing(Some(exchange), want, error),
            };
            self.judge(Some(exchange), want, &heard);
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
            Some(Verb::Ehlo) if accepted => self.offered = heard.offered(),
            Some(Verb::StartTls) if accepted => self.handshake().await?,
            Some(Verb::StartTls) if is_positive(want) => {
                self.report
                    .note("what was said inside TLS is not said in the clear");
                return Ok(Next::Stop);
            }
            _ => {}
        }
        Ok(match safety(&exchange.said, want, reply) {
            Safety::GoOn => Next::On,
            Safety::Reset => Next::Skip,
            Safety::Close => Next::Stop,
        })
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
        let client = tls::Client::new(Verify::Noted, None).map_err(failed)?;
        let name = tls::server_name(&self.options.target.host).map_err(failed)?;
        let facts = self
            .talk
            .start_tls(&client, name, self.options.timeout)
            .await?;
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
            if !differences.is_empty() {
                self.report.step(&Step {
                    number: self.step,
                    n: want.n,
                    said: None,
                    want: None,
                    got: Err("TLS"),
                    differences,
                });
            }
        }
        Ok(())
    }

    /// RSET; where that does not help, nothing more is said.
    async fn reset(&mut self) -> Result<Next, Broken> {
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
        Ok(if done { Next::Skip } else { Next::Stop })
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

    fn judge(&mut self, exchange: Option<&Exchange>, want: Option<&Answer>, heard: &Heard) {
        let matching = match self.options.matching {
            Match::Exact => Matching::Exact,
            Match::Class => Matching::Class,
        };
        let rules = Rules {
            matching,
            ..Rules::default()
        };
        let nothing = Said::Raw {
            octets: 0,
            why: String::new(),
        };
        let said = exchange.map(|exchange| &exchange.said);
        let reply = heard.reply.as_ref();
        self.report.step(&Step {
            number: self.step,
            n: exchange.map_or(0, |exchange| exchange.n),
            said,
            want,
            got: Ok(heard),
            differences: compare(said.unwrap_or(&nothing), want, reply, &rules),
        });
    }

    /// The live server did not answer where the recorded one did: that is a
    /// difference, and the end. What is wrong with us or with TLS is none.
    fn missing(
        &mut self,
        exchange: Option<&Exchange>,
        want: Option<&Answer>,
        error: Broken,
    ) -> Result<Next, Broken> {
        if matches!(error, Broken::Journal(_) | Broken::Handshake(_)) {
            return Err(error);
        }
        self.unanswered(exchange, want, &error.to_string());
        Ok(Next::Stop)
    }

    fn unanswered(&mut self, exchange: Option<&Exchange>, want: Option<&Answer>, why: &str) {
        let recorded = want.and_then(|answer| answer.reply.as_ref());
        self.report.step(&Step {
            number: self.step,
            n: exchange.map_or(0, |exchange| exchange.n),
            said: exchange.map(|exchange| &exchange.said),
            want,
            got: Err(why),
            differences: vec![Difference {
                field: "reply",
                want: recorded.map_or_else(|| "(none)".into(), Reply::to_string),
                got: format!("({why})"),
                level: Level::Fail,
            }],
        });
    }
}

fn is_positive(answer: Option<&Answer>) -> bool {
    answer
        .and_then(|answer| answer.reply.as_ref())
        .is_some_and(|reply| reply.code().is_positive())
}

fn is_bdat(said: &Said) -> bool {
    said.verb() == Some(&Verb::Bdat)
}

/// What goes over the wire.
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
