//! The JUnit XML that CI systems read: a suite for each session, a case for each step.

use std::fmt::Write;

use shared::replay::{Difference, Level};

/// What is written at the end.
#[derive(Debug, Default)]
pub(super) struct Junit {
    suites: Vec<Suite>,
}

#[derive(Debug)]
struct Suite {
    session: u64,
    cases: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    name: String,
    /// Seconds.
    time: f64,
    /// Those that make the exit status 1.
    failures: Vec<String>,
}

impl Junit {
    /// Another session begins.
    pub(super) fn session(&mut self, session: u64) {
        let cases = Vec::new();
        self.suites.push(Suite { session, cases });
    }

    /// A step of the session was done; what is not at least this bad is no failure.
    pub(super) fn step(
        &mut self,
        name: String,
        took: Option<u64>,
        differences: &[Difference],
        least: Level,
    ) {
        let failed = differences.iter().filter(|one| one.level >= least);
        let failures = failed
            .map(|one| format!("{}: {} > {}", one.field, one.want, one.got))
            .collect();
        let took = std::time::Duration::from_nanos(took.unwrap_or_default());
        if let Some(suite) = self.suites.last_mut() {
            suite.cases.push(Case {
                name,
                time: took.as_secs_f64(),
                failures,
            });
        }
    }

    /// The whole document.
    pub(super) fn document(&self) -> String {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
        for suite in &self.suites {
            // Writing to a String does not fail.
            let _ = suite.write(&mut out);
        }
        out.push_str("</testsuites>\n");
        out
    }
}

impl Suite {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let failed = self.cases.iter().filter(|case| !case.failures.is_empty());
        let (count, failed, session) = (self.cases.len(), failed.count(), self.session);
        writeln!(
            out,
            "  <testsuite name=\"session {session}\" tests=\"{count}\" failures=\"{failed}\">"
        )?;
        for case in &self.cases {
            let name = xml(&case.name);
            write!(
                out,
                "    <testcase classname=\"session {session}\" name=\"{name}\" time=\"{:.6}\"",
                case.time
            )?;
            if case.failures.is_empty() {
                writeln!(out, "/>")?;
                continue;
            }
            writeln!(out, ">")?;
            for failure in &case.failures {
                writeln!(out, "      <failure message=\"{}\"/>", xml(failure))?;
            }
            writeln!(out, "    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")
    }
}

/// Text as XML has it: what a peer said is escaped first, so that no control is left.
fn xml(text: &str) -> String {
    let text = shared::escape::escape(text.as_bytes());
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_every_step() {
        let mut junit = Junit::default();
        junit.session(3);
        junit.step("step 1 QUIT".into(), Some(1_500_000), &[], Level::Fail);
        let wrong = |level| Difference {
            field: "code",
            want: "250".into(),
            got: "<\"&\u{1b}\">".into(),
            level,
        };
        let differences = [wrong(Level::Fail), wrong(Level::Warn)];
        junit.step(
            "step 2 RCPT TO:<a@b>".into(),
            None,
            &differences,
            Level::Fail,
        );
        assert_eq!(
            junit.document(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
             <testsuite name=\"session 3\" tests=\"2\" failures=\"1\">\n    \
             <testcase classname=\"session 3\" name=\"step 1 QUIT\" time=\"0.001500\"/>\n    \
             <testcase classname=\"session 3\" name=\"step 2 RCPT TO:&lt;a@b&gt;\" time=\"0.000000\">\n      \
             <failure message=\"code: 250 &gt; &lt;&quot;&amp;\\x1b&quot;&gt;\"/>\n    \
             </testcase>\n  </testsuite>\n</testsuites>\n"
        );
    }
}
