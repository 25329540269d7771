//! What a worker is given of the process's journal: at its start, and when the journal has come back from a process that could not take over.
//!
//! Owns nothing that lives: the journal is the process's, and what a worker makes of its end is in `worker/hot/behind`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::journal::{JournalClient, JournalFacts, JournalKey, OpenKey};

/// What a worker is given of the process's journal.
pub struct WorkerJournal {
    /// Takes its records.
    pub client: JournalClient,
    /// What the journal has done; for one worker only, which counts it.
    pub facts: Option<watch::Receiver<JournalFacts>>,
    /// The id by which Redis knows the flushes of this journal.
    pub gateway_id: String,
    /// No token up to this one may be used again.
    pub token_floor: u64,
    /// What a former process left: every worker picks what it is home to.
    pub recovered: Arc<[(JournalKey, OpenKey)]>,
}
