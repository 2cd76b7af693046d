//! DSN's ORCPT: the recipient as the sender wrote it (RFC 3461 §4.2, RFC 6533 §3).

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use super::dsn::is_printable;
use crate::address::Mailbox;
use crate::grammar::{is_atext, is_esmtp_value};
use crate::parameter::{decode_xtext, encode_xtext};

/// ORCPT: the recipient as the sender wrote it, before any alias was applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    addr_type: String,
    address: String,
    form: AddressForm,
}

/// How the address of an [`OriginalRecipient`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressForm {
    /// In US-ASCII: as xtext, or as `utf-8-addr-xtext` (RFC 6533 §3).
    Ascii,
    /// As `utf-8-addr-unitext`, which needs SMTPUTF8 (RFC 6533 §3).
    Unitext,
    /// As `utf-8-address`, which needs SMTPUTF8 too (RFC 6533 §3).
    Plain,
}

impl OriginalRecipient {
    /// An address to be written in US-ASCII. `None` if the type is no atom, if
    /// the result is too long, or if the address does not fit the type: `utf-8`
    /// is for mailboxes (RFC 6533 §3), all others for what can be printed in
    /// US-ASCII (RFC 3461 §4.2).
    pub fn new(addr_type: &str, address: &str) -> Option<Self> {
        let made = Self {
            addr_type: Some(addr_type)
                .filter(|name| is_addr_type(name))?
                .to_owned(),
            address: address.to_owned(),
            form: AddressForm::Ascii,
        };
        let address_fits = if is_utf8(addr_type) {
            address.parse::<Mailbox>().is_ok()
        } else {
            is_printable(address)
        };
        (address_fits && made.to_string().len() <= LONGEST_ORCPT).then_some(made)
    }

    /// The kind of address: `rfc822`, `utf-8`, or another registered one.
    pub fn addr_type(&self) -> &str {
        &self.addr_type
    }

    /// The address, its encoding undone.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How it is written. All but [`AddressForm::Ascii`] need a transaction with
    /// SMTPUTF8.
    pub const fn form(&self) -> AddressForm {
        self.form
    }

    fn read(text: &str) -> Option<Self> {
        let (addr_type, encoded) = text.split_once(';')?;
        let sound = text.len() <= LONGEST_ORCPT && text.chars().all(is_esmtp_value);
        if !sound || !is_addr_type(addr_type) {
            return None;
        }
        let (address, form) = if is_utf8(addr_type) {
            read_utf8(encoded)?
        } else {
            let address = String::from_utf8(decode_xtext(encoded)?).ok()?;
            (address, AddressForm::Ascii)
        };
        (is_utf8(addr_type) || is_printable(&address)).then(|| Self {
            addr_type: addr_type.to_owned(),
            address,
            form,
        })
    }
}

/// `utf-8-enc-addr` of RFC 6533 §3, and which of its three forms it has.
fn read_utf8(encoded: &str) -> Option<(String, AddressForm)> {
    let is_mailbox = |text: &str| text.parse::<Mailbox>().is_ok();
    let form = if encoded.is_ascii() {
        AddressForm::Ascii
    } else {
        AddressForm::Unitext
    };
    if let Some(address) = decode_unitext(encoded).filter(|text| is_mailbox(text)) {
        return Some((address, form));
    }
    is_mailbox(encoded).then(|| (encoded.to_owned(), AddressForm::Plain))
}

/// `1*(QUCHAR / EmbeddedUnicodeChar)`, undone.
fn decode_unitext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_quchar(c) {
            out.push(c);
            rest = rest.get(c.len_utf8()..)?;
        } else {
            let (digits, after) = rest.strip_prefix("\\x{")?.split_once('}')?;
            out.push(hexpoint(digits)?);
            rest = after;
        }
    }
    Some(out)
}

/// `HEXPOINT`: two to six digits, without needless zeros, for what is no `QCHAR`.
fn hexpoint(digits: &str) -> Option<char> {
    let plain = (2..=6).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_hexdigit());
    let minimal = digits.len() == 2 || !digits.starts_with('0');
    let point = u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| plain && minimal)?;
    char::from_u32(point).filter(|&c| !c.is_ascii() || !is_quchar(c))
}

