//! What the service manager (systemd) is told: ready, reloading, stopping, alive.
//!
//! Nothing is told where no service manager asks for it (`NOTIFY_SOCKET` in the environment). What it can't be told is not the clients'
//! trouble, so it is logged and the gateway goes on.
//!
//! Alive means that this thread and every worker have turned since it was said last: a gateway that hangs is started again, as one is that
//! panics.

use std::sync::Arc;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::gateway::{Gateway, Stage};
use crate::shared::tallies::WorkerTallies;

/// Signs of life in each period after which the service manager takes the process for dead, as sd_watchdog_enabled(3) advises.
const SIGNS_PER_PERIOD: u32 = 2;

/// Clients may come, or come again after a reload.
pub fn say_ready() {
    say(&[NotifyState::Ready]);
}

/// A reload has begun; [`say_ready`] ends it, whatever came of it.
pub fn say_reloading() {
    // The time is what `Type=notify-reload` asks for beside it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

/// Another process is the one to watch, and clients may come to it.
pub fn say_handed_over(process: u32) {
    say(&[NotifyState::MainPid(process), NotifyState::Ready]);
}

/// The process is going to end.
pub fn say_stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "the service manager can't be told how the gateway is (NOTIFY_SOCKET)");
    }
}

/// Says that the gateway lives, as often as the service manager asks for it (`WatchdogSec=`), while every worker turns.
pub async fn keep_alive(gateway: Arc<Gateway>) {
    let Some(patience) = watchdog_enabled().filter(|patience| !patience.is_zero()) else { return };
    let mut period = interval(patience / SIGNS_PER_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Vec<Arc<WorkerTallies>> = Vec::new();
    loop {
        period.tick().await;
        // The one that has taken over is watched instead.
        if *gateway.stage.borrow() >= Stage::HandedOver {
            return;
        }
        let now: Vec<_> = gateway.workers.iter().map(|worker| worker.tallies.load()).collect();
        if have_all_turned(&seen, &now) {
            say(&[NotifyState::Watchdog]);
        }
        seen = now;
    }
}

/// Whether each worker has published since the look before. At the first look nothing is known against any.
fn have_all_turned(seen: &[Arc<WorkerTallies>], now: &[Arc<WorkerTallies>]) -> bool {
    seen.iter().zip(now).all(|(seen, now)| !Arc::ptr_eq(seen, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_publishes_nothing_has_not_turned() {
        let look = || vec![Arc::new(WorkerTallies::default()), Arc::new(WorkerTallies::default())];
        let (before, after) = (look(), look());
        assert!(have_all_turned(&[], &before));
        assert!(have_all_turned(&before, &after));
        assert!(!have_all_turned(&before, &[Arc::clone(&before[0]), Arc::clone(&after[1])]));
    }
}
