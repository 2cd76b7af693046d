//! Lists of mailboxes in files.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use shared::address::{Domain, Mailbox};

/// Mailboxes, and whole domains: a line each, `anna@example.test` or
/// `@example.test`; what follows `#` is a remark. Letter case does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailboxes {
    single: HashSet<String>,
    domains: HashSet<String>,
}

/// The longest list that is read.
const LONGEST: u64 = 16 * 1024 * 1024;

impl Mailboxes {
    /// Reads a list; errors name the line.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("reading {}", path.display());
        if std::fs::metadata(path).with_context(what)?.len() > LONGEST {
            bail!("{} is longer than {LONGEST} octets", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(what)?;
        let mut found = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or("").trim();
            if !entry.is_empty() && found.take(entry).is_none() {
                bail!(
                    "{}:{}: '{entry}' is neither a mailbox nor @DOMAIN",
                    path.display(),
                    index + 1
                );
            }
        }
        Ok(found)
    }

    fn take(&mut self, entry: &str) -> Option<()> {
        if let Some(domain) = entry.strip_prefix('@') {
            let domain: Domain = domain.parse().ok()?;
            self.domains.insert(domain.to_string().to_lowercase());
        } else {
            let mailbox: Mailbox = entry.parse().ok()?;
            self.single.insert(mailbox.to_string().to_lowercase());
        }
        Some(())
    }

    /// The mailbox is on the list, or its domain is.
    pub fn contain(&self, mailbox: &Mailbox) -> bool {
        let domain = mailbox.domain().to_string().to_lowercase();
        self.domains.contains(&domain) || self.single.contains(&mailbox.to_string().to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mailboxes> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        Mailboxes::read(file.path())
    }

    #[test]
    fn lists_are_read() {
        let list = read("# who\nAnna@Example.test # she\n\n@whole.test\n").unwrap();
        for (mailbox, there) in [
            ("anna@example.test", true),
            ("ANNA@example.TEST", true),
            ("bert@example.test", false),
            ("bert@Whole.test", true),
            ("bert@part.whole.test", false),
        ] {
            assert_eq!(list.contain(&mailbox.parse().unwrap()), there, "{mailbox}");
        }
        let error = read("a@b.test\nanna\n").unwrap_err().to_string();
        assert!(error.contains(":2: 'anna'"), "{error}");
    }
}
