//! One line of a recording.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::line::push_string;
use crate::direction::Direction;
use crate::time::Timestamp;

/// One record. All its fields are kept, known or not, so that a tool that
/// rewrites a recording loses nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    fields: Map<String, Value>,
}

impl Record {
    /// Reads a line, with or without its LF; `None` if it is no JSON object.
    pub fn parse(line: &[u8]) -> Option<Self> {
        match serde_json::from_slice(line) {
            Ok(Value::Object(fields)) => Some(Self { fields }),
            _ => None,
        }
    }

    /// The line's number in its file.
    pub fn n(&self) -> u64 {
        self.number("n").unwrap_or_default()
    }

    /// The session it belongs to; `None` for the file's own records.
    pub fn session(&self) -> Option<u64> {
        self.number("s")
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.text("at")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    /// The kind: `cmd`, `rep` and so on.
    pub fn kind(&self) -> &str {
        self.text("k").unwrap_or("")
    }

    /// Who sent it.
    pub fn direction(&self) -> Option<Direction> {
        match self.text("d")? {
            "c" => Some(Direction::Client),
            "s" => Some(Direction::Server),
            _ => None,
        }
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    /// A field that is true.
    pub fn flag(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// A field, as it is.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// A field that is a list of texts.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// A field that binds names to texts.
    pub fn bindings(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let map = self.fields.get(name).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The exact bytes, from `b` or `b64`; `None` if it has none.
    pub fn payload(&self) -> Option<Vec<u8>> {
        match self.text("b") {
            Some(text) => Some(text.as_bytes().to_vec()),
            None => STANDARD.decode(self.text("b64")?).ok(),
        }
    }

    /// Replaces a number.
    pub(super) fn set_number(&mut self, name: &str, number: u64) {
        self.fields.insert(name.to_owned(), Value::from(number));
    }

    /// Takes a field out; the others keep their order.
    pub(super) fn remove(&mut self, name: &str) {
        self.fields.shift_remove(name);
    }

    /// Appends it as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (name, value)) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(out, name);
            out.push(b':');
            match value {
                Value::String(text) => push_string(out, text),
                other => out.extend_from_slice(other.to_string().as_bytes()),
            }
        }
        out.extend_from_slice(b"}\n");
    }
}
