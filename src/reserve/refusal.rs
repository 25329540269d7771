//! Why an operation on a sale is refused.
//!
//! Owns the first word of each error, by which clients tell them apart, and its sentence. Deliberately does not name the SKU or the user: who asked knows,
//! and a refusal is written a million times a second.

use bytes::BufMut;

use crate::resp::{encode, parse_integer};

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// Fewer places are left than asked for; so many.
    SoldOut(i64),
    /// Closed, or over.
    Closed,
    /// Opens at this unix time in milliseconds.
    NotOpen(i64),
    /// The user would have more places than this.
    PerUser(i64),
    /// The user has used all his ids.
    TooManyIds,
    /// The user holds nothing in this sale, whose holders alone may take places.
    NotHolder(&'a [u8]),
    /// There is no such sale.
    NoSku,
    /// There is no such sale as HOLDERSOF, or the target of a move, names.
    NoOther(&'a [u8]),
    /// So many entries of the ledger were not read, and more may not be.
    LedgerFull(i64),
    /// There is nothing to confirm.
    NotHeld,
    /// The sale moved, or moves, to this one.
    Gone(&'a [u8]),
    /// The limit would be below the places that are taken; so many.
    BelowTaken(i64),
    /// The target of a move has so many places too few.
    NoRoom(i64),
    /// Only a closed sale is dropped.
    NotClosed,
    /// A sale whose holders are on their way is not dropped.
    Moving(&'a [u8]),
    /// The sale is being dropped.
    Dropping,
    /// So many entries of its ledger are not in the database yet.
    Unread(i64),
    /// A sale that exists is not given back.
    Exists,
    /// The sale is being given back.
    Restoring,
}

impl<'a> Refusal<'a> {
    /// Reads what scripts say: a word and perhaps an argument.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let space = memchr::memchr(b' ', text).unwrap_or(text.len());
        let (word, argument) = (&text[..space], text.get(space + 1..).unwrap_or_default());
        let number = || parse_integer(argument);
        Some(match word {
            b"SOLDOUT" => Self::SoldOut(number()?),
            b"CLOSED" => Self::Closed,
            b"NOTOPEN" => Self::NotOpen(number()?),
            b"PERUSER" => Self::PerUser(number()?),
            b"IDS" => Self::TooManyIds,
            b"NOTHOLDER" => Self::NotHolder(argument),
            b"NOSKU" => Self::NoSku,
            b"NOOTHER" => Self::NoOther(argument),
            b"LEDGERFULL" => Self::LedgerFull(number()?),
            b"NOTHELD" => Self::NotHeld,
            b"GONE" => Self::Gone(argument),
            b"NOROOM" => Self::NoRoom(number()?),
            b"NOTCLOSED" => Self::NotClosed,
            b"MOVING" => Self::Moving(argument),
            b"DROPPING" => Self::Dropping,
            b"EXISTS" => Self::Exists,
            b"RESTORING" => Self::Restoring,
            b"UNREAD" => Self::Unread(number()?),
            b"BELOW" => Self::BelowTaken(number()?),
            _ => return None,
        })
    }

    /// Writes the error reply.
    pub fn write(&self, out: &mut impl BufMut) {
        let shown = |sku: &[u8]| sku[..sku.len().min(128)].escape_ascii().to_string();
        match *self {
            Self::SoldOut(..=0) => encode::error(out, "SOLDOUT no place is left"),
            Self::SoldOut(left) => {
                encode::error(out, format!("SOLDOUT fewer places are left than COUNT asks for: {left}"));
            }
            Self::Closed => {
                encode::error(out, "CLOSED this sale gives no places now: it was closed, or its END is over")
            }
            Self::NotOpen(start) => encode::error(out, format!("NOTOPEN this sale opens at unix-ms {start}")),
            Self::PerUser(most) => {
                encode::error(out, format!("PERUSER this user may have {most} places at the most"));
            }
            Self::TooManyIds => encode::error(
                out,
                "PERUSER this user has used 32 IDMP ids of this sale, which is the most; leave IDMP out to see what he holds",
            ),
            Self::NotHolder(other) => encode::error(
                out,
                format!("NOTHOLDER only who holds a place in '{}' may take from this sale", shown(other)),
            ),
            Self::NoSku => encode::error(out, "NOSKU there is no such sale; open it with RESERVE.OPEN"),
            Self::NoOther(other) => {
                encode::error(out, format!("NOSKU there is no sale '{}'; open it first", shown(other)));
            }
            Self::LedgerFull(unread) => encode::error(
                out,
                format!(
                    "LEDGERFULL {unread} entries of the ledger were not read; see that `hotgate ledger` runs, trim what was read, or RESERVE.OPEN ... LEDGER OFF"
                ),
            ),
            Self::NotHeld => {
                encode::error(
                    out,
                    "NOTHELD this user holds no place; its time may be over, RESERVE.ADD again",
                );
            }
            Self::Gone(to) => encode::error(out, format!("GONE this sale went on as '{}'", shown(to))),
            Self::NoRoom(missing) => encode::error(
                out,
                format!("SOLDOUT the sale to move to has {missing} places too few; raise its LIMIT first"),
            ),
            Self::NotClosed => encode::error(out, "ERR the sale is open; RESERVE.CLOSE it first"),
            Self::Moving(to) => encode::error(
                out,
                format!("ERR holders are on their way to '{}'; RESERVE.MOVE until 0 are left", shown(to)),
            ),
            Self::Dropping => {
                encode::error(out, "ERR the sale is being dropped; RESERVE.DROP until 0 are left");
            }
            Self::Exists => encode::error(out, "ERR there is such a sale in Redis"),
            Self::Restoring => encode::error(
                out,
                "ERR the sale is being given back, and has not all its holders yet; `hotgate ledger restore` again until it succeeds",
            ),
            Self::Unread(entries) => encode::error(
                out,
                format!(
                    "ERR {entries} entries of the ledger are not in the database yet; see that `hotgate ledger` runs, and try again"
                ),
            ),
            Self::BelowTaken(taken) => {
                encode::error(out, format!("ERR LIMIT is below the {taken} places that are taken"));
            }
        }
    }
}
