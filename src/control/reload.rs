//! Live reload: SIGHUP reads the configuration file again.
//!
//! All or nothing: a file with errors changes nothing, and every error is logged. Directives that need a restart keep their
//! running value, and the log names them. The published configuration is what the process does from then on, so its readers
//! need not know which directive is reloadable.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::descriptors::Descriptors;
use super::rights::missing_rights;
use super::service_manager;
use super::topology::KeeperSettings;
use super::users::{publish, users_of};
use crate::config::{Change, Config, Overrides};
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::gateway::Gateway;

/// Where the configuration came from.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The flags that override it.
    pub overrides: Overrides,
}

/// The configuration in force, and where a new one is published.
pub struct Reloader {
    /// Where the process publishes its configuration.
    pub gateway: Arc<Gateway>,
    /// Where it came from.
    pub source: ConfigSource,
    /// The configuration as it was asked for. Bounds in force may be lower, because of file descriptors.
    pub asked: Config,
    /// Fits them.
    pub descriptors: Descriptors,
    /// Told of what concerns the keeper of each cluster, by [`crate::route::ClusterId`].
    pub keepers: Vec<watch::Sender<KeeperSettings>>,
    /// Told that the configuration is another, for whoever reads files that it names.
    pub reloaded: Arc<Notify>,
}

/// Reloads at each SIGHUP.
pub async fn follow_reloads(mut reloader: Reloader) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::warn!("can't listen for SIGHUP: the configuration can't be reloaded");
        return;
    };
    while hangup.recv().await.is_some() {
        service_manager::say_reloading();
        let source = &reloader.source;
        let outcome = match Config::load(source.file.as_deref(), &source.overrides) {
            Ok(file) => reloader.publish(file).await,
            Err(error) => Err(error.lines()),
        };
        let told = &reloader.gateway.config_file;
        match outcome {
            Ok(restart_needed) => told.taken(restart_needed),
            Err(refused) => {
                refused.iter().for_each(|why| tracing::error!("configuration not reloaded: {why}"));
                told.refused(refused);
            }
        }
        service_manager::say_ready();
    }
}

/// What a reload changed. Who sent the signal is not known.
fn note(gateway: &Gateway, changes: &[Change]) {
    let by = Author { user: "-".to_owned(), address: "SIGHUP".to_owned() };
    for change in changes {
        let entry = AuditEntry::new(&by, "reload", &change.path).from_to(&change.before, &change.after);
        gateway.audit.record(match change.reloadable {
            true => entry,
            false => entry.failed("only a restart takes it"),
        });
    }
}

impl Reloader {
    /// Takes what a reload may take. Returns the directives that have changed and that only a restart takes.
    ///
    /// # Errors
    /// Why nothing was taken, as clauses.
    async fn publish(&mut self, file: Config) -> Result<Vec<String>, Vec<String>> {
        let config = self.asked.reloaded(file.clone()).map_err(|errors| {
            let why =
                |error| format!("{error}; this holds with what the running process keeps until a restart");
            errors.into_iter().map(why).collect::<Vec<_>>()
        })?;
        let fitted = self.descriptors.fit(&config).map_err(|error| vec![error.to_string()])?;
        let missing = missing_rights(&config, self.gateway.routes, &self.gateway.dialers).await;
        if !missing.is_empty() {
            return Err(missing);
        }
        // Behind the last wait: the servers may have told of other commands meanwhile.
        let users = users_of(&config.auth, &self.gateway.commands.load()).map_err(|errors| {
            errors.iter().map(|error| format!("auth.acl_file: {error}")).collect::<Vec<_>>()
        })?;
        let changes = self.asked.changes(&file);
        for change in &changes {
            match change.reloadable {
                true => tracing::info!(directive = %change.path, "reloaded"),
                false => {
                    tracing::warn!(directive = %change.path, "changed in the file, but only a restart takes it")
                }
            }
        }
        self.descriptors.report(&config, &fitted);
        for (cluster, keeper) in fitted.clusters().zip(&self.keepers) {
            let dialer = self.gateway.dialer_of(cluster);
            keeper.send_replace(KeeperSettings::new(fitted.upstream_of(cluster), dialer));
        }
        let has_other_users = self.gateway.config.load().auth != fitted.auth;
        self.gateway.config.store(Arc::new(fitted));
        if has_other_users {
            publish(&self.gateway, users).await;
        }
        note(&self.gateway, &changes);
        self.reloaded.notify_one();
        self.asked = config;
        tracing::info!(changes = changes.len(), "configuration reloaded");
        Ok(changes.into_iter().filter(|change| !change.reloadable).map(|change| change.path).collect())
    }
}
