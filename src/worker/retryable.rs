//! `MOVED ASK TRYAGAIN CLUSTERDOWN LOADING` and their kin: the replies after which a request has not run and the gateway, not
//! the client, decides what becomes of it. (Redis Cluster specification, "MOVED Redirection" and "ASK redirection".)
//!
//! [`NotRun`] is the one list of their words. What is done for each:
//!
//! | reply | a client's request | a command on a session's own connection | a flush of a hot key |
//! |---|---|---|---|
//! | `MOVED` | goes at once to the node that is named | is looked at again after a moment | goes to that node |
//! | `ASK` | goes there at once behind `ASKING`; a transaction, and what `CLIENT CACHING` precedes, waits a moment | the same; a blocking command asks that node | goes there behind `ASKING` |
//! | `TRYAGAIN` `CLUSTERDOWN` `MASTERDOWN` `LOADING` | waits a moment and is routed anew | is looked at again after a moment | waits a moment |
//! | `READONLY` | is passed on, and another master is looked for | the same | waits a moment |
//! | `NOSCRIPT` | goes again behind `SCRIPT LOAD` if its client's script is known, else is passed on | is passed on | waits a moment |

use crate::resp::{self, NotRun};
use crate::shared::labels::RedirectKind;

/// What precedes a request that was redirected with `ASK`.
pub const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// An error reply that asks for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retryable<'a> {
    /// Which of them, for the tallies.
    pub kind: RedirectKind,
    /// What it asks for.
    pub wants: Wants<'a>,
}

/// What becomes of a request that has not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants<'a> {
    /// To go to the node at this `host:port`, of which the host may be empty.
    Node(&'a str),
    /// To go there this once, behind [`ASKING`].
    NodeOnce(&'a str),
    /// To wait a moment and be routed anew.
    Patience,
    /// To have another master: this one takes no writes.
    Master,
    /// To have its script there.
    Script,
}

impl<'a> Retryable<'a> {
    /// The `host:port` that is named.
    pub fn target(&self) -> Option<&'a str> {
        match self.wants {
            Wants::Node(target) | Wants::NodeOnce(target) => Some(target),
            Wants::Patience | Wants::Master | Wants::Script => None,
        }
    }

    /// That of an error reply, if it is one of these.
    pub fn of(reply: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(resp::first_error(reply)?).ok()?;
        let kind = match NotRun::of(text.as_bytes())? {
            NotRun::Moved => RedirectKind::Moved,
            NotRun::Ask => RedirectKind::Ask,
            NotRun::TryAgain => RedirectKind::TryAgain,
            NotRun::ClusterDown | NotRun::MasterDown => RedirectKind::ClusterDown,
            NotRun::Loading => RedirectKind::Loading,
            NotRun::ReadOnly => RedirectKind::ReadOnly,
            NotRun::NoScript => RedirectKind::NoScript,
        };
        let wants = match (kind, text.split(' ').nth(2)) {
            (RedirectKind::Moved, Some(target)) => Wants::Node(target),
            (RedirectKind::Ask, Some(target)) => Wants::NodeOnce(target),
            (RedirectKind::ReadOnly, _) => Wants::Master,
            (RedirectKind::NoScript, _) => Wants::Script,
            _ => Wants::Patience,
        };
        Some(Self { kind, wants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_that_ask_for_another_try() {
        let check = |reply: &[u8], expected: Option<(RedirectKind, Wants<'_>)>| {
            let found = Retryable::of(reply).map(|found| (found.kind, found.wants));
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(reply));
        };
        check(b"-MOVED 3999 127.0.0.1:6381\r\n", Some((RedirectKind::Moved, Wants::Node("127.0.0.1:6381"))));
        check(b"-MOVED 3999 :6381\r\n", Some((RedirectKind::Moved, Wants::Node(":6381"))));
        check(b"-ASK 3999 [::1]:6381\r\n", Some((RedirectKind::Ask, Wants::NodeOnce("[::1]:6381"))));
        check(b"-ASK 3999\r\n", Some((RedirectKind::Ask, Wants::Patience)));
        check(
            b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            Some((RedirectKind::TryAgain, Wants::Patience)),
        );
        check(
            b"-LOADING Redis is loading the dataset in memory\r\n",
            Some((RedirectKind::Loading, Wants::Patience)),
        );
        check(b"-READONLY You can't write\r\n", Some((RedirectKind::ReadOnly, Wants::Master)));
        check(b"-NOSCRIPT No matching script\r\n", Some((RedirectKind::NoScript, Wants::Script)));
        check(b"-MOVEDX 1 a:1\r\n", None);
        check(b"-ERR unknown\r\n", None);
        check(b"+MOVED 1 a:1\r\n", None);
        check(b"-\xff\r\n", None);
    }
}
