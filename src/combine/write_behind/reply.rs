//! Reads the value that a key has in Redis before its first delta.

use super::base::Total;
use crate::resp::{bulk_payload, first_error, parse_integer};

/// The value in the reply to `GET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// An integer that `INCRBY` would take, or no key, which counts as 0.
    Counter(Total),
    /// Something that no delta can be added to.
    NoCounter,
}

/// `None` if the reply says nothing of the key.
pub(super) fn parse_base(reply: &[u8]) -> Option<Learned> {
    if matches!(reply, b"$-1\r\n" | b"_\r\n") {
        return Some(Learned::Counter(Total { value: 0, exists: false }));
    }
    if let Some(text) = first_error(reply) {
        return text.starts_with(b"WRONGTYPE").then_some(Learned::NoCounter);
    }
    let total = parse_integer(bulk_payload(reply)?);
    Some(total.map_or(Learned::NoCounter, |value| Learned::Counter(Total { value, exists: true })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_incrby_would_take_is_a_counter() {
        let counter = |value, exists| Some(Learned::Counter(Total { value, exists }));
        let check = |reply: &str, expect| assert_eq!(parse_base(reply.as_bytes()), expect, "{reply:?}");
        check("$-1\r\n", counter(0, false));
        check("_\r\n", counter(0, false));
        check("$2\r\n-7\r\n", counter(-7, true));
        check("$2\r\n07\r\n", Some(Learned::NoCounter));
        check("$0\r\n\r\n", Some(Learned::NoCounter));
        check("$3\r\nabc\r\n", Some(Learned::NoCounter));
        check("-WRONGTYPE Operation against a key\r\n", Some(Learned::NoCounter));
        check("-LOADING Redis is loading\r\n", None);
        check(":5\r\n", None);
    }
}
