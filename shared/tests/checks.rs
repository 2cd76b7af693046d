//! Every check against recordings that must get opposite verdicts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

mod support;

use std::collections::BTreeSet;

use helo_shared::check::{
    ALL, BASELINE, Facts, LegKind, On, Severity, Special, Step, Stop, Verdict, named, plan,
};
use support::{Control, files};

/// Checks whose worst verdict is not fail, and why.
const MILD: &[(&str, Verdict, &str)] = &[
    (
        "auth-port25",
        Verdict::Info,
        "a surface for guessing, not a fault",
    ),
    (
        "enum-rcpt",
        Verdict::Info,
        "telling users apart at RCPT is right",
    ),
    ("helo-name", Verdict::Warn, "policies differ"),
    ("helo-own-name", Verdict::Warn, "policies differ"),
    ("helo-required", Verdict::Warn, "policies differ"),
    ("info-version", Verdict::Warn, "a version is no hole"),
    (
        "leg-masked",
        Verdict::Warn,
        "a hidden address is a danger, not yet a relay",
    ),
    (
        "proto-http",
        Verdict::Warn,
        "what is gone along with is not yet abused",
    ),
    (
        "proto-octets",
        Verdict::Warn,
        "only what arrives of it shows harm",
    ),
    ("rcpt-abuse", Verdict::Warn, "RFC 2142 recommends"),
    ("sender-domain", Verdict::Warn, "policies differ"),
    ("sender-own-domain", Verdict::Warn, "policies differ"),
    ("rcpt-plus", Verdict::Info, "sub-addressing is a choice"),
    (
        "rcpt-quoted",
        Verdict::Warn,
        "nobody's mailbox needs quotes",
    ),
];

fn worst(check: &str) -> Verdict {
    let mild = MILD.iter().find(|(id, ..)| *id == check);
    mild.map_or(Verdict::Fail, |(_, verdict, _)| *verdict)
}

#[test]
fn controls_get_their_verdicts() {
    let controls: Vec<Control> = files("control")
        .iter()
        .map(|path| Control::read(path))
        .collect();
    let wrong: Vec<String> = controls.iter().flat_map(Control::differences).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for control in &controls {
        assert!(!control.expected.is_empty(), "{}", control.path.display());
    }
}

#[test]
fn whole_recordings_get_their_verdicts() {
    let wrong: Vec<String> = files("judge")
        .iter()
        .flat_map(|path| Control::read(path).differences())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_control_that_passes_and_one_that_does_not() {
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for path in files("control") {
        let folder = path.parent().unwrap().file_name().unwrap();
        let check = folder.to_string_lossy().into_owned();
        assert!(named(&check).is_some(), "{check} is no check");
        let control = Control::read(&path);
        let verdicts = control
            .expected
            .iter()
            .map(|expected| expected.verdict.clone());
        seen.extend(verdicts.map(|verdict| (check.clone(), verdict)));
    }
    for check in ALL {
        let good = if worst(check.id) == Verdict::Info {
            "info"
        } else {
            "pass"
        };
        for verdict in [good, worst(check.id).name()] {
            let pair = (check.id.to_owned(), verdict.to_owned());
            assert!(
                seen.contains(&pair),
                "{} has no control that gets {verdict}",
                check.id
            );
        }
    }
}

#[test]
fn the_table_is_sound() {
    let ids: BTreeSet<&str> = ALL.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), ALL.len(), "ids are unique");
    assert!(!ids.contains(BASELINE));
    for check in ALL {
        let id = check.id;
        assert!(check.question.ends_with('?'), "{id}");
        assert!(!check.references.is_empty(), "{id}");
        assert!(
            id.bytes()
                .all(|octet| octet == b'-' || octet.is_ascii_lowercase() || octet.is_ascii_digit()),
            "{id}"
        );
        assert_ne!(
            check.on(LegKind::Remote),
            On::Skip,
            "{id} asks strangers nothing"
        );
        assert_eq!(check.on(LegKind::Remote), check.on(LegKind::OwnAddress));
        for (mta, cure) in check.cures {
            assert!(
                !cure.is_empty() && !cure.ends_with('.'),
                "{id} {}",
                mta.name()
            );
        }
        if id.starts_with("relay-") {
            assert_eq!(check.severity, Severity::Critical, "{id}");
            assert!(
                !matches!(check.on(LegKind::Localhost), On::Judged(_)),
                "{id}"
            );
        }
    }
    for (id, ..) in MILD {
        assert!(named(id).is_some(), "{id}");
    }
}

fn facts() -> Facts {
    let control = Control::read(&files("control/relay-plain")[0]);
    Facts {
        server_name: Some("mx.example.net".into()),
        server_ip: Some("192.0.2.25".parse().unwrap()),
        ..control.facts
    }
}

