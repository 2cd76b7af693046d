//! Tells what fires at an event.
//!
//! All rules are looked at in order. Of those that hold, the first with a final action
//! fires and later ones with a final action do not; those without one (delays, tags) all
//! do. Every rule whose stage and conditions fit counts the event, whether it fires or
//! not: what a rule counts does not depend on the rules before it.

use std::sync::Arc;

use super::condition::Facts;
use super::counter::Counter;
use super::draw::{Hash, below, draw};
use super::rule::{Chance, Count, Key, Rule, Stage, Which};
use crate::time::Timestamp;

/// The most rules.
pub const MOST: usize = 1000;

/// The rules of a server, and what they have counted.
#[derive(Debug, Default)]
pub struct Engine {
    seed: u64,
    rules: Vec<Active>,
    last: u64,
}

/// The number of a rule, from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u64);

/// A rule that is in force.
#[derive(Debug)]
struct Active {
    id: RuleId,
    name: Arc<str>,
    rule: Arc<Rule>,
    hash: u64,
    counter: Counter,
    hits: u64,
    life: Life,
}

/// How long a rule is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until it is taken away.
    Stays,
    /// Until it has fired.
    Once,
}

/// A rule, as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its number.
    pub id: RuleId,
    /// What it is called.
    pub name: Arc<str>,
    /// What it says.
    pub rule: Arc<Rule>,
    /// How often it fired.
    pub hits: u64,
    /// How long it is in force.
    pub life: Life,
}

/// Something at which rules are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Where.
    pub stage: Stage,
    /// When.
    pub now: Timestamp,
    /// What is known.
    pub facts: &'a Facts<'a>,
}

/// What one session has counted for the rules that draw.
#[derive(Clone, Debug, Default)]
pub struct Tally(Vec<(RuleId, u64)>);

/// The rules that fire at an event, in order.
#[derive(Clone, Debug)]
pub struct Fired(pub Vec<Firing>);

/// One rule that fires.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The rule's number.
    pub id: RuleId,
    /// What it is called.
    pub name: Arc<str>,
    /// What it says.
    pub rule: Arc<Rule>,
    /// What was drawn, if it fires by chance, in millionths.
    pub drawn: Option<u32>,
    /// For whatever else is to be drawn.
    pub random: u64,
}

impl Engine {
    /// An engine without rules.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// What everything is drawn from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a rule behind the others; none if there are too many.
    pub fn add(&mut self, name: &str, rule: Rule, life: Life) -> Option<RuleId> {
        if self.rules.len() >= MOST {
            return None;
        }
        self.last += 1;
        let id = RuleId(self.last);
        self.rules.push(Active {
            id,
            name: name.into(),
            hash: Hash::new().part(rule.to_string().as_bytes()).finish(),
            rule: Arc::new(rule),
            counter: Counter::default(),
            hits: 0,
            life,
        });
        Some(id)
    }

    /// Takes a rule away; false if there is none of that number.
    pub fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|one| one.id != id);
        self.rules.len() < before
    }

    /// Takes all rules away.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = Shown> {
        self.rules.iter().map(|one| Shown {
            id: one.id,
            name: Arc::clone(&one.name),
            rule: Arc::clone(&one.rule),
            hits: one.hits,
            life: one.life,
        })
    }

    /// The stages of all rules.
    pub fn stages(&self) -> impl Iterator<Item = Stage> {
        let rules = self.rules.iter();
        rules.flat_map(|one| one.rule.when.stages.iter().copied())
    }

    /// Some rule looks at the content of messages.
    pub fn reads_content(&self) -> bool {
        self.rules.iter().any(|one| one.rule.reads_content())
    }

    /// What fires at an event of a session.
    pub fn fire(&mut self, event: Event<'_>, tally: &mut Tally) -> Option<Fired> {
        let mut fired = Vec::new();
        let (mut decided, mut spent) = (false, false);
        for one in &mut self.rules {
            if !one.holds(event) {
                continue;
            }
            let is_final = one.rule.is_final();
            let Some(firing) = one.count(self.seed, event, tally) else {
                continue;
            };
            if decided && is_final {
                continue;
            }
            decided |= is_final;
            spent |= one.life == Life::Once;
            one.hits = one.hits.saturating_add(1);
            fired.push(firing);
        }
        if spent {
            let gone = |one: &Active| one.life == Life::Once && one.hits > 0;
            self.rules.retain(|one| !gone(one));
        }
        (!fired.is_empty()).then_some(Fired(fired))
    }
}

