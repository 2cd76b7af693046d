//! One transaction: MAIL, RCPT, DATA and the content.

use std::error::Error;
use std::io;

use shared::extension::{
    Body, EnvelopeError, MailParameters, NeedsSmtpUtf8, Offered, RcptParameters, Size,
};
use shared::parameter::Parameters;
use shared::path::{ForwardPath, ReversePath};
use shared::reply::Reply;

use super::SessionPolicy;
use super::hello::presentable;
use super::recipient::{Asking, Recipient};
use crate::config::Protocol;
use crate::monitor::{Limit, Refusal};
use crate::store::{Incoming, NoMemory, Trace};

/// The envelope of the transaction under way.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) reverse_path: ReversePath,
    pub(super) parameters: MailParameters,
    pub(super) recipients: Vec<Taken>,
}

/// A recipient that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) forward_path: ForwardPath,
    pub(super) parameters: RcptParameters,
    pub(super) recipient: Recipient,
}

impl Envelope {
    /// The users it is for, and whether it is for foreign domains, too.
    fn places(&self) -> (Vec<&str>, bool) {
        let mut users: Vec<&str> = Vec::new();
        let mut foreign = false;
        for taken in &self.recipients {
            match &taken.recipient {
                Recipient::Local { user } if !users.contains(&user.as_str()) => users.push(user),
                Recipient::Local { .. } => {}
                Recipient::Foreign => foreign = true,
            }
        }
        (users, foreign)
    }
}

impl SessionPolicy {
    pub(super) fn mail(&mut self, reverse_path: &ReversePath, parameters: &Parameters) -> Reply {
        if self.counts.messages >= self.site.limits.max_messages {
            self.site.monitor.tripped(Limit::Messages);
            return Reply::of(452, "4.5.3", "too many messages in one session");
        }
        let parameters = match MailParameters::parse(parameters, self.offered()) {
            Ok(parameters) => parameters,
            Err(error) => {
                if matches!(error, EnvelopeError::TooBig { .. }) {
                    self.site.monitor.tripped(Limit::Size);
                }
                return error.reply();
            }
        };
        if let Err(error) = NeedsSmtpUtf8::check_reverse(reverse_path, parameters.smtputf8) {
            return error.reply();
        }
        let mailbox = reverse_path.mailbox();
        let senders = self.site.senders.as_ref();
        if mailbox.is_some_and(|mailbox| senders.is_some_and(|list| !list.contain(mailbox))) {
            return Reply::of(550, "5.7.1", "that sender is not taken here");
        }
        let declared = parameters.size.map_or(0, Size::octets);
        if !self.site.keeper.has_room(declared) {
            return self.no_room();
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
        let smtputf8 = envelope.parameters.smtputf8;
        let checked = NeedsSmtpUtf8::check_forward(forward_path, smtputf8)
            .and_then(|()| NeedsSmtpUtf8::check_original(parameters.orcpt.as_ref(), smtputf8));
        if let Err(error) = checked {
            return error.reply();
        }
        if envelope.recipients.len() >= most {
            self.site.monitor.tripped(Limit::Recipients);
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

    pub(super) fn begin_chunks(&mut self) {
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
            let reply = self.too_big();
            self.note_refusal(&reply);
            return reply;
        }
        Reply::of(250, "2.0.0", format!("{} octets so far", incoming.octets()))
    }

    /// Why there is no place for a chunk.
    pub(super) fn no_chunk(&mut self) -> Reply {
        if let Some(reply) = self.refused_chunk.take() {
            self.abandon();
            return reply;
        }
        if !self.offers("CHUNKING") {
            return Reply::of(502, "5.5.1", "BDAT is not offered here");
        }
        Reply::of(503, "5.5.1", "RCPT first")
    }

    /// What is coming in goes to those alone who are recipients now.
    pub(super) fn retarget(&mut self) {
        if let (Some(incoming), Some(envelope)) = (&mut self.incoming, &self.envelope) {
            let (users, foreign) = envelope.places();
            incoming.retarget(&self.site.keeper, &users, foreign);
        }
    }

    /// Makes ready to take the content.
    fn begin(&self) -> Result<Incoming, Reply> {
        let Some(envelope) = &self.envelope else {
            return Err(Reply::of(503, "5.5.1", "MAIL first"));
        };
        let (users, foreign) = envelope.places();
        let trace = Trace {
            reverse_path: envelope.reverse_path.to_string(),
            helo: self.helo.as_ref().map_or("unknown", |helo| &helo.name),
            client: self.client.address(),
            client_name: self.client.name().map(presentable),
            protocol: self.protocol(envelope.parameters.smtputf8),
            hostname: self.site.hostname.to_string(),
            at: self.clock.now(),
        };
        if !self.site.keeper.has_room(0) {
            return Err(self.no_room());
        }
        Incoming::begin(&self.site.keeper, &users, foreign, &trace)
            .map_err(|error| self.not_written(&error))
    }

    /// The keyword of RFC 3848 and RFC 6531 §4.3.
    pub(super) fn protocol(&self, smtputf8: bool) -> &'static str {
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

    /// Takes note of a message that nobody gets.
    pub(super) fn note_refusal(&self, reply: &Reply) {
        self.site.monitor.refused(|| {
            let mut said = Vec::new();
            reply.encode(&mut said);
            Refusal {
                session: self.session,
                listener: self.port.name.clone(),
                at: self.clock.now(),
                reply: String::from_utf8_lossy(said.trim_ascii_end()).into_owned(),
            }
        });
    }

    pub(super) fn too_big(&self) -> Reply {
        self.site.monitor.tripped(Limit::Size);
        Reply::of(552, "5.3.4", "message too big")
    }

    fn no_room(&self) -> Reply {
        self.site.monitor.tripped(Limit::MinFree);
        Reply::of(452, "4.3.1", "not enough room for mail, try again later")
    }

    pub(super) fn not_written(&self, error: &anyhow::Error) -> Reply {
        let no_memory = |cause: &(dyn Error + 'static)| {
            let inner = cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            inner.is_some_and(<dyn Error + Send + Sync>::is::<NoMemory>)
        };
        if error.chain().any(no_memory) {
            self.site.monitor.tripped(Limit::Memory);
        }
        tracing::error!("cannot keep mail: {error:#}");
        Reply::of(452, "4.3.1", "the mail store cannot be written")
    }

    /// Ends a transaction without a message.
    pub(super) fn abandon(&mut self) {
        self.envelope = None;
        self.incoming = None;
        self.refused_chunk = None;
    }
}
