//! Standard output, for results, and standard error, for what is told about them.
//!
//! Nothing here fails: what could not be printed is remembered, and the program
//! ends with [`Status::Output`](crate::exit::Status::Output).

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// The first error of standard output.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints to standard output, at once. A reader that has left (`| head`) has seen
/// enough: that is no error.
pub fn print(text: &str) {
    let mut stdout = anstream::stdout();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if let Err(error) = printed
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| error.to_string());
    }
}

/// Tells something on standard error, which nobody may read.
pub fn tell(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Why not all of the output was written.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}
