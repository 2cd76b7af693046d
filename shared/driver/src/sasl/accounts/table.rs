//! The accounts of a server.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::hmac;
use shared::command::Secret;
use shared::escape::hex;

use crate::sasl::prepare::prepare;
use crate::sasl::random::{self, NoRandomness};

/// The accounts of a server.
///
/// Names and passwords are compared after SASLprep (RFC 4616 §2, RFC 5802 §2.2).
pub struct Accounts {
    /// Of this process: secrets are compared by their digests under it, so that
    /// time tells nothing, and the salts of SCRAM are drawn from it.
    key: hmac::Key,
    names: NameCase,
    any: bool,
    passwords: HashMap<String, Account>,
    /// By digest: to find a token is to compare it.
    tokens: HashMap<Vec<u8>, String>,
    /// Compared where there is no account.
    nobody: Account,
}

/// Whether `Tim` is `tim`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCase {
    /// They are one, as most mail servers have it.
    #[default]
    Ignored,
    /// They are two, as SASLprep has it.
    Kept,
}

/// Why an account cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The user has a password already.
    #[error("the user '{0}' is here twice")]
    Duplicate(String),
    /// The name is empty or SASLprep forbids it.
    #[error("the user name is empty or holds what SASLprep (RFC 4013) forbids")]
    Name,
    /// The password is empty or SASLprep forbids it.
    #[error("the password is empty or holds what SASLprep (RFC 4013) forbids")]
    Password,
    /// It is not a bearer token.
    #[error("no token can look like this (RFC 6750 §2.1)")]
    Token,
    /// Another user has the same token.
    #[error("the token belongs to '{0}' already")]
    TokenTaken(String),
}

/// What is known of a name; of one that nobody has as much as of any other.
pub(in crate::sasl) struct Found<'a> {
    /// As the account spells it, if there is one.
    pub(in crate::sasl) name: Option<&'a str>,
    /// The password as it was given.
    pub(in crate::sasl) written: &'a Secret,
    /// The password after SASLprep.
    pub(in crate::sasl) prepared: &'a Secret,
    /// For SCRAM: the same whenever this process is asked.
    pub(in crate::sasl) salt: Vec<u8>,
}

struct Account {
    name: String,
    written: Secret,
    prepared: Secret,
}

