//! What of a recording can be said again, and why the rest cannot.

use anyhow::anyhow;
use driver::sasl::{Needs, find};
use shared::command::{Verb, auth_mechanism};
use shared::escape::escape;
use shared::recording::{Damage, Dialogue, Exchange, Recording, Said};

use crate::cli::Replay;
use crate::exit::{Failure, Status};

/// The sessions asked for, all of which can be said again, those with AUTH if there are
/// credentials for it.
pub(super) fn sessions(
    recording: &Recording,
    options: &Replay,
    credentials: bool,
) -> Result<Vec<Dialogue>, Failure> {
    let unusable = |error| Failure::new(Status::Input, error);
    let file = options.file.display();
    let mut dialogues = recording.dialogues();
    if !options.session.is_empty() {
        let known = recording.sessions();
        if let Some(session) = options.session.iter().find(|one| !known.contains(one)) {
            let known: Vec<String> = known.iter().map(u64::to_string).collect();
            return Err(unusable(anyhow!(
                "there is no session {session} in {file}; there are: {}",
                known.join(", ")
            )));
        }
        dialogues.retain(|dialogue| options.session.contains(&dialogue.session));
    }
    if dialogues.is_empty() {
        let error = anyhow!("there is no session to replay in {file}");
        return Err(unusable(error));
    }
    for damage in recording.damage() {
        refuse_damage(damage, &dialogues).map_err(|why| {
            unusable(anyhow!(
                "{file} cannot be replayed: {why} (helo-recorder check says more)"
            ))
        })?;
    }
    for dialogue in &dialogues {
        let found = dialogue.exchanges.iter().find_map(|exchange| {
            let why = unusable_because(exchange, credentials)?;
            Some((exchange.n, why))
        });
        if let Some((n, why)) = found {
            let session = dialogue.session;
            return Err(unusable(anyhow!(
                "session {session} of {file} cannot be replayed: {why} (n={n})"
            )));
        }
    }
    Ok(dialogues)
}

/// What was lost in the middle may have been part of any session; what was lost at
/// the end was part of one that has no end.
fn refuse_damage(damage: &Damage, dialogues: &[Dialogue]) -> Result<(), String> {
    let torn = matches!(damage, Damage::Torn { .. });
    let ended = dialogues.iter().all(|dialogue| dialogue.close.is_some());
    if torn && ended {
        return Ok(());
    }
    Err(damage.to_string())
}

fn unusable_because(exchange: &Exchange, credentials: bool) -> Option<String> {
    let why = match &exchange.said {
        Said::Command {
            verb: Verb::Auth,
            line,
            ..
        } => return auth_unusable_because(line, credentials),
        // Part of an AUTH that is performed anew.
        Said::Sasl { .. } => return None,
        Said::Command { redacted: true, .. } => "a secret in it was not recorded",
        Said::Command { line, .. } if line.is_empty() => "a command is empty",
        Said::Content { missing: 1.., .. } => "its mail data was not recorded whole",
        Said::Raw { why, .. } if why == "tls" => "it is encrypted",
        Said::Raw { .. } => "the client said what is no SMTP",
        _ => return None,
    };
    Some(why.to_owned())
}

/// AUTH is never replayed as bytes: challenges differ, and secrets are not recorded.
fn auth_unusable_because(line: &[u8], credentials: bool) -> Option<String> {
    if !credentials {
        return Some(
            "it holds AUTH, which is performed anew: say --auth-user, and --auth-password-file \
             or HELO_PASSWORD"
                .to_owned(),
        );
    }
    let name = auth_mechanism(line).unwrap_or_default();
    match find(&name) {
        None => {
            let name = escape(name.as_bytes());
            Some(format!(
                "it holds AUTH by {name}, which is not a mechanism of ours"
            ))
        }
        Some(mechanism) if mechanism.needs == Needs::Certificate => Some(format!(
            "it holds AUTH {}, which needs a client certificate",
            mechanism.name
        )),
        Some(_) => None,
    }
}
