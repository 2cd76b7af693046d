//! The trace header (RFC 5321 §4.4).

use std::net::IpAddr;

use shared::message::rfc5322_date;
use shared::time::Timestamp;

/// What the trace header says.
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

impl Trace<'_> {
    /// The header fields of the message with that id.
    pub(super) fn header(&self, id: &str) -> String {
        // RFC 5321 §4.4: what the server itself knows of the client.
        let name = self.client_name.as_ref().map(|name| format!("{name} "));
        let name = name.unwrap_or_default();
        let address = match self.client.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => format!(" ({name}[{address}])"),
            Some(IpAddr::V6(address)) => format!(" ({name}[IPv6:{address}])"),
            None => String::new(),
        };
        format!(
            "Return-Path: {}\r\nReceived: from {}{address}\r\n\tby {} (Heloscope) with {} id {id};\r\n\t{}\r\n",
            self.reverse_path,
            self.helo,
            self.hostname,
            self.protocol,
            rfc5322_date(self.at),
        )
    }
}
