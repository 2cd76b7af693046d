//! Hostile bytes, made harmless for a terminal, and back.

use std::fmt::Write;

/// Prints bytes so that nothing in them can act on a terminal: controls,
/// invalid UTF-8, and characters that hide or turn text around come out as
/// `\xNN`; CR, LF and tab as `\r`, `\n`, `\t`; a backslash doubled.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                c if is_harmful(c) => {
                    let mut octets = [0; 4];
                    push_octets(&mut out, c.encode_utf8(&mut octets).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_octets(&mut out, chunk.invalid());
    }
    out
}

/// As [`escape`], without the CRLF at the end of a line, which goes without
/// saying; any other line end is shown. What ends in two line ends shows both, or
/// the first would be taken for the only one.
pub fn escape_line(line: &[u8]) -> String {
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.ends_with(b"\n") => escape(text),
        _ => escape(line),
    }
}

/// As [`escape_line`], cut to so many characters.
pub fn excerpt(line: &[u8], most: usize) -> String {
    let text = escape_line(line);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Undoes [`escape`]; `None` if a backslash is followed by something else.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        out.push(match octets.next()? {
            b'\\' => b'\\',
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let digits = [octets.next()?, octets.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

/// Lower-case hexadecimal digits, two for each octet.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut digits, octet| {
        write!(digits, "{octet:02x}").unwrap_or_default();
        digits
    })
}

fn push_octets(out: &mut String, octets: &[u8]) {
    for octet in octets {
        write!(out, "\\x{octet:02x}").unwrap_or_default();
    }
}

/// Controls, line separators, and characters without width or with a direction.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_bytes_are_shown() {
        assert_eq!(escape(b"a\x1b[31m\0\xff\\"), "a\\x1b[31m\\x00\\xff\\\\");
        assert_eq!(escape("\u{202e}é".as_bytes()), "\\xe2\\x80\\xaeé");
        assert_eq!(escape_line(b"a\r\n"), "a");
        assert_eq!(escape_line(b"a\n"), "a\\n");
        assert_eq!(escape_line(b"a\n\r\n"), "a\\n\\r\\n");
        assert_eq!(excerpt(b"abcdef\r\n", 3), "abc…");
        assert_eq!(unescape("\\q"), None);
    }

    proptest::proptest! {
        #[test]
        fn unescape_undoes_escape(bytes: Vec<u8>) {
            let text = escape(&bytes);
            proptest::prop_assert!(!text.contains(char::is_control));
            proptest::prop_assert_eq!(unescape(&text), Some(bytes));
        }
    }
}
