//! Which commands fold, and how their arguments are read.
//!
//! Owns the list of foldable commands. Deliberately does not report errors: a request that does not fold exactly as it stands
//! (an option, a malformed number, a missing argument) is `None`, goes the ordinary way, and gets Redis's own answer.

use super::{
    foldable_write::{FoldableWrite, set_with_options},
    member::Verb,
    script_shape::ScriptShape,
    transaction_shape::TransactionShape,
    write_form::WriteForm,
};
use crate::resp::{Request, RequestLimits, RequestScanner, parse_integer};

/// The most arguments of a read that the flush script makes. It hands them to a call of Lua, whose stack takes no more than
/// 8,000 (`LUAI_MAXCSTACK`), and an error there would end the script half-way. No read that means anything has as many.
const SCRIPTED_ARGUMENTS_MAX: usize = 64;

/// One operation on the key of a queue, borrowed from the request it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// `INCR`, `DECR`, `INCRBY`, `DECRBY`: what is added to the string under the key.
    Increment(i64),
    /// `GET`.
    Get,
    /// `SET` with a value and no option.
    Set(&'a [u8]),
    /// `HINCRBY`.
    HashIncrement {
        /// The field of the hash.
        field: &'a [u8],
        /// The delta.
        delta: i64,
    },
    /// `HGET`.
    HashGet {
        /// The field of the hash.
        field: &'a [u8],
    },
    /// Any other read of this key alone. Equal reads in a row are one read at Redis.
    Read {
        /// The whole request, as it goes onto the wire.
        request: &'a [u8],
        /// The reply is one integer, string or null, which both protocol versions spell alike but for the null. Such
        /// a read can be shared by clients of both versions, and made inside the flush script.
        scalar: bool,
    },
    /// A write that folds with others of its form. Only where flushes carry no token and no quota.
    Write {
        /// The whole request, as it goes onto the wire.
        request: &'a [u8],
        /// How it folds.
        form: WriteForm,
    },
    /// A transaction that folds with others of its shape. Where a write is, it may be. See [`transaction_op`](super::transaction_op).
    Transaction {
        /// Its commands without `MULTI` and `EXEC`, one behind the other.
        commands: &'a [u8],
        /// What it has in common with those that it folds with.
        shape: TransactionShape,
        /// What it adds to the string; else the largest step of a field.
        delta: i64,
    },
    /// A call of a script that is declared to count. Where a write is, it may be.
    Script {
        /// The whole request, as it goes onto the wire.
        request: &'a [u8],
        /// What it has in common with those that it folds with.
        shape: ScriptShape,
        /// What it adds.
        delta: i64,
    },
}

impl Op<'_> {
    /// Bytes that a queue may have to keep for it.
    #[inline]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Increment(_) | Self::Get => 0,
            Self::Set(bytes)
            | Self::Read { request: bytes, .. }
            | Self::Write { request: bytes, .. }
            | Self::Script { request: bytes, .. }
            | Self::Transaction { commands: bytes, .. } => bytes.len(),
            Self::HashIncrement { field, .. } | Self::HashGet { field } => field.len(),
        }
    }

    /// Each of a run of them is a command of its own, or brings bytes of its own.
    pub(super) fn comes_apart(&self) -> bool {
        matches!(
            self,
            Self::Write { form: WriteForm::Alone | WriteForm::Push(_), .. }
                | Self::Transaction { .. }
                | Self::Script { .. }
        )
    }

    /// Only where flushes are plain: the script has no step for it.
    pub fn is_plain_only(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Transaction { .. } | Self::Script { .. })
    }
}

