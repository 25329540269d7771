//! What Redis answered to a call reaches each who waits for an operation of it.

use super::waiting::{Item, Part};
use super::{Due, Flight, HotKeys, RETRY_PAUSE_NS, Refused, Sale};
use crate::reserve::{FlushResults, OpKind, OpResult, Refusal, bucket_of, write_op_reply};
use crate::resp::{RespVersion, bulk_payload, encode, first_error};
use crate::shared::ending::Ending;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::{ErrorKind, Outcome, SaleRefusal};
use crate::shared::reservations::SaleFacts;
use crate::worker::core::Core;
use crate::worker::reply::ReplyBytes;

const NOT_UNDERSTOOD: &str = "ERR hotgate: what the sale's script returned is not understood, so whether this was done is not known; \
                              RESERVE.CHECK tells";

const BUSY: &str = "ERR hotgate: what this needs is just being moved, or more places of the sale were over than could be taken back in time; \
                    nothing was done, try again";

impl HotKeys {
    /// Tells each its answer.
    pub(super) fn settle_call(
        &mut self,
        core: &mut Core,
        hash: u64,
        sale: &mut Sale,
        (flight, upstream_ns): (Flight, u64),
        mut results: FlushResults<'_>,
    ) {
        let facts = SaleFacts::from(&results.state);
        // Nobody came to hold a place since the last reply.
        let is_steady = sale.known.facts().is_some_and(|known| known.seq == facts.seq);
        sale.known.learn(core.now_ns, facts);
        if sale.holders.is_over(&facts) {
            self.sales.holders -= sale.holders.clear();
        }
        self.note_facts(core, sale, facts);
        for item in flight.items {
            let item = Item { waiter: Waiter { upstream_ns, ..item.waiter }, ..item };
            let Some(result) = results.next() else {
                self.fail_item(
                    core,
                    sale,
                    &item,
                    (NOT_UNDERSTOOD, Ending::failed(ErrorKind::UnknownOutcome)),
                );
                continue;
            };
            match result {
                OpResult::Bucket { users, .. } => {
                    let hash_of = |name| core.gateway.key_hasher.id(sale.place.cluster, name).hash;
                    let users = is_steady.then(|| users.filter_map(bulk_payload).map(hash_of).collect());
                    let bucket = bucket_of(&item.op.user, facts.buckets);
                    self.sales.holders += sale.holders.learn(&facts, bucket, users);
                }
                // The home wanted to know how the sale stands.
                _ if item.waiter.to == AnswerTo::SaleHome => {}
                OpResult::TryAgain if self.may_wait(core, sale, &item) => sale.told_to_wait.push(item),
                OpResult::TryAgain => self.fail_item(core, sale, &item, (BUSY, Outcome::Failed.into())),
                result => {
                    self.note_result(core, (hash, facts.seq), sale, (&item, &result));
                    self.answer_item(core, sale, &item, &result);
                }
            }
        }
        if !sale.told_to_wait.is_empty() {
            sale.owner.back_off_until(core.now_ns + RETRY_PAUSE_NS);
            self.arm(Due::Sale(hash), core.now_ns + RETRY_PAUSE_NS);
        }
    }

    /// Counts a result, and remembers what later requests are told of.
    fn note_result(
        &mut self,
        core: &mut Core,
        (hash, seq): (u64, i64),
        sale: &mut Sale,
        (item, result): (&Item, &OpResult<'_>),
    ) {
        match (item.op.kind, result) {
            (kind @ (OpKind::Add | OpKind::Confirm | OpKind::Cancel), OpResult::Holding { .. }) => {
                core.tallies.sales.count(sale.row, |counts| match kind {
                    OpKind::Add => counts.added += 1,
                    OpKind::Confirm => counts.confirmed += 1,
                    _ => counts.cancelled += 1,
                });
            }
            (kind, OpResult::Refused(refusal)) => {
                let reason = SaleRefusal::of(refusal).index();
                core.tallies.sales.count(sale.row, |counts| counts.refused[reason] += 1);
                let is_of_sale =
                    matches!(refusal, Refusal::SoldOut(_) | Refusal::Closed | Refusal::NotOpen(_));
                if kind == OpKind::Add && is_of_sale {
                    self.sales.refused.insert(Refused::mark(hash, item.user, seq));
                }
            }
            (OpKind::Info, OpResult::Figures(_)) => {
                let reply = |version| {
                    let mut reply = Vec::new();
                    write_op_reply(&mut reply, version, OpKind::Info, result);
                    reply
                };
                sale.info = Some((core.now_ns, [reply(RespVersion::Resp2), reply(RespVersion::Resp3)]));
            }
            _ => {}
        }
    }

    /// Sends the reply to one operation, or adds it to the reply that it is a part of.
    fn answer_item(&mut self, core: &mut Core, sale: &mut Sale, item: &Item, result: &OpResult<'_>) {
        let outcome = match result {
            OpResult::Refused(_) => Outcome::Refused,
            _ => Outcome::Combined,
        };
        let Waiter { version, .. } = item.waiter;
        let Some(Part { place, of }) = item.part else {
            let mut reply = std::mem::take(&mut self.scratch);
            reply.clear();
            write_op_reply(&mut reply, version, item.op.kind, result);
            self.answer_reservation(
                core,
                (sale.hash, item.waiter),
                ReplyBytes::Borrowed(&reply),
                outcome.into(),
            );
            self.scratch = reply;
            return;
        };
        if place == 0 {
            sale.partial.clear();
            sale.partial_error = None;
            encode::array(&mut sale.partial, of as usize);
        }
        let before = sale.partial.len();
        write_op_reply(&mut sale.partial, version, item.op.kind, result);
        if outcome == Outcome::Refused {
            // One error says it for all: there is no such sale.
            let error =
                first_error(&sale.partial[before..]).map(|text| String::from_utf8_lossy(text).into_owned());
            return self.fail_item(core, sale, item, (&error.unwrap_or_default(), outcome.into()));
        }
        if item.ends() {
            let reply = std::mem::take(&mut sale.partial);
            match sale.partial_error.take() {
                Some((text, ending)) => self.fail_reservation(core, (sale.hash, item.waiter), &text, ending),
                None => self.answer_reservation(
                    core,
                    (sale.hash, item.waiter),
                    ReplyBytes::Owned(reply.into()),
                    outcome.into(),
                ),
            }
        }
    }

    /// Answers one who waits with an error; one of a part is that of the whole reply.
    pub(super) fn fail_item(
        &mut self,
        core: &mut Core,
        sale: &mut Sale,
        item: &Item,
        (text, ending): (&str, Ending),
    ) {
        if item.waiter.to == AnswerTo::SaleHome {
            // Nobody else waits; a bucket is asked for again.
            self.sales.holders -= sale.holders.clear();
            return;
        }
        if let Some(Part { place: 0, .. }) = item.part {
            sale.partial_error = None;
        }
        if !item.ends() {
            sale.partial_error.get_or_insert_with(|| (text.to_owned(), ending));
            return;
        }
        sale.partial = Vec::new();
        let (text, ending) = sale.partial_error.take().unwrap_or_else(|| (text.to_owned(), ending));
        self.fail_reservation(core, (sale.hash, item.waiter), &text, ending);
    }

    /// Whether an operation that was told to try again may wait longer.
    fn may_wait(&self, core: &Core, sale: &Sale, item: &Item) -> bool {
        let patience_ns = core.config.upstream_of(sale.place.cluster).unavailable_wait.as_nanos() as u64;
        core.now_ns.saturating_sub(item.waiter.received_ns) < patience_ns
    }
}
