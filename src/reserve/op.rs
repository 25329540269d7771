//! One operation on a sale, as the hot script runs it.
//!
//! Owns the letters and the three arguments of each. Deliberately knows no queue: what waits, and for whom, is the caller's.

use bytes::Bytes;

use super::names::user_hash;

/// How many operations one call may have: so no call takes longer than 2 ms.
pub const OPS_PER_CALL_MAX: usize = 64;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Take places.
    Add,
    /// Make what is held final.
    Confirm,
    /// Give places back.
    Cancel,
    /// What a user holds.
    Check,
    /// The sale's figures.
    Info,
    /// The users in the bucket of a user: whoever is in it and not among them holds nothing.
    Bucket,
}

impl OpKind {
    /// Whether it may change something, so that its flush needs a token.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Add | Self::Confirm | Self::Cancel)
    }

    fn letter(self) -> u8 {
        match self {
            Self::Add => b'A',
            Self::Confirm => b'F',
            Self::Cancel => b'X',
            Self::Check => b'C',
            Self::Info => b'I',
            Self::Bucket => b'B',
        }
    }
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveOp {
    /// What is done.
    pub kind: OpKind,
    /// For whom; empty for [`OpKind::Info`].
    pub user: Bytes,
    /// How many places. `None` for all of them (Cancel) and where there is no count.
    pub count: Option<u32>,
    /// The client's id of an Add; empty for none.
    pub id: Bytes,
}

impl ReserveOp {
    /// An operation on one user without a count.
    pub fn on(kind: OpKind, user: &[u8]) -> Self {
        Self { kind, user: Bytes::copy_from_slice(user), count: None, id: Bytes::new() }
    }

    /// Its first argument: the letter, the user's hash, and the count or 0.
    pub(super) fn head(&self) -> [u8; 9] {
        let mut head = [self.kind.letter(), 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..5].copy_from_slice(&user_hash(&self.user).to_be_bytes());
        head[5..].copy_from_slice(&self.count.unwrap_or(0).to_be_bytes());
        head
    }

    /// About how many bytes it takes: for bounds of queues.
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.user.len() + self.id.len()
    }
}
