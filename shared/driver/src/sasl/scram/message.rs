//! The four messages (RFC 5802 §7). What is signed is kept as it came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sasl::gs2::{self, Header};

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub(super) header: Header<'a>,
    pub(super) name: String,
    pub(super) nonce: &'a str,
    /// Without the header.
    pub(super) bare: &'a str,
}

/// `server-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) proof: Vec<u8>,
    pub(super) without_proof: &'a str,
}

/// `server-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerFinal<'a> {
    Error(&'a str),
    Verifier(Vec<u8>),
}

impl<'a> ClientFirst<'a> {
    /// Extensions that follow the nonce are signed and otherwise left alone; one
    /// that is mandatory (`m=`) is none we know.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, bare) = gs2::parse(text(message)?)?;
        let mut attributes = bare.split(',');
        let name = gs2::name(attribute('n', attributes.next())?)?;
        let nonce = attribute('r', attributes.next()).filter(|nonce| is_nonce(nonce))?;
        attributes.all(is_extension).then_some(Self {
            header,
            name,
            nonce,
            bare,
        })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut attributes = text(message)?.split(',');
        let nonce = attribute('r', attributes.next()).filter(|nonce| is_nonce(nonce))?;
        let salt = base64(attribute('s', attributes.next())?)?;
        let iterations = attribute('i', attributes.next())
            .filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))?;
        let found = Self {
            nonce,
            salt,
            iterations: iterations.parse().ok()?,
        };
        (!found.salt.is_empty() && attributes.all(is_extension)).then_some(found)
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (without_proof, proof) = text(message)?.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = base64(attribute('c', attributes.next())?)?;
        let nonce = attribute('r', attributes.next())?;
        let proof = base64(proof)?;
        attributes.all(is_extension).then_some(Self {
            binding,
            nonce,
            proof,
            without_proof,
        })
    }
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut attributes = text(message)?.split(',');
        let first = attributes.next();
        let found = match attribute('e', first) {
            Some(error) => Self::Error(error),
            None => Self::Verifier(base64(attribute('v', first)?)?),
        };
        attributes.all(is_extension).then_some(found)
    }
}

/// What both sides sign (RFC 5802 §3).
pub(super) fn auth_message(
    client_first_bare: &str,
    server_first: &str,
    client_final_without_proof: &str,
) -> String {
    format!("{client_first_bare},{server_first},{client_final_without_proof}")
}

fn text(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    (!text.contains('\0')).then_some(text)
}

fn attribute(name: char, text: Option<&str>) -> Option<&str> {
    text?.strip_prefix(name)?.strip_prefix('=')
}

fn is_extension(text: &str) -> bool {
    let mut octets = text.bytes();
    let name = octets.next().is_some_and(|c| c.is_ascii_alphabetic());
    name && octets.next() == Some(b'=') && octets.next().is_some()
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && c != b',')
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::gs2::Flag;

    #[test]
    fn a_client_first_message_is_taken_apart() {
        let first = ClientFirst::parse(b"p=tls-exporter,a=x=2Cy,n=a=3Db,r=abc,x=y").unwrap();
        assert_eq!(first.header.flag, Flag::Used("tls-exporter"));
        assert_eq!(first.header.authzid.as_deref(), Some("x,y"));
        assert_eq!((first.name.as_str(), first.nonce), ("a=b", "abc"));
        assert_eq!(first.bare, "n=a=3Db,r=abc,x=y");
    }

    #[test]
    fn what_is_no_client_first_message_is_refused() {
        for wrong in [
            "",
            "n,,",
            "n,,n=a",
            "n,,r=a,n=b",
            "n,,n=,r=a",
            "n,,n=a,r=",
            "n,,n=a,r=b c",
            "n,,m=x,n=a,r=b",
            "n,,n=a,r=b,",
            "n,,n=a,r=b,x",
            "n,,n=a,r=b,x=",
            "n,,n=a=4D,r=b",
            "n=a,r=b",
            "n,,n=a\0,r=b",
        ] {
            assert_eq!(ClientFirst::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=b"), None);
    }

    #[test]
    fn what_is_no_server_first_message_is_refused() {
        assert!(ServerFirst::parse(b"r=abc,s=QSXC,i=4096").is_some());
        for wrong in [
            "",
            "r=abc",
            "r=abc,s=,i=1",
            "r=abc,s=Q,i=1",
            "r=abc,s=QSXC,i=",
            "r=abc,s=QSXC,i=+1",
            "r=abc,s=QSXC,i=99999999999",
            "s=QSXC,r=abc,i=1",
            "m=x,r=abc,s=QSXC,i=1",
        ] {
            assert_eq!(ServerFirst::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_final_message_is_refused() {
        assert!(ClientFinal::parse(b"c=biws,r=abc,x=y,p=QSXC").is_some());
        for wrong in [
            "",
            "c=biws,r=abc",
            "c=b,r=abc,p=QSXC",
            "c=biws,p=QSXC",
            "c=biws,r=a,p=Q",
        ] {
            assert_eq!(ClientFinal::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let error = ServerFinal::Error("invalid-proof");
        assert_eq!(ServerFinal::parse(b"e=invalid-proof"), Some(error));
        for wrong in ["", "v=Q", "x=QSXC", "v=QSXC,"] {
            assert_eq!(ServerFinal::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
