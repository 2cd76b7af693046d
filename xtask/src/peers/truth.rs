//! What real servers were observed to do, of `tests/lab/truth.json`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::cargo::root;

/// What is known of one leg: a fact, and what it is.
///
/// A form of relaying is a fact of its own, `relay-plain` for one, that is
/// `relayed` or `refused`.
pub(super) type Facts = BTreeMap<String, String>;

/// What is known of one server.
pub(super) struct Truth {
    mta: String,
    variant: String,
    known: Value,
}

impl Truth {
    /// Reads what is known of a server.
    pub(super) fn of(mta: &str, variant: &str) -> Result<Self> {
        let text = std::fs::read(root().join("tests/lab/truth.json"))?;
        let all: Value = serde_json::from_slice(&text)?;
        let known = all.get(mta).and_then(|truth| truth.get(variant));
        let known = known.cloned();
        Ok(Self {
            mta: mta.to_owned(),
            variant: variant.to_owned(),
            known: known.with_context(|| format!("no truth is known of {mta} {variant}"))?,
        })
    }

    /// The facts of a leg.
    ///
    /// Not every leg was tried in full: `localhost6` and `remote6` are the same as
    /// over IPv4 where they were not, `own-address` is the same as `remote` but for
    /// relaying.
    pub(super) fn leg(&self, leg: &str) -> Result<Facts> {
        let mut facts = match leg {
            "localhost6" => self.leg("localhost")?,
            "remote6" => self.leg("remote")?,
            "own-address" => {
                let mut facts = self.leg("remote")?;
                facts.retain(|fact, _| !fact.starts_with("relay-"));
                facts
            }
            // What nobody had to observe: it is in the product's manual, or in the
            // configuration of the lab.
            _ => Facts::from([
                ("mta".to_owned(), self.mta.clone()),
                ("variant".to_owned(), self.variant.clone()),
            ]),
        };
        add(self.observed(leg)?, &mut facts)?;
        Ok(facts)
    }

    /// The facts of a leg whose client does not come back, where that matters.
    pub(super) fn first_try(&self, leg: &str) -> Result<Option<Facts>> {
        let Some(first) = self.observed(leg)?.get("first_try") else {
            return Ok(None);
        };
        let mut facts = self.leg(leg)?;
        add(
            first.as_object().context("facts are an object")?,
            &mut facts,
        )?;
        Ok(Some(facts))
    }

    fn observed(&self, leg: &str) -> Result<&Map<String, Value>> {
        let observed = self.known.get(leg).and_then(Value::as_object);
        observed.with_context(|| format!("no truth is known of the leg {leg}"))
    }
}

fn add(observed: &Map<String, Value>, facts: &mut Facts) -> Result<()> {
    for (fact, value) in observed {
        match value {
            // What was tried, by what became of it.
            Value::Array(forms) => {
                for form in forms.iter().filter_map(Value::as_str) {
                    facts.insert(format!("relay-{form}"), fact.clone());
                }
            }
            Value::Object(_) if fact == "first_try" => {}
            Value::String(text) => drop(facts.insert(fact.clone(), text.clone())),
            Value::Bool(_) | Value::Number(_) => {
                facts.insert(fact.clone(), value.to_string());
            }
            _ => bail!("{fact} cannot be {value}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_that_was_not_tried_in_full_is_like_another() {
        let truth = Truth::of("exim", "closed-localhost").unwrap();
        let (own, remote6) = (
            truth.leg("own-address").unwrap(),
            truth.leg("remote6").unwrap(),
        );
        assert_eq!(own["relay-plain"], "relayed");
        assert_eq!(own.get("relay-bang-path"), None, "nobody tried");
        assert_eq!(own["null_sender"], "delivered", "as on the remote leg");
        assert_eq!(remote6["relay-bang-path"], "refused", "as over IPv4");
        assert_eq!(truth.leg("localhost6").unwrap()["greeting"], "550");
    }

    #[test]
    fn a_first_try_differs_where_there_is_greylisting() {
        let truth = Truth::of("exim", "greylist").unwrap();
        let first = truth.first_try("remote").unwrap().unwrap();
        assert_eq!(first["delivery"], "deferred-at-rcpt");
        assert_eq!(first["relay-plain"], "deferred");
        assert_eq!(first["relay-bang-path"], "refused", "at once");
        assert_eq!(truth.leg("remote").unwrap()["delivery"], "delivered");
        assert_eq!(truth.first_try("localhost").unwrap(), None);
    }
}
