//! `helo-server faults`: what rules are made of, and what has a name.

use shared::fault::action::{Alert, Profile};
use shared::fault::preset::Fault;
use shared::fault::{Action, Condition, Key, Stage, catalogue, preset};

/// Prints everything, or what that name is; false if there is no such thing.
pub(crate) fn list(name: Option<&str>) -> bool {
    match name {
        None => {
            everything();
            true
        }
        Some(name) => explain(name),
    }
}

fn everything() {
    head(
        "A rule: on STAGE[|STAGE][@LISTENER] [if CONDITION [and CONDITION]] [COUNT] : ACTION[; ACTION]",
    );
    head("Stages");
    for (_, name, says) in Stage::PLAIN {
        row(name, says);
    }
    for (name, says) in Stage::WITH_ARGUMENT {
        row(name, says);
    }
    head("Conditions");
    for (written, says) in Condition::TABLE {
        row(written, says);
    }
    head("Counts: first N, nth N, after N, every N, prob P [per KEY] [within TIME] [for TIME]");
    let keys: Vec<&str> = Key::ALL.iter().map(|(_, name)| *name).collect();
    row("KEY", &keys.join(", "));
    head("Actions");
    for (_, written, says) in Action::TABLE {
        row(written, says);
    }
    head("Profiles of tls-cert");
    for (_, name, says) in Profile::ALL {
        row(name, says);
    }
    let alerts: Vec<&str> = Alert::ALL.iter().map(|(_, name)| *name).collect();
    head("Alerts of tls-alert");
    row("", &alerts.join(", "));
    head("Presets");
    for preset in preset::ALL {
        row(preset.usage, preset.says);
    }
    head("Failures, and what a sound client does");
    for failure in catalogue::ALL {
        row(failure.name, failure.sound);
    }
}

/// Says what a name is.
fn explain(name: &str) -> bool {
    let mut found = false;
    let plain = Stage::PLAIN.iter().map(|(_, name, says)| (*name, *says));
    for (written, says) in plain.chain(Stage::WITH_ARGUMENT.iter().copied()) {
        if written.split('(').next() == Some(name) {
            found = true;
            row("stage", written);
            row("", says);
        }
    }
    for (written, says) in Condition::TABLE {
        if written.split(' ').next() == Some(name) {
            found = true;
            row("condition", written);
            row("", says);
        }
    }
    for (_, written, says) in Action::TABLE.iter().filter(|(known, ..)| *known == name) {
        found = true;
        row("action", written);
        row("", says);
    }
    if let Some(preset) = preset::named(name) {
        found = true;
        row("preset", preset.usage);
        row("", preset.says);
        rules(name);
    }
    if let Some(failure) = catalogue::named(name) {
        found = true;
        row("failure", name);
        rules(name);
        row("a sound client", failure.sound);
    }
    found
}

fn rules(name: &str) {
    let fault: Option<Fault> = name.parse().ok();
    for rule in fault.iter().flat_map(|fault| &fault.rules) {
        row("rule", &rule.to_string());
    }
}

fn head(text: &str) {
    anstream::println!("{text}");
}

fn row(name: &str, says: &str) {
    anstream::println!("  {name:<38} {says}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/faults.md");

    #[test]
    fn the_document_lists_what_there_is() {
        let stages = Stage::PLAIN.iter().map(|(_, name, _)| *name);
        let stages = stages.chain(Stage::WITH_ARGUMENT.iter().map(|(name, _)| *name));
        let conditions = Condition::TABLE.iter().map(|(written, _)| *written);
        let actions = Action::TABLE.iter().map(|(_, written, _)| *written);
        let presets = preset::ALL.iter().map(|preset| preset.usage);
        let failures = catalogue::ALL.iter().map(|failure| failure.name);
        let rules = catalogue::ALL.iter().flat_map(|failure| failure.rules);
        let names = stages.chain(conditions).chain(actions);
        for name in names.chain(presets).chain(failures).chain(rules.copied()) {
            let cell = format!("`{}`", name.replace('|', "\\|"));
            assert!(DOCUMENT.contains(&cell), "{cell}");
        }
    }
}
