//! Numbers for Prometheus.
//!
//! They are an array for each metric, and not the `metrics` crates: those have one
//! registry for the whole process, which two servers in one test would share, and keep
//! every sample of a histogram until somebody asks for it. Here each label has a fixed
//! set of values, none of them from the wire, so that no client can make them grow, and
//! counting is one addition.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use shared::direction::Direction;
use shared::recording::TlsLine;
use shared::reply::ReplyCode;
use shared::stage::Step;

use super::sessions::Ended;
use super::{Limit, Tally};

/// Who ends a session, and how; others count as the last one.
const ENDINGS: [(&str, &str); 6] = [
    ("client", "fin"),
    ("client", "rst"),
    ("server", "fin"),
    ("server", "rst"),
    ("timeout", "fin"),
    ("crash", "rst"),
];

/// What a reply answers.
const STAGES: [&str; 15] = [
    "greeting",
    "hello",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "end-of-data",
    "bdat",
    "rset",
    "quit",
    "xclient",
    "xforward",
    "other",
    "nothing",
];

/// Versions of TLS, and handshakes that came to none.
const TLS: [&str; 4] = ["1.2", "1.3", "other", "failed"];

/// Reply codes, from 200 (RFC 5321 §4.2).
const CODES: usize = 400;

/// Upper bounds of a latency, in microseconds, and as they are written in seconds.
const BUCKETS: [(u64, &str); 14] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
    (300_000_000, "300"),
];

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    ended: [AtomicU64; ENDINGS.len()],
    stages: [OfStage; STAGES.len()],
    /// From the client, from the server.
    octets: [AtomicU64; 2],
    /// Kept, refused.
    messages: [AtomicU64; 2],
    tls: [AtomicU64; TLS.len()],
    limits: [AtomicU64; Limit::ALL.len()],
}

/// The replies of one stage.
#[derive(Debug)]
struct OfStage {
    codes: Box<[AtomicU64]>,
    /// How many took no longer than that; the last one has all others.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Default for OfStage {
    fn default() -> Self {
        Self {
            codes: (0..CODES).map(|_| AtomicU64::default()).collect(),
            buckets: Default::default(),
            nanos: AtomicU64::default(),
        }
    }
}

fn add(counters: &[AtomicU64], at: usize, count: u64) {
    if let Some(counter) = counters.get(at) {
        counter.fetch_add(count, Relaxed);
    }
}

impl Metrics {
    pub(super) fn ended(&self, ended: Ended) {
        let known = ENDINGS.iter().position(|&one| one == (ended.by, ended.how));
        add(&self.ended, known.unwrap_or(ENDINGS.len() - 1), 1);
    }

    pub(super) fn passed(&self, direction: Direction, octets: u64) {
        add(&self.octets, direction.index(), octets);
    }

    pub(super) fn kept(&self) {
        add(&self.messages, 0, 1);
    }

    pub(super) fn refused(&self) {
        add(&self.messages, 1, 1);
    }

    pub(super) fn tripped(&self, limit: Limit) {
        add(&self.limits, limit as usize, 1);
    }

    pub(super) fn shook_hands(&self, tls: &TlsLine) {
        let at = match tls.version.as_deref() {
            _ if !tls.ok => 3,
            Some("1.2") => 0,
            Some("1.3") => 1,
            _ => 2,
        };
        add(&self.tls, at, 1);
    }

