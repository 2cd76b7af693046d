//! Channel binding: who sits in the middle, and who takes offers away.

use helo_driver::sasl::server::Failure;
use helo_driver::sasl::{ALL, Channel, ChannelBinding, Plus, client, server};

use crate::dialogue::{End, First, Scene};

fn plus() -> impl Iterator<Item = Scene> {
    let plus = ALL.iter().filter(|mechanism| mechanism.channel_binding);
    plus.map(|mechanism| Scene::new(mechanism.name))
}

/// Two TLS sessions, one with each of them, have two bindings.
#[test]
fn who_sits_in_the_middle_is_found_out() {
    assert_eq!(plus().count(), 2);
    for mut scene in plus() {
        scene.client.channel = Channel::Bound(ChannelBinding::new([8; 32]));
        let end = scene.play(First::InAuth).end;
        assert!(
            matches!(end, End::Refused(Failure::ChannelBinding, _)),
            "{end:?}"
        );
    }
}

/// Who sits in the middle takes the -PLUS out of the list; the client says `y`.
#[test]
fn taking_the_offer_away_is_found_out() {
    for name in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let mut scene = Scene::new(name);
        scene.client.plus = Plus::Absent;
        let dialogue = scene.play(First::InAuth);
        let refused = matches!(dialogue.end, End::Refused(Failure::Downgrade, _));
        assert!(refused, "{dialogue:#?}");
        // Where there was no offer, all is well.
        scene.server.plus = Plus::Absent;
        let end = scene.play(First::InAuth).end;
        assert!(matches!(end, End::Accepted(_, Ok(()))), "{end:?}");
    }
}

/// Who sits in the middle writes `n` where the client wrote `y`: the header is
/// part of what the client proves.
#[test]
fn changing_the_flag_is_found_out() {
    let mut scene = Scene::new("SCRAM-SHA-256");
    scene.client.plus = Plus::Absent;
    let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
    let mut client = begun.unwrap();
    let mut server = scene.exchange();
    let first = client.initial().unwrap();
    let mut changed = first.as_bytes().to_vec();
    assert!(changed.starts_with(b"y,,"));
    changed[0] = b'n';
    let server::Step::Challenge(challenge) = server.step(Some(&changed)) else {
        panic!("refused at once");
    };
    let client::Step::Response(last) = client.step(challenge.as_bytes()) else {
        panic!("given up");
    };
    let step = server.step(Some(last.as_bytes()));
    assert_eq!(step, server::Step::Failed(Failure::ChannelBinding));
}

#[test]
fn the_flag_must_fit_the_mechanism() {
    for (name, flag) in [
        ("SCRAM-SHA-256-PLUS", "n"),
        ("SCRAM-SHA-256-PLUS", "y"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique"),
        ("SCRAM-SHA-256", "p=tls-exporter"),
    ] {
        let mut server = Scene::new(name).exchange();
        let step = server.step(Some(format!("{flag},,n=tim,r=abc").as_bytes()));
        let malformed = matches!(step, server::Step::Failed(Failure::Malformed(_)));
        assert!(malformed, "{name} {flag}: {step:?}");
    }
}

#[test]
fn without_anything_to_bind_to_there_is_no_plus() {
    for mut scene in plus() {
        for channel in [Channel::Clear, Channel::Tls] {
            scene.server.channel = channel.clone();
            let step = scene.exchange().step(Some(b"p=tls-exporter,,n=tim,r=abc"));
            assert_eq!(step, server::Step::Failed(Failure::NotOffered));
            scene.client.channel = channel;
            let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
            assert_eq!(begun.err(), Some(client::Error::NoBinding));
        }
    }
}

#[test]
fn a_list_of_mechanisms_says_whether_plus_was_offered() {
    assert_eq!(Plus::of(&["PLAIN", "scram-sha-1-plus"]), Plus::Offered);
    assert_eq!(Plus::of(&["PLAIN", "SCRAM-SHA-1"]), Plus::Absent);
}
