//! Limit keys that the flush script cannot read. The gateway polls them instead.

use super::refusal;
use crate::{
    combine::CLAMP_VALUE_MAX,
    resp::{bulk_payload, first_error, parse_integer},
};

/// The value of a polled limit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolledLimit {
    /// This limit. What is out of the range of a limit is a [`Self::Wrong`].
    Value(i64),
    /// There is no such key.
    Missing,
    /// Something that is no limit.
    Wrong,
}

impl PolledLimit {
    /// What the reply to `GET` of a limit key says; `None` if it is no such reply, but an error of the connection or the node.
    pub fn of_reply(reply: &[u8]) -> Option<Self> {
        if let Some(text) = first_error(reply) {
            return text.starts_with(b"WRONGTYPE").then_some(Self::Wrong);
        }
        let Some(text) = bulk_payload(reply) else {
            return matches!(reply, b"$-1\r\n" | b"_\r\n").then_some(Self::Missing);
        };
        let limit = parse_integer(text).filter(|limit| (0..=CLAMP_VALUE_MAX).contains(limit));
        Some(limit.map_or(Self::Wrong, Self::Value))
    }

    /// Why it is no limit; `None` if it is one.
    pub(super) fn fault(self, name: &[u8]) -> Option<String> {
        match self {
            Self::Value(_) => None,
            Self::Missing => Some(format!("limit key {} does not exist", refusal::shown(name))),
            Self::Wrong => Some(format!(
                "limit key {} is not an integer from 0 to {CLAMP_VALUE_MAX}",
                refusal::shown(name)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polled_replies_are_limits_or_say_why_not() {
        let check =
            |reply: &str, expect| assert_eq!(PolledLimit::of_reply(reply.as_bytes()), expect, "{reply}");
        check("$2\r\n70\r\n", Some(PolledLimit::Value(70)));
        check("$-1\r\n", Some(PolledLimit::Missing));
        check("_\r\n", Some(PolledLimit::Missing));
        check("$2\r\n-1\r\n", Some(PolledLimit::Wrong));
        check("$1\r\nx\r\n", Some(PolledLimit::Wrong));
        check("$16\r\n4503599627370497\r\n", Some(PolledLimit::Wrong));
        check("-WRONGTYPE Operation\r\n", Some(PolledLimit::Wrong));
        check("-LOADING\r\n", None);
        check(":5\r\n", None);
    }
}
