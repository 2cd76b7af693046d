//! Answering as rules say.

use driver::serve::Answer;
use driver::strike::End;
use shared::command::Command;
use shared::extension::{MailParameters, RcptParameters};
use shared::reply::Reply;
use shared::session::{Asked, ServerSession};

use super::{early, going, stages};
use crate::config::Protocol;
use crate::fault::{Plan, Refusal, Saying, Work, encoded, first_code};
use crate::policy::SessionPolicy;
use crate::policy::recipient::Recipient;
use crate::policy::transaction::{Envelope, Taken};

impl SessionPolicy {
    /// Answers as a plan says.
    pub(in crate::policy) async fn answer_by(
        &mut self,
        asked: Asked,
        session: &ServerSession,
        mut plan: Box<Plan>,
    ) -> Answer {
        let (stage, _) = stages(&asked, session);
        self.faults.hidden.append(&mut plan.hidden);
        self.faults.advertised.append(&mut plan.advertised);
        if let Some(period) = plan.shut {
            self.site.faults.shut(self.clock.now(), period);
            plan.saying = Some(Saying::Reply(going(stage)));
            plan.strike.end = plan.strike.end.or(Some(End::Close));
        }
        let last = matches!(asked, Asked::EndOfData { last: true });
        let verdicts = self.verdicts(last);
        let command = match &asked {
            Asked::Command(heard) => heard.command.clone().ok(),
            _ => None,
        };
        let works = plan.does_the_work();
        let mut replies = if works {
            let answer = self.answer_to(asked, session).await;
            self.accepted(answer, command.as_ref(), &mut plan)
        } else {
            if matches!(asked, Asked::EndOfData { .. }) {
                self.abandon();
            }
            match plan.work {
                Some(Work::Discard) => vec![Reply::of(250, "2.0.0", "accepted"); verdicts],
                _ => Vec::new(),
            }
        };
        match plan.saying.as_ref() {
            Some(Saying::Reply(reply)) => replies = vec![reply.clone(); verdicts],
            Some(Saying::Refusal(refusal)) => replies = vec![refusal.reply(stage); verdicts],
            Some(Saying::Octets(octets)) if replies.is_empty() => {
                let code = first_code(octets).unwrap_or_else(|| Refusal::Defer.reply(stage).code());
                replies = vec![Reply::new(code, "by a rule"); verdicts];
            }
            _ => {}
        }
        if last && !works {
            let refusal = replies.first().filter(|reply| reply.code().is_refusal());
            if let Some(reply) = refusal {
                self.note_refusal(reply);
            }
        }
        self.strike(replies, plan)
    }

    /// How many replies are due.
    fn verdicts(&self, last: bool) -> usize {
        let recipients = self.envelope.as_ref().map_or(0, |one| one.recipients.len());
        match self.port.protocol {
            Protocol::Lmtp if last => recipients.max(1),
            _ => 1,
        }
    }

    /// The replies to what was done, with a yes in place of a no if that is wanted.
    fn accepted(
        &mut self,
        answer: Answer,
        command: Option<&Command>,
        plan: &mut Plan,
    ) -> Vec<Reply> {
        let mut replies = match answer {
            Answer::Reply(reply) => vec![reply],
            Answer::Replies(replies) => replies,
            Answer::Last(reply) => {
                plan.strike.end = plan.strike.end.or(Some(End::Close));
                vec![reply]
            }
            Answer::HangUp => {
                plan.strike.end = plan.strike.end.or(Some(End::Close));
                Vec::new()
            }
            Answer::Struck(replies, _) => replies,
        };
        if plan.work == Some(Work::Accept) {
            for reply in &mut replies {
                if reply.code().is_refusal() {
                    *reply = self.accept(command);
                }
            }
        }
        replies
    }

    /// Says yes all the same, and acts accordingly.
    fn accept(&mut self, command: Option<&Command>) -> Reply {
        match (command, &mut self.envelope) {
            (Some(Command::Mail { reverse_path, .. }), _) => {
                self.envelope = Some(Envelope {
                    reverse_path: reverse_path.clone(),
                    parameters: MailParameters::default(),
                    recipients: Vec::new(),
                });
                Reply::of(250, "2.1.0", "sender noted")
            }
            (Some(Command::Rcpt { forward_path, .. }), Some(envelope))
                if envelope.recipients.len() < self.site.limits.max_recipients =>
            {
                envelope.recipients.push(Taken {
                    forward_path: forward_path.clone(),
                    parameters: RcptParameters::default(),
                    recipient: Recipient::Foreign,
                });
                Reply::of(250, "2.1.5", "recipient taken")
            }
            _ => Reply::of(250, "2.0.0", "accepted"),
        }
    }

    fn strike(&mut self, replies: Vec<Reply>, mut plan: Box<Plan>) -> Answer {
        let positive = replies
            .first()
            .is_some_and(|reply| !reply.code().is_refusal());
        let mut octets = plan.octets(&replies);
        if plan.early && positive {
            let mut said = octets.unwrap_or_else(|| encoded(&replies));
            early().encode(&mut said);
            octets = Some(said);
            self.faults.answered_early = true;
        }
        if positive {
            plan.strike.injected = std::mem::take(&mut plan.injected);
        }
        let mut strike = std::mem::take(&mut plan.strike);
        // The end says that nothing is said; the session is not to wait for a reply.
        let ends_unsaid = replies.is_empty() && strike.end.is_some();
        strike.octets = match octets {
            None if ends_unsaid => Some(Vec::new()),
            octets => octets,
        };
        if plan.is_about_tls() {
            self.faults.handshake = Some(plan);
        }
        Answer::Struck(replies, Box::new(strike))
    }

    /// Nothing more is said about a message that was answered early.
    pub(in crate::policy) fn was_answered_early(&mut self, asked: &Asked) -> bool {
        matches!(asked, Asked::EndOfData { .. }) && std::mem::take(&mut self.faults.answered_early)
    }
}
