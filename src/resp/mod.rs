//! The Redis serialization protocol, as bytes: where a request or a reply ends, where its parts are, and how
//! to write one. [Specification](https://redis.io/docs/latest/develop/reference/protocol-spec/).
//!
//! Owns: the scanners of both directions, the encoders of both protocol versions, the protocol error texts, the
//! strict integer parser, the hash slot of a key, and the words of errors under which a command has not run.
//!
//! Deliberately does not: copy or interpret payloads (a scanned request is a set of ranges over the caller's
//! buffer), know any command, do IO, or build a tree of a nested reply. A reply is forwarded as bytes; one that
//! has to be understood is walked element by element ([`elements`]) or handed to redis-protocol.
//!
//! Both scanners are told the same buffer again with more bytes at its end, and go on where they stopped: a
//! large request that arrives in a thousand pieces is looked at once, not a thousand times.

pub mod encode;

mod element;
mod header;
mod inline;
mod integer;
mod not_run;
mod protocol_error;
mod reply_scanner;
mod request;
mod request_scanner;
mod resp2_form;
mod slot;

pub use element::{Elements, bulk_payload, elements, first_error, parse_integer_reply};
pub use inline::split_args;
pub use integer::parse_integer;
pub use not_run::NotRun;
pub use protocol_error::ProtocolError;
pub use reply_scanner::{ReplyScan, ReplyScanner};
pub use request::{Request, Span};
pub use request_scanner::{RequestLimits, RequestScan, RequestScanner};
pub use resp2_form::resp2_form;
pub use slot::{SLOT_COUNT, key_slot};

/// The protocol version that a connection speaks: RESP2 until `HELLO 3` chooses otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RespVersion {
    /// The protocol of Redis 1.2 to 5, and of every connection that did not ask for another.
    #[default]
    Resp2,
    /// The protocol that Redis 6 added: maps, sets, doubles, booleans, one null, out-of-band pushes.
    Resp3,
}
