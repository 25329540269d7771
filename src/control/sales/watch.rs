//! Sees how every sale stands, through whichever gateway it is used, so that people who look at this one see it.
//!
//! It looks when somebody does (the page, `hotgate top`, `/api/sales`, INFO), at most once in [`PAUSE`], and otherwise once in [`UNASKED_INTERVALS`], so that
//! who asks once is told what is no older. Where no sale is known, a look is one question, whether there may be any; all but the first, and one in
//! [`UNMARKED_MAX`]. Otherwise it reads the registry, sixteen small keys, and asks for the figures of a bounded number of sales behind
//! those of the look before; behind the last the first comes again. Where it finds one, the sweeper is told.
//!
//! Deliberately has no part in selling: what refuses a customer is what the sale's home knows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::registry::{Found, NoRight, ask_sales, has_mark, registered};
use crate::control::masters::Masters;
use crate::reserve::{FlushResults, OpKind, OpResult, REGISTRY_SHARDS, ReserveOp, SalePhase, registry_shard};
use crate::shared::gateway::Gateway;
use crate::shared::reservations::{SaleFacts, SaleSeen, SalesSeen};

/// Sales of one part of the registry that one look asks about: 256 of all parts, some milliseconds of one server.
const SALES_PER_LOOK_MAX: usize = 16;

/// Sales that are remembered, 200 bytes each. Further ones show at the gateways that they are used through.
const SEEN_MAX: usize = 4096;

/// Between two looks while somebody looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How often `reserve.sweep_interval` passes between two looks otherwise.
const UNASKED_INTERVALS: u32 = 10;

/// Looks at the mark alone until the registry is read all the same: the mark may have been lost with a master.
const UNMARKED_MAX: u32 = 360;

/// Until the next look where the gateway's user may not read the registry, so that Redis's log of refusals is not filled.
const FORBIDDEN: Duration = Duration::from_secs(600);

/// Watches until the process stops.
pub async fn watch(gateway: Arc<Gateway>) {
    let mut watcher = Watcher {
        masters: Masters::new(Arc::clone(&gateway)),
        after: vec![Bytes::new(); usize::from(REGISTRY_SHARDS)],
        seen: SalesSeen::default(),
        // The first look reads the registry.
        unmarked: UNMARKED_MAX,
        gateway,
    };
    loop {
        let unasked = watcher.gateway.config.load().reserve.sweep_interval * UNASKED_INTERVALS;
        // Both mean the same: it is time.
        let _ = timeout(unasked, watcher.gateway.sales_looked_at.notified()).await;
        sleep(watcher.look().await).await;
    }
}

struct Watcher {
    gateway: Arc<Gateway>,
    masters: Masters,
    /// The last sale of each part that was looked at.
    after: Vec<Bytes>,
    seen: SalesSeen,
    /// Looks since the registry was read.
    unmarked: u32,
}

impl Watcher {
    /// Looks at the next sales and publishes what is known. Says how long to pause.
    async fn look(&mut self) -> Duration {
        if self.seen.is_empty() && self.unmarked < UNMARKED_MAX {
            self.unmarked += 1;
            match has_mark(&mut self.masters).await {
                Found::Sales => {}
                Found::Nothing => return PAUSE,
                Found::NoRight => return FORBIDDEN,
            }
        }
        let parts = match registered(&mut self.masters, &self.after, SALES_PER_LOOK_MAX).await {
            Ok(parts) => parts,
            Err(NoRight) => return FORBIDDEN,
        };
        if parts.iter().all(Option::is_some) {
            self.unmarked = 0;
        }
        if parts.iter().flatten().any(|names| !names.is_empty()) {
            self.gateway.sales_used.notify_one();
        }
        self.forget_unregistered(&parts);
        for (after, names) in self.after.iter_mut().zip(&parts) {
            let Some(names) = names else { continue };
            let is_last = names.len() < SALES_PER_LOOK_MAX;
            *after = names.last().filter(|_| !is_last).cloned().unwrap_or_default();
        }
        let skus: Vec<&Bytes> = parts.iter().flatten().flatten().collect();
        let ops = [ReserveOp::on(OpKind::Info, b"")];
        let replies = ask_sales(&mut self.masters, &self.gateway, &skus, &ops).await;
        for (sku, reply) in skus.into_iter().zip(replies) {
            self.learn(sku, reply.as_deref());
        }
        if !(self.seen.is_empty() && self.gateway.sales_seen.load().is_empty()) {
            self.gateway.sales_seen.store(Arc::new(self.seen.clone()));
        }
        PAUSE
    }

    /// Sales that were dropped are between those that the registry names, or behind them, and not among them.
    fn forget_unregistered(&mut self, parts: &[Option<Vec<Bytes>>]) {
        let named: HashSet<&[u8]> = parts.iter().flatten().flatten().map(|name| &name[..]).collect();
        let after = &self.after;
        self.seen.retain(|sku, _| {
            let part = usize::from(registry_shard(sku));
            // What could not be asked stands.
            let (Some(after), Some(Some(names))) = (after.get(part), parts.get(part)) else { return true };
            let reaches =
                names.len() < SALES_PER_LOOK_MAX || names.last().is_some_and(|last| **sku <= **last);
            let was_asked_about = **sku > **after && reaches;
            !was_asked_about || named.contains(&**sku)
        });
    }

    fn learn(&mut self, sku: &Bytes, reply: Option<&[u8]>) {
        // It could not be asked: what was seen before stands.
        let Some(mut results) = reply.and_then(|reply| FlushResults::parse(reply, 1)) else { return };
        let state = results.state;
        let rate = match results.next() {
            Some(OpResult::Figures(figures)) => figures.rate,
            _ => 0.0,
        };
        let known = self.seen.contains_key(&sku[..]);
        if state.phase == SalePhase::None {
            self.seen.remove(&sku[..]);
        } else if known || self.seen.len() < SEEN_MAX {
            let as_of_ns = self.gateway.started.elapsed().as_nanos() as u64;
            let seen = SaleSeen { facts: SaleFacts::from(&state), rate, as_of_ns };
            self.seen.insert(Arc::from(&sku[..]), seen);
        }
    }
}
