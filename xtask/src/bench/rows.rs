//! The rows: what is measured, against whom, and what it should come to.

use anyhow::Result;

use super::contest::{Figures, Scene};
use super::{Setting, contest, idle, recorder};

/// One row.
pub(super) struct Row {
    /// How it is asked for: as the list of budgets calls it, where it is there.
    pub(super) id: &'static str,
    /// What is measured.
    pub(super) title: &'static str,
    /// What it should come to.
    pub(super) budget: Budget,
    pub(super) kind: Kind,
}

/// How a row is measured.
pub(super) enum Kind {
    /// Our sink and a peer's, turn by turn.
    Contest(Scene),
    /// In a way of its own.
    Own(Own),
}

/// A way of its own to measure.
pub(super) struct Own {
    /// What ours is compared to; empty if it has a limit instead.
    pub(super) peer: &'static str,
    pub(super) unit: &'static str,
    pub(super) measure: Measure,
}

type Measure = fn(&Setting) -> Result<Figures>;

/// What a row should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// Ours divided by the peer's is at least this: a rate.
    AtLeast(f64),
    /// Ours divided by the peer's is at most this: a cost.
    AtMost(f64),
    /// At most this in itself.
    Limit(f64),
    /// It is for information.
    None,
}

/// A program that takes mail and keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// `helo-server sink`.
    Ours,
    /// The same, with every message appended to a file.
    OursStoring,
    /// Postfix's.
    Postfix,
    /// Python's, with its handler that keeps nothing.
    Aiosmtpd,
}

/// A client that sends as fast as it can, over sessions that stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Postfix's, which waits for each reply.
    Postfix,
    /// Ours of `load`, waiting for each reply.
    LockStep,
    /// Ours of `load`, with what may be sent together sent together (RFC 2920).
    Pipelining,
}

/// Which processors the two sides may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pins {
    /// Any.
    Free,
    /// One and the same: what the one uses, the other has not.
    Same,
    /// One each.
    Split,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    /// Processor time of the sink for a message.
    Cpu,
    /// Messages a second.
    Rate,
    /// Octets a second.
    Throughput,
    /// Memory of the sink, resident at most.
    Memory,
}

/// Messages of a kibibyte from ten sessions, against smtp-sink.
const USUAL: Scene = Scene {
    ours: Sink::Ours,
    peer: Sink::Postfix,
    source: Source::Postfix,
    sessions: 10,
    size: 1024,
    pins: Pins::Free,
    metric: Metric::Rate,
};

/// All rows.
pub(super) const ALL: &[Row] = &[
    Row {
        id: "S1",
        title: "sink under smtp-source, 10 sessions: CPU of a message",
        budget: Budget::AtMost(0.85),
        kind: Kind::Contest(Scene {
            pins: Pins::Same,
            metric: Metric::Cpu,
            ..USUAL
        }),
    },
    Row {
        id: "S2",
        title: "sink under smtp-source, 10 sessions: rate",
        budget: Budget::AtLeast(1.0),
        kind: Kind::Contest(USUAL),
    },
    Row {
        id: "S3",
        title: "sink, 1000 sessions that wait for each reply: rate",
        budget: Budget::AtLeast(1.7),
        kind: Kind::Contest(Scene {
            source: Source::LockStep,
            sessions: 1000,
            pins: Pins::Split,
            ..USUAL
        }),
    },
    Row {
        id: "S4",
        title: "sink, 1000 sessions: memory",
        budget: Budget::AtMost(1.0 / 32.0),
        kind: Kind::Contest(Scene {
            source: Source::LockStep,
            sessions: 1000,
            metric: Metric::Memory,
            ..USUAL
        }),
    },
    Row {
        id: "S5",
        title: "sink under a client with PIPELINING, 10 sessions: rate",
        budget: Budget::AtLeast(2.0),
        kind: Kind::Contest(Scene {
            source: Source::Pipelining,
            pins: Pins::Split,
            ..USUAL
        }),
    },
    Row {
        id: "S6",
        title: "sink, 10 MB messages, 4 sessions: throughput",
        budget: Budget::AtLeast(12.0),
        kind: Kind::Contest(Scene {
            source: Source::LockStep,
            sessions: 4,
            size: 10_000_000,
            pins: Pins::Split,
            metric: Metric::Throughput,
            ..USUAL
        }),
    },
    Row {
        id: "S13",
        title: "sink under smtp-source, 10 sessions: CPU of a message",
        budget: Budget::AtMost(1.0 / 14.0),
        kind: Kind::Contest(Scene {
            peer: Sink::Aiosmtpd,
            pins: Pins::Same,
            metric: Metric::Cpu,
            ..USUAL
        }),
    },
    Row {
        id: "S14",
        title: "sink that appends each message to a file, smtp-sink keeping none: rate",
        budget: Budget::AtLeast(1.0),
        kind: Kind::Contest(Scene {
            ours: Sink::OursStoring,
            ..USUAL
        }),
    },
    Row {
        id: "S34",
        title: "sink with 10 000 idle sessions: memory",
        budget: Budget::Limit(80.0),
        kind: Kind::Own(Own {
            peer: "",
            unit: "MiB",
            measure: idle::sink,
        }),
    },
    Row {
        id: "run-idle",
        title: "helo-server run with 10 000 idle sessions: memory",
        budget: Budget::Limit(286.0),
        kind: Kind::Own(Own {
            peer: "",
            unit: "MiB",
            measure: idle::run,
        }),
    },
    recorder(
        "recorder-buffered",
        "a round trip through helo-recorder --durability buffered",
        |setting| recorder::round_trips(setting, "buffered"),
    ),
    recorder(
        "recorder-written",
        "a round trip through helo-recorder --durability written",
        |setting| recorder::round_trips(setting, "written"),
    ),
    recorder(
        "recorder-synced",
        "a round trip through helo-recorder --durability synced",
        |setting| recorder::round_trips(setting, "synced"),
    ),
    recorder(
        "recorder-message",
        "a message of 4 KiB through helo-recorder --durability written",
        |setting| recorder::messages(setting, "written"),
    ),
];

/// What the recorder costs, compared with the same client and server without it.
const fn recorder(id: &'static str, title: &'static str, measure: Measure) -> Row {
    Row {
        id,
        title,
        budget: Budget::None,
        kind: Kind::Own(Own {
            peer: "direct",
            unit: "us",
            measure,
        }),
    }
}

impl Row {
    /// The program it is measured against; empty if there is none.
    pub(super) fn peer(&self) -> &'static str {
        match &self.kind {
            Kind::Contest(scene) => scene.peer.name(),
            Kind::Own(own) => own.peer,
        }
    }

    /// Of its figures.
    pub(super) fn unit(&self) -> &'static str {
        match &self.kind {
            Kind::Contest(scene) => scene.metric.unit(),
            Kind::Own(own) => own.unit,
        }
    }

    /// Measures it.
    pub(super) fn measure(&self, setting: &Setting) -> Result<Figures> {
        match &self.kind {
            Kind::Contest(scene) => contest::hold(setting, scene),
            Kind::Own(own) => (own.measure)(setting),
        }
    }
}

impl Sink {
    /// As people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours | Self::OursStoring => "helo-server sink",
            Self::Postfix => "smtp-sink",
            Self::Aiosmtpd => "aiosmtpd",
        }
    }
}

impl Metric {
    const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "us",
            Self::Rate => "msg/s",
            Self::Throughput => "MB/s",
            Self::Memory => "MiB",
        }
    }
}
