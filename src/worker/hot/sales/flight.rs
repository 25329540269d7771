//! The call that a sale has in flight: made of what waits, sent, and sent again. What its answers mean to each is in [`super::answers`].

use bytes::{Bytes, BytesMut};

use super::{Due, Flight, HotKeys, IDLE_MISSING_NS, IDLE_NS, Sale};
use crate::combine::TOKEN_TTL_MS;
use crate::limits::SALE_CALL_BYTES_MAX;
use crate::reserve::{FlushResults, OPS_PER_CALL_MAX, ReserveCall, SalePhase};
use crate::resp::{RespVersion, first_error};
use crate::shared::ending::Ending;
use crate::shared::labels::{ErrorKind, Outcome};
use crate::worker::core::Core;
use crate::worker::errors::UpstreamError;
use crate::worker::hot::exit::{FlushExit, FlushRequest, Put};
use crate::worker::hot::owner_request::Followed;
use crate::worker::names::FlushKey;
use crate::worker::pending::Origin;
use crate::worker::reply::ReplyBytes;
use crate::worker::retryable::{Retryable, Wants};

const UNREACHABLE: &str = "ERR hotgate: the sale's node can't be reached; nothing was done, try again";

const UNKNOWN: &str = "ERR hotgate: the connection to the sale's node was lost after this was sent, and whether it was done could not be \
                       found out in time; send it again: what is held already is found again";

impl HotKeys {
    /// Looks at a sale that has changed or whose time has come.
    pub fn look_into_sale(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64) {
        self.with_sale(hash, |hot, sale| {
            sale.dirty = false;
            hot.drive_sale(core, exit, hash, sale);
        });
        self.look_again_when_idle(core, hash);
    }

    /// Has a sale forgotten that nobody uses any more, now or later.
    fn look_again_when_idle(&mut self, core: &mut Core, hash: u64) {
        let Some(sale) = self.sales.homes.get(&hash) else { return };
        let is_missing = sale.known.facts().is_none_or(|facts| facts.phase == SalePhase::None);
        let idle_ns = if is_missing { IDLE_MISSING_NS } else { IDLE_NS };
        let since_ns = if sale.is_awaited() { core.now_ns } else { sale.active_ns };
        if since_ns + idle_ns > core.now_ns {
            return self.arm(Due::Sale(hash), since_ns + idle_ns);
        }
        core.tallies.sales.keys.release(sale.row);
        if let Some(mut sale) = self.sales.homes.remove(&hash) {
            self.sales.holders -= sale.holders.clear();
        }
    }

    fn drive_sale(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64, sale: &mut Sale) {
        self.give_up_overdue_reservations(core, sale);
        if sale.flight.as_ref().is_some_and(|flight| flight.sent) || !sale.is_awaited() {
            return;
        }
        if let Some(due_ns) = sale.owner.backs_off_until(core.now_ns) {
            return self.arm(Due::Sale(hash), due_ns);
        }
        if sale.flight.is_none() {
            self.gather(core, sale);
        }
        self.send_call(core, exit, hash, sale);
    }

    /// Makes a call of what waits. What was told to try again goes first.
    fn gather(&mut self, core: &mut Core, sale: &mut Sale) {
        let refused = sale.told_to_wait.take(usize::MAX, usize::MAX);
        sale.waiting.put_back(refused);
        let items = sale.waiting.take(OPS_PER_CALL_MAX, SALE_CALL_BYTES_MAX);
        self.sales.last_sequence += 1;
        let changes = items.iter().any(|item| item.op.kind.is_write());
        let carried = items.len() as u64;
        core.tallies.sales.count(sale.row, |counts| {
            counts.calls += 1;
            counts.carried += carried;
        });
        sale.owner.begin_anew();
        let sequence = changes.then_some(self.sales.last_sequence);
        sale.flight = Some(Flight { items, sequence, in_doubt: false, with_body: false, sent: false });
    }

    fn send_call(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64, sale: &mut Sale) {
        let Some(flight) = &mut sale.flight else { return };
        let mut bytes = BytesMut::new();
        let call = ReserveCall {
            sale_key: &sale.key,
            gateway: core.gateway.id.as_bytes(),
            sequence: flight.sequence,
            with_body: flight.with_body,
        };
        call.encode(flight.items.iter().map(|item| &item.op), &mut bytes);
        let sending = self.next_sending();
        let request = FlushRequest {
            origin: Origin::Sale(FlushKey { hash, sending }),
            version: RespVersion::Resp2,
            commands: &[bytes.freeze().into()],
        };
        match sale.owner.send(core, exit, (sale.place, sending), request) {
            Put::Sent(_) => flight.sent = true,
            // It is looked at again when there is room.
            Put::NoRoom => {}
            Put::Unreachable => self.try_sale_later(core, hash, sale),
        }
    }

    /// The call at hand goes again after a pause.
    fn try_sale_later(&mut self, core: &mut Core, hash: u64, sale: &mut Sale) {
        sale.owner.on_failure(core.now_ns);
        let retry_at_ns = self.next_retry_ns(core.now_ns);
        sale.owner.back_off_until(retry_at_ns);
        self.arm(Due::Sale(hash), retry_at_ns);
    }

