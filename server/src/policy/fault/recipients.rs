//! The stage `dot-rcpt`: in LMTP each recipient has a verdict of its own (RFC 2033 §4.2).

use driver::serve::Answer;
use driver::strike::Strike;
use shared::fault::Stage;
use shared::reply::Reply;
use shared::session::{Asked, ServerSession};

use super::{Named, sender};
use crate::config::Protocol;
use crate::fault::Saying;
use crate::policy::SessionPolicy;

/// What rules give in place of verdicts.
#[derive(Debug)]
pub(in crate::policy) struct Given {
    /// For each recipient; none for the server's own.
    replies: Vec<Option<Reply>>,
    /// What else is to be done.
    pub(in crate::policy) strike: Strike,
}

impl SessionPolicy {
    /// The replies to some recipients at the end of the content, in LMTP: what there is
    /// in place of the server's own. Who is refused gets nothing.
    pub(in crate::policy) fn faults_by_recipient(&mut self, asked: &Asked) -> Option<Box<Given>> {
        let ends = matches!(asked, Asked::EndOfData { last: true });
        let lmtp = ends && self.port.protocol == Protocol::Lmtp;
        if !lmtp || !self.site.faults.watches(Stage::DotRcpt) || self.incoming.is_none() {
            return None;
        }
        let from = self.envelope.as_ref().map(|one| sender(&one.reverse_path));
        let recipients = self.named(None).to;
        let mut strike = Strike::default();
        let mut replies = Vec::new();
        for to in recipients {
            let named = Named {
                from: from.clone(),
                to: vec![to],
                ..Named::default()
            };
            let plan = self.fire(Stage::DotRcpt, &named, b"");
            replies.push(plan.and_then(|mut plan| {
                strike.delay = strike.delay.saturating_add(plan.strike.delay);
                strike.faults.append(&mut plan.strike.faults);
                strike.notes.append(&mut plan.strike.notes);
                match plan.saying {
                    Some(Saying::Reply(reply)) => Some(reply),
                    Some(Saying::Refusal(refusal)) => Some(refusal.reply(Stage::DotRcpt)),
                    _ => None,
                }
            }));
        }
        (!strike.faults.is_empty()).then(|| Box::new(Given { replies, strike }))
    }

    /// The verdicts, one for each recipient, with those that rules give in their places.
    pub(in crate::policy) async fn verdicts_by_recipient(
        &mut self,
        session: &ServerSession,
        given: Given,
    ) -> Answer {
        let Given {
            replies: mut given,
            strike,
        } = given;
        let mut index = 0;
        if let Some(envelope) = &mut self.envelope {
            envelope.recipients.retain(|_| {
                let refused = given.get(index).is_some_and(|reply| {
                    reply
                        .as_ref()
                        .is_some_and(|reply| reply.code().is_refusal())
                });
                index += 1;
                !refused
            });
        }
        self.retarget();
        let nobody = self
            .envelope
            .as_ref()
            .is_none_or(|envelope| envelope.recipients.is_empty());
        let own = if nobody {
            self.abandon();
            Vec::new()
        } else {
            self.end_of_data(session.examined()).await
        };
        let verdict = own.first();
        for reply in &mut given {
            if reply.is_none() {
                *reply = verdict.cloned();
            }
        }
        Answer::Struck(given.into_iter().flatten().collect(), Box::new(strike))
    }
}
