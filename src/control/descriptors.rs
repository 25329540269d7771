//! File descriptors: how many the system grants, and who may use them.
//!
//! A gateway that runs out of descriptors loses Redis for everybody: clients that wait to be accepted take each descriptor that a
//! broken upstream connection frees. So descriptors are divided at the start, and again at each reload: first what the process
//! needs, then a reserve for shared upstream connections, for HTTP and for sessions, and the rest for clients. A bound of
//! the configuration that exceeds its share is lowered to it, and the log says so.
//!
//! Nothing is counted while the process runs: the bounds are enough. If more nodes appear than were planned for, the
//! accepting side survives by itself (`worker/accept`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::monitor::http::WAITING_PER_SERVED;

/// A worker's runtime has four. One client is being told that it is too many, and one descriptor is kept back for when
/// none is left.
const PER_WORKER: usize = 6;

/// What the control thread uses at a time: it looks at several nodes at once, polls limits and posts to a webhook.
const CONTROL: usize = 8;

/// The journal's next segment is written beside the present one, and its directory is synced.
const JOURNAL: usize = 3;

/// Shared connections of a worker that are reckoned with: to 16 nodes, two ordinary ones each, for two versions of the protocol.
const SHARED_PER_WORKER: usize = 64;

/// The fewest with which a worker serves anybody: both ordinary connections, one for copies, and one for a session.
const UPSTREAM_PER_WORKER_MIN: usize = 4;

/// What each connection of the HTTP side may take: for one that is served some wait for their first request.
const PER_ADMIN_CONNECTION: usize = 1 + WAITING_PER_SERVED;

/// The thread of the HTTP side has a runtime.
const HTTP: usize = 4;

/// The fewest for the HTTP side, and for clients.
const ADMIN_MIN: usize = 2 * PER_ADMIN_CONNECTION;
const CLIENTS_MIN: usize = 1;

/// The descriptors that the system grants, and how many are taken at the start.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    limit: usize,
    taken: usize,
    workers: usize,
}

/// The bounds that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    clients: usize,
    /// Of all workers together.
    sessions: usize,
    admin: usize,
    shared: usize,
}

/// The system grants too few descriptors to serve anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewDescriptors {
    /// The limit.
    pub limit: usize,
    /// The fewest that will do.
    pub needed: usize,
}

impl std::fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, needed } = self;
        write!(
            f,
            "the system grants {limit} file descriptors and {needed} are the fewest for so many workers; raise the hard \
             limit (ulimit -Hn, LimitNOFILE= of a service) or lower gateway.workers"
        )
    }
}

impl std::error::Error for TooFewDescriptors {}

