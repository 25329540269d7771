//! The hot set: the workers' slices are merged, judged and published.
//!
//! A step is taken as soon as every worker's slice is there, and at the latest a moment after the first, so that a worker that
//! is late delays nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::detect::{HotSet, Merger, MergerConfig, Slice, Thresholds, TransitionKind};
use crate::shared::gateway::Gateway;

/// How long a step waits for the other workers after the first slice.
const STRAGGLERS_PATIENCE: Duration = Duration::from_millis(20);

/// Merges and publishes until the workers end.
pub async fn follow_heat(
    gateway: Arc<Gateway>,
    mut slices: mpsc::Receiver<(usize, Slice)>,
    hot_set: watch::Sender<Arc<HotSet>>,
) {
    let started = gateway.started;
    let mut config = gateway.config.load_full();
    let mut merger = Merger::new(merger_config(&config), 0);
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
        let now_ms = started.elapsed().as_millis() as u64;
        for transition in merger.step(now_ms, &step) {
            let hot_key = &transition.hot_key;
            let key = hot_key.key.bytes().escape_ascii().to_string();
            match transition.kind {
                TransitionKind::BecameHot => {
                    tracing::info!(key, class = hot_key.class.name(), rate = hot_key.rates.ops as u64, "key became hot");
                }
                TransitionKind::Cooled => tracing::info!(key, peak = hot_key.peak as u64, "key cooled"),
            }
        }
        hot_set.send_replace(merger.hot_set());
    }
}

fn merger_config(config: &Config) -> MergerConfig {
    let detect = &config.detect;
    let slice = detect.slice.as_secs_f64().max(0.001);
    let bytes = detect.enter_bytes_rate.map_or(f64::INFINITY, |rate| rate as f64);
    MergerConfig {
        window_steps: (detect.window.as_secs_f64() / slice).round() as usize,
        top_k: detect.top_k,
        enter: Thresholds { ops_per_s: detect.enter_rate as f64, share: detect.enter_share, bytes_per_s: bytes },
        leave: Thresholds {
            ops_per_s: detect.leave_rate as f64,
            share: detect.leave_share,
            bytes_per_s: bytes / 2.0,
        },
        leave_steps: (detect.hold.as_secs_f64() / slice).ceil() as u32,
        ..MergerConfig::DEFAULT
    }
}
