//! Every mechanism, both halves, and every way to end.

use helo_driver::sasl::client::{self, Step};
use helo_driver::sasl::server::{self, Failure, Identity};
use helo_driver::sasl::{ALL, Accounts, Initial, NameCase, Needs, Transfer};

use crate::dialogue::{End, First, Scene, password};

/// Every mechanism, with and without an initial response.
fn every_way() -> impl Iterator<Item = (Scene, First)> {
    ALL.iter().flat_map(|mechanism| {
        [First::InAuth, First::Later].map(|first| (Scene::new(mechanism.name), first))
    })
}

#[test]
fn the_right_secret_is_accepted_and_the_server_believed() {
    for (scene, first) in every_way() {
        let dialogue = scene.play(first);
        let identity = Identity {
            authcid: "tim".into(),
            // OAUTHBEARER has no other place for a name.
            authzid: matches!(scene.mechanism.name, "OAUTHBEARER" | "XOAUTH2")
                .then(|| "tim".into()),
            mechanism: scene.mechanism.name,
        };
        assert_eq!(
            dialogue.end,
            End::Accepted(identity, Ok(())),
            "{:#?}",
            dialogue.lines
        );
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_user_are_refused() {
    for (scene, first) in every_way() {
        for scene in [
            scene.clone().with_wrong_secret(),
            scene.clone().with_unknown_user(),
        ] {
            let dialogue = scene.play(first);
            let refused = matches!(dialogue.end, End::Refused(Failure::Credentials, _));
            assert!(refused, "{dialogue:#?}");
        }
    }
}

/// What the server says to an unknown user is what it says to a wrong secret, but
/// for the salt, which is a user's own.
#[test]
fn an_unknown_user_cannot_be_told_from_a_wrong_secret() {
    for (scene, first) in every_way() {
        let said = |scene: Scene| {
            let dialogue = scene.play(first);
            let said = dialogue
                .lines
                .into_iter()
                .filter(|line| line.starts_with("S: "));
            let said: Vec<String> = said.collect();
            let End::Refused(failure, _) = dialogue.end else {
                panic!("{:?}", dialogue.end);
            };
            (said, failure)
        };
        let (wrong, wrong_end) = said(scene.clone().with_wrong_secret());
        let (unknown, unknown_end) = said(scene.clone().with_unknown_user());
        let (again, _) = said(scene.clone().with_unknown_user());
        let name = scene.mechanism.name;
        assert_eq!(wrong_end, unknown_end, "{name}");
        assert_eq!(unknown, again, "{name}");
        let lengths = |said: &[String]| said.iter().map(String::len).collect::<Vec<_>>();
        assert_eq!(lengths(&wrong), lengths(&unknown), "{name}");
        if scene.mechanism.transfer != Transfer::Mutual {
            assert_eq!(wrong, unknown, "{name}");
        }
    }
}

#[test]
fn a_malformed_message_is_501_at_every_step() {
    let steps = |name: &str| match name {
        "SCRAM-SHA-1" | "SCRAM-SHA-256" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-256-PLUS" => 3,
        "LOGIN" => 2,
        _ => 1,
    };
    for (scene, first) in every_way() {
        for good in 0..steps(scene.mechanism.name) {
            let step = scene.break_off(first, good, b"\xff\0\0\0\x01");
            let server::Step::Failed(failure) = step else {
                panic!("{} after {good}: {step:?}", scene.mechanism.name);
            };
            assert_eq!(failure.reply().code().number(), 501, "{failure:?}");
        }
    }
}

/// What a client may get wrong is told apart from a wrong secret.
#[test]
fn messages_that_are_none_are_501() {
    const DIGEST: &str = "b913a602c7eda7a495b4e6e7334d3890";
    let upper_case = DIGEST.to_uppercase();
    for (name, message) in [
        ("PLAIN", "tim\0secret"),
        ("PLAIN", "\0tim\0secret\0"),
        ("PLAIN", "\0\0secret"),
        ("PLAIN", "\0tim\0"),
        ("LOGIN", ""),
        ("EXTERNAL", "tim\0"),
        ("CRAM-MD5", "tim"),
        ("CRAM-MD5", DIGEST),
        ("CRAM-MD5", &format!(" {DIGEST}")),
        ("CRAM-MD5", &format!("tim {}", &DIGEST[1..])),
        ("CRAM-MD5", &format!("tim {DIGEST}0")),
        ("CRAM-MD5", &format!("tim {upper_case}")),
        ("XOAUTH2", "user=tim\x01auth=Bearer abc.def==\x01"),
        ("XOAUTH2", "user=\x01auth=Bearer abc.def==\x01\x01"),
        ("XOAUTH2", "user=tim\x01auth=Basic abc.def==\x01\x01"),
        ("XOAUTH2", "user=tim\x01auth=Bearer \x01\x01"),
        ("XOAUTH2", "user=tim\x01auth=Bearer abc\x01x=y\x01\x01"),
        (
            "OAUTHBEARER",
            "n,,\x01auth=Bearer abc.def==\x01auth=Bearer abc.def==\x01\x01",
        ),
        (
            "OAUTHBEARER",
            "p=tls-exporter,,\x01auth=Bearer abc.def==\x01\x01",
        ),
        ("OAUTHBEARER", "n,\x01auth=Bearer abc.def==\x01\x01"),
        ("OAUTHBEARER", "n,,auth=Bearer abc.def==\x01\x01"),
        ("OAUTHBEARER", "n,,\x01auth=Bearer abc.def==\x01"),
        ("OAUTHBEARER", "n,,\x01auth=Basic abc.def==\x01\x01"),
        ("OAUTHBEARER", "n,,\x01host=mx\x01\x01"),
        ("OAUTHBEARER", "n,,\x01\x01\x01"),
        (
            "OAUTHBEARER",
            "n,,\x01a1=b\x01auth=Bearer abc.def==\x01\x01",
        ),
        (
            "OAUTHBEARER",
            "n,,\x01host=ä\x01auth=Bearer abc.def==\x01\x01",
        ),
    ] {
        let step = Scene::new(name).break_off(First::Later, 0, message.as_bytes());
        let malformed = matches!(step, server::Step::Failed(Failure::Malformed(_)));
        assert!(malformed, "{name} {message:?}: {step:?}");
    }
}

/// The scheme is in any case, the flag may say that the client could bind.
#[test]
fn a_bearer_token_may_be_written_in_other_ways() {
    for message in [
        "y,,\x01auth=bearer abc.def==\x01\x01",
        "n,,\x01port=587\x01auth=BEARER abc.def==\x01\x01",
    ] {
        let step = Scene::new("OAUTHBEARER")
            .exchange()
            .step(Some(message.as_bytes()));
        let done = matches!(&step, server::Step::Done(identity) if identity.authcid == "tim");
        assert!(done, "{message:?}: {step:?}");
    }
}

#[test]
fn over_is_over() {
    for (scene, first) in every_way() {
        let malformed: &[u8] = b"\xff\0\0\0\x01";
        let mut server = scene.exchange();
        if first == First::Later {
            assert!(matches!(server.step(None), server::Step::Challenge(_)));
        }
        let step = server.step(Some(malformed));
        assert!(matches!(step, server::Step::Failed(_)), "{step:?}");
        let step = server.step(Some(b"x"));
        assert!(
            matches!(step, server::Step::Failed(Failure::Malformed(_))),
            "{step:?}"
        );
    }
}

#[test]
fn a_client_that_cancels_is_told_so() {
    let cancelled = helo_driver::sasl::message::decode(b"*\r\n").unwrap_err();
    assert_eq!(cancelled, Failure::Cancelled);
    assert_eq!(
        cancelled.reply().to_string(),
        "501 5.7.0 cancelled by the client"
    );
}

#[test]
fn a_message_too_early_is_refused_where_the_server_speaks_first() {
    for (scene, _) in every_way() {
        let step = scene.exchange().step(Some(b"tim"));
        let refused = step == server::Step::Failed(Failure::InitialResponse);
        assert_eq!(
            refused,
            scene.mechanism.initial == Initial::Refused,
            "{:?}",
            scene.mechanism
        );
    }
}

/// What Python's smtplib does.
#[test]
fn login_takes_the_user_with_auth() {
    let mut server = Scene::new("LOGIN").exchange();
    let server::Step::Challenge(prompt) = server.step(Some(b"tim")) else {
        panic!("no prompt");
    };
    assert_eq!(prompt.as_bytes(), b"Password:");
    let step = server.step(Some(b"tanstaaf,= tanstaaf"));
    assert!(matches!(step, server::Step::Done(_)), "{step:?}");
}

#[test]
fn nobody_acts_as_somebody_else() {
    for (mut scene, first) in every_way() {
        let name = scene.mechanism.name;
        if !scene.mechanism.authzid {
            scene.credentials.authzid = Some("tim".into());
            let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
            let error = client::Error::NotSendable("authorization identity");
            assert_eq!(begun.err(), Some(error), "{name}");
            continue;
        }
        scene.credentials.authzid = Some("TIM".into());
        let End::Accepted(identity, Ok(())) = scene.play(first).end else {
            panic!("{name}: not as itself");
        };
        assert_eq!(identity.authzid.as_deref(), Some("TIM"), "{name}");
        scene.credentials.authzid = Some("tom".into());
        let end = scene.play(first).end;
        assert!(
            matches!(end, End::Refused(Failure::Credentials, _)),
            "{name}: {end:?}"
        );
    }
}

#[test]
fn a_certificate_has_each_of_its_names() {
    let mut scene = Scene::new("EXTERNAL");
    scene.credentials.authzid = Some("Tim@example.net".into());
    let End::Accepted(identity, Ok(())) = scene.play(First::InAuth).end else {
        panic!("not accepted");
    };
    assert_eq!(identity.authcid, "tim@example.net");
}

#[test]
fn any_secret_will_do_where_any_is_accepted() {
    let mut any = Accounts::new(NameCase::Ignored).unwrap();
    any.accept_any();
    let any = std::sync::Arc::new(any);
    for (scene, first) in every_way() {
        let mut scene = Scene {
            accounts: any.clone(),
            ..scene
        };
        if scene.mechanism.needs != Needs::Certificate {
            scene = scene.with_wrong_secret();
        }
        let end = scene.play(first).end;
        let accepted = matches!(&end, End::Accepted(who, Ok(())) if who.authcid == "tim");
        // Where the server must prove that it knows it, it cannot.
        assert_eq!(
            accepted,
            scene.mechanism.transfer != Transfer::Mutual,
            "{end:?}"
        );
    }
}

#[test]
fn a_refused_token_is_told_within_the_mechanism() {
    for (name, said) in [
        ("OAUTHBEARER", r#"{"status":"invalid_token"}"#),
        (
            "XOAUTH2",
            r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
        ),
    ] {
        let dialogue = Scene::new(name).with_wrong_secret().play(First::InAuth);
        let told = client::Error::Refused(said.into());
        assert_eq!(dialogue.end, End::Refused(Failure::Credentials, Err(told)));
        let dummy = if name == "XOAUTH2" { "C: " } else { "C: AQ==" };
        assert_eq!(dialogue.lines.last().map(String::as_str), Some(dummy));
    }
}

#[test]
fn a_client_takes_no_challenge_too_many() {
    for (scene, _) in every_way() {
        let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
        let mut client = begun.unwrap();
        let steps = (0..6).map(|_| client.step(b"r=clientnonceX,s=QSXC,i=4096"));
        let failed = steps.filter(|step| matches!(step, Step::Failed(_))).count();
        assert!(failed >= 3, "{}", scene.mechanism.name);
    }
}

#[test]
fn a_server_that_accepts_too_early_is_not_believed() {
    for mechanism in ALL
        .iter()
        .filter(|mechanism| mechanism.transfer == Transfer::Mutual)
    {
        let scene = Scene::new(mechanism.name);
        let begun = client::Exchange::begin(mechanism, &scene.credentials, &scene.client);
        let mut client = begun.unwrap();
        assert_eq!(client.finish(), Err(client::Error::Unproven));
        client.initial();
        assert_eq!(client.finish(), Err(client::Error::Unproven));
        let step = client.step(b"r=clientnonceX,s=QSXC,i=4096");
        assert!(matches!(step, Step::Response(_)), "{step:?}");
        assert_eq!(client.finish(), Err(client::Error::Unproven));
        let forged = client.step(b"v=AAAA");
        assert_eq!(forged, Step::Failed(client::Error::Signature));
        assert_eq!(client.finish(), Err(client::Error::Unproven));
    }
}

#[test]
fn a_client_does_not_work_for_a_server_without_end() {
    for iterations in [0, 1, 4095, 2_000_001, u32::MAX] {
        let scene = Scene::new("SCRAM-SHA-256");
        let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
        let mut client = begun.unwrap();
        client.initial();
        let step = client.step(format!("r=clientnonceX,s=QSXC,i={iterations}").as_bytes());
        assert_eq!(step, Step::Failed(client::Error::Iterations(iterations)));
    }
}

#[test]
fn a_nonce_that_does_not_go_on_from_ours_is_refused() {
    for nonce in ["clientnonce", "othernonceX", "Xclientnonce"] {
        let scene = Scene::new("SCRAM-SHA-1");
        let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
        let mut client = begun.unwrap();
        client.initial();
        let step = client.step(format!("r={nonce},s=QSXC,i=4096").as_bytes());
        assert!(
            matches!(step, Step::Failed(client::Error::Malformed(_))),
            "{nonce}"
        );
    }
}

#[test]
fn what_a_mechanism_cannot_carry_is_not_sent() {
    for (name, user, secret) in [
        ("PLAIN", "t\0m", "x"),
        ("PLAIN", "tim", "x\0"),
        ("SCRAM-SHA-1", "t\u{7}m", "x"),
        ("SCRAM-SHA-1", "tim", ""),
    ] {
        let mut scene = Scene::new(name);
        scene.credentials.user = user.into();
        scene.credentials.proof = password(secret);
        let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
        let error = begun.err();
        assert!(
            matches!(error, Some(client::Error::NotSendable(_))),
            "{name} {error:?}"
        );
    }
}

#[test]
fn credentials_of_another_kind_are_refused() {
    let scene = Scene::new("PLAIN");
    for mechanism in ALL
        .iter()
        .filter(|mechanism| mechanism.needs != Needs::Password)
    {
        let begun = client::Exchange::begin(mechanism, &scene.credentials, &scene.client);
        assert_eq!(
            begun.err(),
            Some(client::Error::Unsuitable),
            "{}",
            mechanism.name
        );
    }
}
