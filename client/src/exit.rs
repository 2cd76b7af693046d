//! The exit statuses: one table.

use std::process::ExitCode;

/// What a phase of a transaction is called in an exit status of two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the greeting.
    Greeting = 1,
    /// EHLO or HELO.
    Hello = 2,
    /// MAIL.
    Mail = 3,
    /// RCPT.
    Rcpt = 4,
    /// DATA or BDAT.
    Data = 5,
    /// The end of the data.
    EndOfData = 6,
    /// QUIT.
    Quit = 7,
    /// STARTTLS, or the handshake.
    Tls = 9,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0: as asked.
    AsAsked,
    /// 1: the answer is no.
    No,
    /// 2: usage or configuration.
    Usage,
    /// 3: no verdict.
    NoVerdict,
    /// 4: the input cannot be used.
    Input,
    /// 5: refused by a safety rule of ours.
    Unsafe,
    /// 6: output or recording could not be written.
    Output,
    /// 8: some recipients accepted, some refused.
    Mixed,
    /// 2P: refused for good.
    Permanent(Phase),
    /// 4P: refused for now.
    Transient(Phase),
    /// 6P: no answer in time.
    TimedOut(Phase),
    /// 7P: closed by the peer.
    Closed(Phase),
    /// 9P: not SMTP.
    NotSmtp(Phase),
}

impl Status {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::AsAsked => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NoVerdict => 3,
            Self::Input => 4,
            Self::Unsafe => 5,
            Self::Output => 6,
            Self::Mixed => 8,
            Self::Permanent(phase) => 20 + phase as u8,
            Self::Transient(phase) => 40 + phase as u8,
            Self::TimedOut(phase) => 60 + phase as u8,
            Self::Closed(phase) => 70 + phase as u8,
            Self::NotSmtp(phase) => 90 + phase as u8,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why the program ends otherwise than asked.
#[derive(Debug)]
pub struct Failure {
    /// The status that says so.
    pub status: Status,
    /// Why.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with that status.
    pub fn new(status: Status, error: impl Into<anyhow::Error>) -> Self {
        Self {
            status,
            error: error.into(),
        }
    }

    /// For `map_err`.
    pub fn with<E: Into<anyhow::Error>>(status: Status) -> impl FnOnce(E) -> Self {
        move |error| Self::new(status, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        for (status, code) in [
            (Status::AsAsked, 0),
            (Status::Permanent(Phase::Rcpt), 24),
            (Status::Transient(Phase::EndOfData), 46),
            (Status::TimedOut(Phase::Greeting), 61),
            (Status::Closed(Phase::Data), 75),
            (Status::NotSmtp(Phase::Tls), 99),
        ] {
            assert_eq!(status.code(), code);
        }
    }
}
