//! A message while it comes in, and how it is kept.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use shared::escape::hex;
use shared::message::rfc5322_date;
use shared::time::Timestamp;

use super::{Store, maildir};
use crate::inbox::Place;

/// What the trace header says (RFC 5321 §4.4).
#[derive(Debug)]
pub struct Trace<'a> {
    /// The reverse-path, brackets included.
    pub reverse_path: String,
    /// The name given in EHLO or HELO, fit for a header field.
    pub helo: &'a str,
    /// The client's address; none if it came by a UNIX socket.
    pub client: Option<IpAddr>,
    /// Its name, if a proxy gave one.
    pub client_name: Option<String>,
    /// `ESMTP`, `ESMTPS` and so on.
    pub protocol: &'static str,
    /// The server's name.
    pub hostname: String,
    /// When.
    pub at: Timestamp,
}

/// A message that was kept.
#[derive(Debug)]
pub struct Kept {
    /// The id that its trace header has.
    pub id: String,
    /// Octets of content.
    pub octets: u64,
    /// Their SHA-256 digest, in hex.
    pub sha256: String,
    /// Where it is.
    pub place: Place,
}

/// A message that is being received. Dropped before [`keep`](Self::keep) it
/// leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    id: String,
    file: Option<BufWriter<File>>,
    tmp: Option<PathBuf>,
    maildirs: Vec<PathBuf>,
    octets: u64,
    digest: Sha256,
    most: u64,
    failure: Option<std::io::Error>,
}

impl Incoming {
    /// Begins a message for these users, and for the witness.
    pub fn begin(
        store: &Store,
        users: &[&str],
        witness: Option<&Store>,
        trace: &Trace<'_>,
        most: u64,
    ) -> Result<Self> {
        let mut maildirs = Vec::new();
        if let Store::Maildirs(own) = store {
            maildirs.extend(users.iter().map(|user| own.of(user)));
        }
        if let Some(Store::Maildirs(foreign)) = witness {
            maildirs.push(foreign.of(""));
        }
        let id =
            uuid::Builder::from_unix_timestamp_millis(trace.at.nanos() / 1_000_000, &random()?)
                .into_uuid()
                .simple()
                .to_string();
        let mut incoming = Self {
            id,
            file: None,
            tmp: None,
            maildirs,
            octets: 0,
            digest: Sha256::new(),
            most,
            failure: None,
        };
        if let Some(first) = incoming.maildirs.first() {
            let tmp = first.join("tmp").join(&incoming.id);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&tmp)
                .with_context(|| format!("making {}", tmp.display()))?;
            incoming.tmp = Some(tmp);
            let mut file = BufWriter::new(file);
            file.write_all(incoming.trace_header(trace).as_bytes())
                .context("writing the trace header")?;
            incoming.file = Some(file);
        }
        Ok(incoming)
    }

    fn trace_header(&self, trace: &Trace<'_>) -> String {
        // RFC 5321 §4.4: what the server itself knows of the client.
        let name = trace.client_name.as_ref().map(|name| format!("{name} "));
        let name = name.unwrap_or_default();
        let address = match trace.client.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => format!(" ({name}[{address}])"),
            Some(IpAddr::V6(address)) => format!(" ({name}[IPv6:{address}])"),
            None => String::new(),
        };
        format!(
            "Return-Path: {}\r\nReceived: from {}{address}\r\n\tby {} (Heloscope) with {} id {};\r\n\t{}\r\n",
            trace.reverse_path,
            trace.helo,
            trace.hostname,
            trace.protocol,
            self.id,
            rfc5322_date(trace.at),
        )
    }

    /// Takes a piece of content. An error is kept for the end: the client is to
    /// be heard out before it is answered.
    pub fn write(&mut self, bytes: &[u8]) {
        self.octets += bytes.len() as u64;
        self.digest.update(bytes);
        if self.is_too_big() || self.failure.is_some() {
            return;
        }
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write_all(bytes)) {
            self.failure = Some(error);
        }
    }

    /// How many octets have come.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// It has more octets than the limit.
    pub fn is_too_big(&self) -> bool {
        self.octets > self.most
    }

    /// Keeps it: on the disk, and in every Maildir it goes to, when this returns.
    pub async fn keep(mut self) -> Result<Kept> {
        if let Some(error) = self.failure.take() {
            return Err(error).context("writing the message");
        }
        let mut kept = Kept {
            id: self.id.clone(),
            octets: self.octets,
            sha256: hex(&std::mem::take(&mut self.digest).finalize()),
            place: Place::Nowhere,
        };
        if let Some(file) = self.file.take() {
            let publish = tokio::task::spawn_blocking(move || self.publish(file));
            kept.place = publish.await.context("keeping the message")??;
        }
        Ok(kept)
    }

    fn publish(&self, file: BufWriter<File>) -> Result<Place> {
        let file = file.into_inner().context("writing the message")?;
        file.sync_all().context("syncing the message")?;
        let Some(tmp) = &self.tmp else {
            return Ok(Place::Nowhere);
        };
        let mut kept = Vec::new();
        let name = format!("{}.{}.heloscope", self.octets, self.id);
        for maildir in &self.maildirs {
            match maildir::publish(tmp, maildir, &name) {
                Ok(place) => kept.push(place),
                Err(error) => {
                    // The client will hear that nobody has it, and send it again.
                    for place in &kept {
                        maildir::remove(place);
                    }
                    return Err(error);
                }
            }
        }
        Ok(kept.pop().map_or(Place::Nowhere, Place::File))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(tmp) = &self.tmp {
            // What is in `new` by now has a name of its own.
            maildir::remove(tmp);
        }
    }
}

fn random() -> Result<[u8; 10]> {
    let mut octets = [0; 10];
    driver::process::random(&mut octets)?;
    Ok(octets)
}
