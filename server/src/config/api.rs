//! Where the HTTP API is, and who may use it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use shared::quantity::Period;

/// The HTTP API.
#[serde_as]
#[derive(Args, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "HTTP API")]
pub struct Api {
    /// Show messages, sessions and metrics over HTTP here. Port 0 takes a free port. An
    /// address that is not loopback needs --http-token-file
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Demand the token in this file, as 'Authorization: Bearer TOKEN'
    #[arg(long, value_name = "FILE")]
    pub http_token_file: Option<PathBuf>,
    /// A name by which the API may be called, besides the loopback ones and its
    /// address; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub http_host: Vec<String>,
    /// How long a client may take for the header of a request, between two requests,
    /// and take nothing of an answer
    #[arg(long, default_value_t = Period::seconds(15), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub http_timeout: Period,
    /// The longest that a request may wait for messages
    #[arg(long, default_value_t = Period::seconds(600), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub http_max_wait: Period,
}

impl Default for Api {
    fn default() -> Self {
        super::Options::default().api
    }
}
