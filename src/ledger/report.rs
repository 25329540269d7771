//! What the follower says of itself: how far the database is behind, what went wrong, how fast it goes.
//!
//! Once a second it goes to Redis, from where every gateway shows it ([`crate::reserve::LedgerReport`]); a process that waits for another's lock says nothing.
//! While the database is away, this also asks how far the sales go on meanwhile: those that Redis says have changed, a bounded number a second.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::counts::{Cause, now_ms};
use super::follower::Follower;
use super::node::Questions;
use super::upstream::Server;
use crate::reserve::{HALTED_NAMED_MAX, LedgerReport, report_key};
use crate::resp::{encode, first_error};

/// How often it is said.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Sales that are asked in one go while the database is away.
const ASKED_MAX: usize = 256;

impl Follower {
    /// Says how things are, if it is time to.
    pub(super) async fn report(&mut self) {
        if self.counts.said.is_some_and(|(at, _)| at.elapsed() < REPORT_EVERY) {
            return;
        }
        let report = self.make_report();
        self.warn_of_lag(&report);
        let key = report_key();
        let Some(server) = self.servers.master_of(&key) else { return };
        let (text, mut questions) = (report.to_text(), Questions::default());
        questions.push(|out| encode::command(out, &[b"SET", &key, text.as_bytes()]));
        let replies = self.ask(&server, &questions).await;
        match replies.as_ref().and_then(|replies| first_error(replies.first()?)) {
            Some(why) => {
                let why = String::from_utf8_lossy(why).into_owned();
                self.servers.doubt(server.cluster);
                self.complain(
                    "report",
                    Cause::Redis,
                    &format!("the report for gateways can't be written: {why}"),
                );
            }
            None => drop(self.complaints.remove("report")),
        }
    }

    fn make_report(&mut self) -> LedgerReport {
        let now = Instant::now();
        let (before, rows_before) = self.counts.said.unwrap_or((now, self.counts.rows));
        let seconds = now.duration_since(before).as_secs_f64();
        let rows = self.counts.rows - rows_before;
        self.counts.said = Some((now, self.counts.rows));
        self.counts.beat += 1;
        let lag_max = self.servers.config.ledger.lag_max as i64;
        let mut report = LedgerReport {
            beat: self.counts.beat,
            database: self.database.word().to_owned(),
            database_fault: self.counts.database_fault.clone(),
            sales: self.sales.len() as u64,
            entries: self.counts.entries,
            rows: self.counts.rows,
            rows_per_s: if seconds > 0.0 { rows as f64 / seconds } else { 0.0 },
            errors: self.counts.errors.iter().map(|(cause, count)| (cause.label(), *count)).collect(),
            ..LedgerReport::default()
        };
        let (now_ms, mut most) = (now_ms(), 0);
        for sale in self.sales.values() {
            if let Some(why) = sale.fault() {
                report.halted += 1;
                if report.halted_named.len() < HALTED_NAMED_MAX {
                    report.halted_named.push((sale.text.clone(), why.to_owned()));
                }
                continue;
            }
            let behind = sale.lag();
            report.lag_entries += behind as u64;
            report.late += u64::from(behind > lag_max);
            if behind > most {
                most = behind;
                report.latest.clone_from(&sale.text);
            }
            report.lag_ms = report.lag_ms.max(sale.lag_ms(now_ms) as u64);
        }
        report
    }

    /// Logs once that a sale is beyond the bound, and once that none is any more.
    fn warn_of_lag(&mut self, report: &LedgerReport) {
        let is_late = report.late > 0;
        if is_late != self.counts.is_late {
            self.counts.is_late = is_late;
            let LedgerReport { late, latest, lag_entries, lag_ms, .. } = report;
            match is_late {
                true => tracing::warn!(
                    "{late} sales are more than ledger.lag_max entries behind, most of all {latest}; {lag_entries} entries wait, the oldest for {} s",
                    lag_ms / 1000
                ),
                false => tracing::info!("no sale is more than ledger.lag_max entries behind any more"),
            }
        }
    }

    /// While the database is away: looks which sales there are, and how far they go on.
    pub(super) async fn look_without_database(&mut self) {
        self.drain_news();
        self.insure();
        self.read_registry().await;
        self.refresh_sales().await;
    }

    async fn refresh_sales(&mut self) {
        let mut by_server: HashMap<Server, (Questions, Vec<Bytes>)> = HashMap::new();
        for _ in 0..ASKED_MAX {
            let Some(stream) = self.queue.pop_front() else { break };
            let Some(sale) = self.sales.get_mut(&stream) else { continue };
            sale.is_queued = false;
            let Some(server) = self.servers.master_of(&sale.sku) else { continue };
            sale.server = Some(server.clone());
            let (questions, streams) = by_server.entry(server).or_default();
            sale.status_questions().into_iter().for_each(|call| questions.push(|out| *out = call));
            streams.push(stream);
        }
        for (server, (questions, streams)) in by_server {
            let replies = self.ask(&server, &questions).await.unwrap_or_default();
            self.has_forgotten(&server, &replies);
            // The second one of each two is about the status.
            for (stream, reply) in streams.iter().zip(replies.iter().skip(1).step_by(2)) {
                if let Some(sale) = self.sales.get_mut(stream) {
                    // What it does not say now is asked when the database is back.
                    let _ = sale.take_status(reply, now_ms());
                }
            }
        }
    }
}
