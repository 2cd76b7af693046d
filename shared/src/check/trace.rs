//! stub
use super::Leg;
use std::net::IpAddr;
pub(super) fn client_seen<'a>(leg: &'a Leg<'_>) -> Option<(IpAddr, &'a str)> {
    leg.arrivals
        .iter()
        .find_map(|a| a.client_seen.map(|ip| (ip, "")))
}
