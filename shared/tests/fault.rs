//! Rules: what is printed is read again, and what does not match costs nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use helo_shared::fault::action::{Action, Alert, Hello, Profile, Version};
use helo_shared::fault::condition::{Field, Test};
use helo_shared::fault::engine::Life;
use helo_shared::fault::preset::Fault;
use helo_shared::fault::rule::{Chance, Count, Key, When, Which};
use helo_shared::fault::{Condition, Engine, Event, Facts, Pattern, Rule, Stage, Tally};
use helo_shared::quantity::{Octets, Period};
use helo_shared::reply::ReplyCode;
use helo_shared::status::EnhancedStatusCode;
use helo_shared::time::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "support/counting.rs"]
mod counting;

fn period() -> impl Strategy<Value = Period> {
    (0..10_000_000u64).prop_map(|millis| Period(std::time::Duration::from_millis(millis)))
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        8 => (0..Stage::PLAIN.len()).prop_map(|index| Stage::PLAIN[index].0),
        1 => (1u64..).prop_map(Stage::BodyByte),
        1 => (1u64..).prop_map(Stage::BodyLine),
        1 => period().prop_map(Stage::Idle),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "([a-z@. \"]|\\\\[.d\\\\]|é){0,8}".prop_map(|text| Pattern::new(&text).unwrap())
}

