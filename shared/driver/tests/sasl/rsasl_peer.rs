//! Each half of ours against the other half of rsasl, which was written by
//! somebody else: two halves of one author may agree on the same mistake.

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac, pbkdf2};
use helo_driver::sasl::client;
use helo_driver::sasl::server::{self, Failure};
use helo_driver::sasl::{Initial, Mechanism, Needs};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::external::EXTERNAL;
use rsasl::mechanisms::login::LOGIN;
use rsasl::mechanisms::oauthbearer::OAUTHBEARER;
use rsasl::mechanisms::oauthbearer::properties::{OAuthBearerError, OAuthBearerValidate};
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS};
use rsasl::mechanisms::xoauth2::XOAUTH2;
use rsasl::mechanisms::xoauth2::properties::XOAuth2Validate;
use rsasl::prelude::{
    ChannelBindingCallback, Mechname, Registry, SASLClient, SASLConfig, SASLServer, Session,
    SessionError, State, Validation,
};
use rsasl::property::{AuthId, AuthzId, OAuthBearerToken, Password};
use rsasl::validate::{Validate, ValidationError};

use crate::dialogue::Scene;

const MECHANISMS: [&str; 9] = [
    "EXTERNAL",
    "LOGIN",
    "OAUTHBEARER",
    "PLAIN",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "XOAUTH2",
];

/// Their side of it: `tim` with this password, and with the right token.
#[derive(Clone)]
struct Them {
    mechanism: &'static Mechanism,
    password: &'static str,
}

/// Their default set has no -PLUS in it.
static THEIRS: &[rsasl::prelude::Mechanism] = &[
    EXTERNAL,
    LOGIN,
    OAUTHBEARER,
    PLAIN,
    SCRAM_SHA1,
    SCRAM_SHA1_PLUS,
    SCRAM_SHA256,
    SCRAM_SHA256_PLUS,
    XOAUTH2,
];

const RIGHT: &str = "tanstaaf,= tanstaaf";
const TOKEN: &str = "abc.def==";

impl SessionCallback for Them {
    fn callback(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        if self.mechanism.needs != Needs::Password {
            request.satisfy::<AuthzId>("tim")?;
        }
        // As a server.
        let token = context.get_ref::<OAuthBearerToken>();
        if request.is::<OAuthBearerValidate>() {
            let right = token == Some(&format!("Bearer {TOKEN}"));
            let wrong = OAuthBearerError::new("invalid_token", None, None);
            request.satisfy::<OAuthBearerValidate>(&right.then_some(()).ok_or(wrong))?;
            return Ok(());
        }
        if request.is::<XOAuth2Validate>() {
            let right = token == Some(TOKEN) && context.get_ref::<AuthId>() == Some("tim");
            request.satisfy::<XOAuth2Validate>(&right.then_some(()).ok_or("{}"))?;
            return Ok(());
        }
        let (stored, server) = scram_keys(self.mechanism.name, self.password);
        let keys = ScramStoredPassword::new(4096, b"salt of theirs", &stored, &server);
        request.satisfy::<ScramStoredPassword<'_>>(&keys)?;
        // As a client.
        request
            .satisfy::<AuthId>("tim")?
            .satisfy::<Password>(self.password.as_bytes())?
            .satisfy::<OAuthBearerToken>(TOKEN)?;
        Ok(())
    }

    fn enable_channel_binding(&self) -> bool {
        self.mechanism.channel_binding
    }

    fn validate(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        let password = context.get_ref::<Password>();
        let right = password.is_none_or(|password| password == self.password.as_bytes());
        validate.with::<Validated, _>(|| Ok(right))?;
        Ok(())
    }
}

/// Whether they let us in.
struct Validated;

impl Validation for Validated {
    type Value = bool;
}

/// What the scenes are bound to.
struct Bound;

impl ChannelBindingCallback for Bound {
    fn get_cb_data(&self, name: &str) -> Option<&[u8]> {
        (name == "tls-exporter").then_some(&[7; 32])
    }
}

