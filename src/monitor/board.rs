//! The board: the latest view with its renderings.
//!
//! Each rendering (the text of `/metrics`, the JSON of an API path, a frame of the event stream) is made at most once per view,
//! on the first request for it, and shared. So the work is bounded by the four views a second, however many requests come.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::families;
use super::route_figures::RouteFigures;
use super::sampler::{Clock, Sampler, TICK_MS};
use super::view::{Histories, View};
use crate::shared::history::Step;

/// Quotas in an event of the stream: the foremost ones. The others are asked for by page.
const QUOTAS_STREAMED_MAX: usize = 50;

/// Routes, and tenants, in an event of the stream. `/api/routes` has all.
const ROUTES_STREAMED_MAX: usize = 50;

/// Sales in an event of the stream: those with the most places taken.
const SALES_STREAMED_MAX: usize = 20;

/// A view and what was rendered of it so far.
pub struct Frame {
    /// The view.
    pub view: View,
    /// What led to it.
    pub history: Histories,
    metrics: OnceLock<Bytes>,
    stats: OnceLock<Bytes>,
    stats_with_history: OnceLock<Bytes>,
    histories: [OnceLock<Bytes>; Step::ALL.len()],
    hotkeys: OnceLock<Bytes>,
    nodes: OnceLock<Bytes>,
    sales: OnceLock<Bytes>,
    ledger: OnceLock<Bytes>,
    stream: OnceLock<Arc<str>>,
    event: OnceLock<Bytes>,
}

impl Frame {
    /// A frame with nothing rendered yet.
    pub fn new(view: View, history: Histories) -> Self {
        Self {
            view,
            history,
            metrics: OnceLock::new(),
            stats: OnceLock::new(),
            stats_with_history: OnceLock::new(),
            histories: Default::default(),
            hotkeys: OnceLock::new(),
            nodes: OnceLock::new(),
            sales: OnceLock::new(),
            ledger: OnceLock::new(),
            stream: OnceLock::new(),
            event: OnceLock::new(),
        }
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> Bytes {
        self.metrics.get_or_init(|| Bytes::from(families::render(&self.view))).clone()
    }

    /// The JSON of `/api/stats`.
    pub fn stats(&self) -> Bytes {
        self.stats.get_or_init(|| to_json(&self.view.stats)).clone()
    }

    /// The JSON of `/api/stats?history=1`.
    pub fn stats_with_history(&self) -> Bytes {
        let render = || to_json(&WithHistory { stats: &self.view.stats, history: &self.history.seconds });
        self.stats_with_history.get_or_init(render).clone()
    }

    /// The JSON of `/api/history`.
    pub fn history(&self, step: Step) -> Bytes {
        let render = || match step {
            Step::Second => to_json(&self.history.seconds),
            Step::Minute => to_json(&*self.history.minutes),
        };
        self.histories[step as usize].get_or_init(render).clone()
    }

    /// The JSON of `/api/hotkeys`.
    pub fn hotkeys(&self) -> Bytes {
        let view = &self.view;
        let render = || {
            to_json(&json!({
                "at_ms": view.at_ms,
                "version": view.hot_set.version,
                "accesses_per_s": view.hot_set.total_ops,
                "keys": view.hot_keys,
            }))
        };
        self.hotkeys.get_or_init(render).clone()
    }

    /// The JSON of `/api/nodes`.
    pub fn nodes(&self) -> Bytes {
        let view = &self.view;
        let render = || {
            to_json(&json!({
                "at_ms": view.at_ms,
                "topology_version": view.topology_version,
                "kind": view.stats.upstream_kind,
                "nodes": view.nodes,
            }))
        };
        self.nodes.get_or_init(render).clone()
    }

    /// The JSON of `/api/sales`.
    pub fn sales(&self) -> Bytes {
        let view = &self.view;
        let render = || to_json(&json!({ "at_ms": view.at_ms, "sales": view.sales }));
        self.sales.get_or_init(render).clone()
    }

    /// The JSON of `/api/ledger`.
    pub fn ledger(&self) -> Bytes {
        let view = &self.view;
        let render = || to_json(&json!({ "at_ms": view.at_ms, "ledger": view.conditions.ledger }));
        self.ledger.get_or_init(render).clone()
    }

    /// The data of one event of `/api/stream`: everything but the history, on one line.
    pub fn stream(&self) -> Arc<str> {
        let view = &self.view;
        let render = || {
            let frame = json!({
                "stats": view.stats,
                "hotkeys": view.hot_keys,
                "nodes": view.nodes,
                "routes": streamed(&view.routes),
                "quotas": view.quotas.iter().take(QUOTAS_STREAMED_MAX).collect::<Vec<_>>(),
                "quotas_total": view.quotas_total,
                "sales": view.sales.iter().take(SALES_STREAMED_MAX).collect::<Vec<_>>(),
                "sales_total": view.sales.len(),
                "ledger": view.conditions.ledger,
            });
            Arc::from(frame.to_string())
        };
        self.stream.get_or_init(render).clone()
    }

    /// The same as the event that all streams send.
    pub fn event(&self) -> Bytes {
        let render = || Bytes::from(format!("event: frame\ndata: {}\n\n", self.stream()));
        self.event.get_or_init(render).clone()
    }
}

/// Of routes and tenants those that come first.
fn streamed(figures: &RouteFigures) -> serde_json::Value {
    json!({
        "clusters": figures.clusters,
        "routes": figures.routes.iter().take(ROUTES_STREAMED_MAX).collect::<Vec<_>>(),
        "routes_total": figures.routes.len(),
        "tenants": figures.tenants.iter().take(ROUTES_STREAMED_MAX).collect::<Vec<_>>(),
        "tenants_total": figures.tenants.len(),
    })
}

#[derive(Serialize)]
struct WithHistory<'a> {
    #[serde(flatten)]
    stats: &'a super::view::Stats,
    history: &'a super::view::History,
}

/// Views hold no map with keys that JSON can't carry, which is the one cause for serialising to fail.
fn to_json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Where the latest frame hangs. Written by one sampler, read by everyone else.
pub struct Board {
    latest: watch::Sender<Arc<Frame>>,
}

impl Board {
    /// A board with a first frame.
    pub fn new(first: Frame) -> Self {
        Self { latest: watch::Sender::new(Arc::new(first)) }
    }

    /// Replaces the frame.
    pub fn publish(&self, frame: Frame) {
        self.latest.send_replace(Arc::new(frame));
    }

    /// The latest frame.
    pub fn latest(&self) -> Arc<Frame> {
        self.latest.borrow().clone()
    }
}

/// Samples until the future is dropped. `unix_ms` reads the wall clock.
pub async fn keep_fresh(mut sampler: Sampler, board: Arc<Board>, unix_ms: fn() -> u64) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let clock = Clock { monotonic_ms: started.elapsed().as_millis() as u64, unix_ms: unix_ms() };
        let view = sampler.tick(clock);
        board.publish(Frame::new(view, sampler.history()));
    }
}
