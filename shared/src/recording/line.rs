//! Writes one line of a recording: the hot path, so it is written by hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::time::Timestamp;

/// One line being written to the end of a buffer.
pub(super) struct LineWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> LineWriter<'a> {
    /// Begins a record of that kind, of a session or of the file.
    pub(super) fn begin(
        out: &'a mut Vec<u8>,
        n: u64,
        session: Option<u64>,
        at: Timestamp,
        kind: &str,
    ) -> Self {
        out.extend_from_slice(b"{\"n\":");
        push_number(out, n);
        if let Some(session) = session {
            out.extend_from_slice(b",\"s\":");
            push_number(out, session);
        }
        out.extend_from_slice(b",\"at\":\"");
        at.write_rfc3339(out);
        out.extend_from_slice(b"\",\"k\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self { out }
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        push_string(self.out, text);
        self
    }

    pub(super) fn text_if(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    pub(super) fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.name(name);
        push_number(self.out, number);
        self
    }

    pub(super) fn number_if(&mut self, name: &str, number: Option<u64>) -> &mut Self {
        if let Some(number) = number {
            self.number(name, number);
        }
        self
    }

    pub(super) fn flag(&mut self, name: &str, set: bool) -> &mut Self {
        if set {
            self.json(name, "true");
        }
        self
    }

    /// Any JSON, already encoded and without a line end.
    pub(super) fn json(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// A list of texts.
    pub(super) fn list(
        &mut self,
        name: &str,
        texts: impl Iterator<Item = impl AsRef<str>>,
    ) -> &mut Self {
        self.name(name);
        self.out.push(b'[');
        for (index, text) in texts.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_string(self.out, text.as_ref());
        }
        self.out.push(b']');
        self
    }

    /// The exact bytes: as text where they are UTF-8 and base64 is not shorter.
    pub(super) fn payload(&mut self, bytes: &[u8]) -> &mut Self {
        let base64_length = bytes.len().div_ceil(3) * 4;
        match std::str::from_utf8(bytes) {
            Ok(text) if escaped_length(bytes) <= base64_length.max(64) => self.text("b", text),
            _ => {
                self.name("b64");
                let mut encoded = String::with_capacity(base64_length);
                STANDARD.encode_string(bytes, &mut encoded);
                self.out.push(b'"');
                self.out.extend_from_slice(encoded.as_bytes());
                self.out.push(b'"');
                self
            }
        }
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - count..).unwrap_or_default());
}

/// The JSON escape of a byte of a string: 0 for none, `u` for `\u00XX`.
const fn escape_of(byte: u8) -> u8 {
    match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0..=0x1f => b'u',
        _ => 0,
    }
}

fn escaped_length(bytes: &[u8]) -> usize {
    let extra: usize = bytes
        .iter()
        .map(|&byte| match escape_of(byte) {
            0 => 0,
            b'u' => 5,
            _ => 1,
        })
        .sum();
    bytes.len() + extra
}

/// Appends a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|&byte| escape_of(byte) != 0) {
        let (before, from) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((&byte, after)) = from.split_first() else {
            break;
        };
        match escape_of(byte) {
            b'u' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = LineWriter::begin(&mut out, 10, Some(7), Timestamp::from_nanos(1), "cmd");
        line.payload(bytes);
        line.end();
        out
    }

    #[test]
    fn lines_look_as_the_format_says() {
        assert_eq!(
            String::from_utf8(line(b"EHLO \"a\"\r\n")).unwrap(),
            "{\"n\":10,\"s\":7,\"at\":\"1970-01-01T00:00:00.000000001Z\",\"k\":\"cmd\",\"b\":\"EHLO \\\"a\\\"\\r\\n\"}\n"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let text = String::from_utf8(line(b"\xff\0")).unwrap();
        assert!(text.contains("\"b64\":\"/wA=\""), "{text}");
        let zeros = String::from_utf8(line(&[0; 100])).unwrap();
        assert!(zeros.contains("\"b64\""), "{zeros}");
    }

    proptest::proptest! {
        #[test]
        fn any_payload_is_read_back(bytes: Vec<u8>) {
            let out = line(&bytes);
            proptest::prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
            let record = crate::recording::Record::parse(&out).unwrap();
            proptest::prop_assert_eq!(record.payload(), Some(bytes));
        }

        #[test]
        fn any_text_is_read_back(text: String) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
