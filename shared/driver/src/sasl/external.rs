//! EXTERNAL (RFC 4422 appendix A): the TLS handshake has proven who it is; the
//! message says at most as whom to act.

use super::client::{self, ClientHalf};
use super::server::{Failure, Progress, ServerHalf};
use super::{Accounts, Initial, Mechanism, Needs, Transfer};

pub(super) const EXTERNAL: Mechanism = Mechanism {
    name: "EXTERNAL",
    needs: Needs::Certificate,
    transfer: Transfer::Nothing,
    channel_binding: false,
    authzid: true,
    initial: Initial::Expected,
    server: |context| {
        Ok(Box::new(Server {
            names: context.certificate.clone(),
        }))
    },
    client: |credentials, _| {
        let authzid = credentials.authzid.clone().unwrap_or_default();
        client::Error::unless_sendable("name", &authzid, '\0')?;
        Ok(Box::new(Client { authzid }))
    },
};

#[derive(Debug)]
struct Server {
    names: Vec<String>,
}

impl ServerHalf for Server {
    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        let authzid = std::str::from_utf8(response)
            .ok()
            .filter(|authzid| !authzid.contains('\0'))
            .ok_or(Failure::Malformed("EXTERNAL: not UTF-8, or with a NUL"))?;
        let authzid = (!authzid.is_empty()).then_some(authzid);
        // A certificate may have several names: the one asked for, else the first.
        let asked = |name: &&String| authzid.is_none_or(|id| accounts.may_act_as(name, id));
        Progress::proven(accounts, self.names.iter().find(asked).cloned(), authzid)
    }
}

#[derive(Debug)]
struct Client {
    authzid: String,
}

impl ClientHalf for Client {
    fn open(&mut self) -> Vec<u8> {
        self.authzid.clone().into()
    }

    fn step(&mut self, _: &[u8]) -> Result<Vec<u8>, client::Error> {
        Err(client::Error::Unexpected)
    }
}
