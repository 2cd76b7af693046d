//! TCP reassembly: segments in, what each side of a connection sent out.
//!
//! A [`Connection`] takes segments in the order of the capture, whatever order that
//! is, and gives the octets of both sides in an order in which they may have been
//! sent. Within a direction that is the order of sequence numbers. Between the two,
//! acknowledgements say what was known to the sender: a segment is not given before
//! what it acknowledges. So a capture with its packets out of place gives the same
//! dialogue as one in good order.
//!
//! What is sent twice is given once, the first value winning; where the values
//! differ, that is told. What never comes is a gap, told where it is.

mod connection;
mod event;
mod segment;
mod stream;
mod table;

pub use connection::Connection;
pub use event::{Event, Side};
pub use segment::{End, Flags, Segment};
pub use table::{Key, Table, Told};
