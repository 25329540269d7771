//! An operation comes to the home of its sale: it is refused by what is known, or waits for the next call.

use super::holders::{Holds, USERS_MAX};
use super::waiting::{Item, Part};
use super::{HotKeys, Refused, Sale};
use crate::reserve::{OpKind, Refusal, ReserveOp, SalePhase, bucket_of};
use crate::resp::{RespVersion, encode};
use crate::shared::ending::Ending;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::{ErrorKind, Outcome, SaleRefusal, SaleVerb};
use crate::shared::reservations::SaleRequest;
use crate::worker::core::Core;
use crate::worker::reply::ReplyBytes;

/// How old an answer to `RESERVE.INFO` may be that is given again while work waits for the sale, in nanoseconds.
const INFO_AGE_NS_MAX: u64 = 100_000_000;

const TOO_MANY_SALES: &str = "ERR hotgate: this process looks after as many sales as it may already; nothing was done, try again later";

impl HotKeys {
    /// Takes a request of one of this worker's clients to the home of its sale.
    pub fn take_reservation(&mut self, core: &mut Core, request: SaleRequest<&[u8]>) {
        let home = core.home_of(request.hash);
        if home == core.index {
            self.reserve_at_home(core, request);
        } else {
            self.sales.outbox(home).push(request.into_owned());
            self.wake();
        }
    }

    /// Requests of other workers' clients about sales whose home is here.
    pub fn take_sale_requests(&mut self, core: &mut Core, batch: Vec<SaleRequest>) {
        for SaleRequest { sku, hash, place, ops, is_list, user, waiter } in batch {
            self.reserve_at_home(
                core,
                SaleRequest { sku: &sku[..], hash, place, ops, is_list, user, waiter },
            );
        }
    }

    fn reserve_at_home(&mut self, core: &mut Core, request: SaleRequest<&[u8]>) {
        let SaleRequest { sku, hash, place, ops, is_list, user, waiter } = request;
        if !self.begin_sale(core, (sku, hash), place) {
            core.tallies.error(ErrorKind::Overload);
            return self.fail_reservation(core, (hash, waiter), TOO_MANY_SALES, Outcome::Failed.into());
        }
        let Some(sale) = self.sales.homes.get_mut(&hash) else { return };
        for verb in ops.iter().filter_map(|op| SaleVerb::of(op.kind)) {
            core.tallies.sales.count(sale.row, |counts| counts.offered[verb.index()] += 1);
        }
        match ops.first().map(|op| op.kind) {
            Some(OpKind::Add) => {
                let seq = sale.known.facts().map_or(0, |facts| facts.seq);
                let name = ops.first().map_or(&b""[..], |op| &op.user);
                let holds_nothing = self.sales.holders < USERS_MAX && sale.holds_nothing(name, user, waiter);
                let was_refused =
                    holds_nothing || self.sales.refused.contains(Refused::mark(hash, user, seq));
                let recheck_ns = core.config.reserve.recheck.as_nanos() as u64;
                if let Some(refusal) = sale.known.refuses(core.now_ns, recheck_ns, was_refused) {
                    let row = sale.row;
                    core.tallies.sales.count(row, |counts| {
                        counts.refused[SaleRefusal::of(&refusal).index()] += 1;
                        counts.refused_here += 1;
                    });
                    return self.refuse_reservation(core, (hash, waiter), refusal);
                }
            }
            Some(OpKind::Info) => {
                if let Some(reply) = sale.recent_info(core.now_ns, waiter.version) {
                    let reply = ReplyBytes::Borrowed(&reply);
                    return self.answer_reservation(core, (hash, waiter), reply, Outcome::Cached.into());
                }
            }
            _ => {}
        }
        let Some(sale) = self.sales.homes.get_mut(&hash) else { return };
        let of = ops.len() as u32;
        for (op, place) in ops.into_iter().zip(0..) {
            let part = is_list.then_some(Part { place, of });
            sale.waiting.push(Item { waiter, op, user, part });
        }
        self.look_at_sale(hash);
    }

    fn refuse_reservation(&mut self, core: &mut Core, asked: (u64, Waiter), refusal: Refusal<'_>) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        refusal.write(&mut reply);
        self.answer_reservation(core, asked, ReplyBytes::Borrowed(&reply), Outcome::Refused.into());
        self.scratch = reply;
    }

    /// Answers with an error: `text` with its code.
    pub(super) fn fail_reservation(
        &mut self,
        core: &mut Core,
        asked: (u64, Waiter),
        text: &str,
        ending: Ending,
    ) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        encode::error(&mut reply, text);
        self.answer_reservation(core, asked, ReplyBytes::Borrowed(&reply), ending);
        self.scratch = reply;
    }

    /// Answers whoever waits for something of the sale of this hash, here or at another worker.
    pub(super) fn answer_reservation(
        &mut self,
        core: &mut Core,
        (hash, waiter): (u64, Waiter),
        reply: ReplyBytes<'_>,
        ending: Ending,
    ) {
        if usize::from(waiter.worker) == core.index {
            return core.effects.answer(hash, waiter, ending, reply);
        }
        let answers = &mut self.answers[usize::from(waiter.worker)];
        match reply {
            ReplyBytes::Borrowed(bytes) => answers.push_copied(Some(hash), waiter, ending, bytes),
            ReplyBytes::Owned(bytes) => answers.push_shared(Some(hash), waiter, ending, bytes),
        }
        self.wake();
    }
}

impl Sale {
    /// Whether a user surely holds nothing. Where the sale refuses and the user's bucket is not known, that is asked for with the next call.
    fn holds_nothing(&mut self, name: &[u8], user: u64, waiter: Waiter) -> bool {
        let Some(facts) = self.known.facts().copied().filter(|facts| facts.taken > 0) else { return false };
        if !matches!(facts.phase, SalePhase::SoldOut | SalePhase::Closed | SalePhase::Ended) {
            return false;
        }
        let bucket = bucket_of(name, facts.buckets);
        match self.holders.of(&facts, bucket, user) {
            Holds::Nothing => true,
            Holds::Perhaps => false,
            Holds::Unknown => {
                self.holders.ask(&facts, bucket);
                let waiter =
                    Waiter::asking(usize::from(waiter.worker), AnswerTo::SaleHome, waiter.received_ns);
                self.waiting.push(Item { waiter, op: ReserveOp::on(OpKind::Bucket, name), user, part: None });
                false
            }
        }
    }

    /// The reply to the last `RESERVE.INFO`, if that is recent and work waits for the sale.
    fn recent_info(&self, now_ns: u64, version: RespVersion) -> Option<Vec<u8>> {
        let (as_of_ns, [second, third]) = self.info.as_ref().filter(|_| self.is_awaited())?;
        let reply = if version == RespVersion::Resp2 { second } else { third };
        (now_ns.saturating_sub(*as_of_ns) < INFO_AGE_NS_MAX).then(|| reply.clone())
    }
}
