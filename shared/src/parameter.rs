//! Parameters after the path of MAIL and RCPT (RFC 5321 §4.1.2), and xtext
//! (RFC 3461 §4).

use std::fmt;

use crate::grammar::{Cursor, is_esmtp_value};

/// How many parameters one command may have: far more than are registered.
pub const MOST: usize = 32;

/// `keyword[=value]` pairs in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parameters(Vec<Parameter>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// In upper case.
    pub keyword: String,
    /// As it came, xtext not undone.
    pub value: Option<String>,
}

/// Why a text is not a list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// No keyword where one must be.
    #[error("no parameter at octet {0}")]
    Syntax(usize),
    /// The same keyword twice.
    #[error("a parameter is given twice")]
    Twice,
    /// More than [`MOST`].
    #[error("more than {MOST} parameters")]
    TooMany,
}

impl Parameters {
    /// Reads what is left of a command line, each parameter after white space.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParameterError> {
        let mut found = Self::default();
        loop {
            let spaces = cursor.run(|c| matches!(c, ' ' | '\t'));
            if cursor.is_at_end() {
                return Ok(found);
            }
            let at = cursor.offset();
            spaces.ok_or(ParameterError::Syntax(at))?;
            let keyword = cursor
                .run(|c| c.is_ascii_alphanumeric() || c == '-')
                .filter(|keyword| !keyword.starts_with('-'))
                .ok_or(ParameterError::Syntax(at))?
                .to_ascii_uppercase();
            let value = match cursor.literal("=") {
                Some(()) => Some(
                    cursor
                        .run(is_esmtp_value)
                        .ok_or_else(|| ParameterError::Syntax(cursor.offset()))?
                        .to_owned(),
                ),
                None => None,
            };
            if found.get(&keyword).is_some() {
                return Err(ParameterError::Twice);
            }
            if found.0.len() == MOST {
                return Err(ParameterError::TooMany);
            }
            found.0.push(Parameter { keyword, value });
        }
    }

    /// The parameter of that keyword, in any case.
    pub fn get(&self, keyword: &str) -> Option<&Parameter> {
        self.0
            .iter()
            .find(|parameter| parameter.keyword.eq_ignore_ascii_case(keyword))
    }

    /// The value of that keyword.
    pub fn value(&self, keyword: &str) -> Option<&str> {
        self.get(keyword)?.value.as_deref()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }
}

impl fmt::Display for Parameters {
    /// Each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Parameter { keyword, value } in &self.0 {
            write!(f, " {keyword}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Encodes as xtext: `+`, `=` and what is not printable ASCII as `+XX`.
pub fn encode_xtext(text: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(text.len());
    for &octet in text {
        match octet {
            b'+' | b'=' => write!(out, "+{octet:02X}"),
            b'!'..=b'~' => write!(out, "{}", char::from(octet)),
            _ => write!(out, "+{octet:02X}"),
        }
        .unwrap_or_default();
    }
    out
}

/// Decodes xtext; `None` if it is malformed.
pub fn decode_xtext(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        out.push(match octet {
            b'+' => {
                let (high, low) = (hex(octets.next()?)?, hex(octets.next()?)?);
                high * 16 + low
            }
            b'=' => return None,
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    Some(out)
}

/// RFC 3461 §4 allows upper-case digits alone.
const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Parameters, ParameterError> {
        Parameters::read(&mut Cursor::new(text))
    }

    #[test]
    fn parameters_are_read_and_printed() {
        let parameters = read(" size=10 BODY=8BITMIME  SMTPUTF8").unwrap();
        assert_eq!(parameters.value("SIZE"), Some("10"));
        assert!(parameters.get("smtputf8").unwrap().value.is_none());
        assert_eq!(parameters.to_string(), " SIZE=10 BODY=8BITMIME SMTPUTF8");
    }

    #[test]
    fn malformed_ones_are_refused() {
        assert_eq!(read("SIZE=1"), Err(ParameterError::Syntax(0)));
        assert_eq!(read(" =1"), Err(ParameterError::Syntax(1)));
        assert_eq!(read(" A="), Err(ParameterError::Syntax(3)));
        assert_eq!(read(" A=1 a=2"), Err(ParameterError::Twice));
        let many = (0..=MOST).fold(String::new(), |list, n| format!("{list} A{n}"));
        assert_eq!(read(&many), Err(ParameterError::TooMany));
    }

    proptest::proptest! {
        #[test]
        fn xtext_is_undone(octets: Vec<u8>) {
            proptest::prop_assert_eq!(decode_xtext(&encode_xtext(&octets)), Some(octets));
        }
    }
}
