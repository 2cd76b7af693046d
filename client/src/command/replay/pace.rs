//! How fast a session is said again.

use std::str::FromStr;
use std::time::Duration;

/// How long to wait where the recorded client waited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Not at all.
    Asap,
    /// So many times as fast as it was recorded.
    Times(f64),
}

impl Pace {
    /// How long to wait for a recorded pause, and whether that is less than it asks for.
    pub(super) fn pause(self, recorded: Duration, most: Duration) -> (Duration, bool) {
        let Self::Times(times) = self else {
            return (Duration::ZERO, false);
        };
        let wait = Duration::try_from_secs_f64(recorded.as_secs_f64() / times);
        match wait {
            Ok(wait) if wait <= most => (wait, false),
            _ => (most, true),
        }
    }
}

impl FromStr for Pace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let wrong = "a pace is asap, recorded, or x2 for twice as fast";
        match text {
            "asap" => Ok(Self::Asap),
            "recorded" => Ok(Self::Times(1.0)),
            _ => {
                let times = text.strip_prefix('x').ok_or(wrong)?;
                let times: f64 = times.parse().map_err(|_| wrong)?;
                let sound = times.is_finite() && times > 0.0;
                sound.then_some(Self::Times(times)).ok_or(wrong)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_scaled_and_cut() {
        let second = Duration::from_secs(1);
        let pause = |pace: &str, recorded: Duration| {
            let pace: Pace = pace.parse().unwrap();
            pace.pause(recorded, second)
        };
        assert_eq!(pause("asap", second * 9), (Duration::ZERO, false));
        assert_eq!(pause("recorded", second), (second, false));
        assert_eq!(pause("x4", second), (second / 4, false));
        assert_eq!(pause("x0.25", second), (second, true));
        assert_eq!(pause("x1e-300", Duration::MAX), (second, true));
        for wrong in ["", "x", "x0", "x-1", "xNaN", "xinf", "2x", "fast"] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }
}
