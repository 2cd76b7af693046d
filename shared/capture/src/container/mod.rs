//! Capture files: pcap in its variants, pcapng, and gzip or zstd around either.
//!
//! A file is read to its first damage: both formats are chains of lengths, and
//! behind a wrong one everything is guesswork. Where that is, in octets of the
//! (unpacked) file, is in the [`Damage`].

mod legacy;
mod next_generation;
mod source;

use std::io::{self, BufRead, BufReader, Read};

use shared::time::Timestamp;

use self::legacy::Legacy;
use self::next_generation::NextGeneration;
use self::source::Source;

/// One packet as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// When; `None` where the format has no room for it.
    pub at: Option<Timestamp>,
    /// The type of the link it was captured on: a LINKTYPE_ number.
    pub link: u32,
    /// What was kept of it.
    pub bytes: &'a [u8],
}

/// What is in a capture file beside packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The format, with its compression: `pcap`, `pcapng+gzip`.
    pub format: String,
    /// Packets read.
    pub packets: u64,
    /// Sections of a pcapng file.
    pub sections: u64,
    /// Blocks with keys to decrypt by.
    pub secrets: u64,
    /// Packets that name an interface that is not described, and blocks that could
    /// not be read.
    pub unreadable: u64,
    /// Comments that people left in the file; the first [`COMMENTS`].
    pub comments: Vec<String>,
}

/// So many comments of a file are kept, of so many octets each.
pub const COMMENTS: usize = 1000;
const COMMENT: usize = 2000;

/// The longest packet that is believed: more than any link carries.
pub const LONGEST_PACKET: usize = 1 << 20;

/// The longest block of a pcapng file that is read.
pub const LONGEST_BLOCK: usize = 16 << 20;

/// Where a file is no longer what it should be. What came before it is good.
#[derive(Debug, thiserror::Error)]
#[error("damaged at octet {at}: {fault}")]
pub struct Damage {
    /// The octet of the (unpacked) file at which the first thing begins that cannot
    /// be read.
    pub at: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends within something.
    #[error("the file ends {missing} octets before the end of a packet or block")]
    CutOff {
        /// So much is missing at least.
        missing: u64,
    },
    /// A length that cannot be.
    #[error("a packet or block claims to have {0} octets")]
    Length(u64),
    /// The two lengths around a block differ.
    #[error("a block begins with the length {first} and ends with {last}")]
    Lengths {
        /// At its beginning.
        first: u32,
        /// At its end.
        last: u32,
    },
    /// It could not be read or unpacked any further.
    #[error("it cannot be read any further: {0}")]
    Read(#[from] io::Error),
}

/// Why a file is none that we can read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It has no octets.
    #[error("the file is empty")]
    Empty,
    /// It is no capture.
    #[error("not a capture: it begins neither like pcap nor like pcapng")]
    NotACapture,
    /// It could not be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
}

/// Reads the packets of a capture, in the order of the file.
pub struct Reader<'r> {
    source: Source<Box<dyn Read + 'r>>,
    format: Format,
    facts: Facts,
}

enum Format {
    Legacy(Legacy),
    NextGeneration(NextGeneration),
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A file that begins like this may be a capture, packed or not.
pub fn looks_like_a_capture(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP)
        || bytes.starts_with(ZSTD)
        || Legacy::is_magic(bytes)
        || NextGeneration::is_magic(bytes)
}

impl<'r> Reader<'r> {
    /// Begins to read.
    pub fn open(input: impl Read + 'r) -> Result<Self, Unusable> {
        let mut input = BufReader::with_capacity(128 << 10, input);
        let start = input.fill_buf()?;
        if start.is_empty() {
            return Err(Unusable::Empty);
        }
        let (packed, input): (_, Box<dyn Read + 'r>) = if start.starts_with(GZIP) {
            (
                "+gzip",
                Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            )
        } else if start.starts_with(ZSTD) {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            // 128 MiB, what `zstd -d` itself takes without being told to.
            decoder.window_log_max(27)?;
            ("+zstd", Box::new(decoder))
        } else {
            ("", Box::new(input))
        };
        let mut source = Source::new(input);
        // A short file is told from a damaged packing by what did come.
        let failure = source.fill(24).err();
        let (name, format) = if Legacy::is_magic(source.held()) {
            ("pcap", Legacy::begin(&mut source).map(Format::Legacy))
        } else if NextGeneration::is_magic(source.held()) {
            (
                "pcapng",
                Some(Format::NextGeneration(NextGeneration::new())),
            )
        } else {
            ("", None)
        };
        let facts = Facts {
            format: format!("{name}{packed}"),
            ..Facts::default()
        };
        match (format, failure) {
            (Some(format), _) => Ok(Self {
                source,
                format,
                facts,
            }),
            (None, Some(failure)) => Err(failure.into()),
            (None, None) => Err(Unusable::NotACapture),
        }
    }

    /// The next packet; `None` at the end of the file.
    pub fn packet(&mut self) -> Result<Option<Captured<'_>>, Damage> {
        let Self {
            source,
            format,
            facts,
        } = self;
        match format {
            Format::Legacy(legacy) => legacy.packet(source, facts),
            Format::NextGeneration(format) => format.packet(source, facts),
        }
    }

    /// What was found beside packets so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Facts {
    fn comment(&mut self, text: &[u8]) {
        if self.comments.len() < COMMENTS {
            let text = text.get(..COMMENT).unwrap_or(text);
            self.comments
                .push(String::from_utf8_lossy(text).into_owned());
        }
    }
}
