//! However mail data is cut into pieces, the same is found in it.
#![no_main]

use helo_shared::content::{Examined, Examiner, Oddity};
use libfuzzer_sys::fuzz_target;

// The first octet is the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let Some((&length, data)) = data.split_first() else {
        return;
    };
    let examine = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut examiner = Examiner::new();
        for piece in pieces {
            examiner.examine(piece);
        }
        examiner.examined()
    };
    let whole = examine(&mut std::iter::once(data));
    let cut = examine(&mut data.chunks(usize::from(length) + 1));
    assert_eq!(whole, cut);
    assert!(whole.findings().len() <= Examined::MOST);
    assert!(whole.findings().is_sorted());
    let odd: u64 = Oddity::all()
        .filter(|oddity| *oddity != Oddity::EightBit)
        .map(|oddity| whole.tally(oddity).count)
        .sum();
    assert_eq!(odd.min(Examined::MOST as u64), whole.findings().len() as u64);
    // What is said of a sequence is true of the octets at its offset.
    for finding in whole.findings() {
        if let Oddity::Smuggle(sequence) = finding.oddity {
            let wire = [b"\r\n", data].concat();
            let from = usize::try_from(finding.offset).unwrap() + 2;
            let octets = sequence.octets();
            let begins = |at: usize| wire.get(at..).is_some_and(|rest| rest.starts_with(octets));
            // At the start, the line end before the data is part of it.
            assert!(begins(from) || (finding.offset == 0 && (begins(0) || begins(1))));
        }
    }
});
