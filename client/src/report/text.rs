//! The report for a person: a row per check, a column per leg; then what is
//! wrong, with the evidence and the cure.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use shared::check::{Cell, Family, LegKind, LegSummary, Report, Row, Verdict};

use super::Meta;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

const fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => AnsiColor::Green.on_default(),
        Verdict::Fail => AnsiColor::Red.on_default().bold(),
        Verdict::Warn => AnsiColor::Yellow.on_default(),
        Verdict::Inconclusive => AnsiColor::Magenta.on_default(),
        Verdict::Info | Verdict::Skip => Style::new(),
    }
}

/// Prints a report.
pub(super) fn render(report: &Report, meta: &Meta) -> String {
    let mut out = String::new();
    write_all(report, meta, &mut out).unwrap_or_default();
    out
}

fn write_all(report: &Report, meta: &Meta, out: &mut String) -> std::fmt::Result {
    if let Some(target) = &meta.target {
        writeln!(out, "{BOLD}helo test {target}{BOLD:#}")?;
    }
    for leg in &report.legs {
        writeln!(out, "{}", describe(leg))?;
    }
    writeln!(out)?;
    table(report, out)?;
    let mut told = BTreeMap::new();
    for row in &report.rows {
        details(report, row, &mut told, out)?;
    }
    for remark in &meta.remarks {
        writeln!(out, "\nnote: {remark}")?;
    }
    if let Some(recording) = &meta.recording {
        writeln!(
            out,
            "\nevidence: {recording} (helo-recorder show {recording})"
        )?;
    }
    let totals = &report.totals;
    let verdict = report.overall();
    // What was seen says nothing about what was not asked; a fail is one all the same.
    let (word, style) = if meta.complete || verdict == Verdict::Fail {
        (verdict.name().to_uppercase(), style(verdict))
    } else {
        ("INCOMPLETE".to_owned(), style(Verdict::Inconclusive))
    };
    writeln!(
        out,
        "\n{style}{word}{style:#}: {} failed, {} warned, {} inconclusive, {} passed, {} for information, {} skipped",
        totals.fail, totals.warn, totals.inconclusive, totals.pass, totals.info, totals.skip
    )
}

fn title(leg: &LegSummary) -> String {
    let kind = match leg.kind {
        LegKind::Localhost => "localhost",
        LegKind::OwnAddress => "own address",
        LegKind::Remote => "remote",
        LegKind::Authenticated => "authenticated",
    };
    let family = match leg.family {
        Some(Family::V6) => " IPv6",
        _ => "",
    };
    let emulated = if leg.emulated { " (emulated)" } else { "" };
    format!("{kind}{family}{emulated}")
}

fn describe(leg: &LegSummary) -> String {
    let from = leg.from.map_or_else(|| "?".into(), |from| from.to_string());
    let to = leg.to.map_or_else(|| "?".into(), |to| to.to_string());
    let seen = leg
        .client_seen
        .map_or_else(String::new, |seen| format!(", seen as {seen}"));
    let delivered = match serde_json::to_value(leg.delivered) {
        Ok(serde_json::Value::String(word)) => format!(", delivery: {}", word.replace('-', " ")),
        _ => String::new(),
    };
    format!("  {} leg: {from} → {to}{seen}{delivered}", title(leg))
}

