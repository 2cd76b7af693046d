//! LIMITS: the server's limits, announced in EHLO (RFC 9422).

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// What stands after the EHLO keyword.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedLimits {
    /// MAILMAX: transactions in a session.
    pub mail_max: Option<u32>,
    /// RCPTMAX: recipients of a transaction.
    pub rcpt_max: Option<u32>,
    /// RCPTDOMAINMAX: domains among them.
    pub rcpt_domain_max: Option<u32>,
    /// Limits that we do not know, as they are written.
    pub others: Vec<String>,
}

impl AnnouncedLimits {
    /// Reads what a server announces, and passes over what is malformed, as
    /// clients must (RFC 9422 §3). Of a limit that is given twice the first
    /// counts.
    pub fn read(text: &str) -> Self {
        let mut found = Self::default();
        for word in text.split_ascii_whitespace() {
            let _malformed = found.take(word).is_none();
        }
        found
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let known = match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => &mut self.mail_max,
            "RCPTMAX" => &mut self.rcpt_max,
            "RCPTDOMAINMAX" => &mut self.rcpt_domain_max,
            _ => {
                let sound = is_name(name) && value.is_none_or(is_value);
                return sound.then(|| self.others.push(word.to_owned()));
            }
        };
        let limit = limit(value?)?;
        known.is_none().then(|| *known = Some(limit))
    }

    fn known(&self) -> [(&'static str, Option<u32>); 3] {
        [
            ("MAILMAX", self.mail_max),
            ("RCPTMAX", self.rcpt_max),
            ("RCPTDOMAINMAX", self.rcpt_domain_max),
        ]
    }
}

/// `%x31-39 0*5DIGIT`.
fn limit(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let sound = digits && text.len() <= 6 && !text.starts_with('0');
    text.parse().ok().filter(|_| sound)
}

/// `limit-name = 1*(ALPHA / DIGIT / "-" / "_")`.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

/// `limit-value = 1*(%x21-3A / %x3C-7E)`.
fn is_value(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, '!'..=':' | '<'..='~'))
}

impl fmt::Display for AnnouncedLimits {
    /// What follows the keyword. A limit of more than six digits cannot be
    /// announced and is cut to what can; nothing is no limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, limit) in self.known() {
            if let Some(limit) = limit.filter(|&limit| limit > 0) {
                write!(f, "{separator}{name}={}", limit.min(MOST))?;
                separator = " ";
            }
        }
        for other in &self.others {
            write!(f, "{separator}{other}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl FromStr for AnnouncedLimits {
    type Err = ValueError;

    /// Strict, as [`read`](Self::read) is not.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut found = Self::default();
        let sound = text.split(' ').all(|word| found.take(word).is_some());
        sound.then_some(found).ok_or(ValueError {
            keyword: "LIMITS",
            needs: "limits such as RCPTMAX=100, each once",
        })
    }
}

const MOST: u32 = 999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_printed() {
        let text = "MAILMAX=10 RCPTMAX=1000 RCPTDOMAINMAX=1 X-SPEED=fast;".trim_end_matches(';');
        let limits: AnnouncedLimits = text.parse().unwrap();
        assert_eq!(limits.to_string(), text);
        assert_eq!(limits.mail_max, Some(10));
        assert_eq!(limits.others, ["X-SPEED=fast"]);
        assert_eq!(AnnouncedLimits::read(text), limits);
    }

    #[test]
    fn a_client_passes_over_what_is_malformed() {
        let read = AnnouncedLimits::read("rcptmax=5  MAILMAX=0 RCPTMAX=7 X=; Y A=b;c =1 MAILMAX");
        assert_eq!(read.to_string(), "RCPTMAX=5 Y");
        for text in [
            "",
            "MAILMAX",
            "MAILMAX=",
            "MAILMAX=0",
            "MAILMAX=01",
            "MAILMAX=1000000",
            "MAILMAX=+1",
            "MAILMAX=1  RCPTMAX=1",
            "MAILMAX=1 MAILMAX=1",
            "X=a;b",
            "é",
        ] {
            assert!(text.parse::<AnnouncedLimits>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_announced_is_not() {
        let limits = AnnouncedLimits {
            mail_max: Some(0),
            rcpt_max: Some(u32::MAX),
            ..AnnouncedLimits::default()
        };
        assert_eq!(limits.to_string(), "RCPTMAX=999999");
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(
            mail_max in proptest::option::of(1..=MOST),
            rcpt_max in proptest::option::of(1..=MOST),
            rcpt_domain_max in 1..=MOST,
            others in proptest::collection::vec("X-[A-Z0-9_-]{1,8}(=[!-:<-~]{1,8})?", 0..3),
        ) {
            let rcpt_domain_max = Some(rcpt_domain_max);
            let limits = AnnouncedLimits { mail_max, rcpt_max, rcpt_domain_max, others };
            proptest::prop_assert_eq!(AnnouncedLimits::read(&limits.to_string()), limits.clone());
            proptest::prop_assert_eq!(limits.to_string().parse(), Ok(limits));
        }
    }
}
