//! LOGIN (draft-murchison-sasl-login-00): the user after one prompt, the password
//! after another. What the prompts say is not fixed; everybody says this.
//!
//! The server speaks first. Python's smtplib does not wait and sends the user
//! with AUTH; servers let it.

use shared::command::Secret;

use super::client::{self, ClientHalf};
use super::server::{Failure, Progress, ServerHalf};
use super::{Accounts, Initial, Mechanism, Needs, Transfer};

pub(super) const LOGIN: Mechanism = Mechanism {
    name: "LOGIN",
    needs: Needs::Password,
    transfer: Transfer::ClearText,
    channel_binding: false,
    authzid: false,
    initial: Initial::Tolerated,
    server: |_| Ok(Box::new(Server::default())),
    client: |credentials, _| {
        Ok(Box::new(Client {
            user: Some(credentials.user.clone()),
            password: Some(credentials.password()?.clone()),
        }))
    },
};

#[derive(Debug, Default)]
struct Server {
    user: Option<String>,
}

impl ServerHalf for Server {
    fn open(&mut self) -> Vec<u8> {
        b"Username:".into()
    }

    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        let text = std::str::from_utf8(response)
            .map_err(|_| Failure::Malformed("LOGIN: the message is not UTF-8"))?;
        match self.user.take() {
            None if text.is_empty() => Err(Failure::Malformed("LOGIN: no user")),
            None => {
                self.user = Some(text.to_owned());
                Ok(Progress::Challenge(b"Password:".into()))
            }
            Some(user) => Progress::proven(accounts, accounts.by_password(&user, text), None),
        }
    }
}

#[derive(Debug)]
struct Client {
    user: Option<String>,
    password: Option<Secret>,
}

impl ClientHalf for Client {
    fn step(&mut self, _: &[u8]) -> Result<Vec<u8>, client::Error> {
        match self.user.take() {
            Some(user) => Ok(user.into()),
            // Revealed to be sent.
            None => self
                .password
                .take()
                .map(|password| password.reveal().into())
                .ok_or(client::Error::Unexpected),
        }
    }
}
