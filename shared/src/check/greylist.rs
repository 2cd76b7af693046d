//! Greylisting: whoever comes is refused for now, to see who comes back.
//!
//! It says nothing about the recipient. The same question, asked again by the
//! same client address for the same reverse-path and forward-path once the time
//! is over, gets the real answer.

use std::time::Duration;

use super::observe::{Class, words};
use crate::reply::Reply;

/// How long to wait before the question is asked again, if the reply is one of
/// greylisting: as long as the reply says, else as long as most servers want.
///
/// ```
/// use std::time::Duration;
/// use helo_shared::check::greylisted;
/// use helo_shared::reply::Reply;
///
/// let reply = Reply::parse(b"451 4.7.1 Greylisted, try again in 90 seconds\r\n").unwrap();
/// assert_eq!(greylisted(&reply), Some(Duration::from_secs(90)));
/// ```
pub fn greylisted(reply: &Reply) -> Option<Duration> {
    is_greylisting(reply).then(|| announced(reply).unwrap_or(USUAL))
}

/// Five minutes are usual, and a little more is asked for by clocks that differ.
const USUAL: Duration = Duration::from_secs(305);

/// What to do about greylisting.
pub(super) const ASK_AGAIN: &str = "ask again after the announced time (where there is none, five minutes) with the same client address, sender and recipient: the test does so by itself if its --patience is that long";

/// The texts of greylisting.
pub(super) fn is_greylisting(reply: &Reply) -> bool {
    let words = words(reply);
    let said = [
        "greylist",
        "graylist",
        "grey listed",
        "try again later",
        "please try",
        "please retry",
        "resources temporarily unavailable",
    ];
    Class::of_reply(reply) == Class::Transient
        && (said.iter().any(|text| words.contains(text))
            || words.starts_with("450 4.2.0") && words.contains("grey"))
}

/// The time in the text: `5 seconds`, `300s`, `5 minutes`, `00:05:00`.
fn announced(reply: &Reply) -> Option<Duration> {
    let text = reply.text().to_lowercase();
    let mut words = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .map(|word| word.trim_matches(':'))
        .filter(|word| !word.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        let next = words.peek().copied().unwrap_or_default();
        if let Some(seconds) = clock(word).or_else(|| counted(word, next)) {
            return Some(Duration::from_secs(seconds));
        }
    }
    None
}

/// `05:00` or `00:05:00`.
fn clock(word: &str) -> Option<u64> {
    let parts: Option<Vec<u64>> = word.split(':').map(|part| part.parse().ok()).collect();
    match parts?[..] {
        [minutes, seconds] => Some(seconds.saturating_add(minutes.saturating_mul(60))),
        [hours, minutes, seconds] => {
            let minutes = minutes.saturating_add(hours.saturating_mul(60));
            Some(seconds.saturating_add(minutes.saturating_mul(60)))
        }
        _ => None,
    }
}

/// A number with a unit, in one word or in two.
fn counted(word: &str, next: &str) -> Option<u64> {
    let digits = word.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = word.split_at(digits.unwrap_or(word.len()));
    let number: u64 = number.parse().ok()?;
    let seconds = match if unit.is_empty() { next } else { unit } {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        _ => return None,
    };
    Some(number.saturating_mul(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_time_is_read_in_every_spelling() {
        for (said, seconds) in [
            (
                "450 4.7.1 <a@b.example>: Recipient address rejected: Greylisted, try again in 5 seconds",
                Some(5),
            ),
            (
                "451 4.7.1 Greylisting in action, please come back in 00:04:58",
                Some(298),
            ),
            (
                "450 4.2.0 <a@b.example>: Greylisted for 5 minutes",
                Some(300),
            ),
            ("451 greylisted, retry in 300s.", Some(300)),
            ("451 greylisted, wait 1 hour", Some(3600)),
            ("451 greylisted (wait 04:58)", Some(298)),
            (
                "450 4.2.0 <a@b.example>: Greylisted, see http://greylist.example/help/b2.html",
                Some(305),
            ),
            ("451 4.7.1 Please try again later", Some(305)),
            (
                "451 greylisted, try in 99999999999999999999 seconds",
                Some(305),
            ),
            ("451 4.3.0 Temporary lookup failure", None),
            ("550 5.7.1 greylisted, try again in 5 seconds", None),
            ("421 4.7.0 try again later", None),
        ] {
            let reply = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap();
            assert_eq!(
                greylisted(&reply),
                seconds.map(Duration::from_secs),
                "{said}"
            );
        }
    }
}
