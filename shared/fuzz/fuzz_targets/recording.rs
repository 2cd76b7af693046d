//! Any file is read, damaged or not, and its sessions are put together.
#![no_main]

use helo_shared::recording::Recording;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(recording) = Recording::parse(file) {
        for dialogue in recording.dialogues() {
            for transaction in dialogue.transactions() {
                let _ = (transaction.recipients().count(), transaction.content());
            }
        }
    }
});