    /// A call was lost with its connection; `written` when it may have been executed.
    pub fn sale_lost(&mut self, core: &mut Core, call: FlushKey, written: bool) {
        self.with_sale(call.hash, |hot, sale| {
            if !sale.owner.awaits(call.sending) {
                return;
            }
            let Some(flight) = &mut sale.flight else { return };
            flight.sent = false;
            flight.in_doubt |= written && flight.sequence.is_some();
            core.tallies.sales.count(sale.row, |counts| counts.resends += 1);
            hot.try_sale_later(core, call.hash, sale);
        });
    }

    /// A reply to a call that was written at `sent_ns`.
    pub fn settle_sale(&mut self, core: &mut Core, call: FlushKey, sent_ns: u64, reply: ReplyBytes<'_>) {
        let hash = call.hash;
        self.with_sale(hash, |hot, sale| {
            if !sale.owner.awaits(call.sending) {
                return;
            }
            let Some(mut flight) = sale.flight.take() else { return };
            sale.owner.disown();
            flight.sent = false;
            let reply = reply.as_slice();
            if let Some(results) = FlushResults::parse(reply, flight.items.len()) {
                sale.owner.on_success();
                sale.said = None;
                let upstream_ns = core.now_ns.saturating_sub(sent_ns);
                hot.settle_call(core, hash, sale, (flight, upstream_ns), results);
            } else if Retryable::of(reply).is_some() {
                sale.flight = Some(flight);
                hot.call_again(core, hash, sale, reply);
            } else {
                sale.owner.on_success();
                hot.fail_call(core, sale, flight, reply);
            }
        });
        // The next call takes what all clients bring in this tick.
        self.look_at_sale(hash);
    }

    /// Redis has not done it, and asks for another try.
    fn call_again(&mut self, core: &mut Core, hash: u64, sale: &mut Sale, reply: &[u8]) {
        let Some(flight) = &mut sale.flight else { return };
        match Retryable::of(reply).map(|found| found.wants) {
            Some(Wants::Script) if !flight.with_body => {
                flight.with_body = true;
                return;
            }
            Some(Wants::Master) => {
                if let Some(node) = core.snapshots.topology.master_of(sale.place) {
                    core.suspect_master(node);
                }
            }
            _ => {}
        }
        match sale.owner.follow(core, sale.place, reply) {
            Followed::AtOnce => {}
            Followed::Later => self.try_sale_later(core, hash, sale),
            Followed::Nowhere => {
                sale.said = Some(Bytes::copy_from_slice(reply));
                self.try_sale_later(core, hash, sale);
            }
        }
    }

    /// Redis refuses the whole call: each gets its word. What may have been done before is not known to have failed.
    fn fail_call(&mut self, core: &mut Core, sale: &mut Sale, flight: Flight, reply: &[u8]) {
        let refused = first_error(reply).map(|text| String::from_utf8_lossy(text).into_owned());
        let (text, ending) = match refused {
            Some(text) if !flight.in_doubt => (text, Ending::from(Outcome::Forwarded)),
            _ => (UNKNOWN.to_owned(), Ending::failed(ErrorKind::UnknownOutcome)),
        };
        flight.items.iter().for_each(|item| self.fail_item(core, sale, item, (&text, ending)));
    }

    /// Answers those whose time is over while their call could not be brought to an end: each has waited as long as any request.
    fn give_up_overdue_reservations(&mut self, core: &mut Core, sale: &mut Sale) {
        let Some(since_ns) = sale.owner.failing_since_ns() else { return };
        let patience_ns = core.config.upstream_of(sale.place.cluster).unavailable_wait.as_nanos() as u64;
        let failing_ns = core.now_ns.saturating_sub(since_ns);
        if failing_ns < patience_ns {
            return;
        }
        match sale.flight.take_if(|flight| !flight.sent) {
            // What has surely not been done waits on for those whose time is not over.
            Some(flight) if !flight.in_doubt => sale.waiting.put_back(flight.items),
            Some(flight) if failing_ns >= TOKEN_TTL_MS * 1_000_000 / 2 => {
                let ending = Ending::failed(ErrorKind::UnknownOutcome);
                flight.items.iter().for_each(|item| self.fail_item(core, sale, item, (UNKNOWN, ending)));
            }
            Some(in_doubt) => sale.flight = Some(in_doubt),
            None => {}
        }
        let text = unsent_error(core, sale);
        let ending = Ending::failed(ErrorKind::UpstreamUnavailable);
        let due_ns = core.now_ns.saturating_sub(patience_ns);
        while sale.waiting.first().is_some_and(|item| item.waiter.received_ns <= due_ns) {
            let Some(item) = sale.waiting.pop() else { break };
            self.fail_item(core, sale, &item, (&text, ending));
        }
        match sale.waiting.first() {
            _ if sale.flight.is_some() => {}
            Some(oldest) => sale.owner.fail_since(oldest.waiter.received_ns),
            None => sale.owner.on_success(),
        }
    }
}

/// What those are told whose call was not executed in time, without the leading `-`: what Redis said last.
fn unsent_error(core: &Core, sale: &Sale) -> String {
    let said = sale.said.as_deref().and_then(first_error);
    match said {
        Some(said) if !said.starts_with(b"MOVED ") && !said.starts_with(b"TRYAGAIN") => {
            String::from_utf8_lossy(said).into_owned()
        }
        None if core.snapshots.topology.master_of(sale.place).is_none() => {
            UpstreamError::Unassigned(sale.place).to_string()
        }
        _ => UNREACHABLE.to_owned(),
    }
}
