//! Which legs are to be run, and from where.

use std::net::IpAddr;

use anyhow::anyhow;
use shared::check::LegKind;

use crate::cli::Test;
use crate::exit::{Failure, Status};
use crate::target::Target;
use crate::vantage::Vantage;

/// A leg that is to be run.
pub(super) struct Wanted {
    pub(super) kind: LegKind,
    pub(super) vantage: Option<Vantage>,
    pub(super) target: Target,
    pub(super) source: Option<IpAddr>,
    pub(super) emulated: bool,
}

/// The legs, in order; a leg without a vantage cannot be run.
///
/// One vantage given means that the other is here. None given: a target on
/// loopback is this machine's own server, any other one is elsewhere.
pub(super) fn legs(options: &Test) -> [Wanted; 2] {
    let (localhost, remote) = match (&options.localhost_from, &options.remote_from) {
        (Some(localhost), Some(remote)) => (Some(localhost.clone()), Some(remote.clone())),
        (Some(localhost), None) => (Some(localhost.clone()), Some(Vantage::Here)),
        (None, Some(remote)) => (Some(Vantage::Here), Some(remote.clone())),
        (None, None) if options.emulate_from.is_some() => {
            (Some(Vantage::Here), Some(Vantage::Here))
        }
        (None, None) if options.target.is_loopback() => (Some(Vantage::Here), None),
        (None, None) => (None, Some(Vantage::Here)),
    };
    let only = |wanted: &Option<Vantage>, given: bool| {
        if options.one_leg && !given {
            None
        } else {
            wanted.clone()
        }
    };
    let none_given = options.localhost_from.is_none() && options.remote_from.is_none();
    // A target that is loopback already says which of its addresses is meant.
    let loopback = Target {
        host: if options.target.is_loopback() {
            options.target.host.clone()
        } else {
            "localhost".into()
        },
        ..options.target.clone()
    };
    [
        Wanted {
            kind: LegKind::Localhost,
            vantage: only(&localhost, none_given || options.localhost_from.is_some()),
            target: options.localhost_target.clone().unwrap_or(loopback),
            source: options.source.filter(IpAddr::is_loopback),
            emulated: false,
        },
        Wanted {
            kind: LegKind::Remote,
            vantage: only(&remote, none_given || options.remote_from.is_some()),
            target: options.target.clone(),
            source: options.emulate_from.or(options.source),
            emulated: options.emulate_from.is_some(),
        },
    ]
}

/// No pace at all is for one's own machine: controls are not checked by force.
pub(super) fn refuse_haste(options: &Test, legs: &[Wanted]) -> Result<(), Failure> {
    let hasty = legs.iter().find(|leg| {
        options.pace.is_zero()
            && leg.vantage.is_some()
            && !leg.target.is_loopback()
            && !matches!(leg.vantage, Some(Vantage::Netns(_)))
    });
    match hasty {
        Some(leg) => Err(Failure::new(
            Status::Unsafe,
            anyhow!(
                "--pace 0 is for loopback and your own network namespaces: {} is neither",
                leg.target
            ),
        )),
        None => Ok(()),
    }
}

/// How a leg that was not run can be.
pub(super) fn how_to_run(kind: LegKind) -> &'static str {
    match kind {
        LegKind::Localhost => {
            "it was not run: run this on the server itself, or give --localhost-from ssh:SERVER \
             (or --one-leg to do without)"
        }
        _ => {
            "it was not run: give --remote-from ssh:HOST, or run this elsewhere and --join its \
             recording (or --one-leg to do without)"
        }
    }
}