#[test]
fn a_plan_begins_with_the_delivery_and_ends_with_the_baseline() {
    let offered = ["STARTTLS".to_owned(), "DSN".to_owned()];
    for kind in LegKind::ALL {
        let scripts = plan(kind, &facts(), &offered);
        let first = scripts
            .iter()
            .find(|script| !script.check.starts_with("conn-"));
        assert_eq!(first.unwrap().check, "deliver-self", "{}", kind.name());
        assert_eq!(scripts.last().unwrap().check, BASELINE, "{}", kind.name());
        let cases: BTreeSet<_> = scripts
            .iter()
            .filter(|script| script.check != BASELINE)
            .map(|script| (script.check, script.case))
            .collect();
        let baselines = scripts
            .iter()
            .filter(|script| script.check == BASELINE)
            .count();
        assert_eq!(cases.len() + baselines, scripts.len(), "cases are unique");
        for script in &scripts {
            assert!(named(script.check).is_some() || script.check == BASELINE);
            assert_eq!(script.steps.last(), Some(&Step::Quit), "{}", script.check);
        }
    }
}

#[test]
fn the_relay_is_only_asked_of_strangers() {
    let count = |kind| {
        let scripts = plan(kind, &facts(), &[]);
        scripts
            .iter()
            .filter(|script| script.check.starts_with("relay-"))
            .count()
    };
    assert_eq!(count(LegKind::Localhost), 1);
    assert!(count(LegKind::Remote) > 40);
    assert_eq!(count(LegKind::Remote), count(LegKind::OwnAddress));
}

#[test]
fn content_goes_to_the_local_mailbox_only() {
    for kind in LegKind::ALL {
        let scripts = plan(kind, &facts(), &["STARTTLS".to_owned()]);
        let messages = scripts.iter().flat_map(|script| &script.steps);
        for step in messages {
            match step {
                Step::Message { to, .. } => assert_eq!(to, "anna@example.net"),
                Step::Special(Special { to, .. }) => assert_eq!(to, "anna@example.net"),
                _ => {}
            }
        }
        // What is sent after a DATA that should be refused must reach nobody.
        for script in &scripts {
            let mut named = false;
            for step in &script.steps {
                match step {
                    Step::Octets { octets, .. } if octets.starts_with(b"BDAT") => {
                        // A message to the local mailbox is under way.
                        assert_eq!(script.stop, Stop::SelfMessage);
                        named = false;
                    }
                    Step::Line { line, .. } if line == "DATA" => {
                        assert!(!named, "{}/{}", script.check, script.case);
                    }
                    Step::Line { line, .. } if line.starts_with("RCPT") => {
                        named = line != "RCPT TO:<>";
                    }
                    Step::Ehlo(_) | Step::Message { .. } => named = false,
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn missing_facts_leave_questions_out() {
    let scripts = plan(LegKind::Remote, &Facts::default(), &[]);
    let checks: BTreeSet<&str> = scripts.iter().map(|script| script.check).collect();
    assert_eq!(
        checks,
        BTreeSet::from([
            "auth-mechs",
            "auth-plaintext-offer",
            "auth-port25",
            "cmd-privileged",
            "conn-ehlo",
            "info-version",
            "proto-http",
            "proto-octets",
            "tls-offered"
        ])
    );
}

#[test]
fn scripts_are_found_again_by_what_they_say() {
    for script in plan(LegKind::Remote, &facts(), &["DSN".to_owned()]) {
        if !script.check.starts_with("relay-") {
            continue;
        }
        let text = format!("S: 220 mx.example.net\n{}", answered(&script.steps));
        let transcript: helo_shared::recording::Transcript = text.parse().unwrap();
        let recording = transcript
            .record("192.0.2.7:40000", "192.0.2.25:25")
            .unwrap();
        let report = helo_shared::check::judge(&recording.dialogues(), &facts(), &[]);
        let asked: Vec<&str> = report
            .rows
            .iter()
            .filter(|row| row.id.starts_with("relay-") && row.verdict != Verdict::Skip)
            .map(|row| row.id)
            .collect();
        assert_eq!(asked, [script.check], "{}", script.transcript());
    }
}

/// The steps of a script, all accepted, as a transcript without labels.
fn answered(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Line {
                when: helo_shared::check::When::Refused,
                ..
            } => {}
            Step::Ehlo(_) => {
                text.push_str(&step.transcript());
                text.push_str("\nS: 250 mx.example.net\n");
            }
            _ => {
                // A backslash in a line is written twice in a transcript.
                text.push_str(&step.transcript().replace('\\', "\\\\"));
                text.push_str("\nS: 250 ok\n");
            }
        }
    }
    text
}

#[test]
fn a_report_is_data() {
    let control = Control::read(&files("control/relay-plain")[0]);
    let report = control.judge();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["rows"].as_array().unwrap().len(), ALL.len());
    assert_eq!(json["legs"][0]["kind"], "remote");
    let totals = report.totals;
    let cells = report
        .rows
        .iter()
        .flat_map(|row| row.cells.iter().flatten())
        .count();
    let counted = [
        totals.fail,
        totals.warn,
        totals.inconclusive,
        totals.pass,
        totals.info,
        totals.skip,
    ];
    assert_eq!(counted.iter().sum::<usize>(), cells);
}
