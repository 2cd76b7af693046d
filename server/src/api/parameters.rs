//! Query parameters. One that is not known is refused: a filter with a typing error in
//! its name would hold for everything.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::problem::Problem;

/// The longest value, in characters.
const LONGEST: usize = 1000;

/// The largest number that all readers of JSON agree on.
pub(super) const LARGEST: u64 = (1 << 53) - 1;

/// The query parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

impl Parameters {
    /// They are all among these, and none is there twice.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(Problem::bad_request(match known.as_str() {
                    "" => "there are no parameters here".to_owned(),
                    known => format!("there is no such parameter (there are {known})"),
                }));
            }
            if self.0.iter().take(index).any(|(other, _)| other == name) {
                return Err(Problem::bad_request(format!("{name} is given twice")));
            }
            if value.chars().count() > LONGEST {
                let detail = format!("{name} is longer than {LONGEST} characters");
                return Err(Problem::bad_request(detail));
            }
        }
        Ok(self)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A value that is parsed.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error| Problem::bad_request(format!("{name}: {error}")))
    }

    /// A number in decimal digits, within bounds.
    pub(super) fn number(
        &self,
        name: &str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::bad_request(format!(
                "{name} is a number from {} to {}",
                bounds.start(),
                bounds.end()
            ))),
        }
    }
}

/// The name of a thing, as the last but one or the last part of a path.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, state)
            .await
            .map(|Path(id)| Self(id))
            .map_err(|error| Problem::not_found(error.body_text()))
    }
}
