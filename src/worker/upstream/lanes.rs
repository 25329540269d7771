//! Lanes: the parallel connections to a node among which clients choose, and what is sent again beside a lane that is held up.
//!
//! A client changes lanes only while it has nothing unsettled, which keeps its commands in order.
//!
//! - Two ordinary lanes exist so that a large value delays nobody else: as soon as a long reply is seen on one, clients with
//!   nothing unsettled go on with the other; and a large request takes the one that is not preferred.
//! - Scripts go on a lane of their own. What is behind a script that does not end runs when it ends, so it can't be answered
//!   before; everything that is not behind it gets Redis's own `BUSY`.
//! - While a node holds a lane up (it pauses writes, or a script keeps it busy), reads go on a lane of their own. Reads that
//!   were on the held lane already go again there, but for those behind a write of their own client.
//! - Reads that may break their connection go on a lane where one request is written at a time, so that they break nothing else.

/// One of the parallel connections to a node.
pub type Lane = u8;

/// Lanes that are alike; the one that is preferred changes.
pub const ORDINARY: std::ops::Range<Lane> = 0..2;

/// The lane of scripts.
pub const SCRIPTS: Lane = 2;

/// The lane of scripts while one that does not end is on theirs.
pub const MORE_SCRIPTS: Lane = 4;

/// The lane of reads while others are held up.
pub const ASIDE: Lane = 3;

/// The lane of reads that may break their connection ([`super::suspects`]): one request is written at a time.
pub const ALONE: Lane = 5;

/// How many lanes there are.
pub const COUNT: usize = 6;

/// What a request is to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// It only reads, and a pause of writes does not hold it up.
    Read,
    /// It only reads, and may break its connection.
    Suspect,
    /// It runs a script, which may keep the node busy.
    Script,
    /// Anything else.
    Other,
}

impl Cargo {
    /// That of a request which only reads, or does not.
    pub fn reading(readonly: bool) -> Self {
        if readonly { Self::Read } else { Self::Other }
    }

    /// Whether a client with something unsettled on `lane` can send it there as well.
    pub fn fits(self, lane: Lane) -> bool {
        match self {
            Self::Read => true,
            Self::Suspect => lane == ALONE,
            Self::Script => matches!(lane, SCRIPTS | MORE_SCRIPTS),
            // A write that is held up would hold up the reads.
            Self::Other => lane != ASIDE,
        }
    }
}
