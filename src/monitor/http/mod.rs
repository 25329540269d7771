//! The HTTP side: metrics, API, event stream and dashboard.
//!
//! | path | who may | what |
//! |---|---|---|
//! | `/healthz`, `/readyz` | everyone | whether the process lives; whether traffic should come here |
//! | `/`, `/wall` and their scripts and styles | everyone | the pages, which ask for the token themselves |
//! | `/metrics`, `/api/...` | who has the token, where one is configured | the latest view; with `?format=csv` as rows ([`csv`]) |
//! | `POST /api/quotas`, `/api/sales`, `/api/slowlog`, `/api/key`, `/api/clients` | who has a token that may change | a change of a quota, of a sale, of folding a key; a list is emptied; a client's connection ends |
//!
//! ```text
//!   HTTP thread: accept, header, who may and how often, health checks  --request-->  control thread: what needs figures or changes something
//! ```
//!
//! It does not slow the data path down: it answers from the board, whose renderings are made at most four times a second, and is
//! bounded in connections, streams and requests per second.
//!
//! `/healthz`, `/readyz` and `/metrics` are always answered: whoever connects gets in at once (`connections`), a header has a
//! deadline (`listener`), floods take from their own allowance (`allowance`), and refusals are counted (`turned_away`). They need no
//! place among those that are served, and health checks do not need the control thread (`control_thread`), so nothing that others ask for holds
//! them up.
//!
//! It keeps strangers out: it listens on loopback by default, checks the `Host` header there against DNS rebinding, compares tokens
//! in constant time, and the page may load nothing from elsewhere.

mod allowance;
mod asked;
mod assets;
mod audit;
mod bigkeys;
mod caller;
mod clients;
mod commands;
mod config;
mod connections;
mod control_thread;
mod csv;
mod events;
mod guard;
mod history;
mod key;
mod listener;
mod quotas;
mod sales;
mod slowlog;
mod stream;

use std::sync::Arc;

use super::board::Board;
use super::exposition;
use super::route_figures::ClusterFigures;
use super::routes::{ClusterView, RouteView};
use super::sources::{Latest, Sources};
use super::turned_away::Reason;
use super::view::Readiness;
use crate::net::{BoundListener, SocketName};
pub use assets::FILES;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use clients::ClientsCache;
pub use connections::WAITING_PER_SERVED;
use guard::Guard;
pub use guard::{AdminToken, Caller};
use serde::Deserialize;
use serde_json::json;
use stream::Streams;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// The paths of health checks and of scrapes, which are answered whoever else is served.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The longest body of a request: a change names a key, and the longest name that one can be held under has 4 KiB.
const BODY_BYTES_MAX: usize = 32 * 1024;

/// How the HTTP side is to be run.
pub struct HttpOptions {
    /// The tokens that hold now; a reload may change them. None: everyone may look and nobody may change anything.
    pub tokens: Latest<Arc<[AdminToken]>>,
    /// Connections that are served at once; for the next one another gives way.
    pub connections_max: usize,
}

/// The state that handlers share.
struct Shared {
    board: Arc<Board>,
    sources: Arc<Sources>,
    guard: Guard,
    clients: ClientsCache,
    streams: Arc<Streams>,
}

impl Shared {
    /// An answer to somebody who is turned away, which is counted.
    fn turn_away(&self, reason: Reason, status: StatusCode, sentence: &str) -> Response {
        self.sources.turned_away.count(reason);
        error(status, sentence)
    }
}

/// Serves until `until` completes or the future is dropped, on a thread of its own; what needs figures is answered on the runtime of the
/// caller. The caller binds the listener, since where it listens is the configuration's business.
///
/// # Errors
/// There is no thread to be had, or the runtime can't follow the listener.
pub async fn serve(
    listener: BoundListener,
    board: Arc<Board>,
    sources: Arc<Sources>,
    options: HttpOptions,
    until: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let control = Handle::current();
    let serve = async move |told: oneshot::Receiver<()>| {
        let listener = listener.accepting()?;
        let address = listener.local()?;
        let (connections_max, turned_away) = (options.connections_max, Arc::clone(&sources.turned_away));
        let app = router(address, board, sources, options, control);
        let (mut told, finish) = (told, Arc::new(Notify::new()));
        let until = Arc::clone(&finish);
        let served = listener::serve(listener, app, connections_max, turned_away, until.notified());
        tokio::pin!(served);
        tokio::select! {
            outcome = &mut served => return outcome,
            // Nobody tells it any more if all is to end at once.
            told = &mut told => match told {
                Ok(()) => finish.notify_one(),
                Err(_) => return Ok(()),
            },
        }
        served.await
    };
    control_thread::beside(serve, until).await
}

