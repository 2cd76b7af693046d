//! In which way the server is to misbehave: rules, and names that stand for rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::fault::Rule;
use shared::fault::preset::{Fault, FaultError};

/// A fault as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    text: String,
    fault: Fault,
}

/// A rule in a file, in four parts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct RuleSpec(Rule);

/// The parts, each as it stands in a rule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    when: String,
    #[serde(rename = "if", default, skip_serializing_if = "String::is_empty")]
    conditions: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    count: String,
    #[serde(rename = "do")]
    actions: String,
}

/// The same with a rule in place of each name that stands for it.
pub(super) fn expanded(faults: &[FaultSpec]) -> Vec<FaultSpec> {
    let rules = faults.iter().flat_map(|spec| &spec.fault.rules);
    rules.map(FaultSpec::of).collect()
}

impl FaultSpec {
    fn of(rule: &Rule) -> Self {
        Self {
            text: rule.to_string(),
            fault: Fault {
                name: String::new(),
                rules: vec![rule.clone()],
            },
        }
    }

    /// What it stands for.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl FromStr for FaultSpec {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Ok(Self {
            text: text.to_owned(),
            fault: text.parse()?,
        })
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RuleSpec {
    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.0
    }

    /// As a fault without a name.
    pub fn fault(&self) -> Fault {
        Fault {
            name: String::new(),
            rules: vec![self.0.clone()],
        }
    }
}

impl TryFrom<Parts> for RuleSpec {
    type Error = String;

    fn try_from(parts: Parts) -> Result<Self, String> {
        let rule = Rule::from_parts(&parts.when, &parts.conditions, &parts.count, &parts.actions);
        rule.map(Self)
            .map_err(|(part, error)| format!("'{part}' of this rule: {error}"))
    }
}

impl From<RuleSpec> for Parts {
    fn from(RuleSpec(rule): RuleSpec) -> Self {
        let join = |parts: Vec<String>, between: &str| parts.join(between);
        Self {
            when: rule.when.to_string(),
            conditions: join(
                rule.conditions.iter().map(ToString::to_string).collect(),
                " and ",
            ),
            count: rule
                .count
                .map(|count| count.to_string())
                .unwrap_or_default(),
            actions: join(rule.actions.iter().map(ToString::to_string).collect(), "; "),
        }
    }
}
