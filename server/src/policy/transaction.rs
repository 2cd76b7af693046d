//! One transaction: MAIL, RCPT, DATA, and the verdict on the message.

use shared::extension::{Body, MailParameters, Offered, RcptParameters};
use shared::parameter::Parameters;
use shared::path::{ForwardPath, ReversePath};
use shared::reply::Reply;

use super::SessionPolicy;
use super::hello::presentable;
use super::recipient::{Asking, Recipient};
use crate::config::Protocol;
use crate::inbox::{self, Received};
use crate::store::{Incoming, Kept, Trace};

/// The envelope of the transaction under way.
#[derive(Debug)]
pub(super) struct Envelope {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Taken>,
}

/// A recipient that was taken.
#[derive(Debug)]
struct Taken {
    forward_path: ForwardPath,
    parameters: RcptParameters,
    recipient: Recipient,
}

impl SessionPolicy {
    pub(super) fn mail(&mut self, reverse_path: &ReversePath, parameters: &Parameters) -> Reply {
        if self.counts.messages >= self.site.limits.max_messages {
            return Reply::of(452, "4.5.3", "too many messages in one session");
        }
        let parameters = match MailParameters::parse(parameters, self.offered()) {
            Ok(parameters) => parameters,
            Err(error) => return error.reply(),
        };
        let mailbox = reverse_path.mailbox();
        if !parameters.smtputf8 && mailbox.is_some_and(|mailbox| !mailbox.is_ascii()) {
            return needs_smtputf8();
        }
        let senders = self.site.senders.as_ref();
        if mailbox.is_some_and(|mailbox| senders.is_some_and(|list| !list.contain(mailbox))) {
            return Reply::of(550, "5.7.1", "that sender is not taken here");
        }
        self.envelope = Some(Envelope {
            reverse_path: reverse_path.clone(),
            parameters,
            recipients: Vec::new(),
        });
        Reply::of(250, "2.1.0", "sender noted")
    }

    /// What the client was offered; nothing if it did not say EHLO.
    fn offered(&self) -> &Offered {
        static NOTHING: Offered = Offered::nothing();
        self.helo.as_ref().map_or(&NOTHING, |helo| &helo.offered)
    }

    pub(super) fn rcpt(&mut self, forward_path: &ForwardPath, parameters: &Parameters) -> Reply {
        let parameters = match RcptParameters::parse(parameters, self.offered()) {
            Ok(parameters) => parameters,
            Err(error) => return error.reply(),
        };
        let decided = self.site.recipient(forward_path, &self.asking());
        let most = self.site.limits.max_recipients;
        let Some(envelope) = &mut self.envelope else {
            return Reply::of(503, "5.5.1", "MAIL first");
        };
        let mailbox = forward_path.mailbox();
        if !envelope.parameters.smtputf8 && mailbox.is_some_and(|mailbox| !mailbox.is_ascii()) {
            return needs_smtputf8();
        }
        if envelope.recipients.len() >= most {
            return Reply::of(452, "4.5.3", "too many recipients");
        }
        match decided {
            Ok(recipient) => {
                envelope.recipients.push(Taken {
                    forward_path: forward_path.clone(),
                    parameters,
                    recipient,
                });
                Reply::of(250, "2.1.5", "recipient taken")
            }
            Err(reply) => reply,
        }
    }

    /// What counts about the client when it wants to send to foreign domains.
    pub(super) fn asking(&self) -> Asking {
        Asking {
            address: self.client.address(),
            on_this_machine: self.client.is_at_a_unix_socket(),
            authenticated: self.is_authenticated(),
            relay_policy: self.port.relay_policy,
        }
    }

    pub(super) fn data(&mut self) -> Reply {
        let body = self.envelope.as_ref().and_then(|one| one.parameters.body);
        if body.is_some_and(Body::needs_bdat) {
            // RFC 3030 §3.
            return Reply::of(503, "5.5.1", "BODY=BINARYMIME needs BDAT");
        }
        match self.begin() {
            Ok(incoming) => {
                self.incoming = Some(incoming);
                Reply::of(354, "", "go ahead, end with CRLF dot CRLF")
            }
            Err(reply) => reply,
        }
    }

    /// Takes a piece of content. The first one of a BDAT chunk begins the message:
    /// unlike DATA, BDAT is not asked about before.
    pub(super) fn take_content(&mut self, bytes: &[u8]) {
        if self.incoming.is_none() {
            self.begin_chunks();
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.write(bytes);
        }
    }

    fn begin_chunks(&mut self) {
        let has_recipients = |one: &Envelope| !one.recipients.is_empty();
        let may = self.offers("CHUNKING") && self.envelope.as_ref().is_some_and(has_recipients);
        if may && self.refused_chunk.is_none() {
            match self.begin() {
                Ok(incoming) => self.incoming = Some(incoming),
                // The chunk must be swallowed before it can be answered.
                Err(reply) => self.refused_chunk = Some(reply),
            }
        }
    }

