//! The verdict on a message that has come in: refused, or kept and so answered for.

use shared::reply::Reply;

use super::SessionPolicy;
use super::recipient::Recipient;
use super::transaction::{Envelope, not_written, too_big};
use crate::config::Protocol;
use crate::inbox::{self, Place, Received};
use crate::store::{Incoming, Whole};

impl SessionPolicy {
    /// The verdict on a message; in LMTP, one for each recipient.
    pub(super) async fn end_of_data(&mut self) -> Vec<Reply> {
        if self.incoming.is_none() {
            // A single empty chunk may be all there is: BDAT 0 LAST.
            self.begin_chunks();
        }
        let recipients = self.envelope.as_ref();
        let recipients = recipients.map_or(0, |envelope| envelope.recipients.len());
        let replies = match self.port.protocol {
            Protocol::Lmtp => recipients.max(1),
            Protocol::Smtp | Protocol::Submission => 1,
        };
        let Some(incoming) = self.incoming.take() else {
            // A refused chunk leaves a transaction without recipients as it was.
            return vec![self.no_chunk(); replies];
        };
        let envelope = self.envelope.take();
        self.counts.messages += 1;
        self.counts.junk = 0;
        let verdict = match envelope {
            Some(envelope) => self.keep(incoming, envelope).await,
            None => Reply::of(503, "5.5.1", "MAIL first"),
        };
        self.client.forget_forwarded();
        vec![verdict; replies]
    }

    /// The verdict on a message that has come in, which is safe if it is good.
    async fn keep(&self, incoming: Incoming, envelope: Envelope) -> Reply {
        if incoming.is_too_big() {
            return too_big();
        }
        let whole = match incoming.finish() {
            Ok(whole) => whole,
            Err(error) => return not_written(&error),
        };
        let mut received = self.received(envelope, &whole);
        match whole.keep(&received).await {
            Ok(place) => {
                let reply = Reply::of(250, "2.0.0", format!("kept, queued as {}", received.id));
                received.place = place;
                self.site.inbox.add(received);
                reply
            }
            Err(error) => not_written(&error),
        }
    }

    fn received(&self, envelope: Envelope, whole: &Whole) -> Received {
        Received {
            id: whole.id.clone(),
            number: 0,
            session: self.session,
            listener: self.port.name.clone(),
            at: self.clock.now(),
            client: self.client.address(),
            forwarded: self.client.forwarded(),
            helo: self.helo.as_ref().map(|helo| helo.name.clone()),
            protocol: self.protocol(envelope.parameters.smtputf8),
            envelope: envelope.into(),
            tls: self.tls_version.clone(),
            auth: self.auth.identity.as_ref().map(|one| one.authcid.clone()),
            mechanism: self.auth.identity.as_ref().map(|one| one.mechanism),
            octets: whole.octets,
            sha256: whole.sha256.clone(),
            message_id: whole.message_id.clone(),
            duplicate_of: self.site.inbox.earlier(&whole.sha256),
            place: Place::Nowhere,
            lead: whole.lead(),
        }
    }
}

impl From<Envelope> for inbox::Envelope {
    fn from(envelope: Envelope) -> Self {
        Self {
            reverse_path: envelope.reverse_path.to_string(),
            parameters: envelope.parameters.to_string().trim_start().to_owned(),
            recipients: envelope
                .recipients
                .into_iter()
                .map(|taken| inbox::Recipient {
                    forward_path: taken.forward_path.to_string(),
                    parameters: taken.parameters.to_string().trim_start().to_owned(),
                    user: match taken.recipient {
                        Recipient::Local { user } => Some(user),
                        Recipient::Foreign => None,
                    },
                })
                .collect(),
        }
    }
}
