//! The parallel connections to a node, of which each client uses one, and what is sent again past one that is held up.
//!
//! A client changes to another one only while it has nothing unsettled, which keeps its commands in order.
//!
//! - Two ordinary ones exist so that a large value delays nobody else: as soon as a long reply is seen on one, clients with
//!   nothing unsettled go on with the other; and a large request takes the one that is not preferred.
//! - Scripts have one of their own. What is behind a script that does not end runs when it ends, so it can't be answered
//!   before; everything that is not behind it gets Redis's own `BUSY`.
//! - While a node holds one up (it pauses writes, or a script keeps it busy), reads have one of their own. Reads that
//!   were on the one that is held already go again there, but for those behind a write of their own client.
//! - What runs at Redis as the client's own user goes over a connection of that user ([`super::user_logins`]), which is none of the
//!   node's shared ones but has a number, so that order is kept the same way.
//! - Reads that may break their connection have one where a single request is written at a time, so that they break nothing else.

/// Which of the parallel connections to a node.
pub type ConnectionNumber = u8;

/// Those that are alike; which one is preferred changes.
pub const ORDINARY: std::ops::Range<ConnectionNumber> = 0..2;

/// That of scripts.
pub const SCRIPTS: ConnectionNumber = 2;

/// That of scripts while one that does not end is on theirs.
pub const MORE_SCRIPTS: ConnectionNumber = 4;

/// That of reads while others are held up.
pub const ASIDE: ConnectionNumber = 3;

/// That of reads that may break their connection ([`super::suspects`]): one request is written at a time.
pub const ALONE: ConnectionNumber = 5;

/// That of the client's own user.
pub const AS_USER: ConnectionNumber = 6;

/// How many there are.
pub const COUNT: usize = 7;

/// What a request is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// It only reads, and a pause of writes does not hold it up.
    Read,
    /// It only reads, and may break its connection.
    Suspect,
    /// It runs a script, which may keep the node busy.
    Script,
    /// It runs at Redis as the client's own user.
    AsUser,
    /// Anything else.
    Other,
}

impl Cargo {
    /// That of a request which only reads, or does not.
    pub fn reading(readonly: bool) -> Self {
        if readonly { Self::Read } else { Self::Other }
    }

    /// Whether a client with something unsettled on `number` can send it there as well.
    pub fn fits(self, number: ConnectionNumber) -> bool {
        match self {
            Self::Read => number != AS_USER,
            Self::Suspect => number == ALONE,
            Self::Script => matches!(number, SCRIPTS | MORE_SCRIPTS),
            Self::AsUser => number == AS_USER,
            // A write that is held up would hold up the reads.
            Self::Other => !matches!(number, ASIDE | AS_USER),
        }
    }
}
