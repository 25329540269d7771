//! Starts monitoring: connects its sources, the notices about hot keys, and the HTTP side.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::client_command::kill_one;
use super::conditions::conditions;
use super::config_view::config_view;
use super::quota_list::QuotaList;
use super::readiness::readiness;
use super::routes::routes_of;
use super::sales;
use crate::config::{Admin, Config, May};
use crate::monitor::board::{Board, Frame, keep_fresh};
use crate::monitor::http::{AdminToken, HttpOptions, serve};
use crate::monitor::http_client::HttpClient;
use crate::monitor::notify::webhook::{WebhookQueue, WebhookSettings};
use crate::monitor::notify::{NoticeFigures, Notifier};
use crate::monitor::sampler::{Clock, Sampler};
use crate::monitor::sources::Sources;
use crate::monitor::view::Identity;
use crate::net::BoundListener;
use crate::shared::gateway::{Gateway, Stage};
use crate::shared::key_modes::KeyModePort;
use crate::shared::keys::KeyNames;
use crate::shared::quota_changes::QuotaChangePort;

/// The parts of monitoring. Live as long as the process.
pub struct Monitoring {
    /// Where figures come from.
    pub sources: Arc<Sources>,
    /// The latest view of them.
    pub board: Arc<Board>,
    /// Tells of hot keys.
    pub notifier: Notifier,
}

/// Sets monitoring up on the control runtime.
pub fn start(
    gateway: &Arc<Gateway>,
    changes: (QuotaChangePort, KeyModePort),
    quotas: QuotaList,
    config_file: String,
) -> Monitoring {
    let config = gateway.config.load();
    let figures = Arc::new(NoticeFigures::default());
    let key_names = gateway.key_names.clone();
    let webhook =
        webhook_settings(&config).map(|settings| WebhookQueue::start(settings, Arc::clone(&figures)));
    let notifier = Notifier::new(gateway.id.clone(), key_names.clone(), Arc::clone(&figures), webhook);
    let sources = Arc::new(sources(gateway, changes, quotas, config_file, figures, key_names));
    let mut sampler = Sampler::new(Arc::clone(&sources), unix_ms());
    let first = sampler.tick(Clock { monotonic_ms: 0, unix_ms: unix_ms() });
    let board = Arc::new(Board::new(Frame::new(first, sampler.history())));
    tokio::spawn(keep_fresh(sampler, Arc::clone(&board), unix_ms));
    Monitoring { sources, board, notifier }
}

/// Serves the HTTP side on `listener`, until another process does.
pub fn listen(gateway: &Arc<Gateway>, monitoring: &Monitoring, listener: BoundListener) {
    let shared = Arc::clone(gateway);
    let tokens = move || tokens_of(&shared.config.load().admin);
    let options = HttpOptions {
        tokens: Box::new(tokens),
        connections_max: gateway.config.load().admin.connections_max,
    };
    let (board, sources) = (Arc::clone(&monitoring.board), Arc::clone(&monitoring.sources));
    let mut stage = gateway.stage.clone();
    tokio::spawn(async move {
        let until = async move {
            // While it can't be known the process ends anyway.
            let handed_over = stage.wait_for(|stage| *stage == Stage::HandedOver).await.is_ok();
            if !handed_over {
                std::future::pending::<()>().await;
            }
        };
        if let Err(error) = serve(listener, board, sources, options, until).await {
            tracing::error!(%error, "the HTTP side ended: no dashboard, API and metrics until a restart");
        }
    });
}

/// The tokens that are configured.
fn tokens_of(admin: &Admin) -> Arc<[AdminToken]> {
    let first = admin.token.as_ref().filter(|token| !token.reveal().is_empty());
    let first = first.map(|token| AdminToken::new("admin.token", token.reveal(), true));
    let named = admin.bearers.iter().filter_map(|bearer| {
        let may_change = bearer.may == May::Change;
        match (&bearer.token, &bearer.token_hash) {
            (Some(token), _) => Some(AdminToken::new(&bearer.name, token.reveal(), may_change)),
            (None, Some(hash)) => {
                let digest = digest_of(hash)?;
                Some(AdminToken { name: bearer.name.clone(), digest, may_change })
            }
            (None, None) => None,
        }
    });
    first.into_iter().chain(named).collect()
}

