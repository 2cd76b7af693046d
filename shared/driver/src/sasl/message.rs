//! Messages, and the lines that carry them (RFC 4954 §4).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::command::LONGEST;

use super::client;
use super::server::Failure;

/// The octets of a message of either side. Some hold passwords, so none is printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// A message of these octets.
    pub const fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a line of its own, or after 334.
    pub fn encode(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// As an argument of AUTH, where nothing at all is written `=`.
    pub fn encode_initial(&self) -> String {
        if self.0.is_empty() {
            "=".into()
        } else {
            self.encode()
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message(********)")
    }
}

/// Reads a client's line, with or without its line end; `*` cancels.
pub fn decode(line: &[u8]) -> Result<Message, Failure> {
    let line = without_end(line);
    if line.len() > LONGEST_TEXT {
        return Err(Failure::TooLong);
    }
    if line == b"*" {
        return Err(Failure::Cancelled);
    }
    STANDARD
        .decode(line)
        .map(Message)
        .map_err(|_| Failure::Encoding)
}

/// Reads the initial response in an AUTH command; `=` is an empty one.
pub fn decode_initial(argument: &[u8]) -> Result<Message, Failure> {
    match argument {
        b"=" => Ok(Message::default()),
        b"*" => Err(Failure::Encoding),
        argument => decode(argument),
    }
}

/// Reads what follows 334 in a server's reply.
pub fn decode_challenge(text: &[u8]) -> Result<Message, client::Error> {
    let text = without_end(text);
    if text.len() > LONGEST_TEXT {
        return Err(client::Error::Malformed("the challenge is too long"));
    }
    STANDARD
        .decode(text)
        .map(Message)
        .map_err(|_| client::Error::Encoding)
}

/// RFC 4954 §4: 12 288 octets a line, with its line end.
const LONGEST_TEXT: usize = LONGEST - 2;

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_rfc_4954_says() {
        let octets = |line: &str| decode(line.as_bytes()).map(|message| message.0);
        assert_eq!(octets("AHRpbQBzZWNyZXQ=\r\n"), Ok(b"\0tim\0secret".into()));
        assert_eq!(octets("\r\n"), Ok(vec![]));
        assert_eq!(octets("*\r\n"), Err(Failure::Cancelled));
        // Padding is not optional, other alphabets and white space are none of ours.
        for wrong in ["=", "AHRpbQ", "AHRpb Q==", "AH_-", "AHRpbR==", "A", "**"] {
            assert_eq!(octets(wrong), Err(Failure::Encoding), "{wrong}");
        }
    }

    #[test]
    fn an_initial_response_of_nothing_is_an_equals_sign() {
        assert_eq!(decode_initial(b"="), Ok(Message::default()));
        assert_eq!(decode_initial(b"*"), Err(Failure::Encoding));
        assert_eq!(Message::default().encode_initial(), "=");
        assert_eq!(Message::default().encode(), "");
    }

    #[test]
    fn a_line_is_refused_beyond_12288_octets() {
        let line = |length: usize| [vec![b'A'; length], b"\r\n".to_vec()].concat();
        assert!(decode(&line(12_284)).is_ok());
        assert_eq!(decode(&line(12_288)), Err(Failure::TooLong));
        assert!(decode_challenge(&line(12_288)).is_err());
    }
}