/// Rows with nothing but skips are left out: they are counted at the end.
fn table(report: &Report, out: &mut String) -> std::fmt::Result {
    let titles: Vec<String> = report.legs.iter().map(title).collect();
    let shown = || {
        report
            .rows
            .iter()
            .filter(|row| row.verdict != Verdict::Skip)
    };
    let first = shown().map(|row| row.id.len()).max().unwrap_or(0).max(5);
    write!(out, "{DIM}{:<first$}", "check")?;
    let mut blanks = 0;
    for title in &titles {
        write!(out, "{:blanks$}  {title}", "")?;
        blanks = 12_usize.saturating_sub(title.chars().count());
    }
    writeln!(out, "{DIM:#}")?;
    for row in shown() {
        let mut line = format!("{:<first$}", row.id);
        let mut blanks = 0;
        for (cell, title) in row.cells.iter().zip(&titles) {
            let (style, word) = match cell {
                Some(cell) => (style(cell.finding.verdict), cell.finding.verdict.name()),
                None => (DIM, "-"),
            };
            write!(line, "{:blanks$}  {style}{word}{style:#}", "")?;
            blanks = title.chars().count().max(12).saturating_sub(word.len());
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What is worth reading about a row: verdicts that want something done.
fn details(
    report: &Report,
    row: &Row,
    told: &mut BTreeMap<&'static str, &'static str>,
    out: &mut String,
) -> std::fmt::Result {
    let mut worth = false;
    for (cell, leg) in row.cells.iter().zip(&report.legs) {
        let Some(cell) = cell.as_ref().filter(|cell| wants_reading(cell)) else {
            continue;
        };
        if !worth {
            let severity =
                format!("{:?}", cell.finding.severity.unwrap_or(row.severity)).to_lowercase();
            writeln!(
                out,
                "\n{BOLD}{}{BOLD:#}  {}  {DIM}({severity}; {}){DIM:#}",
                row.id,
                row.question,
                row.references.join(", ")
            )?;
            worth = true;
        }
        finding(cell, leg, out)?;
    }
    if worth {
        let known = row.cures.first().and_then(|cure| told.get(cure.text));
        if let Some(before) =
            known.filter(|_| row.cures.iter().all(|cure| told.contains_key(cure.text)))
        {
            return writeln!(out, "  {DIM}cures{DIM:#}      as for {before}");
        }
        for cure in &row.cures {
            if let Some(before) = told.get(cure.text) {
                writeln!(out, "  {DIM}{:<10}{DIM:#} as for {before}", cure.mta.name())?;
            } else {
                let text = wrap(cure.text, 13);
                writeln!(out, "  {DIM}{:<10}{DIM:#} {text}", cure.mta.name())?;
                told.insert(cure.text, row.id);
            }
        }
    }
    Ok(())
}

fn wants_reading(cell: &Cell) -> bool {
    matches!(
        cell.finding.verdict,
        Verdict::Fail | Verdict::Warn | Verdict::Inconclusive
    )
}

fn finding(cell: &Cell, leg: &LegSummary, out: &mut String) -> std::fmt::Result {
    let verdict = cell.finding.verdict;
    let style = style(verdict);
    writeln!(
        out,
        "  {style}{}{style:#} on the {} leg: {}",
        verdict.name(),
        title(leg),
        wrap(&cell.finding.summary, 6)
    )?;
    for evidence in cell.finding.evidence.iter().take(EVIDENCE) {
        let answered = if evidence.answered.is_empty() {
            "(no answer)"
        } else {
            &evidence.answered
        };
        writeln!(
            out,
            "    {DIM}n={}{DIM:#}  {}  {DIM}→{DIM:#}  {answered}",
            evidence.n, evidence.said
        )?;
    }
    let more = cell.finding.evidence.len().saturating_sub(EVIDENCE);
    if more > 0 {
        writeln!(out, "    {DIM}and {more} more{DIM:#}")?;
    }
    if let Some(expected) = cell.expected {
        writeln!(out, "    {DIM}right here: {expected}{DIM:#}")?;
    }
    for advice in &cell.finding.advice {
        writeln!(out, "    do: {}", wrap(advice, 8))?;
    }
    Ok(())
}

/// Breaks a text into lines, the ones after the first indented so far.
fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut width = indent;
    for word in text.split(' ') {
        let length = word.chars().count() + 1;
        if width + length > WIDTH && width > indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            width = indent;
        } else if width > indent {
            out.push(' ');
        }
        out.push_str(word);
        width += length;
    }
    out
}

/// Columns that are filled.
const WIDTH: usize = 100;

/// Places shown of one finding.
const EVIDENCE: usize = 8;