/// A command that may fold. Resolve it once per command (by [`Self::by_name`]) and keep it with the command's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foldable {
    /// `INCR key`
    Incr,
    /// `DECR key`
    Decr,
    /// `INCRBY key delta`
    Incrby,
    /// `DECRBY key delta`
    Decrby,
    /// `GET key`
    Get,
    /// `SET key value [option ...]`
    Set,
    /// `HINCRBY key field delta`
    Hincrby,
    /// `HGET key field`
    Hget,
    /// A read whose one key is its first argument and whose reply may differ between protocol versions.
    Read,
    /// The same with a reply that is a scalar.
    ScalarRead,
    /// `EXISTS key`; with more arguments it has more keys and does not fold.
    Exists,
    /// `MGET key`, likewise.
    Mget,
    /// A write that folds by its form.
    Write(FoldableWrite),
    /// `EVALSHA`: only the configuration says whether it folds ([`CounterScript`](super::CounterScript)).
    Script,
}

/// The longest name of a command that folds, `ZREVRANGEBYSCORE`.
const NAME_BYTES_MAX: usize = 16;

/// Reads with a scalar reply. `ZSCORE` is not one: RESP3 answers it with a double. Nor are `PTTL` and `PEXPIRETIME`, whose
/// integers may be beyond the 2^53 that a number of Lua holds.
const SCALAR_READS: &[&[u8]] = &[
    b"BITCOUNT",
    b"BITPOS",
    b"EXPIRETIME",
    b"GETBIT",
    b"HEXISTS",
    b"HLEN",
    b"HSTRLEN",
    b"LLEN",
    b"SCARD",
    b"SISMEMBER",
    b"STRLEN",
    b"TTL",
    b"TYPE",
    b"XLEN",
    b"ZCARD",
    b"ZCOUNT",
    b"ZLEXCOUNT",
];

/// Other reads of the one key in their first argument. The random ones (`SRANDMEMBER`, `HRANDFIELD`, `ZRANDMEMBER`)
/// are left out: their callers count on different answers.
const READS: &[&[u8]] = &[
    b"GEODIST",
    b"GEOHASH",
    b"GEOPOS",
    b"GEOSEARCH",
    b"GETRANGE",
    b"HGETALL",
    b"HKEYS",
    b"HMGET",
    b"HVALS",
    b"LINDEX",
    b"LPOS",
    b"LRANGE",
    b"PEXPIRETIME",
    b"PTTL",
    b"SMEMBERS",
    b"SMISMEMBER",
    b"SUBSTR",
    b"XRANGE",
    b"XREVRANGE",
    b"ZMSCORE",
    b"ZRANGE",
    b"ZRANGEBYLEX",
    b"ZRANGEBYSCORE",
    b"ZRANK",
    b"ZREVRANGE",
    b"ZREVRANGEBYLEX",
    b"ZREVRANGEBYSCORE",
    b"ZREVRANK",
    b"ZSCORE",
];

