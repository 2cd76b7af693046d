//! Who may ask: the token, and the names by which the API may be called.
//!
//! A web page that a browser shows can have the browser ask a server on loopback. It
//! does so under a name of its own that it lets point here (DNS rebinding), so that
//! only known names are answered; or under ours, from its own origin, so that requests
//! of other origins are refused.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HOST, ORIGIN, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Api;
use super::problem::Problem;

/// The address that a connection came in by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local(pub(super) SocketAddr);

/// A secret that whoever asks must know, as its digest.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// What is asked of those who ask.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Nobody needs one if there is none.
    pub token: Option<Token>,
    /// Names by which the API may be called, besides the loopback ones.
    pub hosts: Vec<String>,
}

/// A token has so many octets at least.
const SHORTEST: usize = 16;

/// A request has so many octets after its header at most.
pub(super) const BODY: u64 = 64 * 1024;

/// What may be asked by whoever comes: it tells nothing.
const FREE: [&str; 2] = ["/livez", "/readyz"];

impl Token {
    /// The token in a file: its first line.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("reading --http-token-file {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let token = text.lines().next().unwrap_or_default().trim();
        let printable = token.bytes().all(|octet| octet.is_ascii_graphic());
        if token.len() < SHORTEST || !printable {
            bail!(
                "{}: a token is a line of at least {SHORTEST} printable octets",
                what()
            );
        }
        Ok(Self::of(token.as_bytes()))
    }

    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// It is this one. The digests are compared to their end, so that the time it takes
    /// tells nothing.
    fn is(&self, given: &[u8]) -> bool {
        let given = Self::of(given);
        let both = self.0.iter().zip(given.0);
        let differing = both.fold(0, |differing, (one, other)| differing | (one ^ other));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(********)")
    }
}

/// Lets a request through, or answers it.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    Extension(Local(local)): Extension<Local>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match api.guard.objection(&request, local.ip()) {
        None => next.run(request).await,
        Some(problem) => problem,
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Guard {
    fn objection(&self, request: &Request, local: IpAddr) -> Option<Response> {
        let headers = request.headers();
        if let Err(problem) = self.called_by_name(request.uri(), headers, local) {
            return Some(problem.into_response());
        }
        let free = FREE.contains(&request.uri().path());
        if !free && !self.is_known(headers) {
            let problem = Problem::new(
                StatusCode::UNAUTHORIZED,
                "Authorization: Bearer TOKEN is needed, with the token of --http-token-file",
            );
            return Some(([(WWW_AUTHENTICATE, "Bearer")], problem).into_response());
        }
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let too_big = length.is_some_and(|length: u64| length > BODY);
        too_big.then(|| {
            let detail = format!("a request has at most {BODY} octets");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
        })
    }

    /// The request names this server, and comes from no other one's page.
    fn called_by_name(&self, uri: &Uri, headers: &HeaderMap, local: IpAddr) -> Result<(), Problem> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::bad_request("a request has one Host header"));
        };
        let host = Authority::try_from(host.as_bytes()).ok();
        // RFC 9112 §3.2.2: what the request line names is what is meant.
        let named = [host.as_ref(), uri.authority()];
        let wrong = host.is_none()
            || named
                .iter()
                .flatten()
                .any(|named| !self.is_ours(named, local));
        if wrong {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "the Host header names another server (--http-host NAME allows a name)",
            ));
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let origin = Uri::try_from(origin.as_bytes()).ok();
        let origin = origin.as_ref().and_then(Uri::authority);
        if origin.is_some_and(|origin| self.is_ours(origin, local)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this comes from a page of another server",
        ))
    }

    fn is_ours(&self, named: &Authority, local: IpAddr) -> bool {
        if named.as_str().contains('@') {
            return false;
        }
        let host = named.host();
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() {
            // Nobody can have an address of ours point elsewhere.
            let address = address.to_canonical();
            return address.is_loopback() || address == local.to_canonical();
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let ours = |name: &String| name.eq_ignore_ascii_case(host);
        host.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(ours)
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        // RFC 9110 §11.1: the scheme is in any case.
        let bearer = given.and_then(|given| {
            let (scheme, given) = given.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
        });
        bearer.is_some_and(|given| token.is(given.trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_answered() {
        let guard = Guard {
            hosts: vec!["mail.example".into()],
            ..Guard::default()
        };
        let local = "192.0.2.1".parse().unwrap();
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:80", true),
            ("localhost.:80", true),
            ("127.0.0.1:8025", true),
            ("127.9.9.9", true),
            ("[::1]:8025", true),
            ("192.0.2.1:8025", true),
            ("[::ffff:192.0.2.1]", true),
            ("mail.EXAMPLE:8025", true),
            ("192.0.2.2", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
        ] {
            let named = Authority::try_from(host).unwrap();
            assert_eq!(guard.is_ours(&named, local), ours, "{host}");
        }
    }

    #[test]
    fn a_token_is_known_whole_and_never_shown() {
        let token = Token::of(b"0123456789abcdef");
        assert!(token.is(b"0123456789abcdef"));
        for wrong in [
            &b""[..],
            b"0123456789abcde",
            b"0123456789abcdeF",
            b"0123456789abcdef0",
        ] {
            assert!(!token.is(wrong));
        }
        assert_eq!(format!("{token:?}"), "Token(********)");
    }
}
