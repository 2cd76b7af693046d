//! Any text is a fault or none; what is one is printed and read again as the same.
#![no_main]

use helo_shared::fault::Rule;
use helo_shared::fault::preset::Fault;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(fault) = text.parse::<Fault>() {
        for rule in fault.rules {
            assert_eq!(rule.to_string().parse::<Rule>().as_ref(), Ok(&rule));
        }
    }
});
