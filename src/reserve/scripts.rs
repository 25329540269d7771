//! The scripts, and the calls of those that run seldom.
//!
//! Owns which source a script has and by which SHA-1 Redis knows it. Deliberately does not load them: a call either names the script or brings it.

use std::sync::LazyLock;

use bytes::BytesMut;

use super::{refusal::Refusal, terms::OpenTerms};
use crate::resp::{bulk_payload, encode};

/// The commands that the scripts run. With `EVALSHA`, `EVAL` and `SCRIPT LOAD` they are all the rights that reservations need at Redis,
/// on the keys [`KEY_PATTERN`].
pub const COMMANDS: [&str; 25] = [
    "time",
    "exists",
    "unlink",
    "hget",
    "hmget",
    "hgetall",
    "hkeys",
    "hexists",
    "hset",
    "hdel",
    "zadd",
    "zrem",
    "zrange",
    "zrangebyscore",
    "zmscore",
    "zcard",
    "rpush",
    "lrange",
    "llen",
    "ltrim",
    "xadd",
    "xlen",
    "evalsha",
    "eval",
    "script",
];

/// The keys of all sales, as an ACL has it.
pub const KEY_PATTERN: &str = "~{???}hotgate:sale*";

/// One script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The flush of operations.
    Reserve,
    /// `RESERVE.OPEN`.
    Open,
    /// `RESERVE.CLOSE` and `RESERVE.REOPEN`.
    Close,
    /// A part of `RESERVE.LIST`.
    List,
    /// A step of `RESERVE.MOVE`, at the sale that is left: its rows.
    MoveOut,
    /// The same step, at the sale that they come to.
    MoveIn,
    /// The same step, at the sale that is left: they have moved.
    MoveDone,
    /// A step of `RESERVE.DROP`.
    Drop,
    /// What the reader of the ledger asks and says.
    Ledger,
    /// A step of giving the holders of a sale back to an empty Redis.
    Restore,
}

/// The source behind the part that it has in common with others.
macro_rules! with_sale {
    ($file:literal) => {
        concat!(include_str!("sale.lua"), include_str!($file))
    };
}

impl Script {
    /// All of them, for `SCRIPT LOAD` on a fresh connection.
    pub const ALL: [Self; 10] = [
        Self::Reserve,
        Self::Open,
        Self::Close,
        Self::List,
        Self::MoveOut,
        Self::MoveIn,
        Self::MoveDone,
        Self::Drop,
        Self::Ledger,
        Self::Restore,
    ];

    /// Its source.
    pub fn source(self) -> &'static str {
        match self {
            Self::Reserve => with_sale!("reserve.lua"),
            Self::Open => with_sale!("open.lua"),
            Self::Close => with_sale!("close.lua"),
            Self::List => with_sale!("list.lua"),
            Self::MoveOut => with_sale!("move_out.lua"),
            Self::MoveIn => with_sale!("move_in.lua"),
            Self::MoveDone => with_sale!("move_done.lua"),
            Self::Drop => with_sale!("drop.lua"),
            Self::Ledger => with_sale!("ledger.lua"),
            Self::Restore => with_sale!("restore.lua"),
        }
    }

    /// The SHA-1 by which Redis knows it, in lower case hex.
    pub fn sha(self) -> &'static str {
        static SHAS: LazyLock<[String; Script::ALL.len()]> =
            LazyLock::new(|| Script::ALL.map(|script| sha1_smol::Sha1::from(script.source()).hexdigest()));
        &SHAS[self as usize]
    }

    /// Writes a call with one key. `with_body` sends the source along: Redis said that it does not know the script.
    pub fn encode(self, key: &[u8], arguments: &[&[u8]], with_body: bool, out: &mut BytesMut) {
        encode::array(out, 4 + arguments.len());
        self.encode_head(key, with_body, out);
        arguments.iter().for_each(|argument| encode::bulk(out, argument));
    }

    /// The first four words of a call.
    pub(super) fn encode_head(self, key: &[u8], with_body: bool, out: &mut BytesMut) {
        let (name, script): (&[u8], &str) =
            if with_body { (b"EVAL", self.source()) } else { (b"EVALSHA", self.sha()) };
        for word in [name, script.as_bytes(), b"1", key] {
            encode::bulk(out, word);
        }
    }

    /// Writes the call of `RESERVE.OPEN`.
    pub fn encode_open(sale_key: &[u8], terms: &OpenTerms, with_body: bool, out: &mut BytesMut) {
        let arguments = terms.arguments();
        Self::Open.encode(sale_key, &arguments.each_ref().map(Vec::as_slice), with_body, out);
    }

    /// Writes the call of `RESERVE.CLOSE`, or of `RESERVE.REOPEN`.
    pub fn encode_close(sale_key: &[u8], closes: bool, with_body: bool, out: &mut BytesMut) {
        Self::Close.encode(sale_key, &[if closes { b"1" } else { b"0" }], with_body, out);
    }
}

/// What the scripts of OPEN, CLOSE and REOPEN said: done, or a refusal. `None` for what they never say.
pub fn open_result(reply: &[u8]) -> Option<Result<(), Refusal<'_>>> {
    let text = bulk_payload(reply)?;
    match text.strip_prefix(b"-") {
        Some(refusal) => Refusal::parse(refusal).map(Err),
        None => Some(Ok(())),
    }
}