impl Active {
    /// The event is one that the rule is about.
    fn holds(&self, event: Event<'_>) -> bool {
        let when = &self.rule.when;
        let here = || match &when.listener {
            Some(listener) => listener == event.facts.listener,
            None => true,
        };
        when.stages.iter().any(|stage| stage.covers(event.stage))
            && here()
            && self
                .rule
                .conditions
                .iter()
                .all(|one| one.holds(event.facts))
    }

    /// Counts the event; what fires, if the count says so.
    fn count(&mut self, seed: u64, event: Event<'_>, tally: &mut Tally) -> Option<Firing> {
        let facts = event.facts;
        let count = self.rule.count;
        let key = count.and_then(|count| count.per).map(|key| key.of(facts));
        let met = count.map(|count| {
            let key = key.unwrap_or_default();
            self.counter.meet(key, &count, event.now)
        });
        // Without a key a draw is of this session's own count: what other sessions do
        // meanwhile changes nothing.
        let (whose, ordinal) = match (key, met) {
            (Some(key), Some(met)) => (key, met.ordinal),
            _ => (Key::Session.of(facts), tally.next(self.id)),
        };
        let random = draw([seed, self.hash, whose, ordinal]);
        let mut drawn = None;
        if let (Some(count), Some(met)) = (count, met) {
            let chosen = count.which.chooses(met.ordinal, random);
            if let Which::Chance(_) = count.which {
                drawn = Some(millionths(random));
            }
            if !chosen && !met.still {
                return None;
            }
            if chosen && !met.still {
                self.counter
                    .fired(key.unwrap_or_default(), &count, event.now);
            }
        }
        Some(Firing {
            id: self.id,
            name: Arc::clone(&self.name),
            rule: Arc::clone(&self.rule),
            drawn,
            random: draw([random, 1, 0, 0]),
        })
    }
}

impl Which {
    fn chooses(self, ordinal: u64, random: u64) -> bool {
        match self {
            Self::First(most) => ordinal <= most,
            Self::Nth(one) => ordinal == one,
            Self::After(most) => ordinal > most,
            Self::Every(step) => ordinal.is_multiple_of(step.max(1)),
            Self::Chance(chance) => millionths(random) < chance.get(),
        }
    }
}

impl Count {
    /// The draw decides.
    pub const fn is_drawn(&self) -> bool {
        matches!(self.which, Which::Chance(_))
    }
}

/// A drawn number as millionths.
fn millionths(random: u64) -> u32 {
    u32::try_from(below(random, u64::from(Chance::CERTAIN))).unwrap_or(0)
}

impl Tally {
    fn next(&mut self, rule: RuleId) -> u64 {
        if let Some((_, count)) = self.0.iter_mut().find(|(id, _)| *id == rule) {
            *count += 1;
            return *count;
        }
        // Rules come and go over the API; those of long ago are not asked about again.
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((rule, 1));
        1
    }
}