    /// Counts a reply, to what it answers, and the nanoseconds it took.
    pub(super) fn replied(&self, step: Option<Step>, code: ReplyCode, took: Option<u64>) {
        let Some(stage) = self.stages.get(stage(step)) else {
            return;
        };
        let code = usize::from(code.number());
        add(&stage.codes, code.saturating_sub(200).min(CODES - 1), 1);
        if let Some(nanos) = took {
            let micros = nanos.div_ceil(1000);
            let at = BUCKETS.partition_point(|(bound, _)| *bound < micros);
            add(&stage.buckets, at, 1);
            stage.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// In the text format (version 0.0.4).
    pub(super) fn render(&self, tally: &Tally) -> String {
        let mut page = Page::default();
        page.metric("build_info", "gauge", "The version of the server");
        page.value(&[("version", env!("CARGO_PKG_VERSION"))], "", 1);
        page.metric("sessions_open", "gauge", "Sessions under way");
        page.value(&[], "", tally.open);
        page.metric(
            "sessions_total",
            "counter",
            "Sessions that ended, by whom and how",
        );
        for (&(by, how), counter) in ENDINGS.iter().zip(&self.ended) {
            page.value(&[("by", by), ("how", how)], "", counter.load(Relaxed));
        }
        page.metric(
            "octets_total",
            "counter",
            "Octets above TLS, from clients and to them",
        );
        for (direction, counter) in ["in", "out"].iter().zip(&self.octets) {
            page.value(&[("direction", direction)], "", counter.load(Relaxed));
        }
        page.metric("messages_total", "counter", "Messages that were heard out");
        for (verdict, counter) in ["kept", "refused"].iter().zip(&self.messages) {
            page.value(&[("verdict", verdict)], "", counter.load(Relaxed));
        }
        page.metric(
            "tls_handshakes_total",
            "counter",
            "TLS handshakes by what came of them",
        );
        for (version, counter) in TLS.iter().zip(&self.tls) {
            page.value(&[("version", version)], "", counter.load(Relaxed));
        }
        page.metric(
            "limit_trips_total",
            "counter",
            "Limits that clients met, by their option",
        );
        for (limit, counter) in Limit::ALL.iter().zip(&self.limits) {
            page.value(&[("limit", limit.option())], "", counter.load(Relaxed));
        }
        self.render_replies(&mut page);
        page.text
    }

    fn render_replies(&self, page: &mut Page) {
        page.metric(
            "replies_total",
            "counter",
            "Replies by code and what they answer",
        );
        for (stage, of_stage) in STAGES.iter().zip(&self.stages) {
            for (code, counter) in (200..).zip(&of_stage.codes) {
                let count = counter.load(Relaxed);
                if count > 0 {
                    let code: u16 = code;
                    page.value(&[("stage", stage), ("code", &code.to_string())], "", count);
                }
            }
        }
        page.metric(
            "reply_seconds",
            "histogram",
            "From what is answered to the reply",
        );
        for (stage, of_stage) in STAGES.iter().zip(&self.stages) {
            of_stage.render(page, stage);
        }
    }
}

impl OfStage {
    fn render(&self, page: &mut Page, stage: &str) {
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound);
        for (bound, counter) in bounds.chain(["+Inf"]).zip(&self.buckets) {
            count += counter.load(Relaxed);
            page.value(&[("stage", stage), ("le", bound)], "_bucket", count);
        }
        let sum = Duration::from_nanos(self.nanos.load(Relaxed));
        page.value(&[("stage", stage)], "_sum", sum.as_secs_f64());
        page.value(&[("stage", stage)], "_count", count);
    }
}

/// Which of the stages a reply belongs to.
const fn stage(step: Option<Step>) -> usize {
    match step {
        Some(Step::Greeting) => 0,
        Some(Step::Hello { .. }) => 1,
        Some(Step::StartTls) => 2,
        Some(Step::Auth) => 3,
        Some(Step::Mail) => 4,
        Some(Step::Rcpt) => 5,
        Some(Step::Data) => 6,
        Some(Step::EndOfData) => 7,
        Some(Step::Bdat { .. }) => 8,
        Some(Step::Reset) => 9,
        Some(Step::Quit) => 10,
        Some(Step::Xclient) => 11,
        Some(Step::Xforward) => 12,
        Some(Step::Other) => 13,
        None => 14,
    }
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    text: String,
    metric: &'static str,
}

impl Page {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.metric = name;
        let _ = writeln!(
            self.text,
            "# HELP helo_{name} {help}.\n# TYPE helo_{name} {kind}"
        );
    }

    /// No label has a character that would have to be escaped.
    fn value(&mut self, labels: &[(&str, &str)], suffix: &str, value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = match &labels[..] {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let _ = writeln!(self.text, "helo_{}{suffix}{labels} {value}", self.metric);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_name_of_its_own() {
        let hello = Step::Hello { lmtp: true };
        let bdat = Step::Bdat { last: false };
        let steps = [
            Some(Step::Greeting),
            Some(hello),
            Some(Step::StartTls),
            Some(Step::Auth),
            Some(Step::Mail),
            Some(Step::Rcpt),
            Some(Step::Data),
            Some(Step::EndOfData),
            Some(bdat),
            Some(Step::Reset),
            Some(Step::Quit),
            Some(Step::Xclient),
            Some(Step::Xforward),
            Some(Step::Other),
            None,
        ];
        for (index, step) in steps.into_iter().enumerate() {
            assert_eq!(stage(step), index, "{step:?}");
        }
        assert_eq!(steps.len(), STAGES.len());
    }

    #[test]
    fn latencies_are_counted_in_all_buckets_that_hold_them() {
        let metrics = Metrics::default();
        let code = ReplyCode::new(250).unwrap();
        for nanos in [1, 100_000, 100_001, 400_000_000_000] {
            metrics.replied(Some(Step::Rcpt), code, Some(nanos));
        }
        let text = metrics.render(&Tally::default());
        for wanted in [
            "helo_replies_total{stage=\"rcpt\",code=\"250\"} 4\n",
            "helo_reply_seconds_bucket{stage=\"rcpt\",le=\"0.0001\"} 2\n",
            "helo_reply_seconds_bucket{stage=\"rcpt\",le=\"0.00025\"} 3\n",
            "helo_reply_seconds_bucket{stage=\"rcpt\",le=\"300\"} 3\n",
            "helo_reply_seconds_bucket{stage=\"rcpt\",le=\"+Inf\"} 4\n",
            "helo_reply_seconds_count{stage=\"rcpt\"} 4\n",
            "helo_reply_seconds_sum{stage=\"rcpt\"} 400.000200002\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
    }
}
