//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`.

use shared::command::Secret;

use super::client::{self, ClientHalf};
use super::server::{Failure, Progress, ServerHalf};
use super::{Accounts, Initial, Mechanism, Needs, Transfer};

pub(super) const PLAIN: Mechanism = Mechanism {
    name: "PLAIN",
    needs: Needs::Password,
    transfer: Transfer::ClearText,
    channel_binding: false,
    authzid: true,
    initial: Initial::Expected,
    server: |_| Ok(Box::new(Server)),
    client: |credentials, _| Ok(Box::new(Client::new(credentials)?)),
};

#[derive(Debug)]
struct Server;

impl ServerHalf for Server {
    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        let text = std::str::from_utf8(response)
            .map_err(|_| Failure::Malformed("PLAIN: the message is not UTF-8"))?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed("PLAIN: not two NULs in the message"));
        };
        if authcid.is_empty() || password.is_empty() {
            return Err(Failure::Malformed("PLAIN: no user or no password"));
        }
        let user = accounts.by_password(authcid, password);
        let authzid = (!authzid.is_empty()).then_some(authzid);
        Progress::proven(accounts, user, authzid)
    }
}

#[derive(Debug)]
struct Client {
    message: Secret,
}

impl Client {
    fn new(credentials: &client::Credentials) -> Result<Self, client::Error> {
        let authzid = credentials.authzid.as_deref().unwrap_or_default();
        let user = &credentials.user;
        // Revealed to be sent.
        let password = credentials.password()?.reveal();
        client::Error::unless_sendable("name", authzid, '\0')?;
        client::Error::unless_sendable("name", user, '\0')?;
        client::Error::unless_sendable("password", password, '\0')?;
        Ok(Self {
            message: Secret::new(format!("{authzid}\0{user}\0{password}")),
        })
    }
}

impl ClientHalf for Client {
    fn open(&mut self) -> Vec<u8> {
        self.message.reveal().into()
    }

    fn step(&mut self, _: &[u8]) -> Result<Vec<u8>, client::Error> {
        Err(client::Error::Unexpected)
    }
}
