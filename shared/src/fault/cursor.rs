//! A cursor over the text of a rule.

/// Where one stands in a text.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut cursor = Self { text, at: 0 };
        cursor.skip_space();
        cursor
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The column, in characters from 1.
    pub(super) fn column(&self) -> usize {
        let before = self.text.get(..self.at).unwrap_or_default();
        before.chars().count() + 1
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Takes what is not white space and none of these characters.
    pub(super) fn run(&mut self, stops: &[char]) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || stops.contains(&c))
            .unwrap_or(rest.len());
        let run = rest.get(..end).filter(|run| !run.is_empty())?;
        self.at += end;
        self.skip_space();
        Some(run)
    }

    /// Takes a word.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.run(&[':', ';', '|', '@', '(', ')', '"', '~', '>', '=', ','])
    }

    /// Takes this word, if it is the next one.
    pub(super) fn keyword(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let found = self.word() == Some(wanted);
        if !found {
            self.at = before;
        }
        found
    }

    /// Takes this character, if it is the next one.
    pub(super) fn symbol(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
            self.skip_space();
        }
        found
    }

    /// Takes what stands between quotes, as it stands there.
    pub(super) fn quoted(&mut self) -> Option<&'a str> {
        let inner = self.rest().strip_prefix('"')?;
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    self.at += at + 2;
                    self.skip_space();
                    return inner.get(..at);
                }
                c if c.is_control() => return None,
                _ => {}
            }
        }
        None
    }

    /// What comes next, for an error.
    pub(super) fn shown(&self) -> String {
        let rest = self.rest();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest.chars()
            .take(rest.get(..end).map_or(0, str::len).clamp(1, 30))
            .collect()
    }
}

/// The octets that a quoted text stands for: `\r`, `\n`, `\t`, `\"`, `\\`, `\xNN`.
pub(super) fn octets(quoted: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(quoted.len());
    let mut rest = quoted.as_bytes().iter().copied();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'\\' => match rest.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                plain @ (b'"' | b'\\') => plain,
                b'x' => {
                    let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
                    let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                    u8::try_from(high * 16 + low).ok()?
                }
                _ => return None,
            },
            octet => octet,
        });
    }
    Some(octets)
}

/// The regular expression in quotes: a backslash is its own, but for `\"`.
pub(super) fn pattern(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('"') => text.push('"'),
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}