impl Accounts {
    /// No accounts.
    pub fn new(names: NameCase) -> Result<Self, NoRandomness> {
        let password = Secret::new(hex(&random::octets()?));
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::octets()?),
            names,
            any: false,
            passwords: HashMap::new(),
            tokens: HashMap::new(),
            nobody: Account {
                name: String::new(),
                written: password.clone(),
                prepared: password,
            },
        })
    }

    /// Lets a user in with a password.
    pub fn add_password(&mut self, user: &str, password: &str) -> Result<(), AccountError> {
        let (name, lookup) = self.named(user)?;
        let prepared = prepare(password).ok_or(AccountError::Password)?;
        if self.passwords.contains_key(&lookup) {
            return Err(AccountError::Duplicate(name));
        }
        let account = Account {
            name,
            written: Secret::new(password.to_owned()),
            prepared: Secret::new(prepared),
        };
        self.passwords.insert(lookup, account);
        Ok(())
    }

    /// Lets a user in with a bearer token, one of many.
    pub fn add_token(&mut self, user: &str, token: &str) -> Result<(), AccountError> {
        let (name, lookup) = self.named(user)?;
        if !is_token(token) {
            return Err(AccountError::Token);
        }
        let digest = self.digest(token);
        match self.tokens.get(&digest) {
            Some(other) if self.lookup(other) != lookup => {
                Err(AccountError::TokenTaken(other.clone()))
            }
            _ => {
                self.tokens.insert(digest, name);
                Ok(())
            }
        }
    }

    /// Lets in whoever asks, with any password and any token, and as anybody.
    pub const fn accept_any(&mut self) {
        self.any = true;
    }

    /// Whoever asks is let in.
    pub const fn accepts_any(&self) -> bool {
        self.any
    }

    /// Everybody who has a password, as the account spells the name.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.passwords.values().map(|account| account.name.as_str())
    }

    /// Somebody has a password.
    pub fn has_passwords(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// Somebody has a token.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// What is known of a name.
    pub(in crate::sasl) fn find(&self, user: &str) -> Found<'_> {
        let lookup = self.lookup(user);
        let account = self.passwords.get(&lookup);
        let Account {
            written, prepared, ..
        } = account.unwrap_or(&self.nobody);
        Found {
            name: account.map(|account| account.name.as_str()),
            written,
            prepared,
            salt: self.salt(&lookup),
        }
    }

    /// The user whose password this is.
    pub(in crate::sasl) fn by_password(&self, user: &str, password: &str) -> Option<String> {
        let found = self.find(user);
        let prepared = prepare(password);
        // An account's password is never empty.
        let same = self.same(found.prepared, prepared.as_deref().unwrap_or_default());
        match found.name {
            Some(name) if same || self.any => Some(name.to_owned()),
            None if self.any => prepare(user),
            _ => None,
        }
    }

    /// The user whose token this is; if one is named, it must be that one.
    pub(in crate::sasl) fn by_token(&self, user: Option<&str>, token: &str) -> Option<String> {
        let owner = self.tokens.get(&self.digest(token));
        match (owner, user) {
            (Some(owner), user) if user.is_none_or(|user| self.may_act_as(owner, user)) => {
                Some(owner.clone())
            }
            (_, Some(user)) if self.any => prepare(user),
            // Nobody is named, neither here nor there.
            (_, None) if self.any => Some(String::new()),
            _ => None,
        }
    }

    /// Whether a user may act as this one: as itself.
    pub(in crate::sasl) fn may_act_as(&self, user: &str, other: &str) -> bool {
        self.any || self.lookup(user) == self.lookup(other)
    }

    fn same(&self, secret: &Secret, given: &str) -> bool {
        // Revealed to be compared.
        let tag = hmac::sign(&self.key, secret.reveal().as_bytes());
        hmac::verify(&self.key, given.as_bytes(), tag.as_ref()).is_ok()
    }

    fn digest(&self, token: &str) -> Vec<u8> {
        hmac::sign(&self.key, token.as_bytes()).as_ref().to_vec()
    }

    fn salt(&self, lookup: &str) -> Vec<u8> {
        let tag = hmac::sign(&self.key, format!("salt\0{lookup}").as_bytes());
        tag.as_ref().iter().copied().take(16).collect()
    }

    /// The prepared name, and what it is kept under.
    fn named(&self, user: &str) -> Result<(String, String), AccountError> {
        let name = prepare(user).ok_or(AccountError::Name)?;
        let lookup = self.lookup(&name);
        Ok((name, lookup))
    }

    /// What a name is kept under. One that cannot be prepared is kept nowhere,
    /// and looked for all the same.
    fn lookup(&self, user: &str) -> String {
        let name = prepare(user).unwrap_or_else(|| user.to_owned());
        match self.names {
            NameCase::Ignored => name.to_lowercase(),
            NameCase::Kept => name,
        }
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("names", &self.names)
            .field("any", &self.any)
            .field("passwords", &self.passwords.len())
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(names: NameCase) -> Accounts {
        let mut accounts = Accounts::new(names).unwrap();
        accounts.add_password("Tim", "pass\u{a0}word").unwrap();
        accounts.add_token("tim", "abc.def==").unwrap();
        accounts
    }

    #[test]
    fn names_and_passwords_are_prepared_before_they_are_compared() {
        let accounts = accounts(NameCase::Ignored);
        assert_eq!(
            accounts.by_password("tIM", "pass word").as_deref(),
            Some("Tim")
        );
        assert_eq!(
            accounts
                .by_password("T\u{ad}im", "pass\u{a0}word")
                .as_deref(),
            Some("Tim")
        );
        for (user, password) in [
            ("tim", "pass  word"),
            ("tim", ""),
            ("tim", "\u{7}"),
            ("", "pass word"),
            ("tom", "pass word"),
        ] {
            assert_eq!(
                accounts.by_password(user, password),
                None,
                "{user} {password}"
            );
        }
    }

    #[test]
    fn the_case_of_a_name_counts_where_it_is_kept() {
        let accounts = accounts(NameCase::Kept);
        assert_eq!(accounts.by_password("tim", "pass word"), None);
        assert_eq!(
            accounts.by_password("Tim", "pass word").as_deref(),
            Some("Tim")
        );
    }

    #[test]
    fn a_token_names_its_user() {
        let accounts = accounts(NameCase::Ignored);
        assert_eq!(accounts.by_token(None, "abc.def==").as_deref(), Some("tim"));
        assert_eq!(
            accounts.by_token(Some("TIM"), "abc.def==").as_deref(),
            Some("tim")
        );
        assert_eq!(accounts.by_token(Some("tom"), "abc.def=="), None);
        assert_eq!(accounts.by_token(None, "abc.def="), None);
        assert_eq!(accounts.by_token(Some("tim"), ""), None);
    }

    #[test]
    fn any_takes_every_secret() {
        let mut accounts = accounts(NameCase::Ignored);
        accounts.accept_any();
        assert_eq!(accounts.by_password("tim", "x").as_deref(), Some("Tim"));
        assert_eq!(accounts.by_password("tom", "x").as_deref(), Some("tom"));
        assert_eq!(accounts.by_password("", "x"), None);
        assert_eq!(
            accounts.by_token(Some("tom"), "abc.def==").as_deref(),
            Some("tim")
        );
        assert_eq!(accounts.by_token(Some("tom"), "x").as_deref(), Some("tom"));
        assert_eq!(accounts.by_token(None, "x").as_deref(), Some(""));
        assert!(accounts.may_act_as("tom", "tim"));
    }

    #[test]
    fn what_cannot_be_an_account_is_refused() {
        let mut accounts = accounts(NameCase::Ignored);
        let duplicate = AccountError::Duplicate("TIM".into());
        assert_eq!(accounts.add_password("TIM", "x"), Err(duplicate));
        assert_eq!(accounts.add_password("", "x"), Err(AccountError::Name));
        assert_eq!(
            accounts.add_password("a\u{7}", "x"),
            Err(AccountError::Name)
        );
        assert_eq!(
            accounts.add_password("tom", ""),
            Err(AccountError::Password)
        );
        for token in ["", "=", "a b", "a=b", "a,b", "ä"] {
            assert_eq!(
                accounts.add_token("tim", token),
                Err(AccountError::Token),
                "{token}"
            );
        }
        let taken = AccountError::TokenTaken("tim".into());
        assert_eq!(accounts.add_token("tom", "abc.def=="), Err(taken));
        assert_eq!(accounts.add_token("tim", "abc.def=="), Ok(()));
    }

    #[test]
    fn salts_are_steady_and_each_name_has_its_own() {
        let accounts = accounts(NameCase::Ignored);
        assert_eq!(accounts.find("tim").salt, accounts.find("TIM").salt);
        assert_eq!(accounts.find("tom").salt, accounts.find("TOM").salt);
        assert_ne!(accounts.find("tim").salt, accounts.find("tom").salt);
        assert_eq!(accounts.find("tom").salt.len(), 16);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let text = format!("{:?}", accounts(NameCase::Kept));
        assert!(
            !text.contains("pass\u{a0}") && !text.contains("abc"),
            "{text}"
        );
    }
}
