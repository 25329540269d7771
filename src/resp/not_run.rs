//! Errors of a server that has not run a command, and under which another try may succeed.
//!
//! This is the one list of their words. What becomes of the command is decided by whoever sent it.

/// Why a command has not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// Another node owns the slot (Redis Cluster specification, "MOVED Redirection").
    Moved,
    /// The key may be at the node that the slot is on its way to ("ASK redirection").
    Ask,
    /// Some keys of the command are on their way.
    TryAgain,
    /// The cluster does not serve the slot.
    ClusterDown,
    /// A replica has lost its master.
    MasterDown,
    /// The server loads its data.
    Loading,
    /// It is a replica.
    ReadOnly,
    /// It does not know the script.
    NoScript,
}

impl NotRun {
    /// That of the text of an error, without its leading `-`.
    pub fn of(error: &[u8]) -> Option<Self> {
        Some(match error.split(|byte| *byte == b' ').next()? {
            b"MOVED" => Self::Moved,
            b"ASK" => Self::Ask,
            b"TRYAGAIN" => Self::TryAgain,
            b"CLUSTERDOWN" => Self::ClusterDown,
            b"MASTERDOWN" => Self::MasterDown,
            b"LOADING" => Self::Loading,
            b"READONLY" => Self::ReadOnly,
            b"NOSCRIPT" => Self::NoScript,
            _ => return None,
        })
    }

    /// Another server would run it as it is, or this one in a moment.
    pub fn is_passing(self) -> bool {
        self != Self::NoScript
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_word_says_why() {
        let check = |error: &[u8], expect| assert_eq!(NotRun::of(error), expect, "{}", error.escape_ascii());
        check(b"MOVED 3999 127.0.0.1:6381", Some(NotRun::Moved));
        check(b"LOADING Redis is loading the dataset in memory", Some(NotRun::Loading));
        check(b"TRYAGAIN", Some(NotRun::TryAgain));
        for other in [&b"MOVEDX 1 a:1"[..], b"moved 1 a:1", b"ERR MOVED", b" ASK", b"", b"\xff"] {
            check(other, None);
        }
    }
}
