//! The same dialogues, heard by a client.
//!
//! What the server said when it was played is given to a `ClientSession`, cut in every
//! way, and what the client said is said by it. It must hear the same at every split,
//! and take each reply for the answer to what the server answered with it.

use shared::codec::Limits;
use shared::escape::escape;
use shared::session::{Answers, ClientOutput, ClientSession, Heard, Kind, Unit, UnitId};
use shared::time::Timestamp;

use crate::play::{CUT_EVERYWHERE, Cut};

/// A dialogue as it was played.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) said: Vec<Said>,
    /// What the server recorded.
    pub(crate) units: Vec<Unit>,
}

/// What was said, by whom.
#[derive(Debug)]
pub(crate) enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
    /// The TLS handshake.
    Tls,
}

/// A reply and what it answers, both as on the wire.
#[derive(Debug, PartialEq)]
struct Answered {
    reply: String,
    to: String,
}

/// What a client makes of a dialogue.
#[derive(Debug, Default, PartialEq)]
struct Understood {
    /// Without what depends on how they were read.
    units: Vec<Unit>,
    heard: Vec<Heard>,
    sent: Vec<u8>,
}

impl Played {
    /// The client hears it whole, an octet at a time, and in two pieces cut at every
    /// place.
    pub(crate) fn is_understood_every_way(&self) -> Result<(), String> {
        let whole = self.understood(Cut::Nowhere)?;
        whole.hears_all_of(self)?;
        let same = |cut| {
            let understood = self.understood(cut)?;
            let differs = || format!("client, {cut:?}: {understood:#?}\nand whole: {whole:#?}");
            (understood == whole).then_some(()).ok_or_else(differs)
        };
        same(Cut::Everywhere)?;
        self.places().into_iter().map(Cut::At).try_for_each(same)
    }

    fn understood(&self, cut: Cut) -> Result<Understood, String> {
        let mut session = ClientSession::new(Limits::DEFAULT);
        let (mut understood, mut start, mut time) = (Understood::default(), 0, 0);
        let mut now = || {
            time += 1;
            Timestamp::from_nanos(time)
        };
        for said in &self.said {
            match said {
                Said::Client(bytes) => session.say(now(), bytes),
                Said::Server(bytes) => {
                    for piece in cut.pieces(bytes, start) {
                        session.receive(now(), piece);
                    }
                    start += bytes.len();
                }
                Said::Tls if start > 0 && !session.awaits_handshake() => {
                    return Err("client: no handshake is due".into());
                }
                Said::Tls => session.tls_ready(),
            }
            while let Some(output) = session.poll() {
                understood.take(output);
            }
        }
        Ok(understood)
    }

    fn places(&self) -> Vec<usize> {
        let said = self.said.iter().filter_map(|said| match said {
            Said::Server(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        let said = said.collect::<Vec<_>>().concat();
        let near_line_end = |place: usize| {
            let near = said.get(place.saturating_sub(2)..(place + 2).min(said.len()));
            near.is_some_and(|near| near.contains(&b'\n'))
        };
        (1..said.len())
            .filter(|&place| said.len() <= CUT_EVERYWHERE || near_line_end(place))
            .collect()
    }
}

impl Understood {
    fn take(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Record(mut unit) => {
                (unit.at, unit.began, unit.read) = (Timestamp::from_nanos(0), None, None);
                if let Kind::Reply { took, .. } = &mut unit.kind {
                    *took = None;
                }
                self.units.push(unit);
            }
            ClientOutput::Send(bytes) => self.sent.extend_from_slice(&bytes),
            ClientOutput::Heard(mut heard) => {
                (heard.at, heard.took) = (Timestamp::from_nanos(0), None);
                self.heard.push(heard);
            }
        }
    }

    /// It heard each reply, and as the answer to what the server answered.
    fn hears_all_of(&self, played: &Played) -> Result<(), String> {
        let (wanted, found) = (answered(&played.units), answered(&self.units));
        if found != wanted {
            return Err(format!("client: {found:#?}\nbut the server: {wanted:#?}"));
        }
        let replies: Vec<_> = wanted.iter().map(|one| &one.reply).collect();
        let heard: Vec<_> = self.heard.iter().map(|one| escape(&one.wire)).collect();
        let all = heard.iter().eq(replies) && self.heard.iter().all(|one| one.reply.is_some());
        all.then_some(())
            .ok_or_else(|| format!("client heard: {heard:#?}"))
    }
}

/// Each reply, and what it answers.
fn answered(units: &[Unit]) -> Vec<Answered> {
    let wire = |id: UnitId| {
        let unit = units.iter().find(|unit| unit.id == id);
        escape(&unit.expect("what is answered was said").bytes)
    };
    let of_unit = |unit: &Unit| {
        let Kind::Reply { answers, .. } = unit.kind else {
            return None;
        };
        Some(Answered {
            reply: escape(&unit.bytes),
            to: match answers {
                Answers::Greeting => "the connection".into(),
                Answers::Nothing => "nothing".into(),
                Answers::Unit(id) => wire(id),
            },
        })
    };
    units.iter().filter_map(of_unit).collect()
}