fn test() -> impl Strategy<Value = Test> {
    let network = (any::<std::net::IpAddr>(), 0u8..=32)
        .prop_map(|(address, prefix)| ipnet::IpNet::new(address, prefix).unwrap());
    let field = (0..Field::ALL.len()).prop_map(|index| Field::ALL[index].0);
    prop_oneof![
        network.prop_map(Test::Client),
        (field, pattern()).prop_map(|(field, pattern)| Test::Matches(field, pattern)),
        ("[A-Za-z-]{1,9}", pattern()).prop_map(|(name, pattern)| Test::Header(name, pattern)),
        pattern().prop_map(Test::Body),
        any::<u64>().prop_map(Test::Size),
        any::<u64>().prop_map(Test::Recipients),
        any::<u64>().prop_map(Test::Open),
        any::<bool>().prop_map(Test::Tls),
        any::<bool>().prop_map(Test::Auth),
        any::<u64>().prop_map(Test::Session),
        any::<u64>().prop_map(Test::Transaction),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    (any::<bool>(), test()).prop_map(|(negated, test)| Condition { negated, test })
}

fn count() -> impl Strategy<Value = Count> {
    let which = prop_oneof![
        (1..=1000u64).prop_map(Which::First),
        (1..=1000u64).prop_map(Which::Nth),
        (0..=1000u64).prop_map(Which::After),
        (1u64..).prop_map(Which::Every),
        (0..=Chance::CERTAIN)
            .prop_map(|millionths| Which::Chance(Chance::millionths(millionths).unwrap())),
    ];
    let per = option::of((0..Key::ALL.len()).prop_map(|index| Key::ALL[index].0));
    let times = (option::of(period()), option::of(period()));
    (which, per, times).prop_map(|(which, per, (within, lasts))| Count {
        which,
        per,
        within: within.filter(|_| !matches!(which, Which::Every(_) | Which::Chance(_))),
        lasts,
    })
}

fn reply() -> impl Strategy<Value = Action> {
    let status = select(vec!["2.0.0", "4.7.1", "5.1.1"]);
    let status = option::of(status)
        .prop_map(|status| status.map(|status| status.parse::<EnhancedStatusCode>().unwrap()));
    (200..600u16, status, option::of("[ -~é]{0,9}")).prop_map(|(code, status, text)| {
        let code = ReplyCode::new(code).unwrap();
        Action::Reply { code, status, text }
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        reply(),
        "[ -~]{0,9}".prop_map(Action::ReplyLines),
        vec(any::<u8>(), 0..9).prop_map(Action::ReplyRaw),
        (1u64.., period()).prop_map(|(at, pause)| Action::ReplySplit { at, pause }),
        any::<u64>().prop_map(Action::ReplyTruncate),
        (period(), period()).prop_map(|(one, other)| Action::Delay {
            least: one.min(other),
            most: one.max(other),
        }),
        (1u64.., period()).prop_map(|(octets, every)| Action::Drip { octets, every }),
        (1u64..).prop_map(|rate| Action::ThrottleIn(Octets(rate))),
        (1u64..).prop_map(|rate| Action::ThrottleOut(Octets(rate))),
        period().prop_map(Action::StallRead),
        period().prop_map(Action::Shutdown),
        "[A-Z0-9-]{1,9}".prop_map(Action::Hide),
        "[ -~]{0,9}".prop_map(Action::Advertise),
        (1..=1u64 << 20).prop_map(Action::Garbage),
        (0..Profile::ALL.len()).prop_map(|index| Action::TlsCert(Profile::ALL[index].0)),
        select(Alert::ALL).prop_map(|(_, name)| Action::TlsAlert(Alert::named(name).unwrap())),
        select(vec![Hello::Client, Hello::Server]).prop_map(Action::TlsCloseAfter),
        select(vec![Version::V12, Version::V13]).prop_map(Action::TlsVersion),
        vec(any::<u8>(), 0..9).prop_map(Action::InjectBeforeTls),
        "[a-z.-]{1,9}".prop_map(Action::Tag),
        "[ -~é]{0,9}".prop_map(Action::Label),
        select(vec![
            Action::ReplyTwice,
            Action::Accept,
            Action::Defer,
            Action::Reject,
            Action::Discard,
            Action::Keep,
            Action::Hang,
            Action::Close,
            Action::Reset,
            Action::HalfClose,
            Action::NoReply,
            Action::EarlyReply,
            Action::TlsHang,
            Action::Capture,
        ]),
    ]
}

prop_compose! {
    fn rule()(
        action in action(),
        stages in vec(stage(), 1..4),
        listener in option::of("[a-z0-9 \"]{1,5}"),
        conditions in vec(condition(), 0..4),
        count in option::of(count()),
    ) -> Rule {
        let mut stages = stages;
        stages.retain(|stage| action.fits(*stage));
        if stages.is_empty() {
            let all = Stage::PLAIN.iter().map(|(stage, ..)| *stage);
            let all = all.chain([Stage::BodyByte(1)]);
            stages.extend(all.filter(|stage| action.fits(*stage)).take(1));
        }
        Rule {
            when: When { stages, listener },
            conditions,
            count,
            actions: vec![action, Action::Tag("x".into())],
        }
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(rule in rule()) {
        let mut rule = rule;
        if let Action::Tag(_) = rule.actions[0] {
            rule.actions.truncate(1);
        }
        let printed = rule.to_string();
        let again: Result<Rule, _> = printed.parse();
        prop_assert_eq!(again, Ok(rule), "{}", printed);
    }

    #[test]
    fn nothing_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = text.parse::<Fault>();
    }

    #[test]
    fn no_rule_broken_anywhere_makes_it_panic(rule in rule(), at in 0usize..200, c in any::<char>()) {
        let mut text = rule.to_string();
        let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
        text.insert(at, c);
        if let Err(error) = text.parse::<Rule>() {
            prop_assert!(error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn any_event_may_be_asked_about(rules in vec(rule(), 1..8), stage in stage(), content in vec(any::<u8>(), 0..99)) {
        let mut engine = Engine::new(1);
        for rule in rules {
            engine.add("", rule, Life::Stays).unwrap();
        }
        let to = ["b@x.test".to_owned()];
        let facts = Facts { content: &content, to: &to, ..Facts::default() };
        let event = Event { stage, now: Timestamp::from_nanos(1), facts: &facts };
        engine.fire(event, &mut Tally::default());
    }
}

#[test]
fn a_rule_that_does_not_match_costs_no_allocation() {
    let mut engine = Engine::new(1);
    for rule in [
        "on mail : close",
        "on rcpt @other : close",
        "on rcpt if to ~ \"^full@\" : reply 452",
        "on rcpt if client in 192.0.2.0/24 and helo ~ \"^x\" first 2 per triplet : defer",
        "on rcpt if header Subject ~ \"x\" and body ~ \"y\" : defer",
        "on rcpt if size > 10 and not tls no : defer",
    ] {
        engine.add("", rule.parse().unwrap(), Life::Stays).unwrap();
    }
    let to = ["anna@local.test".to_owned()];
    let facts = Facts {
        listener: "mx",
        client: Some("127.0.0.1".parse().unwrap()),
        helo: Some("c.test"),
        from: Some("a@c.test"),
        to: &to,
        content: b"Subject: a\r\nFrom: b\r\n\r\nc\r\n",
        ..Facts::default()
    };
    let event = Event {
        stage: Stage::Rcpt,
        now: Timestamp::from_nanos(1),
        facts: &facts,
    };
    let mut tally = Tally::default();
    // A regular expression makes room for its search when it is used first.
    assert!(engine.fire(event, &mut tally).is_none());
    let (allocations, fired) =
        counting::allocations(|| (0..100).any(|_| engine.fire(event, &mut tally).is_some()));
    assert!(!fired);
    assert_eq!(allocations, 0);
    engine
        .add("", "on rcpt : defer".parse().unwrap(), Life::Stays)
        .unwrap();
    let (allocations, _) = counting::allocations(|| engine.fire(event, &mut tally).is_some());
    assert_ne!(allocations, 0, "the counting allocator counts");
}
