//! The verdict on a message that has come in: refused, or kept and so answered for.

use shared::content::{Examined, Oddity};
use shared::extension::Body;
use shared::reply::Reply;

use super::SessionPolicy;
use super::recipient::Recipient;
use super::transaction::Envelope;
use crate::config::{LineEndings, Protocol};
use crate::inbox::{self, EightBit, HeaderSection, Oddities, Place, Received};
use crate::monitor::Limit;
use crate::settings::Site;
use crate::store::{HeaderCount, Incoming, Whole};

impl SessionPolicy {
    /// The verdict on a message; in LMTP, one for each recipient.
    pub(super) async fn end_of_data(&mut self, examined: Option<Examined>) -> Vec<Reply> {
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
            Some(envelope) => self.keep(incoming, envelope, examined).await,
            None => Reply::of(503, "5.5.1", "MAIL first"),
        };
        if verdict.code().is_refusal() {
            self.note_refusal(&verdict);
        }
        self.client.forget_forwarded();
        vec![verdict; replies]
    }

    /// The verdict on a message that has come in, which is safe if it is good.
    async fn keep(
        &self,
        incoming: Incoming,
        envelope: Envelope,
        examined: Option<Examined>,
    ) -> Reply {
        if incoming.is_too_big() {
            return self.too_big();
        }
        if let Some(refusal) = self.goes_round(incoming.header()) {
            return refusal;
        }
        if let Some(refusal) = examined.as_ref().and_then(|found| self.site.refuses(found)) {
            return refusal;
        }
        let whole = match incoming.finish() {
            Ok(whole) => whole,
            Err(error) => return self.not_written(&error),
        };
        let mut received = self.received(envelope, &whole, examined.as_ref());
        match whole.keep(&received).await {
            Ok(place) => {
                let reply = Reply::of(250, "2.0.0", format!("kept, queued as {}", received.id));
                received.place = place;
                self.site.take_note(received);
                reply
            }
            Err(error) => self.not_written(&error),
        }
    }

    /// A message that came through so many servers comes round again and again
    /// (RFC 5321 §6.3).
    fn goes_round(&self, header: HeaderCount) -> Option<Reply> {
        let (received, most) = (header.received(), self.site.limits.max_received);
        (received > most).then(|| {
            self.site.monitor.tripped(Limit::Received);
            let text = format!("a mail loop: {received} Received fields, {most} are borne");
            Reply::of(554, "5.4.6", text)
        })
    }

    /// A header section that is too large is noted.
    fn header_section(&self, header: HeaderCount) -> HeaderSection {
        let too_large = header.octets() > self.site.limits.max_header.0;
        if too_large {
            self.site.monitor.tripped(Limit::Header);
        }
        HeaderSection {
            octets: header.octets(),
            too_large,
            received: header.received(),
        }
    }

    fn received(&self, envelope: Envelope, whole: &Whole, examined: Option<&Examined>) -> Received {
        let eight_bit = envelope.eight_bit();
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
            header: self.header_section(whole.header),
            message_id: whole.message_id.clone(),
            subject: whole.subject.clone(),
            duplicate_of: self.site.inbox.earlier(&whole.sha256),
            oddities: examined.map(|found| Oddities::of(found, eight_bit)),
            place: Place::Nowhere,
            lead: whole.lead(),
        }
    }
}

impl Envelope {
    fn eight_bit(&self) -> EightBit {
        let parameters = &self.parameters;
        match parameters.body {
            Some(Body::EightBitMime | Body::BinaryMime) => EightBit::Declared,
            _ if parameters.smtputf8 => EightBit::Declared,
            Some(Body::SevenBit) | None => EightBit::NotDeclared,
        }
    }
}

impl Site {
    /// What is odd about mail data beyond what is tolerated here.
    fn refuses(&self, found: &Examined) -> Option<Reply> {
        if self.line_endings == LineEndings::Strict {
            let bare = [(Oddity::BareLf, "LF"), (Oddity::BareCr, "CR")];
            let bare = bare.map(|(oddity, name)| (found.tally(oddity), name));
            if let Some((tally, name)) = bare.into_iter().find(|(tally, _)| tally.count > 0) {
                // The words and the status of Postfix (smtpd_forbid_bare_newline).
                let text = format!("bare {name} received, first at octet {}", tally.first);
                return Some(Reply::of(550, "5.5.2", text));
            }
        }
        let (longest, most) = (found.longest_line(), self.limits.max_line);
        (longest > most).then(|| {
            self.monitor.tripped(Limit::Line);
            let text = format!("a line has {longest} octets, and may have {most}");
            Reply::of(554, "5.6.0", text)
        })
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
