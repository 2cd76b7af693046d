//! Any line is understood or refused, and neither panics.
#![no_main]

use helo_shared::command::Command;
use helo_shared::escape::{escape, unescape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    if let Err(error) = Command::parse(line).command {
        assert!(error.reply().code().is_refusal());
    }
    assert_eq!(unescape(&escape(line)).as_deref(), Some(line));
});
