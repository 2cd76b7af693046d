//! The table of SMTP extensions, and what an EHLO reply offers.

/// One registered extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The EHLO keyword.
    pub keyword: &'static str,
    /// Where it is defined; empty for vendors' own.
    pub rfc: &'static str,
    /// What it is for.
    pub title: &'static str,
}

const fn row(keyword: &'static str, rfc: &'static str, title: &'static str) -> Extension {
    Extension {
        keyword,
        rfc,
        title,
    }
}

/// Every extension we know by name, in alphabetical order.
pub const ALL: &[Extension] = &[
    row("8BITMIME", "RFC 6152", "octets above 127 in MIME content"),
    row("AUTH", "RFC 4954", "authentication"),
    row("BINARYMIME", "RFC 3030", "content without lines, by BDAT"),
    row("CHUNKING", "RFC 3030", "BDAT: content by octet counts"),
    row("DELIVERBY", "RFC 2852", "a time by which to deliver"),
    row(
        "DSN",
        "RFC 3461",
        "delivery status notifications on request",
    ),
    row(
        "ENHANCEDSTATUSCODES",
        "RFC 2034",
        "codes such as 5.1.1 in replies",
    ),
    row("ETRN", "RFC 1985", "start of a remote queue"),
    row("EXPN", "RFC 5321", "expansion of mailing lists"),
    row(
        "FUTURERELEASE",
        "RFC 4865",
        "delivery not before a given time",
    ),
    row("HELP", "RFC 5321", "help texts"),
    row("LIMITS", "RFC 9422", "the server's limits, announced"),
    row("MT-PRIORITY", "RFC 6710", "priorities of messages"),
    row(
        "PIPELINING",
        "RFC 2920",
        "several commands before the first reply",
    ),
    row(
        "REQUIRETLS",
        "RFC 8689",
        "TLS on the whole way, or no delivery",
    ),
    row("SIZE", "RFC 1870", "the message size, declared in MAIL"),
    row("SMTPUTF8", "RFC 6531", "UTF-8 in addresses and headers"),
    row("STARTTLS", "RFC 3207", "from plain to TLS"),
    row("VRFY", "RFC 5321", "verification of mailboxes"),
    row("XCLIENT", "", "client attributes given by a trusted proxy"),
    row("XFORWARD", "", "client attributes passed on for logging"),
];

/// What an EHLO reply offers: the lines after the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered(Vec<String>);

impl Offered {
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
        self.parameters("SIZE")?
            .parse()
            .ok()
            .filter(|&size| size > 0)
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
    fn the_table_is_sorted_and_sound() {
        assert!(ALL.is_sorted_by(|a, b| a.keyword < b.keyword));
        for extension in ALL {
            assert_eq!(extension.keyword, extension.keyword.to_ascii_uppercase());
            assert!(extension.rfc.is_empty() || extension.rfc.starts_with("RFC "));
        }
    }

    #[test]
    fn offers_are_read() {
        let offered = Offered::parse([
            "PIPELINING",
            "size 10240000",
            "AUTH PLAIN LOGIN",
            "AUTH=LOGIN CRAM-MD5",
            "",
        ]);
        assert!(offered.has("pipelining"));
        assert!(!offered.has("STARTTLS"));
        assert_eq!(offered.size_limit(), Some(10_240_000));
        assert_eq!(offered.auth_mechanisms(), ["PLAIN", "LOGIN", "CRAM-MD5"]);
    }
}