fn router(
    address: SocketName,
    board: Arc<Board>,
    sources: Arc<Sources>,
    options: HttpOptions,
    control: Handle,
) -> Router {
    let shared = Arc::new(Shared {
        board,
        sources,
        guard: Guard::new(&address, options.tokens),
        clients: ClientsCache::default(),
        streams: Streams::new(options.connections_max),
    });
    let inner = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/stats", get(stats))
        .route(
            "/api/hotkeys",
            get(async |State(s): State<Arc<Shared>>| json_bytes(s.board.latest().hotkeys())),
        )
        .route("/api/key", get(key::show).post(key::change))
        .route("/api/nodes", get(async |State(s): State<Arc<Shared>>| json_bytes(s.board.latest().nodes())))
        .route("/api/commands", get(commands::list))
        .route("/api/config", get(config::show))
        .route("/api/bigkeys", get(bigkeys::list))
        .route("/api/routes", get(routes))
        .route("/api/tenants", get(tenants))
        .route("/api/sales", get(sales::list).post(sales::change))
        .route("/api/ledger", get(async |State(s): State<Arc<Shared>>| json_bytes(s.board.latest().ledger())))
        .route("/api/audit", get(audit::list))
        .route("/api/events", get(events::list))
        .route("/api/history", get(history::list))
        .route("/api/slowlog", get(slowlog::list).post(slowlog::change))
        .route("/api/quotas", get(quotas::list).post(quotas::change))
        .route("/api/caller", get(caller::show))
        .route("/api/clients", get(clients::list).post(clients::kill))
        .route("/api/stream", get(stream::open))
        .layer(middleware::from_fn_with_state(control, control_thread::pass_on))
        .layer(middleware::from_fn(csv::where_asked_for))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::require_token));
    let files = assets::FILES.iter().fold(Router::new(), |router, (path, media_type, text)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, *media_type)], *text)))
    });
    files
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .merge(inner)
        .fallback(async || error(StatusCode::NOT_FOUND, "no such path; see / for the dashboard"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], shared.board.latest().metrics()).into_response()
}

/// Clusters and routes as they are now, each with its figures as of the last frame.
async fn routes(State(shared): State<Arc<Shared>>) -> Response {
    let (now, frame) = ((shared.sources.routes_view)(), shared.board.latest());
    let figures = &frame.view.routes;
    let cluster = |cluster: &ClusterView| match figures
        .clusters
        .iter()
        .find(|known| known.cluster.name == cluster.name)
    {
        Some(known) => json!(ClusterFigures { cluster: cluster.clone(), ..known.clone() }),
        None => json!(cluster),
    };
    let route = |route: &RouteView| match figures.routes.iter().find(|known| known.route == *route) {
        Some(known) => json!(known),
        None => json!(route),
    };
    let clusters: Vec<_> = now.clusters.iter().map(cluster).collect();
    let routes: Vec<_> = now.routes.iter().map(route).collect();
    Json(json!({ "at_ms": frame.view.at_ms, "clusters": clusters, "routes": routes })).into_response()
}

async fn tenants(State(shared): State<Arc<Shared>>) -> Response {
    let frame = shared.board.latest();
    Json(json!({ "at_ms": frame.view.at_ms, "tenants": frame.view.routes.tenants })).into_response()
}

#[derive(Deserialize)]
struct StatsQuery {
    history: Option<String>,
}

async fn stats(State(shared): State<Arc<Shared>>, Query(query): Query<StatsQuery>) -> Response {
    let frame = shared.board.latest();
    json_bytes(if query.history.is_some() { frame.stats_with_history() } else { frame.stats() })
}

/// 200 while traffic should come here, else 503 with the reason. Of several clusters one has to be reachable, and those that are not are
/// named. Read afresh, not from the view: a balancer
/// should know of a drain at once.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let readiness = (shared.sources.readiness)();
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!(readiness);
    let away = (shared.sources.conditions)().clusters_away;
    if !away.is_empty() {
        body["clusters_away"] = json!(away);
    }
    (status, Json(body)).into_response()
}

fn json_bytes(body: bytes::Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An error as JSON, with a sentence for the person at the other end.
fn error(status: StatusCode, sentence: &str) -> Response {
    (status, Json(json!({ "error": sentence }))).into_response()
}

/// After this answer the connection is closed.
fn last(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
