//! The rush as a ramp: the SKU is quiet, and within a second gets 70 times as much, which is three times what Redis takes. The gateway has no rule,
//! so it has to notice by itself; what piles up until it has counts like all else.

use std::time::Duration;

use hotgate::demo::load::{CLASSES, Connections, Offer, Outcome, Sale, Stop};

use crate::processes::Gateway;
use crate::stage::Stage;
use crate::{BACKGROUND_RATE, CONNECTIONS};

/// What Redis takes, times this, is the top of the ramp.
const TOP: f64 = 3.0;
const GROWTH: f64 = 70.0;
const QUIET: Duration = Duration::from_secs(3);
const RISE: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(10);

/// What was seen from the first moment on.
pub struct Ramp {
    pub outcome: Outcome,
    /// Commands for the SKU that its node executed.
    pub hot_commands: u64,
}

pub fn run(stage: &Stage, capacity: f64) -> Ramp {
    let gateway = Gateway::start(&stage.upstream(), "");
    let sale = Sale::new(|key| stage.node_of(key), |_| 0);
    let mut connections = Connections::open(&[gateway.port], CONNECTIONS, &Stop::default()).unwrap();
    let before = stage.work();
    let mut due = 0.0;
    // Of the arrivals at the top's rate as many are kept as are due at their time.
    let arrivals = sale.arrivals(TOP * capacity, BACKGROUND_RATE).filter(|arrival| {
        if arrival.request != sale.increment() {
            return true;
        }
        due += share_at(Duration::from_micros(u64::from(arrival.due_us)));
        let is_kept = due >= 1.0;
        due -= f64::from(u8::from(is_kept));
        is_kept
    });
    let outcome =
        connections.offer(&sale.catalogue, arrivals, Offer { time: TIME, classes: CLASSES }).unwrap();
    let hot_commands = stage.work().hot_commands - before.hot_commands;
    drop(connections);
    stage.settle();
    Ramp { outcome, hot_commands }
}

/// The rate at this time, as a share of the top's.
fn share_at(time: Duration) -> f64 {
    let risen = time.saturating_sub(QUIET).as_secs_f64() / RISE.as_secs_f64();
    (1.0 / GROWTH) + (1.0 - 1.0 / GROWTH) * risen.min(1.0)
}
