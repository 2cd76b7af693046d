//! The limits that a client can meet, each of them counted.

use driver::serve::Due;

/// Makes the type, the list of all and the names of one table: what is in one of them
/// is in all.
macro_rules! limits {
    ($($limit:ident = $option:literal,)*) => {
        /// A limit that a client can meet, by its option.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $(
                #[doc = concat!("`--", $option, "`.")]
                $limit,
            )*
        }

        impl Limit {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$limit),*];

            /// The option, without its hyphens.
            pub const fn option(self) -> &'static str {
                match self {
                    $(Self::$limit => $option,)*
                }
            }
        }
    };
}

limits! {
    AuthFailures = "max-auth-failures",
    ConnectionRate = "max-connection-rate",
    Connections = "max-connections",
    ConnectionsPerClient = "max-connections-per-client",
    Errors = "max-errors",
    Header = "max-header",
    Junk = "max-junk",
    Line = "max-line",
    Memory = "max-memory",
    Messages = "max-messages",
    Received = "max-received",
    Recipients = "max-recipients",
    Size = "max-size",
    MinFree = "min-free",
    Rate = "min-rate",
    TimeoutCommand = "timeout-command",
    TimeoutProxy = "timeout-proxy",
    TimeoutSession = "timeout-session",
    TimeoutTls = "timeout-tls",
}

impl From<Due> for Limit {
    fn from(due: Due) -> Self {
        match due {
            Due::Silence | Due::Idle(_) => Self::TimeoutCommand,
            Due::Session => Self::TimeoutSession,
            Due::Pace => Self::Rate,
            Due::Handshake => Self::TimeoutTls,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::config;

    /// Options beside the limits that are none that a client meets.
    const OTHERS: [&str; 5] = [
        "auth-delay",
        "greet-pause",
        "min-rate-over",
        "spill",
        // Of the server's own end, after which nobody asks for numbers.
        "timeout-drain",
    ];

    #[test]
    fn every_option_that_is_a_limit_is_counted() {
        let command = config::Limits::augment_args(clap::Command::new("limits"));
        let options = command.get_arguments().filter_map(|one| one.get_long());
        let limits = options.filter(|option| !OTHERS.contains(option));
        let mut limits: Vec<&str> = limits.collect();
        limits.sort_unstable();
        let counted: Vec<&str> = Limit::ALL.iter().map(|limit| limit.option()).collect();
        assert_eq!(counted, limits);
    }
}
