//! The journal of write-behind at the start: whether there is one, what a former process left in it, and who gets its ends.

use std::sync::Arc;

use super::ProcessError;
use crate::config::Config;
use crate::journal::{Journal, JournalCluster, JournalOptions, Recovery, Tear, TornTail};
use crate::worker::hot::behind::WorkerJournal;

/// Opens the journal of write-behind, if there is to be one. Each worker gets its end of it; the first counts what it does.
pub(super) fn open_journal(
    config: &Config,
    workers: usize,
    id: &str,
) -> Result<(Option<Journal>, Vec<WorkerJournal>), ProcessError> {
    let clusters = config.clusters().map(|cluster| {
        let servers: Vec<String> =
            config.upstream_of(cluster).servers.iter().map(ToString::to_string).collect();
        JournalCluster { name: config.cluster_name(cluster).to_owned(), servers: servers.join(",") }
    });
    let clusters = clusters.collect();
    let config = &config.write_behind;
    if !config.journal {
        if config.journal_path.is_dir() {
            tracing::warn!(
                directory = %config.journal_path.display(),
                "write_behind.journal is off and its directory exists: increments that a former process left there are not \
                 flushed; start once with it on, soon, or remove the directory"
            );
        }
        return Ok((None, Vec::new()));
    }
    let options = JournalOptions {
        directory: config.journal_path.clone(),
        gateway_id: id.to_owned(),
        clusters,
        adopt: config.journal_adopt,
        bytes_max: config.journal_bytes_max,
        clients: workers,
    };
    let opened = Journal::open(options).map_err(ProcessError::Journal)?;
    let Recovery { gateway_id, token_floor, keys, torn } = opened.recovery;
    if let Some(torn) = torn {
        warn_of_torn_tail(&torn);
    }
    tracing::info!(directory = %config.journal_path.display(), keys = keys.len(), "the journal is open");
    let recovered: Arc<[_]> = keys.into();
    let mut facts = Some(opened.journal.follow_facts());
    let journals = opened
        .clients
        .into_iter()
        .map(|client| WorkerJournal {
            client,
            facts: facts.take(),
            gateway_id: gateway_id.clone(),
            token_floor,
            recovered: Arc::clone(&recovered),
        })
        .collect();
    Ok((Some(opened.journal), journals))
}

fn warn_of_torn_tail(torn: &TornTail) {
    let what = match torn.tear {
        Tear::CutShort => {
            "the journal's last record was cut short by a crash; nothing in it had been acknowledged"
        }
        Tear::Unwritten => {
            "the journal's last record holds zeros and was left out; a power failure leaves that of a record of which \
             nothing had been acknowledged; if the power did not fail, increments that were acknowledged are lost \
             with it, or counted twice"
        }
    };
    tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "{what}");
}
