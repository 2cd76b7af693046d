//! One leg of the procedure: a plan goes in, a recording comes out, and [`stream`]
//! is how it is taken in.
//!
//! Whatever carries lines carries a leg: the plan is one JSON object on standard
//! input, the recording goes to standard output as it is made.

mod deferred;
mod run;
pub mod stream;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Status};
use crate::target::Target;

/// What a leg is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// `localhost`, `remote` and so on, as recordings call it.
    pub leg: String,
    /// The leg only imitates being elsewhere.
    pub emulated: bool,
    /// Where to connect to.
    pub target: Target,
    /// The families to try.
    pub families: Families,
    /// Connect from this address.
    pub source: Option<IpAddr>,
    /// What was stated about the server.
    pub facts: BTreeMap<String, String>,
    /// The least time between two connections.
    pub pace: Duration,
    /// The name the certificate should have.
    pub tls_name: String,
    /// Who runs this.
    pub operator: String,
    /// Go on though the delivery failed.
    pub keep_going: bool,
    /// How long to wait for the end of greylisting, if it is announced.
    #[serde(default)]
    pub patience: Duration,
    /// How long to wait for each reply, if not as long as usual.
    #[serde(default)]
    pub timeout: Option<Duration>,
}

/// The address families to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Families {
    /// Each that the server has an address of.
    Both,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Families {
    /// An address of that family is to be tried.
    pub const fn include(self, address: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// Runs the plan that comes on standard input.
pub async fn serve_stdin() -> Result<Status, Failure> {
    let mut input = Vec::new();
    std::io::stdin()
        .read_to_end(&mut input)
        .map_err(Failure::with(Status::Input))?;
    let plan: Plan = serde_json::from_slice(&input)
        .context("reading the plan of the leg")
        .map_err(Failure::with(Status::Input))?;
    run::run(&plan).await
}