/// `QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e`, and what is beyond US-ASCII.
fn is_quchar(c: char) -> bool {
    matches!(c, '!'..='*' | ','..='<' | '>'..='[' | ']'..='~') || !c.is_ascii()
}

/// `addr-type = atom`, in what a parameter's value may hold.
fn is_addr_type(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii() && is_atext(c) && c != '=')
}

fn is_utf8(addr_type: &str) -> bool {
    addr_type.eq_ignore_ascii_case("utf-8")
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.addr_type)?;
        if !is_utf8(&self.addr_type) {
            return f.write_str(&encode_xtext(self.address.as_bytes()));
        }
        for c in self.address.chars() {
            let raw = match self.form {
                AddressForm::Ascii => c.is_ascii() && is_quchar(c),
                AddressForm::Unitext => is_quchar(c),
                AddressForm::Plain => true,
            };
            if raw {
                write!(f, "{c}")?;
            } else {
                write!(f, "\\x{{{:02X}}}", u32::from(c))?;
            }
        }
        Ok(())
    }
}

impl FromStr for OriginalRecipient {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::read(text).ok_or(ValueError {
            keyword: "ORCPT",
            needs: "a type, a semicolon and an encoded address, 500 octets at most",
        })
    }
}

/// RFC 3461 §4.2.
const LONGEST_ORCPT: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn original_recipients_are_read_in_every_form() {
        for (text, address, form) in [
            (
                "rfc822;Bob@Example.COM",
                "Bob@Example.COM",
                AddressForm::Ascii,
            ),
            ("RFC822;a+2Bb@c+20d", "a+b@c d", AddressForm::Ascii),
            ("x400;/C+3DDE", "/C=DE", AddressForm::Ascii),
            ("rfc822;", "", AddressForm::Ascii),
            ("utf-8;a@b", "a@b", AddressForm::Ascii),
            ("utf-8;gr\\x{FC}n@b", "grün@b", AddressForm::Ascii),
            ("UTF-8;\\x{1F600}\\x{2B}@b", "😀+@b", AddressForm::Ascii),
            ("utf-8;grün\\x{3D}@b", "grün=@b", AddressForm::Unitext),
            ("utf-8;a+grün@b", "a+grün@b", AddressForm::Plain),
        ] {
            let read: OriginalRecipient = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((read.address(), read.form()), (address, form), "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_original_recipient_is_refused() {
        let of_length = |n: usize| format!("rfc822;{}", "a".repeat(n - "rfc822;".len()));
        assert!(of_length(500).parse::<OriginalRecipient>().is_ok());
        for text in [
            "",
            "a@b",
            ";a@b",
            "rfc 822;a@b",
            "rfc822;a=b",
            "rfc822;a+4",
            "rfc822;a+0D+0ARCPT",
            "rfc822;grün@b",
            "utf-8;",
            "utf-8;a",
            "utf-8;\\x{41}@b",
            "utf-8;\\x{0FC}@b",
            "utf-8;\\x{D800}@b",
            "utf-8;\\x{110000}@b",
            "utf-8;\\x{+C}@b",
            "utf-8;\\x{A}@b",
            "utf-8;\\x{0D}\\x{0A}@b",
            "utf-8;\\x{FC@b",
            "utf-8;\"a b\"@é",
            &of_length(501),
        ] {
            assert!(text.parse::<OriginalRecipient>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(addr_type in "[a-zA-Z0-9-]{1,12}", address in "[ -~]{0,60}") {
            prop_assume!(!is_utf8(&addr_type));
            let original = OriginalRecipient::new(&addr_type, &address).unwrap();
            prop_assert_eq!(original.to_string().parse(), Ok(original));
        }

        #[test]
        fn any_mailbox_is_written_in_ascii(local in "[ -~é-ü一-三]{1,9}", quoted: bool) {
            let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
            let local = if quoted { format!("\"{escaped}\"") } else { local };
            if let Some(original) = OriginalRecipient::new("utf-8", &format!("{local}@b.test")) {
                let printed = original.to_string();
                prop_assert!(printed.bytes().all(|octet| matches!(octet, b'!'..=b'~') && octet != b'='));
                prop_assert_eq!(printed.parse(), Ok(original));
            } else {
                prop_assert!(!quoted, "a quoted string was refused");
            }
        }
    }
}
