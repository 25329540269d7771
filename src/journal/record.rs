//! One fact in the journal, and its bytes.
//!
//! Owns the spelling: little-endian numbers of fixed width, the key as its cluster and its name behind its length. Integrity is the
//! frame's business.

use bytes::{Buf, BufMut, Bytes};

use crate::route::ClusterId;

/// A counter: its name, in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalKey {
    /// The cluster. In a file it is a position in the list of the file's header.
    pub cluster: ClusterId,
    /// The name.
    pub name: Bytes,
}

/// How a version of the format spells keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// By the name alone: there was one cluster.
    Name,
    /// By cluster and name.
    ClusterAndName,
}

/// One record. The records of one key are in the order of their events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Deltas were taken. One, or in a checkpoint all that are pending.
    Deltas {
        /// The counter.
        key: JournalKey,
        /// Their sum.
        sum: i64,
        /// How many they are.
        count: u64,
        /// The place of the last of them among the deltas of the key: higher than that of all before it.
        sequence: u64,
    },
    /// A flush takes all deltas of the key that stand before it, and is about to be sent.
    FlushStarted {
        /// The counter.
        key: JournalKey,
        /// The token, later than any before it.
        token: u64,
        /// The sum of the deltas. The reader of the journal checks it.
        sum: i64,
        /// The sequence of the last delta that it takes.
        through: u64,
        /// When it was first sent, in milliseconds of the Unix clock: Redis forgets the token some time after that.
        first_sent_unix_ms: u64,
    },
    /// The flush is over.
    FlushSettled {
        /// The counter.
        key: JournalKey,
        /// Its token.
        token: u64,
        /// How it ended.
        end: FlushEnd,
    },
}

/// How a flush ended, as far as the journal cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushEnd {
    /// Redis acknowledged it.
    Acknowledged,
    /// It was refused for good, or its outcome stays unknown: that has been reported, and it is not sent again.
    GivenUp,
    /// It surely has not taken effect: its deltas are pending again.
    Returned,
}

/// Bytes of a record beside its key: the widest, `FlushStarted`.
pub(super) const RECORD_BYTES_MAX: usize = 1 + 2 + 4 + 8 * 4;

impl Record {
    /// The counter that it tells of.
    pub fn key(&self) -> &JournalKey {
        match self {
            Self::Deltas { key, .. } | Self::FlushStarted { key, .. } | Self::FlushSettled { key, .. } => key,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, key) = match self {
            Self::Deltas { key, .. } => (1, key),
            Self::FlushStarted { key, .. } => (2, key),
            Self::FlushSettled { key, end, .. } => (3 + *end as u8, key),
        };
        out.put_u8(kind);
        out.put_u16_le(key.cluster.0);
        // Redis bounds a key to 512 MiB.
        out.put_u32_le(key.name.len() as u32);
        out.put_slice(&key.name);
        match *self {
            Self::Deltas { sum, count, sequence, .. } => {
                out.put_i64_le(sum);
                out.put_u64_le(count);
                out.put_u64_le(sequence);
            }
            Self::FlushStarted { token, sum, through, first_sent_unix_ms, .. } => {
                out.put_u64_le(token);
                out.put_i64_le(sum);
                out.put_u64_le(through);
                out.put_u64_le(first_sent_unix_ms);
            }
            Self::FlushSettled { token, .. } => out.put_u64_le(token),
        }
    }

    /// Takes one record from the front. `None` if there is none that this version knows.
    pub(super) fn decode(input: &mut &[u8], form: KeyForm) -> Option<Self> {
        let kind = input.try_get_u8().ok()?;
        let cluster = match form {
            KeyForm::Name => 0,
            KeyForm::ClusterAndName => input.try_get_u16_le().ok()?,
        };
        let length = input.try_get_u32_le().ok()? as usize;
        let name = Bytes::copy_from_slice(input.split_off(..length)?);
        let key = JournalKey { cluster: ClusterId(cluster), name };
        Some(match kind {
            1 => Self::Deltas {
                key,
                sum: input.try_get_i64_le().ok()?,
                count: input.try_get_u64_le().ok()?,
                sequence: input.try_get_u64_le().ok()?,
            },
            2 => Self::FlushStarted {
                key,
                token: input.try_get_u64_le().ok()?,
                sum: input.try_get_i64_le().ok()?,
                through: input.try_get_u64_le().ok()?,
                first_sent_unix_ms: input.try_get_u64_le().ok()?,
            },
            3..=5 => Self::FlushSettled {
                key,
                token: input.try_get_u64_le().ok()?,
                end: match kind {
                    3 => FlushEnd::Acknowledged,
                    4 => FlushEnd::GivenUp,
                    _ => FlushEnd::Returned,
                },
            },
            _ => return None,
        })
    }
}