impl Firing {
    /// A number from one to another, drawn for this firing.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + below(self.random, most.saturating_sub(least).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn engine(rules: &[&str]) -> Engine {
        let mut engine = Engine::new(7);
        for rule in rules {
            engine
                .add(rule, rule.parse().unwrap(), Life::Stays)
                .unwrap();
        }
        engine
    }

    fn fire(engine: &mut Engine, stage: Stage, facts: &Facts<'_>, now: Timestamp) -> Vec<u64> {
        let event = Event { stage, now, facts };
        let fired = engine.fire(event, &mut Tally::default());
        let fired = fired.map_or(Vec::new(), |Fired(fired)| fired);
        fired.iter().map(|firing| firing.id.0).collect()
    }

    #[test]
    fn the_first_final_one_wins_and_the_others_add_up() {
        let mut engine = engine(&[
            "on rcpt : delay 1s",
            "on rcpt nth 2 : defer",
            "on rcpt : reject; tag a",
            "on rcpt : tag b",
            "on rcpt : close",
        ]);
        let facts = Facts::default();
        assert_eq!(fire(&mut engine, Stage::Rcpt, &facts, START), [1, 3, 4]);
        assert_eq!(fire(&mut engine, Stage::Rcpt, &facts, START), [1, 2, 4]);
        assert_eq!(fire(&mut engine, Stage::Mail, &facts, START), [0; 0]);
        let hits: Vec<u64> = engine.rules().map(|one| one.hits).collect();
        assert_eq!(hits, [2, 1, 1, 2, 0]);
    }

    #[test]
    fn greylisting_is_one_rule() {
        let mut engine = engine(&["on rcpt first 1 per triplet within 4h for 5m : defer"]);
        let to = ["b@x".to_owned()];
        let facts = Facts {
            from: Some("a@c"),
            to: &to,
            ..Facts::default()
        };
        let other = Facts {
            from: Some("z@c"),
            ..facts
        };
        let at = |minutes: u64| START + Duration::from_secs(60 * minutes);
        let mut refuses = |facts: &Facts<'_>, minutes| {
            !fire(&mut engine, Stage::Rcpt, facts, at(minutes)).is_empty()
        };
        assert!(refuses(&facts, 0));
        assert!(refuses(&facts, 4));
        assert!(refuses(&other, 4), "another triplet waits by itself");
        assert!(!refuses(&facts, 5));
        assert!(!refuses(&facts, 200), "it is known by now");
        assert!(refuses(&facts, 441), "it was not seen for four hours");
    }

    /// The sessions in which a rule fires, and when it does, whatever the order.
    fn draws(order: &[u64]) -> Vec<(u64, u64)> {
        let mut engine = engine(&["on mail prob 0.3 : defer"]);
        let mut found = Vec::new();
        let mut tallies: Vec<Tally> = vec![Tally::default(); 10];
        let mut counts = [0; 10];
        for &session in order {
            let facts = Facts {
                session,
                ..Facts::default()
            };
            let index = usize::try_from(session).unwrap();
            counts[index] += 1;
            let event = Event {
                stage: Stage::Mail,
                now: START,
                facts: &facts,
            };
            if engine.fire(event, &mut tallies[index]).is_some() {
                found.push((session, counts[index]));
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn draws_do_not_depend_on_who_comes_first() {
        let one_by_one: Vec<u64> = (0..10).flat_map(|session| [session; 20]).collect();
        let in_turns: Vec<u64> = (0..20).flat_map(|_| 0..10).collect();
        let found = draws(&one_by_one);
        assert_eq!(found, draws(&in_turns));
        assert!((35..85).contains(&found.len()), "{} of 200", found.len());
    }

    #[test]
    fn draws_depend_on_the_seed_and_the_key() {
        let fires = |seed, recipient: &str| {
            let mut engine = Engine::new(seed);
            let rule = "on rcpt prob 0.5 per to : defer".parse().unwrap();
            engine.add("", rule, Life::Stays).unwrap();
            let to = [recipient.to_owned()];
            let facts = Facts {
                to: &to,
                ..Facts::default()
            };
            let fires = |_| !fire(&mut engine, Stage::Rcpt, &facts, START).is_empty();
            (0..64).map(fires).collect::<Vec<bool>>()
        };
        assert_eq!(fires(1, "a"), fires(1, "a"));
        assert_ne!(fires(1, "a"), fires(2, "a"));
        assert_ne!(fires(1, "a"), fires(1, "b"));
    }

    #[test]
    fn what_is_for_once_is_gone_when_it_fired() {
        let mut engine = Engine::new(0);
        let rule: Rule = "on dot if rcpts > 1 : reject".parse().unwrap();
        engine.add("next", rule, Life::Once).unwrap();
        let one = Facts {
            recipients: 1,
            ..Facts::default()
        };
        let two = Facts {
            recipients: 2,
            ..one
        };
        assert_eq!(fire(&mut engine, Stage::Dot, &one, START), [0; 0]);
        assert_eq!(fire(&mut engine, Stage::Dot, &two, START), [1]);
        assert_eq!(fire(&mut engine, Stage::Dot, &two, START), [0; 0]);
        assert_eq!(engine.rules().count(), 0);
    }

    #[test]
    fn any_is_where_a_reply_is_due() {
        let mut engine = engine(&["on any : tag x"]);
        let facts = Facts::default();
        for (stage, fires) in [
            (Stage::Greeting, true),
            (Stage::Rcpt, true),
            (Stage::Dot, true),
            (Stage::AuthStep, true),
            (Stage::Connect, false),
            (Stage::Tls, false),
            (Stage::DotRcpt, false),
            (Stage::BodyByte(1), false),
        ] {
            let found = fire(&mut engine, stage, &facts, START);
            assert_eq!(!found.is_empty(), fires, "{stage:?}");
        }
    }
}
