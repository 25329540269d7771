//! The tasks of the control thread: one line for each, with what it is given. They run as long as the process.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::wiring::{ControlEnds, KeeperEnds};
use crate::config::Config;
use crate::control::acl::{AclService, follow_denials};
use crate::control::admin::{self, Monitoring};
use crate::control::admin_service::{AdminService, answer_questions};
use crate::control::certificates::{Certificates, follow_certificates};
use crate::control::commands::follow_commands;
use crate::control::descriptors::Descriptors;
use crate::control::events::follow_events;
use crate::control::hot_set::merge_hot_set;
use crate::control::key_modes::HeldModes;
use crate::control::ledger_watch::follow_ledger;
use crate::control::password_commands::PasswordCommands;
use crate::control::probes::follow_probes;
use crate::control::quota_list::QuotaList;
use crate::control::quotas::{poll_limits, serve_changes};
use crate::control::reload::{ConfigSource, Reloader, follow_reloads};
use crate::control::rights::follow_rights;
use crate::control::sales::sweeper::sweep;
use crate::control::sales::watch::watch as watch_sales;
use crate::control::service_manager::keep_alive;
use crate::control::topology::{KeeperSettings, Published, SharedRegistry, TopologyKeeper};
use crate::route::ClusterId;
use crate::shared::gateway::Gateway;
use crate::shared::key_modes::{KeyModeInbox, KeyModePort};
use crate::shared::quota_changes::QuotaChangePort;

/// What a reload reads anew, and what it compares with.
pub(super) struct Reloadable {
    pub source: ConfigSource,
    /// The configuration as it was asked for.
    pub asked: Config,
    pub descriptors: Descriptors,
    pub certificates: Certificates,
    pub password_commands: PasswordCommands,
}

/// Starts all of them on the runtime of the caller. The HTTP side listens where the result is told to.
pub(super) fn start(gateway: &Arc<Gateway>, ends: ControlEnds, reloadable: Reloadable) -> Arc<Monitoring> {
    let ControlEnds {
        registry,
        keepers,
        slices,
        hot_set,
        polled_limits,
        overrides,
        quota_news,
        denials,
        questions,
    } = ends;
    let settings = follow_clusters(gateway, &registry, keepers);
    let (quota_changes, quota_change_inbox) = QuotaChangePort::new();
    let (key_modes, mode_inbox) = KeyModePort::new();
    let quotas = QuotaList::default();
    gateway.config_origins.store(Arc::new(reloadable.source.origins()));
    let file = reloadable.source.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let monitoring = Arc::new(admin::start(gateway, (quota_changes, key_modes), quotas.clone(), file));
    let acl = Arc::new(AclService::new(Arc::clone(gateway)));
    tokio::spawn(follow_denials(Arc::clone(&acl), denials));
    let service = AdminService::new(Arc::clone(gateway), Arc::clone(&monitoring), quotas.clone(), acl);
    let service = Arc::new(service);
    tokio::spawn(follow_events(Arc::clone(gateway), Arc::clone(&monitoring)));
    tokio::spawn(merge_hot_set(
        Arc::clone(gateway),
        slices,
        hot_set,
        Arc::clone(&monitoring),
        Arc::clone(&service),
    ));
    tokio::spawn(answer_questions(service, questions));
    tokio::spawn(serve_changes(Arc::clone(gateway), quota_change_inbox, overrides, quotas.clone()));
    tokio::spawn(quotas.follow(quota_news));
    tokio::spawn(poll_limits(Arc::clone(gateway), polled_limits));
    tokio::spawn(follow_rights(Arc::clone(gateway)));
    tokio::spawn(follow_probes(Arc::clone(gateway)));
    tokio::spawn(sweep(Arc::clone(gateway)));
    tokio::spawn(watch_sales(Arc::clone(gateway)));
    tokio::spawn(follow_ledger(Arc::clone(gateway)));
    tokio::spawn(keep_alive(Arc::clone(gateway)));
    follow_files(gateway, reloadable, settings, mode_inbox);
    monitoring
}

/// Keeps the topology and the command table of each cluster. Returns what the keepers' settings are changed by.
fn follow_clusters(
    gateway: &Arc<Gateway>,
    registry: &SharedRegistry,
    keepers: Vec<KeeperEnds>,
) -> Vec<watch::Sender<KeeperSettings>> {
    let clusters = gateway.config.load().clusters();
    let start = |(cluster, ends): (ClusterId, KeeperEnds)| {
        let published = Published {
            registry: registry.clone(),
            topology: Arc::clone(&gateway.topology),
            facts: Arc::clone(gateway.facts_of(cluster)),
        };
        let KeeperEnds { refresh_requests, settings, settings_seen } = ends;
        let id = gateway.id.clone();
        let keeper = TopologyKeeper::new(cluster, settings_seen, refresh_requests, published, id);
        tokio::spawn(keeper.run());
        tokio::spawn(follow_commands(Arc::clone(gateway), cluster));
        settings
    };
    clusters.zip(keepers).map(start).collect()
}

/// Takes over what the configuration's file and those that it names have become.
fn follow_files(
    gateway: &Arc<Gateway>,
    reloadable: Reloadable,
    keepers: Vec<watch::Sender<KeeperSettings>>,
    KeyModeInbox { changes, modes }: KeyModeInbox,
) {
    let Reloadable { source, asked, descriptors, certificates, password_commands } = reloadable;
    let reloaded = Arc::new(Notify::new());
    gateway.certificates.store(certificates.in_use());
    tokio::spawn(follow_certificates(Arc::clone(gateway), certificates, Arc::clone(&reloaded)));
    let gateway = Arc::clone(gateway);
    let reloader = Reloader {
        gateway,
        source,
        asked,
        descriptors,
        password_commands,
        keepers,
        key_modes: HeldModes::new(modes),
        reloaded,
    };
    tokio::spawn(follow_reloads(reloader, changes));
}
