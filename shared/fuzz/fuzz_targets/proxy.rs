//! What is known of some bytes is true of all that begin with them, and what is
//! read is written so that it is read the same.
#![no_main]

use helo_shared::proxy::{LONGEST, Parsed, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let all = parse(bytes);
    let mut known = (0..=bytes.len()).map(|end| parse(&bytes[..end]));
    let settled = known.find(|parsed| *parsed != Ok(Parsed::NeedMore));
    assert_eq!(settled.as_ref().unwrap_or(&Ok(Parsed::NeedMore)), &all);
    match all {
        Ok(Parsed::NeedMore) => assert!(bytes.len() < LONGEST),
        Ok(Parsed::Header(header, length)) => {
            assert!(length <= bytes.len().min(LONGEST));
            let wire = header.encode().expect("it was not too long");
            assert_eq!(parse(&wire), Ok(Parsed::Header(header, wire.len())));
        }
        Err(error) => assert!(error.offset <= bytes.len()),
    }
});
