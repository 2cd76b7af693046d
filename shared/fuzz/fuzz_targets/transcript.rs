//! What is parsed is printed so that it is parsed the same.
#![no_main]

use helo_shared::recording::Transcript;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(transcript) = text.parse::<Transcript>() {
        assert_eq!(transcript.to_string().parse::<Transcript>().as_ref(), Ok(&transcript));
    }
});
