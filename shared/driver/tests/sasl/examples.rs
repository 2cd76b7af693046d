//! The examples in the specifications, from both sides. Those of SCRAM's server
//! side stand with it, because they need its salt.

use helo_driver::sasl::client::{self, Credentials, Step};
use helo_driver::sasl::message::{decode, decode_challenge, decode_initial};
use helo_driver::sasl::server;
use helo_driver::sasl::{Accounts, Channel, NameCase, find};
use std::sync::Arc;

use crate::dialogue::{password, token};

fn client(
    mechanism: &str,
    credentials: &Credentials,
    context: &client::Context,
) -> client::Exchange {
    client::Exchange::begin(find(mechanism).unwrap(), credentials, context).unwrap()
}

fn server(mechanism: &str, accounts: Accounts, context: &server::Context) -> server::Exchange {
    server::Exchange::begin(find(mechanism).unwrap(), Arc::new(accounts), context)
}

fn no_accounts() -> Accounts {
    Accounts::new(NameCase::Kept).unwrap()
}

fn credentials(user: &str, proof: client::Proof) -> Credentials {
    Credentials {
        user: user.into(),
        authzid: None,
        proof,
    }
}

fn text(step: Step) -> String {
    match step {
        Step::Response(message) => String::from_utf8(message.as_bytes().to_vec()).unwrap(),
        Step::Failed(error) => panic!("{error}"),
    }
}

fn authcid(step: server::Step) -> String {
    match step {
        server::Step::Done(identity) => identity.authcid,
        other => panic!("{other:?}"),
    }
}

/// RFC 4616 §4.
#[test]
fn plain() {
    let mut accounts = no_accounts();
    accounts.add_password("tim", "tanstaaftanstaaf").unwrap();
    let message = b"\0tim\0tanstaaftanstaaf";
    let step = server("PLAIN", accounts, &server::Context::default()).step(Some(message));
    assert_eq!(authcid(step), "tim");
    let tim = credentials("tim", password("tanstaaftanstaaf"));
    let initial = client("PLAIN", &tim, &client::Context::default()).initial();
    assert_eq!(initial.unwrap().as_bytes(), message);

    // Kurt may not act as Ursel.
    let mut accounts = no_accounts();
    accounts.add_password("Kurt", "xipj3plmq").unwrap();
    let message = b"Ursel\0Kurt\0xipj3plmq";
    let step = server("PLAIN", accounts, &server::Context::default()).step(Some(message));
    assert_eq!(step, server::Step::Failed(server::Failure::Credentials));
    let kurt = Credentials {
        authzid: Some("Ursel".into()),
        ..credentials("Kurt", password("xipj3plmq"))
    };
    let initial = client("PLAIN", &kurt, &client::Context::default()).initial();
    assert_eq!(initial.unwrap().as_bytes(), message);
}

/// RFC 2195 §2.
#[test]
fn cram_md5() {
    const CHALLENGE: &str = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
    const RESPONSE: &str = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    let mut accounts = no_accounts();
    accounts.add_password("tim", "tanstaaftanstaaf").unwrap();
    let context = server::Context {
        host: "postoffice.reston.mci.net".into(),
        nonce: Some("1896.697170952".into()),
        ..server::Context::default()
    };
    let mut server = server("CRAM-MD5", accounts, &context);
    let server::Step::Challenge(challenge) = server.step(None) else {
        panic!("no challenge");
    };
    assert_eq!(challenge.encode(), CHALLENGE);
    let tim = credentials("tim", password("tanstaaftanstaaf"));
    let mut client = client("CRAM-MD5", &tim, &client::Context::default());
    let Step::Response(response) = client.step(challenge.as_bytes()) else {
        panic!("no response");
    };
    assert_eq!(response.encode(), RESPONSE);
    assert_eq!(authcid(server.step(Some(response.as_bytes()))), "tim");
}

/// RFC 5802 §5 and RFC 7677 §3, the client's side.
#[test]
fn scram() {
    for (mechanism, nonce, said) in [
        (
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                 p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        ),
        (
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        ),
    ] {
        let user = credentials("user", password("pencil"));
        let context = client::Context {
            nonce: Some(nonce.into()),
            ..client::Context::default()
        };
        let mut client = client(mechanism, &user, &context);
        assert_eq!(client.initial().unwrap().as_bytes(), said[0].as_bytes());
        assert_eq!(text(client.step(said[1].as_bytes())), said[2]);
        assert_eq!(text(client.step(said[3].as_bytes())), "");
        assert_eq!(client.finish(), Ok(()));
    }
}

/// RFC 7628 §4.1 and §4.3.
#[test]
fn oauthbearer() {
    const INITIAL: &str = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1\
                           dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB";
    const REFUSAL: &str = "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3Blbmlk\
                           LWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1j\
                           b25maWd1cmF0aW9uIn0=";
    const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let user = credentials("user@example.com", token(TOKEN));
    let context = client::Context {
        channel: Channel::Tls,
        server: Some(("server.example.com".into(), 143)),
        ..client::Context::default()
    };
    let mut client = client("OAUTHBEARER", &user, &context);
    assert_eq!(client.initial().unwrap().encode_initial(), INITIAL);
    assert_eq!(client.finish(), Ok(()));
    let refusal = decode_challenge(REFUSAL.as_bytes()).unwrap();
    let Step::Response(dummy) = client.step(refusal.as_bytes()) else {
        panic!("no response");
    };
    assert_eq!(dummy.encode(), "AQ==");
    let told = client.finish().unwrap_err().to_string();
    assert!(told.contains("invalid_token"), "{told}");

    let mut accounts = no_accounts();
    accounts.add_token("user@example.com", TOKEN).unwrap();
    let initial = decode_initial(INITIAL.as_bytes()).unwrap();
    let mut server = server("OAUTHBEARER", accounts, &server::Context::default());
    assert_eq!(
        authcid(server.step(Some(initial.as_bytes()))),
        "user@example.com"
    );
}

/// The page of Google's on XOAUTH2.
#[test]
fn xoauth2() {
    const INITIAL: &str = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52\
                           YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";
    const REFUSAL: &str = "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9t\
                           YWlsLmdvb2dsZS5jb20vIn0K";
    const TOKEN: &str = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg";
    let user = credentials("someuser@example.com", token(TOKEN));
    let mut client = client("XOAUTH2", &user, &client::Context::default());
    assert_eq!(client.initial().unwrap().encode_initial(), INITIAL);
    let refusal = decode_challenge(REFUSAL.as_bytes()).unwrap();
    assert_eq!(text(client.step(refusal.as_bytes())), "");
    let told = client.finish().unwrap_err().to_string();
    assert!(told.contains("401"), "{told}");

    let mut accounts = no_accounts();
    accounts.add_token("someuser@example.com", TOKEN).unwrap();
    let initial = decode(INITIAL.as_bytes()).unwrap();
    let mut server = server("XOAUTH2", accounts, &server::Context::default());
    assert_eq!(
        authcid(server.step(Some(initial.as_bytes()))),
        "someuser@example.com"
    );
}
