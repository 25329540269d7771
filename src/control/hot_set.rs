//! The hot set: merges the slices of all workers, applies the thresholds, and publishes the result.
//!
//! A step begins as soon as every worker's slice is there, or a moment after the first one. So a late worker delays nobody.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::admin::{Monitoring, unix_ms};
use super::admin_service::AdminService;
use crate::config::Config;
use crate::detect::{
    HotSet, KeyName, Merger, MergerConfig, Rank, Slice, Thresholds, Transition, TransitionKind,
};
use crate::limits::SLICE;
use crate::monitor::hotkeys::TOP_KEYS_MAX;
use crate::monitor::notify::CHANNEL;
use crate::route::SlotAt;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::WorkerMessage;

/// How long a step waits for the other workers after the first slice.
const STRAGGLERS_PATIENCE: Duration = Duration::from_millis(20);

/// How often keys are ranked for `HOTKEYS`, in milliseconds.
const RANKING_PERIOD_MS: u64 = 1000;

/// Merges and publishes until the workers end.
pub async fn merge_hot_set(
    gateway: Arc<Gateway>,
    mut slices: mpsc::Receiver<(usize, Slice)>,
    hot_set: watch::Sender<Arc<HotSet>>,
    monitoring: Arc<Monitoring>,
    service: Arc<AdminService>,
) {
    let started_unix_ms = unix_ms() - gateway.started.elapsed().as_millis() as u64;
    let mut config = gateway.config.load_full();
    let mut merger = Merger::new(merger_config(&config), started_unix_ms);
    let mut ranked_ms = 0;
    while let Some((_, first)) = slices.recv().await {
        let mut step = vec![first];
        let deadline = Instant::now() + STRAGGLERS_PATIENCE;
        while step.len() < gateway.workers.len()
            && let Ok(Some((_, slice))) = timeout_at(deadline, slices.recv()).await
        {
            step.push(slice);
        }
        if !Arc::ptr_eq(&config, &gateway.config.load()) {
            config = gateway.config.load_full();
            merger.set_config(merger_config(&config));
        }
        // On the wall clock as of the start, so that it never goes back.
        let now_ms = started_unix_ms + gateway.started.elapsed().as_millis() as u64;
        for transition in merger.step(now_ms, &step) {
            let node = node_of(&gateway, &transition.hot_key.key);
            gateway.events.record(event_of(&gateway, &transition, &node));
            let payload = monitoring.notifier.announce(&transition, &node);
            for worker in &gateway.workers {
                let channel = Bytes::from_static(CHANNEL.as_bytes());
                // A notice to a worker with a full mailbox is dropped: it says what is true for long after.
                let _ = worker.mailbox.try_send(WorkerMessage::Publish { channel, payload: payload.clone() });
            }
        }
        hot_set.send_replace(merger.hot_set());
        if now_ms >= ranked_ms + RANKING_PERIOD_MS {
            ranked_ms = now_ms;
            let mut top = merger.top(TOP_KEYS_MAX, Rank::Ops);
            top.extend(merger.top(TOP_KEYS_MAX, Rank::Bytes));
            service.observe(top);
        }
    }
}

fn event_of(gateway: &Gateway, transition: &Transition, node: &str) -> Event {
    let hot = &transition.hot_key;
    let kind = match transition.kind {
        TransitionKind::BecameHot => EventKind::Hot,
        TransitionKind::Cooled => EventKind::Cooled,
    };
    let (class, rate, share) = (hot.class.name(), hot.rates.ops, hot.rates.share * 100.0);
    let place = if node.is_empty() { String::new() } else { format!(" at {node}") };
    let text = format!("{class}, {rate:.0}/s, {share:.0} % of all accesses{place}");
    Event::new(kind, gateway.key_names.label(hot.key.bytes()), text)
}

/// The address of the master of a key; empty while it is not known.
fn node_of(gateway: &Gateway, key: &KeyName) -> String {
    let master = gateway.master_at(SlotAt::of(key.cluster(), key.bytes()));
    master.map(|address| address.to_string()).unwrap_or_default()
}

fn merger_config(config: &Config) -> MergerConfig {
    let detect = &config.detect;
    let slice = SLICE.as_secs_f64();
    let bytes = detect.enter_bytes_rate.map_or(f64::INFINITY, |rate| rate as f64);
    MergerConfig {
        window_steps: (detect.window.as_secs_f64() / slice).round() as usize,
        top_k: detect.top_k,
        enter: Thresholds {
            ops_per_s: detect.enter_rate as f64,
            share: detect.enter_share,
            bytes_per_s: bytes,
        },
        leave: Thresholds {
            ops_per_s: detect.leave_rate as f64,
            share: detect.leave_share,
            bytes_per_s: bytes / 2.0,
        },
        leave_steps: (detect.hold.as_secs_f64() / slice).ceil() as u32,
        ..MergerConfig::DEFAULT
    }
}
