//! Looks after the sales of all gateways: places whose time is over come back though nobody asks for them, and sales that were never
//! opened leave the registry.
//!
//! Each part of the registry is swept once per `reserve.sweep_interval` by one gateway: the one that sets the part's key, which ends by
//! itself. So any number of gateways costs Redis little more than one, and nobody has to notice that another died. A round looks at a
//! bounded number of sales of each part and goes on behind them the next time; what a round could not reach comes with a later one.
//!
//! A gateway through which nobody reserves waits here until it is told of a sale ([`super::watch`] looks now and then), and then sweeps as all do. So holds
//! end whoever of the gateways is left, and where there is no sale this costs Redis nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::registry::{Found, NoRight, ask_sales, question, registered, set_mark};
use crate::control::masters::{Masters, Question};
use crate::reserve::{FlushResults, REGISTRY_SHARDS, SalePhase, registry_key};
use crate::shared::gateway::Gateway;

/// Sales of one part of the registry that one round looks at.
const SALES_PER_ROUND_MAX: usize = 128;

/// How long a registered sale may not exist: longer than the whole of an OPEN, which enters it first.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// For how many rounds no sale may be registered until the sweeper waits to be told of one.
const IDLE_ROUNDS: u32 = 60;

/// Between two settings of the mark, which stays for six times as long.
const MARKED_FOR: Duration = Duration::from_secs(600);

/// Sales that are missing and remembered. Further ones are noticed when these have gone.
const MISSING_MAX: usize = 4096;

/// Sweeps until the process stops.
pub async fn sweep(gateway: Arc<Gateway>) {
    let masters = Masters::new(Arc::clone(&gateway));
    let mut sweeper = Sweeper {
        gateway: Arc::clone(&gateway),
        masters,
        after: vec![Bytes::new(); usize::from(REGISTRY_SHARDS)],
        missing: HashMap::new(),
        marked_at: None,
    };
    let mut idle_rounds = IDLE_ROUNDS;
    loop {
        let interval = gateway.config.load().reserve.sweep_interval;
        // Gateways that were started together do not ask together.
        let pause = interval.mul_f64(rand::random_range(0.75..1.25));
        if idle_rounds < IDLE_ROUNDS {
            sleep(pause).await;
        } else {
            gateway.sales_used.notified().await;
            idle_rounds = 0;
        }
        match sweeper.round(interval).await {
            Found::Sales => idle_rounds = 0,
            Found::Nothing => idle_rounds = (idle_rounds + 1).min(IDLE_ROUNDS),
            Found::NoRight => idle_rounds = IDLE_ROUNDS,
        }
    }
}

struct Sweeper {
    gateway: Arc<Gateway>,
    masters: Masters,
    /// The last sale of each part that was looked at.
    after: Vec<Bytes>,
    /// Sales that did not exist, and since when.
    missing: HashMap<Bytes, Instant>,
    /// When it last set the mark.
    marked_at: Option<Instant>,
}

impl Sweeper {
    /// Looks at the next sales of the parts that are this gateway's this time. Says what the registry has.
    async fn round(&mut self, interval: Duration) -> Found {
        let found = match registered(&mut self.masters, &self.after, SALES_PER_ROUND_MAX).await {
            Ok(found) => found,
            Err(NoRight) => return Found::NoRight,
        };
        if found.iter().all(|names| names.as_ref().is_some_and(Vec::is_empty)) {
            return Found::Nothing;
        }
        // What could not be asked comes with a later round.
        let found: Vec<Vec<Bytes>> = found.into_iter().map(Option::unwrap_or_default).collect();
        let parts: Vec<u16> =
            (0..REGISTRY_SHARDS).filter(|part| !found[usize::from(*part)].is_empty()).collect();
        let mut sales = Vec::new();
        for part in self.won(&parts, interval).await {
            let names = &found[usize::from(part)];
            // Behind the last the first comes again.
            let is_last = names.len() < SALES_PER_ROUND_MAX;
            self.after[usize::from(part)] = names.last().filter(|_| !is_last).cloned().unwrap_or_default();
            sales.extend(names.iter().map(|sku| (part, sku.clone())));
        }
        self.look_at(&sales).await;
        self.keep_mark().await;
        Found::Sales
    }

    /// Other gateways learn by the mark that there are sales.
    async fn keep_mark(&mut self) {
        if self.marked_at.is_none_or(|at| at.elapsed() >= MARKED_FOR) {
            let replies = self.masters.ask(&[set_mark()]).await;
            let is_set = replies.first().and_then(Option::as_deref) == Some(b"+OK\r\n");
            self.marked_at = is_set.then(Instant::now);
        }
    }

    /// Those of these parts of the registry that are this gateway's this time.
    async fn won(&mut self, parts: &[u16], interval: Duration) -> Vec<u16> {
        let for_ms = (interval.as_millis() * 3 / 4).max(1).to_string();
        let questions: Vec<Question> = parts
            .iter()
            .map(|part| {
                let key = [&registry_key(*part)[..], b"swept"].concat();
                let words: [&[u8]; 6] =
                    [b"SET", &key, self.gateway.id.as_bytes(), b"NX", b"PX", for_ms.as_bytes()];
                question(&key, &words)
            })
            .collect();
        let replies = self.masters.ask(&questions).await;
        let is_won = |reply: &Option<Bytes>| reply.as_deref() == Some(b"+OK\r\n");
        parts.iter().zip(&replies).filter(|(_, reply)| is_won(reply)).map(|(part, _)| *part).collect()
    }

    /// Ends what is over in each of these sales, and takes those out of the registry that have been missing for long.
    async fn look_at(&mut self, sales: &[(u16, Bytes)]) {
        let skus: Vec<&Bytes> = sales.iter().map(|(_, sku)| sku).collect();
        let replies = ask_sales(&mut self.masters, &self.gateway, &skus, &[]).await;
        let mut gone = Vec::new();
        for ((part, sku), reply) in sales.iter().zip(replies) {
            let results = reply.as_deref().and_then(|reply| FlushResults::parse(reply, 0));
            match results.map(|results| results.state.phase) {
                Some(SalePhase::None) => {
                    let has_room = self.missing.len() < MISSING_MAX;
                    let since = self.missing.get(sku).copied();
                    match since {
                        Some(since) if since.elapsed() >= MISSING_FOR => gone.push((*part, sku.clone())),
                        None if has_room => {
                            self.missing.insert(sku.clone(), Instant::now());
                        }
                        _ => {}
                    }
                }
                Some(_) => {
                    self.missing.remove(sku);
                }
                // It could not be asked.
                None => {}
            }
        }
        let questions: Vec<Question> = gone
            .iter()
            .map(|(part, sku)| {
                let key = registry_key(*part);
                question(&key, &[b"ZREM", &key, sku])
            })
            .collect();
        self.masters.ask(&questions).await;
        for (_, sku) in &gone {
            self.missing.remove(sku);
        }
        // Who is in no registry any more is not looked at again.
        self.missing.retain(|_, since| since.elapsed() < 10 * MISSING_FOR);
    }
}
