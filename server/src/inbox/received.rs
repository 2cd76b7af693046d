//! The account of a message.

use std::net::IpAddr;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;
use serde_with::{DisplayFromStr, serde_as};
use shared::time::Timestamp;

use super::Oddities;

/// A message that was kept, and what is known about it.
#[serde_as]
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// The id that the client was told.
    pub id: String,
    /// Counts the messages of this run, from 1; not known yet while the message is
    /// being kept, and so not in an account beside it.
    #[serde(skip_serializing_if = "is_zero")]
    pub number: u64,
    /// The session in the recording.
    pub session: u64,
    /// The listener it came in by.
    pub listener: String,
    /// When it was taken.
    #[serde_as(as = "DisplayFromStr")]
    pub at: Timestamp,
    /// The client's address, as the server takes it to be.
    pub client: Option<IpAddr>,
    /// What XFORWARD said of the client before it.
    pub forwarded: Option<String>,
    /// The name given in EHLO, HELO or LHLO.
    pub helo: Option<String>,
    /// `ESMTP`, `ESMTPS` and so on (RFC 3848).
    pub protocol: &'static str,
    /// Who sent it to whom.
    pub envelope: Envelope,
    /// The TLS version, if it came inside TLS.
    pub tls: Option<String>,
    /// Who had authenticated.
    pub auth: Option<String>,
    /// By which mechanism.
    pub mechanism: Option<&'static str>,
    /// Octets of content, dots undone, without the trace header.
    pub octets: u64,
    /// Their SHA-256 digest, in hex.
    pub sha256: String,
    /// What its header section has.
    pub header: HeaderSection,
    /// Its Message-ID, if it has one in its first 16 KiB.
    pub message_id: Option<String>,
    /// Its subject, decoded, if it has one there.
    pub subject: Option<String>,
    /// The id of an earlier message of this run with the same content.
    pub duplicate_of: Option<String>,
    /// What is odd about the mail data; only what came by DATA is looked at.
    pub oddities: Option<Oddities>,
    /// Where it is.
    #[serde(skip)]
    pub place: Place,
    /// So many octets there are the trace header, and not content.
    #[serde(skip)]
    pub lead: usize,
}

/// What a header section has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderSection {
    /// Its octets, up to the empty line.
    pub octets: u64,
    /// They are more than `--max-header`.
    pub too_large: bool,
    /// How many `Received` fields there are among them.
    pub received: u64,
}

/// Who sent a message to whom.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope {
    /// As given in MAIL, brackets included.
    pub reverse_path: String,
    /// The parameters of MAIL, as given.
    pub parameters: String,
    /// The recipients that were taken.
    pub recipients: Vec<Recipient>,
}

/// One recipient that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Recipient {
    /// As given in RCPT, brackets included.
    pub forward_path: String,
    /// The parameters of RCPT, as given.
    pub parameters: String,
    /// The user it belongs to; none if it is of a foreign domain.
    pub user: Option<String>,
}

/// Where a message is.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// It was not kept.
    #[default]
    Nowhere,
    /// It was in memory, and has made room for later ones.
    Forgotten,
    /// In memory.
    Memory(Bytes),
    /// A file of its own.
    File(PathBuf),
    /// A part of an mbox.
    Mbox {
        /// The file.
        path: PathBuf,
        /// Where in it the message begins, after its first line.
        at: u64,
        /// How many octets it takes there, quoted.
        length: u64,
    },
}

impl Received {
    /// The content, octet by octet as it came, dots undone: none if it is nowhere.
    #[cfg(test)]
    pub(crate) fn content(&self) -> std::io::Result<Option<Bytes>> {
        use std::io::{Read, Seek, SeekFrom};
        let mut octets = match &self.place {
            Place::Nowhere | Place::Forgotten => return Ok(None),
            Place::Memory(octets) => return Ok(Some(octets.clone())),
            Place::File(path) => {
                let mut file = std::fs::File::open(path)?;
                file.seek(SeekFrom::Start(self.lead as u64))?;
                let mut octets = Vec::new();
                file.read_to_end(&mut octets)?;
                return Ok(Some(octets.into()));
            }
            Place::Mbox { path, at, length } => {
                Bytes::from(crate::store::mbox::read(path, *at, *length)?)
            }
        };
        // A file that was changed by others may have less than it had.
        Ok(Some(octets.split_off(self.lead.min(octets.len()))))
    }

    /// The account alone: it keeps no content in memory.
    #[must_use]
    pub fn without_content(self) -> Self {
        Self {
            place: Place::Nowhere,
            ..self
        }
    }

    /// About how many octets of memory the account itself takes.
    pub(super) fn weight(&self) -> usize {
        let envelope = &self.envelope;
        let texts = [
            &self.id,
            &self.listener,
            &self.sha256,
            &envelope.reverse_path,
            &envelope.parameters,
        ];
        let maybe = [
            &self.forwarded,
            &self.helo,
            &self.auth,
            &self.message_id,
            &self.subject,
        ];
        let recipients = envelope.recipients.iter().map(|one| {
            size_of::<Recipient>()
                + one.forward_path.len()
                + one.parameters.len()
                + one.user.as_ref().map_or(0, String::len)
        });
        size_of::<Self>()
            + texts.map(String::len).iter().sum::<usize>()
            + maybe
                .map(|text| text.as_ref().map_or(0, String::len))
                .iter()
                .sum::<usize>()
            + recipients.sum::<usize>()
            + self.oddities.as_ref().map_or(0, Oddities::weight)
    }

    /// How many octets of content it holds in memory.
    pub(super) fn held(&self) -> u64 {
        match &self.place {
            Place::Memory(octets) => octets.len() as u64,
            _ => 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
impl Received {
    /// An account of a message that is nowhere.
    pub(crate) fn sample(id: u128, content: &[u8]) -> Self {
        use sha2::Digest;
        Self {
            id: format!("{id:032x}"),
            number: 0,
            session: 1,
            listener: "mx".into(),
            at: Timestamp::from_nanos(1),
            client: None,
            forwarded: None,
            helo: None,
            protocol: "ESMTP",
            envelope: Envelope {
                reverse_path: "<>".into(),
                parameters: String::new(),
                recipients: Vec::new(),
            },
            tls: None,
            auth: None,
            mechanism: None,
            octets: content.len() as u64,
            sha256: shared::escape::hex(&sha2::Sha256::digest(content)),
            header: HeaderSection::default(),
            message_id: None,
            subject: None,
            duplicate_of: None,
            oddities: None,
            place: Place::Nowhere,
            lead: 0,
        }
    }
}
