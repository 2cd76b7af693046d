//! How a session ends: surplus replies, and who closed.

use std::time::Duration;

use driver::talk::Broken;
use shared::recording::Ending;
use shared::replay::{Difference, Level, compare_close};

use super::player::{Course, Player};

/// How long a server may take to say what nobody asked for, and to close.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Player<'_> {
    /// Looks at the end of a session that was said to its end.
    pub(super) async fn ending(&mut self) -> Result<(), Broken> {
        // After 221 both close, and who is first is chance (RFC 5321 §4.1.1.10).
        let as_recorded = self.course == Course::Recorded;
        let comparable = as_recorded && !self.has_quit && !self.options.ignore_close;
        let close = self.dialogue.close.as_ref().filter(|_| comparable);
        if self.ended.is_none() && close.is_some_and(|close| close.by == "server") {
            self.wait_for_close().await?;
        }
        if self.ended.is_none()
            && let Some(surplus) = self.talk.last_words(LAST_WORDS).await?
        {
            self.note_surplus(&surplus);
        }
        if let Some(close) = close {
            self.compare_end(close);
        }
        Ok(())
    }

    /// The recorded server closed here, unasked.
    async fn wait_for_close(&mut self) -> Result<(), Broken> {
        match self.talk.hear(self.options.timeout).await {
            Ok(heard) => {
                let surplus = shared::escape::excerpt(&heard.wire, 60);
                self.note_surplus(&surplus);
            }
            Err(error @ (Broken::Journal(_) | Broken::Handshake(_))) => return Err(error),
            Err(Broken::Unasked(surplus)) => self.note_surplus(&surplus),
            Err(error) => self.note_end(&error),
        }
        Ok(())
    }

    /// Remembers who ended it, if that is what this says.
    pub(super) fn note_end(&mut self, error: &Broken) {
        self.ended = match error {
            Broken::Closed => Some("fin"),
            Broken::Wire(_) => Some("rst"),
            _ => self.ended,
        };
    }

    fn compare_end(&mut self, close: &Ending) {
        let (by, how) = match self.ended {
            Some(how) => ("server", how),
            None => ("client", "fin"),
        };
        if let Some(difference) = compare_close(close, by, how) {
            self.at_the_end(close.n, "(it ends)", difference);
        }
    }

    pub(super) fn note_surplus(&mut self, surplus: &str) {
        let difference = Difference {
            field: "reply",
            want: "(none)".into(),
            got: surplus.to_owned(),
            level: Level::Fail,
        };
        self.at_the_end(0, surplus, difference);
    }
}
