//! What an EHLO reply offers.

use super::{AnnouncedLimits, Size};

/// What an EHLO reply offers: the lines after the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered(Vec<String>);

impl Offered {
    /// No extension at all: what follows HELO.
    pub const fn nothing() -> Self {
        Self(Vec::new())
    }

    /// Reads the lines after the first.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            lines
                .into_iter()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect(),
        )
    }

    /// The keyword is offered.
    pub fn has(&self, keyword: &str) -> bool {
        self.parameters(keyword).is_some()
    }

    /// What follows the keyword; `None` if it is not offered.
    pub fn parameters(&self, keyword: &str) -> Option<&str> {
        self.0.iter().find_map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            word.eq_ignore_ascii_case(keyword).then(|| rest.trim())
        })
    }

    /// The limit of RFC 1870: `None` if SIZE is not offered or names none.
    pub fn size_limit(&self) -> Option<u64> {
        let size: Size = self.parameters("SIZE")?.parse().ok()?;
        Some(size.octets()).filter(|&octets| octets > 0)
    }

    /// The min-by-time of RFC 2852 §3, in seconds: no message is returned sooner.
    /// `None` if DELIVERBY is not offered or names none.
    pub fn deliver_by_minimum(&self) -> Option<u64> {
        let digits = self.parameters("DELIVERBY")?;
        let sound = digits.len() <= 9 && digits.bytes().all(|octet| octet.is_ascii_digit());
        digits.parse().ok().filter(|_| sound)
    }

    /// The limits of RFC 9422; none if LIMITS is not offered. What cannot be
    /// understood of them is passed over, as RFC 9422 §3 asks of clients.
    pub fn limits(&self) -> AnnouncedLimits {
        self.parameters("LIMITS")
            .map(AnnouncedLimits::read)
            .unwrap_or_default()
    }

    /// The mechanisms offered, in upper case, from `AUTH x` and the old `AUTH=x`.
    pub fn auth_mechanisms(&self) -> Vec<String> {
        let mut found = Vec::new();
        for line in &self.0 {
            let line = line.to_ascii_uppercase();
            let Some(list) = line
                .strip_prefix("AUTH")
                .and_then(|rest| rest.strip_prefix([' ', '=']))
            else {
                continue;
            };
            for mechanism in list.split_ascii_whitespace() {
                if !found.iter().any(|known| known == mechanism) {
                    found.push(mechanism.to_owned());
                }
            }
        }
        found
    }

    /// The lines, as they came.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read() {
        let offered = Offered::parse([
            "PIPELINING",
            "size 10240000",
            "AUTH PLAIN LOGIN",
            "AUTH=LOGIN CRAM-MD5",
            "LIMITS RCPTMAX=100 MAILMAX=lots",
            "",
        ]);
        assert!(offered.has("pipelining"));
        assert!(!offered.has("STARTTLS"));
        assert_eq!(offered.size_limit(), Some(10_240_000));
        assert_eq!(offered.auth_mechanisms(), ["PLAIN", "LOGIN", "CRAM-MD5"]);
        let limits = offered.limits();
        assert_eq!((limits.rcpt_max, limits.mail_max), (Some(100), None));
    }

    #[test]
    fn a_minimum_of_deliver_by_is_a_number() {
        for (line, minimum) in [
            ("DELIVERBY", None),
            ("DELIVERBY 60", Some(60)),
            ("DELIVERBY 0", Some(0)),
            ("DELIVERBY +60", None),
            ("DELIVERBY soon", None),
            ("DELIVERBY 1234567890", None),
        ] {
            let offered = Offered::parse([line]);
            assert_eq!(offered.deliver_by_minimum(), minimum, "{line}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE +5", "SIZE lots"] {
            assert_eq!(Offered::parse([line]).size_limit(), None, "{line}");
        }
    }
}
