//! What holds whatever the peer says.

use std::sync::Arc;

use helo_driver::sasl::message::{decode, decode_challenge, decode_initial};
use helo_driver::sasl::{ALL, Message, Needs, Transfer, client, server};
use proptest::prelude::*;

use crate::dialogue::{End, First, Scene, password};

/// Octets, and octets that look a little like messages.
fn said() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[nyp][=a-z]{0,14},(a=[a-z=2CD]{0,6})?,(m=x,)?n=[a-z=23CD]{0,6},r=[!-~]{0,9}(,x=y)?"
            .prop_map(String::into_bytes),
        "r=clientnonce[!-~]{0,9},s=[A-Za-z0-9+/]{0,8}=?,i=[0-9]{0,4}".prop_map(String::into_bytes),
        "c=[A-Za-z0-9+/]{0,8}=?,r=[!-~]{0,9},p=[A-Za-z0-9+/]{0,8}=?".prop_map(String::into_bytes),
        "[ve]=[A-Za-z0-9+/]{0,8}=?".prop_map(String::into_bytes),
        "[a-z]{0,3}\\PC{0,5} [0-9a-f]{30,33}".prop_map(String::into_bytes),
        "([ny],a?=?[a-z]{0,5},)?\x01?(user|auth|host)=(Bearer )?[a-z=]{0,9}\x01{0,3}"
            .prop_map(String::into_bytes),
        "[a-z]{0,3}\0?[a-z]{0,3}\0?[a-z]{0,3}\0?".prop_map(String::into_bytes),
    ]
}

fn of_passwords() -> Vec<&'static str> {
    let of_passwords = ALL
        .iter()
        .filter(|mechanism| mechanism.needs == Needs::Password);
    of_passwords.map(|mechanism| mechanism.name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_server_takes_everything_and_lets_nobody_in(
        which in 0..ALL.len(),
        initial in prop::option::of(said()),
        rest in prop::collection::vec(said(), 0..4),
    ) {
        let mut scene = Scene::new(ALL[which].name);
        scene.server.certificate.clear();
        let mut server = scene.exchange();
        let mut over = false;
        for response in std::iter::once(initial).chain(rest.into_iter().map(Some)) {
            match server.step(response.as_deref()) {
                server::Step::Challenge(_) => prop_assert!(!over),
                server::Step::Failed(failure) => {
                    prop_assert!(failure.reply().code().is_refusal());
                    over = true;
                }
                server::Step::Done(identity) => prop_assert!(false, "{identity:?}"),
            }
        }
    }

    #[test]
    fn a_client_takes_everything_and_believes_no_server(
        which in 0..ALL.len(),
        ask in any::<bool>(),
        challenges in prop::collection::vec(said(), 0..5),
    ) {
        let scene = Scene::new(ALL[which].name);
        let begun = client::Exchange::begin(scene.mechanism, &scene.credentials, &scene.client);
        let mut client = begun.unwrap();
        if ask {
            client.initial();
        }
        for challenge in challenges {
            client.step(&challenge);
        }
        if scene.mechanism.transfer == Transfer::Mutual {
            prop_assert!(client.finish().is_err());
        }
    }

    #[test]
    fn a_line_gives_back_what_was_put_in(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = Message::new(octets);
        prop_assert_eq!(decode(format!("{}\r\n", message.encode()).as_bytes()), Ok(message.clone()));
        prop_assert_eq!(decode_challenge(message.encode().as_bytes()), Ok(message.clone()));
        prop_assert_eq!(decode_initial(message.encode_initial().as_bytes()), Ok(message));
    }

    #[test]
    fn lines_of_any_octets_are_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_, _, _) = (decode(&line), decode_initial(&line), decode_challenge(&line));
    }

    #[test]
    fn whatever_the_user_and_the_password_are_both_halves_agree(
        mechanism in prop::sample::select(of_passwords()),
        user in "\\PC{1,12}",
        secret in "\\PC{1,12}",
    ) {
        let mut scene = Scene::new(mechanism);
        let mut accounts = crate::dialogue::accounts();
        prop_assume!(accounts.add_password(&user, &secret).is_ok());
        scene.accounts = Arc::new(accounts);
        scene.credentials.user = user;
        scene.credentials.proof = password(&secret);
        let end = scene.play(First::InAuth).end;
        prop_assert!(matches!(end, End::Accepted(_, Ok(()))), "{:?}", end);
    }
}
