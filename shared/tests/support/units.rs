//! Units of a session, without what depends on how its bytes were read.

use std::collections::HashMap;

use helo_shared::deviation::Deviation;
use helo_shared::escape::escape;
use helo_shared::session::{Answers, DataForm, Kind, Unit};

/// What is said by some units; runs of content and of raw bytes are one.
pub(crate) fn essence(units: &[Unit]) -> Vec<String> {
    let mut all: Vec<(String, Vec<u8>, Vec<Deviation>)> = Vec::new();
    let mut numbers = HashMap::new();
    for unit in units {
        let name = name(unit, &numbers);
        match all.last_mut() {
            Some((last, bytes, odd)) if joins(unit, last) => {
                *last = name;
                bytes.extend_from_slice(&unit.bytes);
                odd.extend(&unit.deviations);
            }
            _ => all.push((name, unit.bytes.to_vec(), unit.deviations.clone())),
        }
        numbers.insert(unit.id, all.len());
    }
    all.into_iter()
        .map(|(name, bytes, mut odd)| {
            odd.sort_unstable();
            odd.dedup();
            format!("{name} {} {odd:?}", escape(&bytes))
        })
        .collect()
}

fn name(unit: &Unit, numbers: &HashMap<helo_shared::session::UnitId, usize>) -> String {
    match &unit.kind {
        Kind::Reply { code, answers, .. } => {
            let answers = match answers {
                Answers::Unit(id) => format!("{}", numbers.get(id).copied().unwrap_or(0)),
                other => format!("{other:?}"),
            };
            format!("s {code} to {answers}")
        }
        Kind::Data {
            form, end: false, ..
        } => format!("c data {form:?}"),
        Kind::Data { form, last, .. } => format!("c data {form:?} end {last}"),
        other => format!("{} {other:?}", unit.direction.letter()),
    }
}

/// The unit goes on with what has that name. The end of a chunk is content, the
/// final dot line is not.
fn joins(unit: &Unit, last: &str) -> bool {
    match &unit.kind {
        Kind::Data {
            form: DataForm::Dot,
            end: true,
            ..
        } => false,
        Kind::Data { form, .. } => last == format!("c data {form:?}"),
        Kind::Raw { .. } => last == name(unit, &HashMap::new()),
        _ => false,
    }
}
