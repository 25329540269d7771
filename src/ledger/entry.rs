//! Entries of a sale's stream, as `XRANGE` replies have them.
//!
//! Owns their spelling, which `src/reserve/sale.lua` writes. Deliberately judges nothing: whether an entry is the one that had to come is `fold`'s business.

use super::store::RowState;
use crate::resp::{bulk_payload, elements, parse_integer};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1 is the sale's first.
    pub number: i64,
    /// What it says.
    pub what: What,
    /// When it was written, in unix time.
    pub at_ms: i64,
    /// The checksum of all of it.
    pub checksum: i64,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A holding changed: what it is since then.
    Holding {
        /// The place in line.
        seq: i64,
        /// Whose it is.
        user: Vec<u8>,
        /// What became of it.
        state: RowState,
        /// Places that are final; of a holding that moved to another sale, those that it had.
        confirmed: i64,
        /// Places that wait to be confirmed,
        held: i64,
        /// until then; 0 if none wait.
        expires_ms: i64,
        /// Since when.
        since_ms: i64,
    },
    /// The sale was opened, changed, closed or reopened.
    Terms(Terms),
}

/// The terms of a sale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How many places there are.
    pub limit: i64,
    /// How many of them a user may have.
    pub per_user: i64,
    /// From when on; 0 for none.
    pub start_ms: i64,
    /// Until when; 0 for none.
    pub end_ms: i64,
    /// How long a place is held; 0: it is confirmed at once.
    pub hold_ms: i64,
    /// The sale whose holders alone may take places; empty for none.
    pub holders_of: Vec<u8>,
    /// An operator closed it.
    pub is_closed: bool,
    /// Entries are written.
    pub is_on: bool,
}

/// The entries of a reply; `None` if it is no list of entries as sales write them.
pub fn entries_of(reply: &[u8]) -> Option<Vec<Entry>> {
    elements(reply)?.map(entry_of).collect()
}

fn entry_of(raw: &[u8]) -> Option<Entry> {
    let mut parts = elements(raw)?;
    let id = bulk_payload(parts.next()?)?;
    let number = parse_integer(id.strip_suffix(b"-0")?)?;
    let mut words = elements(parts.next()?)?;
    let (mut event, mut user, mut state, mut has): (&[u8], &[u8], &[u8], &[u8]) = (b"", b"", b"", b"");
    let (mut seq, mut count, mut at_ms) = (None, None, None);
    while let Some(name) = words.next() {
        let value = bulk_payload(words.next()?)?;
        match bulk_payload(name)? {
            b"event" => event = value,
            b"seq" => seq = parse_integer(value),
            b"user" => user = value,
            b"count" => count = parse_integer(value),
            b"state" => state = value,
            b"ms" => at_ms = parse_integer(value),
            b"has" => has = value,
            // A later version may say more.
            _ => {}
        }
    }
    let mut numbers = has.split(|byte| *byte == b' ').map(parse_integer);
    let mut number_of = || numbers.next().flatten();
    let what = match event {
        b"terms" => What::Terms(Terms {
            limit: count?,
            per_user: number_of()?,
            start_ms: number_of()?,
            end_ms: number_of()?,
            hold_ms: number_of()?,
            holders_of: user.to_vec(),
            is_closed: state == b"closed",
            is_on: number_of()? == 1,
        }),
        _ => {
            let (confirmed, held) = (number_of()?, number_of()?);
            let (expires_ms, since_ms) = (number_of()?, number_of()?);
            let state = RowState::of_entry(state, confirmed, held)?;
            let confirmed = if state == RowState::Moved { count? } else { confirmed };
            What::Holding { seq: seq?, user: user.to_vec(), state, confirmed, held, expires_ms, since_ms }
        }
    };
    Some(Entry { number, what, at_ms: at_ms?, checksum: i64::from(crc32fast::hash(raw)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::encode;

    fn reply(id: &str, words: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        encode::array(&mut out, 1);
        encode::array(&mut out, 2);
        encode::bulk(&mut out, id.as_bytes());
        encode::array(&mut out, words.len());
        words.iter().for_each(|word| encode::bulk(&mut out, word.as_bytes()));
        out
    }

    const ADD: [&str; 14] = [
        "event",
        "add",
        "seq",
        "7",
        "user",
        "ann",
        "count",
        "1",
        "state",
        "held",
        "ms",
        "1000",
        "has",
        "1 2 9000 800",
    ];

    #[test]
    fn an_entry_says_what_the_holding_is() {
        let entries = entries_of(&reply("17-0", &ADD)).unwrap();
        let What::Holding { seq, user, state, confirmed, held, expires_ms, since_ms } = &entries[0].what
        else {
            panic!("{entries:?}")
        };
        assert_eq!((entries[0].number, entries[0].at_ms, *seq, &user[..]), (17, 1000, 7, &b"ann"[..]));
        assert_eq!((*state, *confirmed, *held, *expires_ms, *since_ms), (RowState::Held, 1, 2, 9000, 800));
    }

    #[test]
    fn an_entry_that_differs_in_anything_has_another_checksum() {
        let of = |id, words: &[&str]| entries_of(&reply(id, words)).unwrap()[0].checksum;
        let mut other = ADD;
        other[11] = "1001";
        assert_ne!(of("17-0", &ADD), of("17-0", &other));
        assert_eq!(of("17-0", &ADD), of("17-0", &ADD));
    }

    #[test]
    fn what_no_sale_writes_is_not_read() {
        for (id, words) in [("17-1", &ADD[..]), ("1795-0", &["a", "b"]), ("x", &ADD), ("5-0", &ADD[..12])] {
            assert_eq!(entries_of(&reply(id, words)), None, "{id} {words:?}");
        }
        assert_eq!(entries_of(b"-ERR no\r\n"), None);
        assert_eq!(entries_of(b"*0\r\n"), Some(Vec::new()));
    }
}