/// What hexadecimal digits stand for.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn sources(
    gateway: &Arc<Gateway>,
    (quota_changes, key_modes): (QuotaChangePort, KeyModePort),
    list: QuotaList,
    config_file: String,
    notices: Arc<NoticeFigures>,
    key_names: KeyNames,
) -> Sources {
    let age_ms = gateway.started.elapsed().as_millis() as u64;
    let identity = Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        id: gateway.id.clone(),
        listen: gateway.listen.iter().map(ToString::to_string).collect(),
        workers: gateway.workers.len(),
        config_file: config_file.clone(),
        started_unix_ms: unix_ms() - age_ms,
    };
    let (hot, topology, upstream) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let (ready, quotas, trouble) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let (certificates, audited) = (Arc::clone(gateway), Arc::clone(gateway));
    let (rights, connected, foremost) = (Arc::clone(gateway), Arc::clone(gateway), list.clone());
    let (probed, conditioned, asked) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let (seen, looked, routed) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let (limited, noting, commands) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let killing = Arc::clone(gateway);
    let (shown, counters, file) = (Arc::clone(gateway), list.clone(), config_file);
    Sources {
        identity,
        tallies: gateway.workers.iter().map(|worker| Arc::clone(&worker.tallies)).collect(),
        hot: Box::new(move || Arc::clone(&hot.hot_set.borrow())),
        topology: Box::new(move || topology.topology.load()),
        routes: gateway.routes().as_ref().clone(),
        routes_view: Box::new(move || routes_of(&routed)),
        tenants: Box::new(move || limited.tenants.load_full()),
        config: Box::new(move || config_view(&shown, &counters, &file)),
        commands: Box::new(move || commands.commands.load_full()),
        upstream: Box::new(move || upstream.keyless_facts().load()),
        upstream_trouble: Box::new(move || trouble.trouble()),
        missing_rights: Box::new(move || rights.rights.sentences()),
        certificates: Box::new(move || certificates.certificates.load()),
        quotas: Box::new(move || {
            let published = quotas.workers.iter().flat_map(|worker| worker.quotas.load().facts.clone());
            foremost.update(published, Instant::now());
            foremost.foremost(Instant::now())
        }),
        quota_page: Box::new(move |query| list.page(query, Instant::now())),
        sales_seen: Box::new(move || seen.sales_seen.load_full()),
        sales_looked_at: Box::new(move || looked.sales_looked_at.notify_one()),
        probes: Box::new(move || probed.probes.all()),
        conditions: Box::new(move || conditions(&conditioned)),
        connected: Box::new(move || connected.connections.open()),
        readiness: Box::new(move || readiness(&ready)),
        notices,
        turned_away: Arc::default(),
        key_names,
        metric_keys_max: gateway.config.load().admin.metric_keys_max,
        clients: gateway.client_rows.clone(),
        quota_changes,
        key_modes,
        key_histories: Arc::default(),
        audit: Box::new(move |count| audited.audit.latest(count)),
        note_change: Box::new(move |entry| noting.audit.record(entry)),
        events: Arc::clone(&gateway.events),
        history: Arc::clone(&gateway.history),
        command_log: Arc::clone(&gateway.command_log),
        client_kill: Box::new(move |id, by, reason| {
            let gateway = Arc::clone(&killing);
            Box::pin(async move { kill_one(&gateway, id, &by, reason).await })
        }),
        sale_command: Box::new(move |words, by| {
            let gateway = Arc::clone(&asked);
            Box::pin(async move { sales::answer(&gateway, &words, &by).await })
        }),
    }
}

/// The token is the salt: gateways that share it, and every restart, give a key the same label, and who does not know it
/// can't try out names.
pub fn key_names(config: &Config) -> KeyNames {
    let salt = config.admin.token.as_ref().map_or("", |token| token.reveal());
    if config.admin.hash_key_names { KeyNames::Hashed(salt.to_owned()) } else { KeyNames::Plain }
}

fn webhook_settings(config: &Config) -> Option<WebhookSettings> {
    let admin = &config.admin;
    admin.webhook_url.as_ref().map(|url| WebhookSettings {
        url: url.reveal().to_owned(),
        client: HttpClient::new(url.reveal(), admin.webhook_ca_file.as_deref()),
        timeout: admin.webhook_timeout,
        attempts_max: admin.webhook_attempts_max,
        queue_max: admin.webhook_queue_max,
    })
}

/// Milliseconds since 1970, by the system's clock.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}
