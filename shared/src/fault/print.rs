//! Rules as they are written: what is printed is read again as the same rule.

use std::fmt;

use super::action::{Action, Hello, Version};
use super::condition::{Condition, Test};
use super::rule::{Chance, Count, Rule, Stage, When, Which};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {}", self.when)?;
        for (index, condition) in self.conditions.iter().enumerate() {
            let word = if index == 0 { "if" } else { "and" };
            write!(f, " {word} {condition}")?;
        }
        if let Some(count) = &self.count {
            write!(f, " {count}")?;
        }
        f.write_str(" : ")?;
        for (index, action) in self.actions.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{action}")?;
        }
        Ok(())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            let between = if index == 0 { "" } else { "|" };
            write!(f, "{between}{stage}")?;
        }
        match &self.listener {
            Some(listener) => write!(f, " @{}", Quoted(listener.as_bytes())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyByte(count) | Self::BodyLine(count) => write!(f, "{}({count})", self.name()),
            Self::Idle(period) => write!(f, "idle({period})"),
            _ => f.write_str(self.name()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("not ")?;
        }
        let yes = |is: &bool| if *is { "yes" } else { "no" };
        match &self.test {
            Test::Client(network) => write!(f, "client in {network}"),
            Test::Matches(field, pattern) => {
                write!(f, "{} ~ {}", field.name(), Re(pattern.text()))
            }
            Test::Header(name, pattern) => write!(f, "header {name} ~ {}", Re(pattern.text())),
            Test::Body(pattern) => write!(f, "body ~ {}", Re(pattern.text())),
            Test::Size(most) => write!(f, "size > {most}"),
            Test::Recipients(most) => write!(f, "rcpts > {most}"),
            Test::Open(most) => write!(f, "open > {most}"),
            Test::Tls(is) => write!(f, "tls {}", yes(is)),
            Test::Auth(is) => write!(f, "auth {}", yes(is)),
            Test::Session(number) => write!(f, "session = {number}"),
            Test::Transaction(number) => write!(f, "transaction = {number}"),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.which {
            Which::First(count) => write!(f, "first {count}"),
            Which::Nth(count) => write!(f, "nth {count}"),
            Which::After(count) => write!(f, "after {count}"),
            Which::Every(count) => write!(f, "every {count}"),
            Which::Chance(chance) => write!(f, "prob {chance}"),
        }?;
        if let Some(key) = self.per {
            write!(f, " per {}", key.name())?;
        }
        if let Some(within) = self.within {
            write!(f, " within {within}")?;
        }
        if let Some(lasts) = self.lasts {
            write!(f, " for {lasts}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millionths = self.get();
        if millionths == Self::CERTAIN {
            return f.write_str("1");
        }
        let digits = format!("0.{millionths:06}");
        let digits = digits.trim_end_matches('0');
        f.write_str(digits.strip_suffix('.').unwrap_or(digits))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Reply { code, status, text } => {
                write!(f, " {code}")?;
                if let Some(status) = status {
                    write!(f, " {status}")?;
                }
                match text {
                    Some(text) => write!(f, " {}", Quoted(text.as_bytes())),
                    None => Ok(()),
                }
            }
            Self::ReplyLines(text) | Self::Advertise(text) | Self::Label(text) => {
                write!(f, " {}", Quoted(text.as_bytes()))
            }
            Self::ReplyRaw(octets) | Self::InjectBeforeTls(octets) => {
                write!(f, " {}", Quoted(octets))
            }
            Self::ReplySplit { at, pause } if pause.is_zero() => write!(f, " {at}"),
            Self::ReplySplit { at, pause } => write!(f, " {at} {pause}"),
            Self::ReplyTruncate(count) | Self::Garbage(count) => write!(f, " {count}"),
            Self::Delay { least, most } if least == most => write!(f, " {least}"),
            Self::Delay { least, most } => write!(f, " {least}..{most}"),
            Self::Drip { octets, every } => write!(f, " {octets}/{every}"),
            Self::ThrottleIn(rate) | Self::ThrottleOut(rate) => write!(f, " {rate}/s"),
            Self::StallRead(period) | Self::Shutdown(period) => write!(f, " {period}"),
            Self::Hide(keyword) => write!(f, " {keyword}"),
            Self::Tag(name) => write!(f, " {name}"),
            Self::TlsCert(profile) => write!(f, " {}", profile.name()),
            Self::TlsAlert(alert) => write!(f, " {}", alert.name()),
            Self::TlsCloseAfter(Hello::Client) => f.write_str(" client-hello"),
            Self::TlsCloseAfter(Hello::Server) => f.write_str(" server-hello"),
            Self::TlsVersion(Version::V12) => f.write_str(" 1.2"),
            Self::TlsVersion(Version::V13) => f.write_str(" 1.3"),
            Self::ReplyTwice
            | Self::Accept
            | Self::Defer
            | Self::Reject
            | Self::Discard
            | Self::Keep
            | Self::Hang
            | Self::Close
            | Self::Reset
            | Self::HalfClose
            | Self::NoReply
            | Self::EarlyReply
            | Self::TlsHang
            | Self::Capture => Ok(()),
        }
    }
}

/// Octets between quotes.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for &octet in self.0 {
            match octet {
                b'"' => f.write_str("\\\""),
                b'\\' => f.write_str("\\\\"),
                b'\r' => f.write_str("\\r"),
                b'\n' => f.write_str("\\n"),
                b'\t' => f.write_str("\\t"),
                0x20..=0x7e => write!(f, "{}", char::from(octet)),
                octet => write!(f, "\\x{octet:02x}"),
            }?;
        }
        f.write_str("\"")
    }
}

/// A regular expression between quotes.
struct Re<'a>(&'a str);

impl fmt::Display for Re<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = false;
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' && !escaped {
                f.write_str("\\")?;
            }
            escaped = c == '\\' && !escaped;
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
