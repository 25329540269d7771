//! One round: sales off the queue, their masters asked one after the other, one transaction, and the sales told.
//!
//! The other half of the follower, which owns all that this works on.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::counts::{Cause, now_ms};
use super::fault;
use super::follower::{Follower, PAUSE};
use super::lost::ROWS_STAY;
use super::names::name_of;
use super::node::Questions;
use super::sale::{ENTRIES_PER_CALL, ENTRIES_PER_ROUND, Look};
use super::store::{Halt, Position, SaleStep, Step, Store, StoreError};
use super::upstream::Server;
use crate::reserve::ledger_key;
use crate::resp::first_error;

/// Sales that one round looks at.
const SALES_PER_ROUND_MAX: usize = 256;

/// What is tried at the least of [`ENTRIES_PER_ROUND`].
const ENTRIES_PER_ROUND_MIN: i64 = ENTRIES_PER_CALL;

impl Follower {
    /// Looks at the next sales; returns how many entries were written.
    pub(super) async fn round(&mut self) -> Result<usize, StoreError> {
        let by_server = self.take_round().await;
        let mut steps: Vec<Step> = Vec::new();
        let (mut halts, mut looked_at, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (server, streams) in by_server {
            for (stream, look) in self.look(&server, streams).await {
                looked_at.push(stream.clone());
                if matches!(look, Look::Nothing | Look::Write(_)) {
                    self.look_whether_listed(&stream);
                }
                match look {
                    Look::Gone => gone.push(stream),
                    Look::Nothing => drop(self.complaints.remove("sale")),
                    Look::Again => self.queue_one(&stream),
                    Look::Later(why) => {
                        self.complain("sale", Cause::Redis, &format!("a sale can't be read now: {why}"));
                        self.servers.doubt(server.cluster);
                        self.away.insert(server.clone(), Instant::now() + PAUSE);
                        self.queue_one(&stream);
                    }
                    Look::Write(step) => steps.push(*step),
                    Look::Halt(opened_ms, gap) => halts.push((stream, opened_ms, gap.to_string())),
                }
            }
        }
        if !steps.is_empty() {
            fault::point("after_read");
        }
        if let Err(error) = self.write(&steps, &halts).await {
            self.counts.is_untaken = true;
            self.entries_per_round = (self.entries_per_round / 2).max(ENTRIES_PER_ROUND_MIN);
            return self.pause_for_database(error).await;
        }
        if !steps.is_empty() {
            let more = self.entries_per_round + self.entries_per_round / 8;
            self.entries_per_round = more.min(ENTRIES_PER_ROUND);
        }
        if !steps.is_empty() {
            self.failures = 0;
        }
        if self.counts.is_untaken && (!steps.is_empty() || self.has_all()) {
            self.on_database_taking_rows();
        }
        let written = steps.iter().map(|(_, step)| step.entries).sum();
        let rows_of = |step: &SaleStep| step.rows.len() + usize::from(step.terms.is_some());
        self.counts.entries += written as u64;
        self.counts.rows += steps.iter().map(|(_, step)| rows_of(step) as u64).sum::<u64>();
        let anew = self.take_positions(steps);
        self.send_progress(looked_at).await;
        if written > 0 {
            fault::point("after_tell");
        }
        match self.take_missing(gone, anew).await {
            Ok(()) => Ok(written),
            Err(error) => self.pause_for_database(error).await,
        }
    }

    /// Nothing waits to be written: a transaction whose outcome was not known was committed, perhaps.
    fn has_all(&self) -> bool {
        self.queue.is_empty() && self.sales.values().all(|sale| sale.lag() == 0)
    }

    async fn take_missing(
        &mut self,
        gone: Vec<Bytes>,
        anew: Vec<(String, Position)>,
    ) -> Result<(), StoreError> {
        for (text, before) in anew {
            self.take_opened_anew(&text, &before).await?;
        }
        self.take_gone(gone).await
    }

    /// The database did not do it: nothing was written, as far as is known.
    async fn pause_for_database(&mut self, error: StoreError) -> Result<usize, StoreError> {
        if matches!(error, StoreError::Later { .. }) {
            return Err(error);
        }
        self.on_database_fault(&error);
        sleep(PAUSE).await;
        Ok(0)
    }

    /// The next sales of the queue, by their masters. Those whose master is not known, or away, wait.
    async fn take_round(&mut self) -> HashMap<Server, Vec<Bytes>> {
        let mut by_server: HashMap<Server, Vec<Bytes>> = HashMap::new();
        let (mut taken, mut entries, mut put_back) = (0, 0, Vec::new());
        while taken < SALES_PER_ROUND_MAX && entries < self.entries_per_round {
            let Some(stream) = self.queue.pop_front() else { break };
            let Some(sale) = self.sales.get_mut(&stream) else { continue };
            let server = self.servers.master_of(&sale.sku);
            let is_away =
                |server: &Server| self.away.get(server).is_some_and(|until| Instant::now() < *until);
            match server {
                Some(server) if !is_away(&server) => {
                    sale.is_queued = false;
                    sale.server = Some(server.clone());
                    entries += sale.behind();
                    taken += 1;
                    by_server.entry(server).or_default().push(stream);
                }
                other => {
                    if other.is_none() {
                        self.servers.doubt_key(&sale.sku);
                    }
                    put_back.push(stream);
                    if put_back.len() >= SALES_PER_ROUND_MAX {
                        break;
                    }
                }
            }
        }
        if by_server.is_empty() && !put_back.is_empty() {
            sleep(PAUSE).await;
        }
        self.queue.extend(put_back);
        by_server
    }

    /// Asks one master about some of its sales.
    async fn look(&mut self, server: &Server, streams: Vec<Bytes>) -> Vec<(Bytes, Look)> {
        let mut questions = Questions::default();
        let mut counts = Vec::new();
        for stream in &streams {
            let entries_max = self.entries_per_round;
            let asked = self.sales.get(stream).map(|sale| sale.questions(entries_max)).unwrap_or_default();
            counts.push(asked.len());
            asked.into_iter().for_each(|bytes| questions.push(|out| *out = bytes));
        }
        let mut replies = self.ask(server, &questions).await;
        if replies.as_ref().is_some_and(|replies| self.has_forgotten(server, replies)) {
            replies = None;
        }
        let Some(replies) = replies else {
            streams.iter().for_each(|stream| self.queue_one(stream));
            return Vec::new();
        };
        let mut rest = &replies[..];
        let mut looks = Vec::new();
        for (stream, count) in streams.into_iter().zip(counts) {
            let (of_sale, behind) = rest.split_at(count.min(rest.len()));
            rest = behind;
            if let Some(sale) = self.sales.get_mut(&stream) {
                let look = sale.look(of_sale, now_ms());
                looks.push((stream, look));
            }
        }
        looks
    }

    /// The server does not know the script any more: a new connection brings it.
    pub(super) fn has_forgotten(&mut self, server: &Server, replies: &[Bytes]) -> bool {
        let forgotten =
            replies.iter().any(|reply| first_error(reply).is_some_and(|text| text.starts_with(b"NOSCRIPT")));
        if forgotten {
            self.lose(server);
        }
        forgotten
    }

    /// Writes it.
    async fn write(&mut self, steps: &[Step], halts: &[(Bytes, i64, String)]) -> Result<(), StoreError> {
        if steps.is_empty() && halts.is_empty() {
            return Ok(());
        }
        let mut store = self.take_store()?;
        let halt = |(stream, opened_ms, why): &(Bytes, i64, String)| {
            let sale = self.sales.get(stream)?;
            let (sku, from) = (sale.text.clone(), sale.position.clone());
            Some(Halt { sku, opened_ms: *opened_ms, from, why: why.clone() })
        };
        let halted: Vec<Halt> = halts.iter().filter_map(halt).collect();
        self.while_reporting(write_all(&mut store, steps, &halted)).await?;
        self.give_store(store);
        for (stream, _, why) in halts {
            let Some(sale) = self.sales.get_mut(stream) else { continue };
            self.counts.error(Cause::Gap);
            tracing::error!(
                sku = sale.text,
                "halted: {why}; compare with `hotgate ledger verify`, stop the ledger, and go on with `hotgate ledger resync`"
            );
            sale.halted = Some(why.clone());
            sale.forget();
        }
        Ok(())
    }

    /// The transaction was committed. Returns the sales that were opened anew though nobody had closed the one before, and its position.
    fn take_positions(&mut self, steps: Vec<Step>) -> Vec<(String, Position)> {
        let mut anew = Vec::new();
        for (from, step) in steps {
            self.complaints.remove("sale");
            let stream = ledger_key(&name_of(&step.sku));
            let Some(sale) = self.sales.get_mut(&stream) else { continue };
            match from.filter(|from| from.opened_ms != step.to.opened_ms) {
                Some(before) if self.open_sales.contains(&step.sku) => anew.push((step.sku.clone(), before)),
                Some(_) => {
                    tracing::info!(sku = sale.text, "a sale of this name was opened anew; {ROWS_STAY}")
                }
                None => {}
            }
            if let Some(terms) = &step.terms {
                self.open_sales.remove(&step.sku);
                self.open_sales.extend((terms.is_on && !terms.is_closed).then(|| step.sku.clone()));
            }
            sale.moved_to(step.to.clone(), step.written_ms.1);
            self.positions.insert(step.sku, step.to);
        }
        anew
    }

    /// Says to sales that do not know it how far the database is. What can't be said now is said with the next look.
    async fn send_progress(&mut self, streams: Vec<Bytes>) {
        let required = self.servers.config.ledger.required;
        let unread_max = if required { self.servers.config.ledger.lag_max as i64 } else { 0 };
        let mut by_server: HashMap<Server, (Questions, Vec<Bytes>)> = HashMap::new();
        for stream in streams {
            let Some(sale) = self.sales.get_mut(&stream) else { continue };
            let Some(server) = sale.server.clone().filter(|_| sale.is_untold) else { continue };
            let Some(call) = sale.progress_call(unread_max) else { continue };
            let (questions, streams) = by_server.entry(server).or_default();
            questions.push(|out| *out = call);
            streams.push(stream);
        }
        for (server, (questions, streams)) in by_server {
            let replies = self.ask(&server, &questions).await.unwrap_or_default();
            self.has_forgotten(&server, &replies);
            let mut refused = None;
            for (at, stream) in streams.iter().enumerate() {
                let Some(sale) = self.sales.get_mut(stream) else { continue };
                sale.is_untold = false;
                let reply = replies.get(at);
                let heard = reply.map(|reply| sale.take_status(reply, now_ms()));
                sale.is_untold |= !matches!(heard, Some(Ok(())));
                if sale.is_untold || sale.behind() > 0 {
                    self.queue_one(stream);
                }
                refused = refused.or(reply.and_then(|reply| first_error(reply)));
            }
            match refused.map(String::from_utf8_lossy) {
                Some(why) if !why.starts_with("NOSCRIPT") => {
                    let what = format!(
                        "sales can't be told how far the database is, so Redis keeps the entries: {why}"
                    );
                    self.complain("progress", Cause::Redis, &what);
                    self.away.insert(server, Instant::now() + PAUSE);
                }
                Some(_) => {}
                None => drop(self.complaints.remove("progress")),
            }
        }
    }
}

/// Rows and positions in one transaction, then why sales are halted.
async fn write_all(store: &mut Store, steps: &[Step], halts: &[Halt]) -> Result<(), StoreError> {
    if !steps.is_empty() {
        store.apply(steps).await?;
    }
    for halt in halts {
        store.halt(halt).await?;
    }
    Ok(())
}