impl Foldable {
    /// The command of this name, in any case. `None` if it never folds.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        let mut upper = [0; NAME_BYTES_MAX];
        let upper = upper.get_mut(..name.len())?;
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        Some(match &*upper {
            b"INCR" => Self::Incr,
            b"DECR" => Self::Decr,
            b"INCRBY" => Self::Incrby,
            b"DECRBY" => Self::Decrby,
            b"GET" => Self::Get,
            b"SET" => Self::Set,
            b"HINCRBY" => Self::Hincrby,
            b"HGET" => Self::Hget,
            b"EXISTS" => Self::Exists,
            b"MGET" => Self::Mget,
            b"EVALSHA" => Self::Script,
            other if SCALAR_READS.contains(&other) => Self::ScalarRead,
            other if READS.contains(&other) => Self::Read,
            other => Self::Write(FoldableWrite::by_name(other)?),
        })
    }

    /// How this command says an increment of a string.
    pub fn verb(self) -> Verb {
        match self {
            Self::Incr => Verb::Incr,
            Self::Decr => Verb::Decr,
            Self::Decrby => Verb::Decrby,
            _ => Verb::Incrby,
        }
    }

    /// What this request of the command asks for. `None` if it does not fold: wrong number of arguments, other options, a
    /// number that Redis would refuse, and `DECRBY` of the smallest integer, whose negation does not exist.
    pub fn op<'a>(self, request: &Request<'a>) -> Option<Op<'a>> {
        let exactly = |count: usize| (request.len() == count).then_some(());
        let number = |index: usize| parse_integer(request.arg(index)?);
        let read = |scalar: bool| Op::Read { request: request.bytes(), scalar };
        Some(match self {
            Self::Incr => exactly(2).map(|()| Op::Increment(1))?,
            Self::Decr => exactly(2).map(|()| Op::Increment(-1))?,
            Self::Incrby => exactly(3).and_then(|()| Some(Op::Increment(number(2)?)))?,
            Self::Decrby => exactly(3).and_then(|()| Some(Op::Increment(number(2)?.checked_neg()?)))?,
            Self::Get => exactly(2).map(|()| Op::Get)?,
            Self::Set if request.len() == 3 => Op::Set(request.arg(2)?),
            Self::Set if request.len() < 3 => return None,
            Self::Set => Op::Write { request: request.bytes(), form: set_with_options(request)? },
            Self::Write(write) => Op::Write { request: request.bytes(), form: write.form(request)? },
            Self::Hincrby => {
                exactly(4)?;
                Op::HashIncrement { field: request.arg(2)?, delta: number(3)? }
            }
            Self::Hget => exactly(3).and_then(|()| Some(Op::HashGet { field: request.arg(2)? }))?,
            Self::Read => read(false),
            Self::ScalarRead => read(request.len() <= SCRIPTED_ARGUMENTS_MAX),
            Self::Exists => exactly(2).map(|()| read(true))?,
            Self::Mget => exactly(2).map(|()| read(false))?,
            Self::Script => return None,
        })
    }
}

/// The operation of a request, if it folds. For callers without a command table; see [`Foldable`] for the others.
pub fn classify<'a>(request: &Request<'a>) -> Option<Op<'a>> {
    Foldable::by_name(request.name())?.op(request)
}

