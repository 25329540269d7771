//! What one upstream server says of itself: its version, its mode and its command table.
//!
//! The topology keeper publishes it; the answers to `INFO` and `COMMAND` read it. The command table is the server's raw
//! reply; `command` has the parser.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::watch;

/// The facts, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFacts {
    /// `redis_version` of `INFO`, for example `7.0.15`; `None` before a server told it.
    pub version: Option<String>,
    /// `redis_mode` of `INFO`: `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
    /// The whole RESP2 reply to `COMMAND`; `None` while unknown, or when the server refuses to say.
    pub commands: Option<Bytes>,
}

/// Why the servers that were named can't be used as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTrouble {
    /// Which server, what is wrong with it, and what to do, as a clause.
    pub why: String,
    /// Reads can be served all the same.
    pub serves: bool,
    /// Nobody said anything that speaks against it: connections were refused, broke or were turned away. Those that are open
    /// already may be as good as ever.
    pub unheard: bool,
}

/// What is wrong with the Sentinels that name the master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentinelTrouble {
    /// Those that are of no use, with why, as clauses.
    pub unusable: Vec<String>,
    /// None is: a failover would go unnoticed.
    pub is_blind: bool,
}

/// Where the facts are published.
pub struct UpstreamFactsCell {
    current: ArcSwap<UpstreamFacts>,
    sentinels: ArcSwap<SentinelTrouble>,
    trouble: ArcSwapOption<UpstreamTrouble>,
    changes: watch::Sender<u64>,
}

impl Default for UpstreamFactsCell {
    fn default() -> Self {
        Self {
            current: ArcSwap::default(),
            sentinels: ArcSwap::default(),
            trouble: ArcSwapOption::empty(),
            changes: watch::Sender::new(0),
        }
    }
}

impl UpstreamFactsCell {
    /// What is known now.
    pub fn load(&self) -> Arc<UpstreamFacts> {
        self.current.load_full()
    }

    /// Publishes `facts` and wakes everyone who watches for changes.
    pub fn store(&self, facts: UpstreamFacts) {
        self.current.store(Arc::new(facts));
        self.changes.send_modify(|count| *count += 1);
    }

    /// What is wrong with the upstream as a whole, if anything is.
    pub fn trouble(&self) -> Option<Arc<UpstreamTrouble>> {
        self.trouble.load_full()
    }

    /// Publishes what is wrong, or that nothing is.
    pub fn set_trouble(&self, trouble: Option<UpstreamTrouble>) {
        self.trouble.store(trouble.map(Arc::new));
    }

    /// What is wrong with the Sentinels, if there are any.
    pub fn sentinels(&self) -> Arc<SentinelTrouble> {
        self.sentinels.load_full()
    }

    /// Publishes what is wrong with them.
    pub fn set_sentinels(&self, trouble: SentinelTrouble) {
        self.sentinels.store(Arc::new(trouble));
    }

    /// Counts the publications; works on any runtime.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
