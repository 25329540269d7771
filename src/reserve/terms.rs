//! The terms of a sale: what `RESERVE.OPEN` says behind the SKU.
//!
//! Owns the words, their bounds and what is wrong with them. Deliberately does not know what a sale has now: a term that is not given stays, and
//! the script knows.

use super::words::{Words, integer, unknown_word};
use crate::resp::key_slot;

/// The longest name of a sale: it is in the name of each of its keys.
pub const SKU_BYTES_MAX: usize = 512;

/// The longest name of a user. Beyond 64 bytes Redis keeps his bucket in its large form.
pub const USER_BYTES_MAX: usize = 512;

/// The longest id of an ADD.
pub const ID_BYTES_MAX: usize = 64;

/// The most places of a sale: counts are stored in four bytes.
pub const LIMIT_MAX: i64 = u32::MAX as i64;

/// The latest unix time, in the year 3554: with a hold behind it, it still has the 14 digits that scripts spell exactly.
const TIME_MS_MAX: i64 = 49_999_999_999_999;

/// What the terms are called.
const WORDS: [&[u8]; 7] = [b"LIMIT", b"PERUSER", b"START", b"END", b"HOLD", b"LEDGER", b"HOLDERSOF"];

/// The terms as given; `None` leaves a term as it is, or as by default in a new sale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenTerms<'a> {
    /// How many places there are. A new sale needs it.
    pub limit: Option<i64>,
    /// How many of them a user may have. 1 by default.
    pub per_user: Option<i64>,
    /// From when on places are given, in unix time. 0, the default: from the beginning.
    pub start_ms: Option<i64>,
    /// Until when. 0, the default: without an end.
    pub end_ms: Option<i64>,
    /// How long a place is held until it is confirmed. 0, the default: it is confirmed at once.
    pub hold_ms: Option<i64>,
    /// The sale whose holders alone may take places.
    pub holders_of: Option<&'a [u8]>,
    /// Whether what happens is written to the ledger. It is by default.
    pub ledger: Option<bool>,
    /// How many entries of the ledger may be unread until no place is given any more; 0, the default: any number. No client says it: the
    /// gateway's configuration does.
    pub unread_max: Option<i64>,
}

impl<'a> OpenTerms<'a> {
    pub(super) fn parse(sku: &[u8], mut words: Words<'_, 'a>) -> Result<Self, String> {
        let mut terms = Self::default();
        while let Some(word) = words.next() {
            let name = word.to_ascii_uppercase();
            if !WORDS.contains(&name.as_slice()) {
                return Err(unknown_word("RESERVE.OPEN", word));
            }
            let value = words.value(&name)?;
            let number = |least, most| integer(&name, value, least, most).map(Some);
            match name.as_slice() {
                b"LIMIT" => terms.limit = number(0, LIMIT_MAX)?,
                b"PERUSER" => terms.per_user = number(1, LIMIT_MAX)?,
                b"START" => terms.start_ms = number(0, TIME_MS_MAX)?,
                b"END" => terms.end_ms = number(0, TIME_MS_MAX)?,
                b"HOLD" => terms.hold_ms = number(0, TIME_MS_MAX)?,
                b"LEDGER" => terms.ledger = Some(on_or_off(value)?),
                b"HOLDERSOF" => terms.holders_of = Some(value),
                _ => return Err(unknown_word("RESERVE.OPEN", word)),
            }
        }
        if terms == Self::default() {
            return Err("ERR RESERVE.OPEN needs LIMIT, or what is to change of a sale: RESERVE.OPEN sku LIMIT n [PERUSER m] [START unix-ms] [END unix-ms] [HOLD ms] [HOLDERSOF sku] [LEDGER ON|OFF]".to_owned());
        }
        terms.check(sku)?;
        Ok(terms)
    }

    fn check(&self, sku: &[u8]) -> Result<(), String> {
        if let (Some(start), Some(end @ 1..)) = (self.start_ms, self.end_ms)
            && start >= end
        {
            return Err(format!("ERR START {start} is not before END {end}"));
        }
        match self.holders_of {
            Some(other) if other == sku => {
                Err("ERR HOLDERSOF names the sale itself; name the sale whose holders may take from it"
                    .to_owned())
            }
            Some(other) if key_slot(other) != key_slot(sku) => Err(format!(
                "CROSSSLOT HOLDERSOF {} is in another slot than the sale; give both the same {{tag}}, as in {{8421}}:booking and {{8421}}:purchase",
                other.escape_ascii()
            )),
            _ => Ok(()),
        }
    }

    /// The arguments of the script.
    pub(super) fn arguments(&self) -> [Vec<u8>; 8] {
        let number =
            |value: Option<i64>| value.map(|value| value.to_string().into_bytes()).unwrap_or_default();
        [
            number(self.limit),
            number(self.per_user),
            number(self.start_ms),
            number(self.end_ms),
            number(self.hold_ms),
            number(self.ledger.map(i64::from)),
            self.holders_of.unwrap_or_default().to_vec(),
            number(self.unread_max),
        ]
    }
}

fn on_or_off(value: &[u8]) -> Result<bool, String> {
    match value.to_ascii_uppercase().as_slice() {
        b"ON" => Ok(true),
        b"OFF" => Ok(false),
        _ => Err(format!("ERR LEDGER is ON or OFF, not '{}'", value.escape_ascii())),
    }
}
