//! `import --summary`: what sessions captures hold, without a recording.

use std::io::{self, BufWriter, Write};

use capture::import::Settings;
use capture::summary::{Message, Session, SummaryWriter};
use serde_json::json;
use shared::escape::escape;

use super::{import, sentence, tell};
use crate::Stopped;
use crate::cli;

/// The version of the JSON.
const SCHEMA: &str = "helo-import-summary/1";

/// Prints each session when it is over, so that any capture can be summed up.
pub(super) fn run(options: &cli::Import, settings: Settings) -> Result<(), Stopped> {
    match printed(options, settings) {
        // A pager that was left, or `head`: nothing is wrong.
        Err(stopped) if is_broken_pipe(&stopped) => Ok(()),
        other => other,
    }
}

fn printed(options: &cli::Import, settings: Settings) -> Result<(), Stopped> {
    let mut out = BufWriter::new(anstream::stdout());
    let (json, mut first) = (options.json, true);
    if json {
        write!(out, "{{\"schema\":\"{SCHEMA}\",\"sessions\":[").map_err(Stopped::with(6))?;
    }
    let writer = SummaryWriter::new(|session: Session| {
        if json {
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            write!(out, "{comma}\n{}", session.to_json())
        } else {
            text(&mut out, &session)
        }
    });
    let (totals, writer) = import(options, settings, writer)?;
    writer.finish().map_err(Stopped::with(6))?;
    if json {
        let other = json!({
            "sessions": totals.sessions,
            "other_connections": totals.other_connections,
            "other_packets": totals.other_packets,
            "unknown_links": totals.unknown_links,
            "untimed": totals.untimed,
        });
        writeln!(out, "\n],\"totals\":{other}}}").map_err(Stopped::with(6))?;
    } else {
        writeln!(out, "{}", sentence(&totals)).map_err(Stopped::with(6))?;
    }
    out.flush().map_err(Stopped::with(6))?;
    if totals.unknown_links > 0 {
        tell(&totals);
    }
    Ok(())
}

fn is_broken_pipe(stopped: &Stopped) -> bool {
    stopped
        .error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn text(out: &mut impl Write, session: &Session) -> io::Result<()> {
    let shown = |text: &str| escape(text.as_bytes());
    let (number, at) = (session.number, shown(&session.at));
    let (client, server) = (shown(&session.client), shown(&session.server));
    writeln!(
        out,
        "session {number}  {at}  {client} → {server}  {}",
        session.protocol()
    )?;
    if let Some((protocol, peer)) = &session.via {
        writeln!(out, "  via {} ({})", shown(peer), shown(protocol))?;
    }
    if let Some(tls) = session.tls {
        writeln!(out, "  TLS ({tls}): what is said inside is not seen")?;
    }
    let [from_client, from_server] = session.octets;
    writeln!(
        out,
        "  octets    {from_client} of the client, {from_server} of the server"
    )?;
    if !session.commands.is_empty() {
        writeln!(
            out,
            "  commands  {}",
            counted(session.commands.iter().map(|line| verb(line)))
        )?;
    }
    if !session.codes.is_empty() {
        writeln!(
            out,
            "  replies   {}",
            counted(session.codes.iter().map(u64::to_string))
        )?;
    }
    for message in &session.messages {
        envelope(out, message)?;
    }
    for gap in &session.gaps {
        let (octets, offset) = (gap.octets, gap.offset);
        let side = if gap.direction == shared::direction::Direction::Client {
            "client"
        } else {
            "server"
        };
        writeln!(
            out,
            "  missing   {octets} octets of the {side}, from octet {offset} on"
        )?;
    }
    for (_, note) in &session.notes {
        writeln!(out, "  note      {}", shown(note))?;
    }
    if session.unlisted > 0 {
        writeln!(
            out,
            "  (and {} more commands, replies and messages)",
            session.unlisted
        )?;
    }
    let (by, how) = session
        .close
        .as_ref()
        .map_or(("?", "?"), |(by, how)| (by, how));
    writeln!(out, "  closed    by {} ({})\n", shown(by), shown(how))
}

fn envelope(out: &mut impl Write, message: &Message) -> io::Result<()> {
    let shown = |text: &str| escape(text.as_bytes());
    let from = message
        .from
        .as_deref()
        .map_or_else(|| "?".to_owned(), &shown);
    writeln!(out, "  message   from <{from}>")?;
    for (path, code) in &message.recipients {
        let code = code.map_or_else(|| "no reply".to_owned(), |code| code.to_string());
        writeln!(out, "            to <{}>: {code}", shown(path))?;
    }
    let state = match (message.is_complete(), message.missing) {
        (true, _) => String::new(),
        (false, 0) => ", not to its end".to_owned(),
        (false, missing) => format!(", {missing} missing"),
    };
    let codes = message.codes.iter().map(u64::to_string).collect::<Vec<_>>();
    let answer = if codes.is_empty() {
        "no reply".to_owned()
    } else {
        codes.join(" ")
    };
    writeln!(
        out,
        "            {} octets{state}, sha256 {}: {answer}",
        message.size,
        message.sha256()
    )
}

/// The verb of a listed command.
fn verb(line: &str) -> String {
    escape(line.split(' ').next().unwrap_or_default().as_bytes())
}

/// Words in their order, runs of the same one counted.
fn counted(words: impl Iterator<Item = String>) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for word in words {
        match runs.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            _ => runs.push((word, 1)),
        }
    }
    let shown = runs.into_iter().map(|(word, count)| match count {
        1 => word,
        _ => format!("{word}×{count}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}
