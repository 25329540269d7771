//! What can go wrong with a journal: when it is opened, and while it is written.

use std::{io, path::PathBuf, sync::Arc};

/// Why a journal cannot be opened. The process should not start: what was acknowledged might be in it.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused to read, make or write a file.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has the directory.
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// It holds increments of a cluster that the configuration does not name.
    NoCluster {
        /// The directory.
        directory: PathBuf,
        /// The cluster.
        name: String,
    },
    /// It holds increments that were acknowledged before other servers.
    OtherUpstream {
        /// The directory.
        directory: PathBuf,
        /// Those.
        before: String,
        /// The servers of now.
        now: String,
    },
    /// A file is damaged, and no crash does that.
    Damaged {
        /// The file.
        file: PathBuf,
        /// The byte at which the damaged part begins.
        offset: u64,
        /// The damage.
        what: &'static str,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { path, error } => write!(out, "journal {}: {error}", path.display()),
            Self::InUse { directory } => write!(
                out,
                "journal {}: another process has locked it; give each gateway a journal_path of its own",
                directory.display()
            ),
            Self::OtherUpstream { directory, before, now } => write!(
                out,
                "journal {} holds increments that were acknowledged before {before}, and upstream.servers is {now}: start \
                 once before those servers to have them flushed there; or, if these hold the same data, start once with \
                 write_behind.journal_adopt = true",
                directory.display()
            ),
            Self::NoCluster { directory, name } => write!(
                out,
                "journal {} holds increments of counters in the cluster {name}, which the configuration does not name: \
                 start once with it to have them flushed there",
                directory.display()
            ),
            Self::Damaged { file, offset, what } => write!(
                out,
                "journal {} is damaged at byte {offset}: {what}. It is not guessed at: restore the file from a copy, \
                 or, to start without it and lose the increments that it holds and Redis does not, move it away",
                file.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::InUse { .. }
            | Self::NoCluster { .. }
            | Self::OtherUpstream { .. }
            | Self::Damaged { .. } => None,
        }
    }
}

/// Why a record is not on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedRecord {
    /// More records wait for the disk than the journal queues.
    Busy,
    /// Pending deltas fill the journal. Flushes are still recorded, and make room.
    Full,
    /// The disk refused the write. What was refused does not take effect.
    NotWritten(Arc<str>),
    /// The disk failed after the write. What was refused does not take effect, unless the process is killed before
    /// the journal could be written anew.
    NotSynced(Arc<str>),
    /// The record contradicts what was written before it.
    Contradiction(&'static str),
    /// The journal has been closed.
    Closed,
}

impl std::fmt::Display for RefusedRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy => out.write_str("too many increments wait for the journal"),
            Self::Full => out.write_str("the journal is full"),
            Self::NotWritten(error) => write!(out, "the journal cannot be written: {error}"),
            Self::NotSynced(error) => {
                write!(out, "outcome unknown: the journal could not be synced: {error}")
            }
            Self::Contradiction(what) => write!(out, "the journal refuses a record: {what}"),
            Self::Closed => out.write_str("the journal is closed"),
        }
    }
}

impl std::error::Error for RefusedRecord {}
