//! What clients ask of the gateway's figures by command: `INFO commandstats` and its kin, `LATENCY HISTOGRAM`, `CONFIG RESETSTAT`.
//!
//! Workers publish their counts ten times a second. Who asks here sees those of the requests that were answered before it asked, so workers
//! are asked to publish first.
//!
//! Deliberately does not reset what `/metrics`, the API and the page show: counters there only grow, whoever resets what Redis shows.
//! `LATENCY RESET` is of the servers' own list of events, as at Redis, and touches no histogram.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::monitor::command_info::{CommandInfo, histograms};
use crate::resp::RespVersion;
use crate::shared::command_tallies::CommandTallies;
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::WorkerMessage;

/// How long workers may take to publish. One that is busy is shown as it was last seen.
const PATIENCE: Duration = Duration::from_millis(500);

/// Workers are asked at most so often: it costs each under 0.1 ms, and whoever asks more often shares an answer.
const PERIOD: Duration = Duration::from_millis(10);

/// The figures by command, for clients. Lives as long as the process, on the control thread.
pub struct CommandFigures {
    gateway: Arc<Gateway>,
    /// What workers said last, and when they were asked for it.
    latest: Mutex<Option<(Instant, Arc<CommandTallies>)>>,
}

impl CommandFigures {
    /// Nobody has asked yet.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, latest: Mutex::default() }
    }

    /// The lines of `INFO`.
    pub async fn info(&self) -> CommandInfo {
        CommandInfo::of(&self.since_reset().await, &self.gateway.commands.load())
    }

    /// The reply to `LATENCY HISTOGRAM` with these names.
    pub async fn latency_histogram(&self, names: &[&[u8]], version: RespVersion) -> Vec<u8> {
        let mut out = Vec::new();
        histograms(&self.since_reset().await, &self.gateway.commands.load(), names, version, &mut out);
        out
    }

    /// Has the three sections and the histograms begin anew.
    pub async fn reset(&self) {
        let now = self.fresh().await;
        self.gateway.commands_reset.store(now);
    }

    async fn since_reset(&self) -> CommandTallies {
        self.fresh().await.since(&self.gateway.commands_reset.load())
    }

    /// The sum of all workers, with everything that was answered before this was asked.
    async fn fresh(&self) -> Arc<CommandTallies> {
        let asked_at = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some((at, tallies)) = latest.as_ref() {
            if *at >= asked_at {
                return Arc::clone(tallies);
            }
            sleep_until(*at + PERIOD).await;
        }
        let at = Instant::now();
        let _ = timeout(PATIENCE, publish(&self.gateway)).await;
        let mut sum = CommandTallies::default();
        self.gateway.workers.iter().for_each(|worker| sum.add(&worker.tallies.load().commands));
        let sum = Arc::new(sum);
        *latest = Some((at, Arc::clone(&sum)));
        sum
    }
}

/// Has all workers publish what they have counted.
async fn publish(gateway: &Gateway) {
    let mut published = Vec::new();
    for worker in &gateway.workers {
        let (done, is_done) = oneshot::channel();
        if worker.mailbox.send(WorkerMessage::PublishTallies(done)).await.is_ok() {
            published.push(is_done);
        }
    }
    for is_done in published {
        // A worker that ends has published.
        let _ = is_done.await;
    }
}
