//! Who was turned away by the HTTP side, by reason: counted where it happens, shown in `/metrics`, `/api/stats` and the status.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why an asker was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `admin.connections_max` are open: the one that waited longest gave way.
    Connections,
    /// One address has as many as one may.
    Source,
    /// The header did not come whole in time, or nothing came.
    SlowHeader,
    /// More requests per second than are answered.
    Rate,
    /// As many event streams are open as may be.
    Streams,
    /// The token is missing or wrong.
    Token,
    /// The host name is not loopback's.
    Host,
    /// The request was not done in time, most likely for a body that did not come.
    SlowRequest,
}

impl Reason {
    /// All of them, in the order of their places.
    pub const ALL: [Self; 8] = [
        Self::Connections,
        Self::Source,
        Self::SlowHeader,
        Self::Rate,
        Self::Streams,
        Self::Token,
        Self::Host,
        Self::SlowRequest,
    ];

    /// Its label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Source => "source",
            Self::SlowHeader => "slow_header",
            Self::Rate => "rate",
            Self::Streams => "streams",
            Self::Token => "token",
            Self::Host => "host",
            Self::SlowRequest => "slow_request",
        }
    }

    /// What is too many or wrong, in words that follow "because".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Connections => "all of its connections are taken",
            Self::Source => "one address has all of the connections that one may have",
            Self::SlowHeader => "their requests did not come within the time",
            Self::Rate => "they ask more often than is answered",
            Self::Streams => "as many event streams are open as may be",
            Self::Token => "their token is missing or wrong",
            Self::Host => "they name a host that is not loopback",
            Self::SlowRequest => "their requests did not end within the time",
        }
    }

    /// Its place in lists of counts.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One count for each reason.
pub type Counts = [u64; Reason::ALL.len()];

/// The counts since the start. The HTTP side writes, the sampler reads.
#[derive(Debug, Default)]
pub struct TurnedAway([AtomicU64; Reason::ALL.len()]);

impl TurnedAway {
    /// One more.
    pub fn count(&self, reason: Reason) {
        self.0[reason.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        Reason::ALL.map(|reason| self.0[reason.index()].load(Ordering::Relaxed))
    }
}