/// StoredKey and ServerKey (RFC 5802 §3).
fn scram_keys(mechanism: &str, password: &str) -> (Vec<u8>, Vec<u8>) {
    let (kdf, mac, hash) = if mechanism.starts_with("SCRAM-SHA-256") {
        (
            pbkdf2::PBKDF2_HMAC_SHA256,
            hmac::HMAC_SHA256,
            &digest::SHA256,
        )
    } else {
        (
            pbkdf2::PBKDF2_HMAC_SHA1,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
        )
    };
    let mut salted = vec![0; hash.output_len()];
    let iterations = NonZeroU32::new(4096).unwrap();
    pbkdf2::derive(
        kdf,
        iterations,
        b"salt of theirs",
        password.as_bytes(),
        &mut salted,
    );
    let key = hmac::Key::new(mac, &salted);
    let client = hmac::sign(&key, b"Client Key");
    let server = hmac::sign(&key, b"Server Key");
    let stored = digest::digest(hash, client.as_ref());
    (stored.as_ref().to_vec(), server.as_ref().to_vec())
}

fn config(scene: &Scene, password: &'static str) -> Arc<SASLConfig> {
    let them = Them {
        mechanism: scene.mechanism,
        password,
    };
    SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(THEIRS))
        .with_callback(them)
        .unwrap()
}

fn step<V: Validation>(session: &mut Session<V, Bound>, input: Option<&[u8]>) -> (State, Vec<u8>) {
    let mut output = Vec::new();
    let state = session.step(input, &mut output).unwrap();
    (state, output)
}

/// Their client, our server.
fn they_log_in(scene: &Scene, password: &'static str) -> server::Step {
    let name = Mechname::parse(scene.mechanism.name.as_bytes()).unwrap();
    let client = SASLClient::with_cb(config(scene, password), Bound);
    let mut client = client.start_suggested(&[name]).unwrap();
    let mut server = scene.exchange();
    let initial = (scene.mechanism.initial == Initial::Expected).then(|| step(&mut client, None).1);
    let mut said = server.step(initial.as_deref());
    for _ in 0..5 {
        let server::Step::Challenge(challenge) = &said else {
            return said;
        };
        let (_, response) = step(&mut client, Some(challenge.as_bytes()));
        said = server.step(Some(&response));
    }
    panic!("no end: {said:?}");
}

/// Our client, their server: what each thinks of the end.
fn we_log_in(scene: &Scene, password: &'static str) -> (bool, Result<(), client::Error>) {
    let name = Mechname::parse(scene.mechanism.name.as_bytes()).unwrap();
    let server = SASLServer::<Validated, Bound>::with_cb(config(scene, password), Bound);
    let mut server = server.start_suggested(name).unwrap();
    let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
    let mut client = begun.unwrap();
    let mut response = client.initial().map(|message| message.as_bytes().to_vec());
    for _ in 0..5 {
        let (state, challenge) = step(&mut server, response.as_deref());
        if state.is_finished() && !state.has_sent_message() {
            break;
        }
        response = match client.step(&challenge) {
            client::Step::Response(message) => Some(message.as_bytes().to_vec()),
            client::Step::Failed(error) => return (false, Err(error)),
        };
        if state.is_finished() {
            break;
        }
    }
    (server.validation() == Some(true), client.finish())
}

#[test]
fn their_client_logs_in_at_our_server() {
    for name in MECHANISMS {
        let said = they_log_in(&Scene::new(name), RIGHT);
        let done = matches!(&said, server::Step::Done(identity) if identity.authcid == "tim");
        assert!(done, "{name}: {said:?}");
    }
}

#[test]
fn our_client_logs_in_at_their_server() {
    for name in MECHANISMS {
        let ends = we_log_in(&Scene::new(name), RIGHT);
        assert_eq!(ends, (true, Ok(())), "{name}");
    }
}

#[test]
fn a_wrong_password_is_refused_either_way() {
    for name in MECHANISMS {
        let scene = Scene::new(name);
        if scene.mechanism.needs != Needs::Password {
            continue;
        }
        let said = they_log_in(&scene, "wrong");
        assert_eq!(said, server::Step::Failed(Failure::Credentials), "{name}");
        let (accepted, _) = we_log_in(&scene, "wrong");
        assert!(!accepted, "{name}");
    }
}
