//! Live reload: SIGHUP reads the configuration file again.
//!
//! All or nothing: a file with errors changes nothing and every error is logged. Directives that only a restart takes keep their
//! running value, and the log says which. What is published is what the process does from then on, so nobody who reads it has
//! to know which directive is of which kind.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::topology::KeeperSettings;
use crate::config::{Config, Overrides};
use crate::shared::gateway::Gateway;

/// Where the configuration came from.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The flags that override it.
    pub overrides: Overrides,
}

/// Reloads at each SIGHUP.
pub async fn follow_reloads(
    gateway: Arc<Gateway>,
    source: ConfigSource,
    keeper: watch::Sender<KeeperSettings>,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::warn!("can't listen for SIGHUP: the configuration can't be reloaded");
        return;
    };
    while hangup.recv().await.is_some() {
        match Config::load(source.file.as_deref(), &source.overrides) {
            Ok(file) => publish(&gateway, &keeper, file),
            Err(error) => {
                for line in error.lines() {
                    tracing::error!("configuration not reloaded: {line}");
                }
            }
        }
    }
}

fn publish(gateway: &Gateway, keeper: &watch::Sender<KeeperSettings>, file: Config) {
    let running = gateway.config.load_full();
    let config = match running.reloaded(file.clone()) {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                tracing::error!(
                    "configuration not reloaded: {error}; this holds with what the running process keeps until a restart"
                );
            }
            return;
        }
    };
    let changes = running.changes(&file);
    for change in &changes {
        match change.reloadable {
            true => tracing::info!(directive = %change.path, "reloaded"),
            false => {
                tracing::warn!(directive = %change.path, "changed in the file, but only a restart takes it")
            }
        }
    }
    keeper.send_replace(KeeperSettings::from(&config.upstream));
    gateway.config.store(Arc::new(config));
    tracing::info!(changes = changes.len(), "configuration reloaded");
}