/// Raises the soft limit to the hard one, and gives what then holds.
pub fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // None is no limit.
    let limit = if raised { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Descriptors that are open now.
pub fn open_now() -> usize {
    // One of them is the directory itself. Elsewhere than on Linux the usual number is as good.
    std::fs::read_dir("/proc/self/fd").map_or(16, |entries| entries.count().saturating_sub(1))
}

impl Descriptors {
    /// What is left of `limit` when `taken` are open and the workers and the journal have not started yet.
    pub fn new(limit: usize, taken: usize, workers: usize, config: &Config) -> Self {
        let journal = if config.write_behind.journal { JOURNAL } else { 0 };
        // Who is in the middle of a handshake is no client yet.
        let kinds = [!config.tls.listen.is_empty(), !config.gateway.proxy_protocol_from.is_empty()];
        let kinds = kinds.into_iter().filter(|kind| *kind).count();
        let handshakes = kinds * workers * config.tls.handshakes_max;
        Self { limit, taken: taken + workers * PER_WORKER + handshakes + CONTROL + HTTP + journal, workers }
    }

    /// The configuration as far as there are descriptors for it.
    ///
    /// # Errors
    /// There are too few to serve anybody.
    pub fn fit(&self, config: &Config) -> Result<Config, TooFewDescriptors> {
        let asked = Shares {
            clients: config.gateway.clients_max,
            sessions: sessions_max(config).saturating_mul(self.workers),
            admin: config.admin.listen.map_or(0, |_| config.admin.connections_max * PER_ADMIN_CONNECTION),
            shared: self.workers * SHARED_PER_WORKER,
        };
        let least = self.taken + self.workers * UPSTREAM_PER_WORKER_MIN + ADMIN_MIN + CLIENTS_MIN;
        let left = self.limit.saturating_sub(self.taken);
        if self.limit < least {
            return Err(TooFewDescriptors { limit: self.limit, needed: least });
        }
        let dealt = asked.fit(left, self.workers);
        let mut fitted = config.clone();
        fitted.gateway.clients_max = dealt.clients;
        for cluster in config.clusters().filter(|_| dealt.sessions < asked.sessions) {
            let part = dealt.sessions / self.workers / config.clusters().len();
            let bound = &mut fitted.upstream_of_mut(cluster).session_connections_max;
            *bound = part.clamp(1, *bound);
        }
        if config.admin.listen.is_some() {
            fitted.admin.connections_max = dealt.admin / PER_ADMIN_CONNECTION;
        }
        Ok(fitted)
    }

    /// Says which bounds of the configuration are beyond what there are descriptors for.
    pub fn report(&self, asked: &Config, fitted: &Config) {
        let bounds = |config: &Config| {
            [
                ("gateway.clients_max", config.gateway.clients_max),
                ("upstream.session_connections_max", sessions_max(config)),
                ("admin.connections_max", config.admin.connections_max),
            ]
        };
        for ((directive, asked), (_, fitted)) in bounds(asked).into_iter().zip(bounds(fitted)) {
            if asked != fitted {
                tracing::warn!(
                    directive,
                    asked,
                    fitted,
                    descriptors = self.limit,
                    "fitted to the file descriptors that the system grants; raise the hard limit (ulimit -Hn, \
                     LimitNOFILE= of a service) and restart, or lower the directive"
                );
            }
        }
    }
}

/// Connections that one worker may open for single clients, to all clusters together.
fn sessions_max(config: &Config) -> usize {
    let bounds = config.clusters().map(|cluster| config.upstream_of(cluster).session_connections_max);
    bounds.fold(0, usize::saturating_add)
}

impl Shares {
    /// Deals out what is left. Where it does not do for all, each gets its least, and of what is left then the shared
    /// connections and the sessions get up to a quarter each, the HTTP side an eighth, and clients the rest.
    fn fit(self, left: usize, workers: usize) -> Self {
        let wanted = [self.clients, self.sessions, self.admin, self.shared];
        if wanted.into_iter().fold(0, usize::saturating_add) <= left {
            return self;
        }
        let shared_min = workers * (UPSTREAM_PER_WORKER_MIN - 1);
        let surplus = left.saturating_sub(shared_min + workers + ADMIN_MIN + CLIENTS_MIN);
        let shared = self.shared.min(shared_min + surplus / 4);
        let sessions = self.sessions.min(workers + surplus / 4);
        let admin = self.admin.min(ADMIN_MIN + surplus / 8);
        let clients = left.saturating_sub(shared + admin + sessions).clamp(CLIENTS_MIN, self.clients);
        Self { clients, sessions, admin, shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_left_as_it_is() {
        let config = Config::default();
        let descriptors = Descriptors::new(1 << 20, 12, 2, &config);
        assert_eq!(descriptors.fit(&config), Ok(config));
    }

    #[test]
    fn nobody_gets_nothing_and_all_together_no_more_than_there_is() {
        let config = Config::default();
        for workers in [1, 2, 8, 64] {
            let mut served_from = None;
            for limit in (16..4096).chain([10_000, 20_000, 70_000, usize::MAX]) {
                let descriptors = Descriptors::new(limit, 10 + workers, workers, &config);
                let Ok(fitted) = descriptors.fit(&config) else {
                    assert_eq!(served_from, None, "{workers} workers, {limit} descriptors");
                    continue;
                };
                served_from.get_or_insert(limit);
                let sessions = sessions_max(&fitted) * workers;
                let (clients, admin) = (fitted.gateway.clients_max, fitted.admin.connections_max);
                assert!(clients >= 1 && sessions >= workers && admin >= 2, "{limit}: {fitted:?}");
                let shared = (UPSTREAM_PER_WORKER_MIN - 1) * workers;
                let used = descriptors.taken + clients + sessions + admin * PER_ADMIN_CONNECTION + shared;
                assert!(used <= limit, "{workers} workers: {used} of {limit}");
            }
            assert!(served_from.is_some_and(|from| from < 48 + 16 * workers), "{workers}: {served_from:?}");
        }
    }
}