    /// The answer to a chunk after which more will come (RFC 3030 §2).
    pub(super) fn end_of_chunk(&mut self) -> Reply {
        if self.incoming.is_none() {
            self.begin_chunks();
        }
        let Some(incoming) = &self.incoming else {
            return self.no_chunk();
        };
        if incoming.is_too_big() {
            self.abandon();
            return too_big();
        }
        Reply::of(250, "2.0.0", format!("{} octets so far", incoming.octets()))
    }

    /// Why there is no place for a chunk.
    fn no_chunk(&mut self) -> Reply {
        if let Some(reply) = self.refused_chunk.take() {
            self.abandon();
            return reply;
        }
        if !self.offers("CHUNKING") {
            return Reply::of(502, "5.5.1", "BDAT is not offered here");
        }
        Reply::of(503, "5.5.1", "RCPT first")
    }

    /// Makes ready to take the content.
    fn begin(&self) -> Result<Incoming, Reply> {
        let Some(envelope) = &self.envelope else {
            return Err(Reply::of(503, "5.5.1", "MAIL first"));
        };
        let mut users: Vec<&str> = Vec::new();
        let mut foreign = false;
        for taken in &envelope.recipients {
            match &taken.recipient {
                Recipient::Local { user } if !users.contains(&user.as_str()) => users.push(user),
                Recipient::Local { .. } => {}
                Recipient::Foreign => foreign = true,
            }
        }
        let trace = Trace {
            reverse_path: envelope.reverse_path.to_string(),
            helo: self.helo.as_ref().map_or("unknown", |helo| &helo.name),
            client: self.client.address(),
            client_name: self.client.name().map(presentable),
            protocol: self.protocol(envelope.parameters.smtputf8),
            hostname: self.site.hostname.to_string(),
            at: self.clock.now(),
        };
        let witness = foreign.then_some(&self.site.witness);
        let most = self.site.limits.max_size.0;
        Incoming::begin(&self.site.store, &users, witness, &trace, most).map_err(|error| {
            tracing::error!("cannot take mail: {error:#}");
            Reply::of(452, "4.3.1", "the mail store cannot be written")
        })
    }

    /// The keyword of RFC 3848 and RFC 6531 §4.3.
    fn protocol(&self, smtputf8: bool) -> &'static str {
        let lmtp = self.port.protocol == Protocol::Lmtp;
        let (tls, auth) = (self.in_tls, self.is_authenticated());
        if !self.is_extended() {
            return "SMTP";
        }
        match (lmtp, smtputf8, tls, auth) {
            (false, false, false, false) => "ESMTP",
            (false, false, false, true) => "ESMTPA",
            (false, false, true, false) => "ESMTPS",
            (false, false, true, true) => "ESMTPSA",
            (false, true, false, false) => "UTF8SMTP",
            (false, true, false, true) => "UTF8SMTPA",
            (false, true, true, false) => "UTF8SMTPS",
            (false, true, true, true) => "UTF8SMTPSA",
            (true, false, false, false) => "LMTP",
            (true, false, false, true) => "LMTPA",
            (true, false, true, false) => "LMTPS",
            (true, false, true, true) => "LMTPSA",
            (true, true, false, false) => "UTF8LMTP",
            (true, true, false, true) => "UTF8LMTPA",
            (true, true, true, false) => "UTF8LMTPS",
            (true, true, true, true) => "UTF8LMTPSA",
        }
    }

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
        let verdict = self.keep(incoming, envelope).await;
        self.client.forget_forwarded();
        vec![verdict; replies]
    }

    async fn keep(&self, incoming: Incoming, envelope: Option<Envelope>) -> Reply {
        let Some(envelope) = envelope else {
            return Reply::of(503, "5.5.1", "MAIL first");
        };
        if incoming.is_too_big() {
            return too_big();
        }
        match incoming.keep().await {
            Ok(kept) => {
                let id = kept.id.clone();
                self.site.inbox.add(self.received(envelope, kept));
                Reply::of(250, "2.0.0", format!("kept, queued as {id}"))
            }
            Err(error) => {
                tracing::error!("cannot keep a message: {error:#}");
                Reply::of(452, "4.3.1", "the mail store cannot be written")
            }
        }
    }

    fn received(&self, envelope: Envelope, kept: Kept) -> Received {
        let protocol = self.protocol(envelope.parameters.smtputf8);
        Received {
            id: kept.id,
            number: 0,
            session: self.session,
            listener: self.port.name.clone(),
            at: self.clock.now(),
            client: self.client.address(),
            forwarded: self.client.forwarded(),
            helo: self.helo.as_ref().map(|helo| helo.name.clone()),
            protocol,
            envelope: envelope.into(),
            tls: self.tls_version.clone(),
            auth: self.auth.identity.as_ref().map(|one| one.authcid.clone()),
            mechanism: self.auth.identity.as_ref().map(|one| one.mechanism),
            octets: kept.octets,
            sha256: kept.sha256,
            place: kept.place,
        }
    }

    /// Ends a transaction without a message.
    pub(super) fn abandon(&mut self) {
        self.envelope = None;
        self.incoming = None;
        self.refused_chunk = None;
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

fn too_big() -> Reply {
    Reply::of(552, "5.3.4", "message too big")
}

/// RFC 6531 §3.5.
fn needs_smtputf8() -> Reply {
    Reply::of(553, "5.6.7", "the address needs SMTPUTF8")
}
