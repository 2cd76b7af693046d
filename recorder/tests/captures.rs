//! Captures of which the truth is known are read as they should be.
//!
//! Beside each capture `NAME` of `tests/captures` lies `NAME.json`, which says what a
//! correct import finds. `HELO_CAPTURES` names another folder of that kind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says why"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::run;

#[test]
fn every_capture_is_read_as_it_should_be() {
    let (mut agree, mut differ) = (0, Vec::new());
    for truth in truths() {
        let name = truth.file_stem().unwrap().to_string_lossy().into_owned();
        let found = compare(&truth);
        if found.is_empty() {
            agree += 1;
        } else {
            differ.push(format!("{name}\n    {}", found.join("\n    ")));
        }
    }
    println!("captures: {agree} agree, {} do not", differ.len());
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(agree > 0, "there are no captures");
}

fn folder() -> PathBuf {
    std::env::var_os("HELO_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures"),
        PathBuf::from,
    )
}

fn truths() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| path.with_extension("").exists())
        .collect();
    found.sort();
    found
}

/// How an import differs from the truth.
fn compare(truth: &Path) -> Vec<String> {
    let expected: Value = serde_json::from_slice(&fs::read(truth).unwrap()).unwrap();
    let capture = truth.with_extension("");
    let capture = capture.to_str().unwrap();
    let output = run(&["import", "--summary", "--json", "--record-secrets", capture]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut found = Differences::default();
    let damage = list(&expected, "capture_damage").first();
    let unusable = matches!(
        damage.and_then(|damage| damage["kind"].as_str()),
        Some("not-a-capture" | "empty-file")
    );
    let status = output.status.code().unwrap();
    found.same(
        "status",
        &status.into(),
        &(if unusable { 4 } else { 0 }).into(),
    );
    if unusable || status != 0 {
        return found.0;
    }
    if let Some(damage) = damage {
        let at = format!("octet {}:", damage["at_byte"]);
        found.holds(&format!("damage is told ({said})"), said.contains(&at));
    }
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    found.same(
        "other connections",
        &imported["totals"]["other_connections"],
        &expected["other_tcp_connections"],
    );
    sessions(
        &mut found,
        list(&imported, "sessions"),
        list(&expected, "sessions"),
    );
    found.0
}

fn sessions(found: &mut Differences, imported: &[Value], expected: &[Value]) {
    found.same("sessions", &imported.len().into(), &expected.len().into());
    let mut left: Vec<&Value> = imported.iter().collect();
    for truth in expected {
        let at = left.iter().position(|session| is_same(session, truth));
        let Some(at) = at else {
            found
                .0
                .push(format!("no session {} {}", truth["client"], truth["start"]));
            continue;
        };
        let session = left.swap_remove(at);
        let before = found.0.len();
        one(found, session, truth);
        for difference in found.0.iter_mut().skip(before) {
            difference.insert_str(0, &format!("{}: ", truth["client"]));
        }
    }
}

fn is_same(session: &Value, truth: &Value) -> bool {
    let client = match &session["via"] {
        Value::Null => &session["client"],
        via => &via["peer"],
    };
    let start = &truth["start"];
    *client == truth["client"]
        && session["server"] == truth["server"]
        && (start.is_null() || session["at"] == *start)
}

fn one(found: &mut Differences, session: &Value, truth: &Value) {
    found.same("protocol", &session["protocol"], &truth["protocol"]);
    let preamble = truth["preamble"]["bytes"].as_u64().unwrap_or_default();
    for (index, side) in ["client", "server"].into_iter().enumerate() {
        let (mut missing, mut gaps) = (0, Vec::new());
        for gap in list(session, "gaps") {
            if gap["direction"] == side {
                missing += gap["length"].as_u64().unwrap_or_default();
                gaps.push(serde_json::json!({"offset": gap["offset"], "length": gap["length"]}));
            }
        }
        let before = if index == 0 { preamble } else { 0 };
        let octets = session["bytes"][index].as_u64().unwrap_or_default();
        let stream = &truth["streams"][side];
        found.same(
            &format!("octets of the {side}"),
            &(octets + missing + before).into(),
            &stream["bytes"],
        );
        found.same(
            &format!("gaps of the {side}"),
            &gaps.into(),
            &stream["gaps"],
        );
        if !stream["sha256"].is_null() && before == 0 {
            let digest = &session["sha256"][index];
            found.same(&format!("digest of the {side}"), digest, &stream["sha256"]);
        }
    }
    conflicts(found, session, truth);
    dialogue(found, session, truth);
}

/// Where a side sent octets again with other values, that is noted.
fn conflicts(found: &mut Differences, session: &Value, truth: &Value) {
    for side in ["client", "server"] {
        let Some(octets) = truth["streams"][side]["conflicting_overlap_bytes"].as_u64() else {
            continue;
        };
        let begins = format!("{octets} octets");
        let noted = list(session, "notes").iter().any(|note| {
            let text = note["text"].as_str().unwrap_or_default();
            note["tag"] == "conflict" && text.starts_with(&begins) && text.contains(side)
        });
        found.holds(&format!("{octets} octets in conflict are noted"), noted);
    }
}

fn dialogue(found: &mut Differences, session: &Value, truth: &Value) {
    let is_certain = truth["dialogue_certain"] != false;
    let is_tls = !truth["tls"].is_null();
    if is_tls {
        found.same("TLS", &session["tls"], &truth["tls"]["kind"]);
    }
    for (what, name) in [("commands", "commands"), ("replies", "reply_codes")] {
        // Replies that are none have no code.
        let expected: Vec<&Value> = list(truth, name)
            .iter()
            .filter(|value| value.is_string() || value.as_i64().is_some_and(|code| code > 0))
            .collect();
        let mut said: Vec<&Value> = list(session, name).iter().collect();
        if !is_certain {
            continue;
        }
        if is_tls {
            // What is said inside is for another day.
            said.truncate(expected.len());
            let visible: Vec<&Value> = expected.iter().copied().take(said.len()).collect();
            let enough = truth["tls"]["kind"] == "implicit" || !said.is_empty();
            found.holds(
                &format!("{what} before TLS: {said:?}"),
                said == visible && enough,
            );
        } else {
            found.holds(
                &format!("{what}: {} instead of {}", show(&said), show(&expected)),
                said == expected,
            );
        }
    }
    messages(found, session, truth, is_certain);
}

fn messages(found: &mut Differences, session: &Value, truth: &Value, is_certain: bool) {
    let outside = |message: &&Value| message["tls"] != true;
    let expected: Vec<&Value> = list(truth, "messages").iter().filter(outside).collect();
    let imported = list(session, "messages");
    if is_certain {
        found.same("messages", &imported.len().into(), &expected.len().into());
    }
    for (index, truth) in expected.into_iter().enumerate() {
        let same = imported
            .iter()
            .find(|message| message["complete"] == true && message["sha256"] == truth["sha256"]);
        let Some(message) = same.or_else(|| imported.get(index)) else {
            found.0.push(format!("message {index} is not there"));
            continue;
        };
        found.same("complete", &message["complete"], &truth["complete"]);
        let mut fields = vec!["method"];
        if truth["complete"] == true {
            fields.extend(["size", "sha256"]);
        }
        if is_certain {
            fields.extend([
                "mail_from",
                "mail_params",
                "rcpt_to",
                "rcpt_accepted",
                "final_codes",
            ]);
        }
        for field in fields {
            found.same(
                &format!("{field} of message {index}"),
                &message[field],
                &truth[field],
            );
        }
    }
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn same(&mut self, what: &str, imported: &Value, expected: &Value) {
        if imported != expected {
            self.0
                .push(format!("{what}: {imported} instead of {expected}"));
        }
    }

    fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn show(values: &[&Value]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("[{}]", values.join(", "))
}
