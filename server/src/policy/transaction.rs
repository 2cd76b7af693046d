//! One transaction: MAIL, RCPT, DATA, and the verdict on the message.

use shared::parameter::Parameters;
use shared::path::{ForwardPath, ReversePath};
use shared::reply::Reply;

use super::SessionPolicy;
use super::recipient::{Client, Recipient};
use crate::config::Protocol;
use crate::inbox::{self, Received};
use crate::store::{Incoming, Kept, Trace};

/// The envelope of the transaction under way.
#[derive(Debug)]
pub(super) struct Envelope {
    reverse_path: ReversePath,
    parameters: Parameters,
    smtputf8: bool,
    recipients: Vec<Taken>,
}

/// A recipient that was taken.
#[derive(Debug)]
struct Taken {
    forward_path: ForwardPath,
    parameters: Parameters,
    recipient: Recipient,
}

impl SessionPolicy {
    pub(super) fn mail(&mut self, reverse_path: &ReversePath, parameters: &Parameters) -> Reply {
        if self.counts.messages >= self.site.limits.max_messages {
            return Reply::of(452, "4.5.3", "too many messages in one session");
        }
        let known = ["SIZE", "BODY", "SMTPUTF8"];
        if let Err(reply) = self.check_parameters(parameters, &known) {
            return reply;
        }
        if let Some(size) = parameters.get("SIZE") {
            let most = u128::from(self.site.limits.max_size.0);
            match size.value.as_deref().and_then(octets) {
                Some(size) if size > most => return too_big(),
                Some(_) => {}
                None => return Reply::of(501, "5.5.4", "SIZE needs a number"),
            }
        }
        let body = parameters
            .get("BODY")
            .map(|body| body.value.as_deref().unwrap_or(""));
        if !matches!(
            body.map(str::to_ascii_uppercase).as_deref(),
            None | Some("7BIT" | "8BITMIME")
        ) {
            return Reply::of(501, "5.5.4", "BODY is 7BIT or 8BITMIME");
        }
        let smtputf8 = parameters.get("SMTPUTF8");
        if smtputf8.is_some_and(|smtputf8| smtputf8.value.is_some()) {
            return Reply::of(501, "5.5.4", "SMTPUTF8 takes no value");
        }
        let smtputf8 = smtputf8.is_some();
        let mailbox = reverse_path.mailbox();
        if !smtputf8 && mailbox.is_some_and(|mailbox| !mailbox.is_ascii()) {
            return needs_smtputf8();
        }
        self.envelope = Some(Envelope {
            reverse_path: reverse_path.clone(),
            parameters: parameters.clone(),
            smtputf8,
            recipients: Vec::new(),
        });
        Reply::of(250, "2.1.0", "sender noted")
    }

    pub(super) fn rcpt(&mut self, forward_path: &ForwardPath, parameters: &Parameters) -> Reply {
        if let Err(reply) = self.check_parameters(parameters, &[]) {
            return reply;
        }
        let client = Client {
            address: self.client.ip(),
            relay_policy: self.port.relay_policy,
        };
        let decided = self.site.recipient(forward_path, &client);
        let most = self.site.limits.max_recipients;
        let Some(envelope) = &mut self.envelope else {
            return Reply::of(503, "5.5.1", "MAIL first");
        };
        let mailbox = forward_path.mailbox();
        if !envelope.smtputf8 && mailbox.is_some_and(|mailbox| !mailbox.is_ascii()) {
            return needs_smtputf8();
        }
        if envelope.recipients.len() >= most {
            return Reply::of(452, "4.5.3", "too many recipients");
        }
        match decided {
            Ok(recipient) => {
                envelope.recipients.push(Taken {
                    forward_path: forward_path.clone(),
                    parameters: parameters.clone(),
                    recipient,
                });
                Reply::of(250, "2.1.5", "recipient taken")
            }
            Err(reply) => reply,
        }
    }

    /// Unknown parameters are refused: RFC 5321 §4.1.1.11.
    fn check_parameters(&self, parameters: &Parameters, known: &[&str]) -> Result<(), Reply> {
        let extended = self.is_extended();
        match parameters
            .iter()
            .find(|one| !extended || !known.contains(&one.keyword.as_str()))
        {
            Some(unknown) => Err(Reply::of(
                555,
                "5.5.4",
                format!("parameter {} not recognized", unknown.keyword),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn data(&mut self) -> Reply {
        match self.begin() {
            Ok(incoming) => {
                self.incoming = Some(incoming);
                Reply::of(354, "", "go ahead, end with CRLF dot CRLF")
            }
            Err(reply) => reply,
        }
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
            client: self.client.ip(),
            protocol: self.protocol(envelope.smtputf8),
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
        if self.port.protocol == Protocol::Lmtp {
            return match (smtputf8, self.in_tls) {
                (false, false) => "LMTP",
                (false, true) => "LMTPS",
                (true, false) => "UTF8LMTP",
                (true, true) => "UTF8LMTPS",
            };
        }
        match (self.is_extended(), smtputf8, self.in_tls) {
            (false, _, _) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPS",
            (true, true, false) => "UTF8SMTP",
            (true, true, true) => "UTF8SMTPS",
        }
    }

    /// The verdict on a message; in LMTP, one for each recipient.
    pub(super) async fn end_of_data(&mut self) -> Vec<Reply> {
        // A refused chunk leaves a transaction without recipients as it was.
        let Some(incoming) = self.incoming.take() else {
            return vec![Reply::of(502, "5.5.1", "BDAT is not offered here")];
        };
        let envelope = self.envelope.take();
        let recipients = envelope
            .as_ref()
            .map_or(0, |envelope| envelope.recipients.len());
        self.counts.messages += 1;
        self.counts.junk = 0;
        let verdict = self.keep(incoming, envelope).await;
        let replies = match self.port.protocol {
            Protocol::Lmtp => recipients.max(1),
            Protocol::Smtp | Protocol::Submission => 1,
        };
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
        let protocol = self.protocol(envelope.smtputf8);
        Received {
            id: kept.id,
            number: 0,
            session: self.session,
            listener: self.port.name.clone(),
            at: self.clock.now(),
            client: self.client.ip(),
            helo: self.helo.as_ref().map(|helo| helo.name.clone()),
            protocol,
            envelope: envelope.into(),
            tls: self.tls_version.clone(),
            auth: None,
            octets: kept.octets,
            sha256: kept.sha256,
            place: kept.place,
        }
    }

    /// Ends a transaction without a message.
    pub(super) fn abandon(&mut self) {
        self.envelope = None;
        self.incoming = None;
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

/// `size-value = 1*20DIGIT` (RFC 1870 §4).
fn octets(value: &str) -> Option<u128> {
    let digits = value.len() <= 20 && value.bytes().all(|octet| octet.is_ascii_digit());
    value.parse().ok().filter(|_| digits)
}

fn too_big() -> Reply {
    Reply::of(552, "5.3.4", "message too big")
}

/// RFC 6531 §3.5.
fn needs_smtputf8() -> Reply {
    Reply::of(553, "5.6.7", "the address needs SMTPUTF8")
}