/// A scanner for requests that a scanner has passed before.
pub(super) fn scanner_of(requests: &[u8]) -> RequestScanner {
    RequestScanner::new(RequestLimits {
        bulk_bytes_max: requests.len(),
        arguments_max: requests.len(),
        inline_bytes_max: requests.len(),
        authenticated: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::RequestScan;

    /// A scanner that has found one inline request.
    fn scanned(line: &str) -> RequestScanner {
        let mut scanner = RequestScanner::new(RequestLimits {
            bulk_bytes_max: 1 << 20,
            arguments_max: 100,
            inline_bytes_max: 1 << 16,
            authenticated: true,
        });
        let scan = scanner.scan(format!("{line}\r\n").as_bytes());
        assert!(matches!(scan, RequestScan::Inline { .. }), "{line}: {scan:?}");
        scanner
    }

    #[test]
    fn folds_only_what_it_understands_exactly() {
        let check = |line: &str, expect: Option<Op>| {
            let scanner = scanned(line);
            let request = Request::new(scanner.inline(), scanner.spans());
            match (classify(&request), expect) {
                (Some(Op::Read { scalar, request: bytes }), Some(Op::Read { scalar: expected, .. })) => {
                    assert_eq!((scalar, bytes), (expected, request.bytes()), "{line}");
                }
                (found, expect) => assert_eq!(found, expect, "{line}"),
            }
        };
        let read = |scalar| Some(Op::Read { request: b"", scalar });
        check("INCR k", Some(Op::Increment(1)));
        check("decr k", Some(Op::Increment(-1)));
        check("INCRBY k 5", Some(Op::Increment(5)));
        check("INCRBY k -9223372036854775808", Some(Op::Increment(i64::MIN)));
        check("DECRBY k 5", Some(Op::Increment(-5)));
        check("DECRBY k -7", Some(Op::Increment(7)));
        check("DECRBY k -9223372036854775808", None);
        for refused in ["abc", "+5", "05", "-0", "1.5", "9223372036854775808", "''"] {
            check(&format!("INCRBY k {refused}"), None);
            check(&format!("DECRBY k {refused}"), None);
            check(&format!("HINCRBY k f {refused}"), None);
        }
        check("INCR", None);
        check("INCR k 1", None);
        check("INCRBY k", None);
        check("GET k", Some(Op::Get));
        check("GET k x", None);
        check("SET k v", Some(Op::Set(b"v")));
        for refused in [
            "SET k",
            "SET k v EX 0",
            "SET k v EX x",
            "SET k v GET",
            "SET k v NX XX",
            "SET k v NX EXAT 5",
            "SET k v EX",
        ] {
            check(refused, None);
        }
        check("HINCRBY k f 3", Some(Op::HashIncrement { field: b"f", delta: 3 }));
        check("HINCRBY k f", None);
        check("HGET k f", Some(Op::HashGet { field: b"f" }));
        check("EXISTS k", read(true));
        check("MGET k", read(false));
        check("MGET k k2", None);
        check("EXISTS k k2", None);
        check("ttl k", read(true));
        check("HGETALL k", read(false));
        check("SRANDMEMBER k", None);
        check("DEL k", None);
        for refused in [
            "EXPIRE k 0",
            "EXPIRE k -1",
            "EXPIRE k 99999999999",
            "EXPIRE k 5 NX GT",
            "EXPIRE k 5 GT LT",
            "EXPIRE k",
            "EXPIRE k 5 x",
        ] {
            check(refused, None);
        }
        for refused in [
            "HSET k f",
            "HSET k f v f",
            "HSETNX k f v f v",
            "ZADD k INCR 1 a",
            "LPUSH k",
            "SADD k",
            "PERSIST k x",
        ] {
            check(refused, None);
        }
        check("GETEX k", None);
    }

    #[test]
    fn writes_fold_by_their_forms() {
        use super::super::write_form::{Claim, FieldWrite, Overwrite, PushVerb};
        let check = |line: &str, expect: WriteForm| {
            let scanner = scanned(line);
            let request = Request::new(scanner.inline(), scanner.spans());
            assert_eq!(
                classify(&request),
                Some(Op::Write { request: request.bytes(), form: expect }),
                "{line}"
            );
        };
        check("EXPIRE k 5", WriteForm::Last(Overwrite::Expire));
        check("pexpire k 5 xx", WriteForm::Last(Overwrite::PexpireExisting));
        for once in
            ["EXPIRE k 5 NX", "EXPIRE k 5 XX GT", "PEXPIRE k 5 LT XX", "EXPIREAT k 5 NX", "PEXPIREAT k 5 LT"]
        {
            check(once, WriteForm::Once);
        }
        check("EXPIREAT k 5", WriteForm::Alone);
        check("PEXPIREAT k 5 XX", WriteForm::Alone);
        check("SET k v EX 5", WriteForm::Last(Overwrite::Set));
        check("SET k v PXAT 5", WriteForm::Last(Overwrite::Set));
        check("SET k v keepttl", WriteForm::Last(Overwrite::SetKeepTtl));
        check("SET k v XX", WriteForm::Last(Overwrite::SetExisting));
        check("SET k v KEEPTTL XX", WriteForm::Last(Overwrite::SetExistingKeepTtl));
        check("SET k v PX 5 NX", WriteForm::First(Claim::SetNew));
        check("SETEX k 5 v", WriteForm::Last(Overwrite::Setex));
        check("SETNX k v", WriteForm::First(Claim::Setnx));
        check("HSET k f v g w", WriteForm::Fields(FieldWrite::Hset));
        check("ZADD k 1 a -2.5 b", WriteForm::Fields(FieldWrite::Zadd));
        for once in ["ZADD k inf a", "ZADD k NX 1 a", "ZADD k GT CH 1 a", "SADD k a b", "PFADD k", "HDEL k f"]
        {
            check(once, WriteForm::Once);
        }
        check("RPUSHX k a b", WriteForm::Push(PushVerb::Rpushx));
    }
}
