//! The arithmetic (RFC 5802 §3).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};

/// The hash that a mechanism is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

/// `ClientKey` and `ServerKey`.
pub(super) struct Keys {
    hash: Hash,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Keys {
    /// The keys of a password: this is where the time goes.
    pub(super) fn derive(hash: Hash, password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = vec![0; hash.digest().output_len()];
        pbkdf2::derive(
            hash.pbkdf2(),
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );
        Self {
            hash,
            client: hash.keyed(&salted, b"Client Key"),
            server: hash.keyed(&salted, b"Server Key"),
        }
    }

    /// `ClientProof`: what a client shows that knows the password.
    pub(super) fn proof(&self, auth_message: &str) -> Vec<u8> {
        let stored = digest::digest(self.hash.digest(), &self.client);
        let signature = self.hash.keyed(stored.as_ref(), auth_message.as_bytes());
        let pairs = self.client.iter().zip(signature);
        pairs.map(|(key, signature)| key ^ signature).collect()
    }

    /// `ServerSignature`: what a server shows that knows the password.
    pub(super) fn signature(&self, auth_message: &str) -> Vec<u8> {
        self.hash.keyed(&self.server, auth_message.as_bytes())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?}, ********)", self.hash)
    }
}

/// Whether two proofs are the same, without telling by time where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    fn keyed(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(algorithm, key);
        hmac::sign(&key, text).as_ref().to_vec()
    }
}
