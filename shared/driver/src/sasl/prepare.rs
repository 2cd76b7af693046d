//! SASLprep (RFC 4013): one spelling for texts that look alike.

use stringprep::{saslprep, tables};

/// The prepared text, or `None` if it holds what SASLprep forbids, or nothing.
///
/// Code points that Unicode 3.2 did not assign are let through, as RFC 4013 §2.5
/// allows for queries: there are passwords with emoji in them. The crate knows
/// only the stricter rule, so the text between them is prepared piece by piece;
/// none of them takes part in a composition.
pub(super) fn prepare(text: &str) -> Option<String> {
    let mut prepared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(tables::unassigned_code_point) {
        let (piece, tail) = rest.split_at(at);
        let new = tail.chars().next()?;
        prepared.push_str(&saslprep(piece).ok()?);
        prepared.push(new);
        rest = tail.get(new.len_utf8()..)?;
    }
    prepared.push_str(&saslprep(rest).ok()?);
    (!prepared.is_empty()).then_some(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013_section_3() {
        assert_eq!(prepare("I\u{ad}X").as_deref(), Some("IX"));
        assert_eq!(prepare("user").as_deref(), Some("user"));
        assert_eq!(prepare("USER").as_deref(), Some("USER"));
        assert_eq!(prepare("\u{aa}").as_deref(), Some("a"));
        assert_eq!(prepare("\u{2168}").as_deref(), Some("IX"));
        assert_eq!(prepare("\u{7}"), None);
        assert_eq!(prepare("\u{627}1"), None);
    }

    #[test]
    fn new_code_points_are_let_through_and_nothing_is_not() {
        assert_eq!(prepare("a\u{a0}😀\u{ad}b").as_deref(), Some("a 😀b"));
        assert_eq!(prepare("😀\u{7}"), None);
        assert_eq!(prepare(""), None);
        assert_eq!(prepare("\u{ad}"), None);
    }
}
