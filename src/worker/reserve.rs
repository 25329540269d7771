//! Clients meet sales of reservations: what one asks of a sale goes to the sale's home, or to the control thread.
//!
//! | command | goes |
//! |---|---|
//! | `RESERVE.ADD CONFIRM CANCEL CHECK MCHECK INFO` | to the home of the sale, where it travels with others (`hot/sales`) |
//! | `RESERVE.OPEN CLOSE REOPEN LIST SKUS MOVE DROP` | to the control thread, over its own connections |
//!
//! Order: those of the first row keep that of their client, since they stand in one queue. One of another row waits until the client has
//! nothing in a queue, and later ones of the first wait for its reply.

use bytes::Bytes;
use smallvec::SmallVec;

use super::client::{AwaitedRoom, Gate};
use super::flow::Flow;
use super::names::ClientKey;
use super::owners::Worker;
use super::resolve::{KeyAt, Resolved};
use crate::combine::Verb as CounterVerb;
use crate::command::{Local, Reserve};
use crate::reserve::{OpKind, ReserveCommand, ReserveOp};
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::reservations::{SaleOps, SaleRequest};

/// The error in another database than the first.
const FIRST_DATABASE: &str = "ERR hotgate: sales are in database 0; SELECT 0 first";

impl Worker {
    /// Takes a command about a sale where it is done.
    pub(super) fn reserve(&mut self, key: ClientKey, resolved: &Resolved<'_>, by: Reserve) -> Flow {
        let Some(client) = self.clients.all.get(key) else { return Flow::Next };
        let is_queued = client.combined > 0;
        if client.session.database != 0 {
            return self.refuse(key, ErrorKind::ClientRequest, FIRST_DATABASE);
        }
        let words: SmallVec<[&[u8]; 8]> = resolved.request.args().collect();
        let command = match ReserveCommand::parse(&words) {
            Ok(command) => command,
            Err(text) => return self.refuse(key, ErrorKind::ClientRequest, text),
        };
        match (by, command) {
            (Reserve::Home, ReserveCommand::Op(op)) => {
                self.reserve_at_home(key, resolved, (SaleOps::from_iter([op]), false))
            }
            (Reserve::Home, ReserveCommand::CheckMany(users)) => {
                let check = |user| ReserveOp { kind: OpKind::Check, user, count: None, id: Bytes::new() };
                self.reserve_at_home(key, resolved, (users.into_iter().map(check).collect(), true))
            }
            _ if is_queued => self.clients.wait_for_all(key),
            _ => {
                let (local, command) = (Local::Reserve, Some(resolved.command));
                let flow = self.sessions().answer(key, local, command, resolved.request);
                self.later_ones_wait(key);
                flow
            }
        }
    }

    /// What a client asks of sales from now on waits for all that it has asked before.
    fn later_ones_wait(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.all.get_mut(key) {
            client.combine_after = client.replies.next_sequence();
        }
    }

    /// Holds a client back until a sale has room again.
    fn await_sale_room_of(&mut self, client_key: ClientKey, hash: u64) -> Flow {
        let Some(client) = self.clients.all.get_mut(client_key) else { return Flow::Next };
        let awaited = Some(AwaitedRoom::Sale(hash));
        // Once is enough: it is looked at each time that anything of it has been answered, too.
        if std::mem::replace(&mut client.room_awaited, awaited) != awaited {
            self.hot.await_sale_room(hash, client_key);
        }
        client.wait(Gate::Room)
    }

    /// Takes operations to the home of their sale.
    fn reserve_at_home(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        (ops, is_list): (SaleOps, bool),
    ) -> Flow {
        let Some((KeyAt { hash, slot: place, .. }, sku)) = resolved.named_keys().next() else {
            return Flow::Next;
        };
        let user = ops.first().map_or(&b""[..], |op| &op.user);
        let user = self.core.gateway.key_hasher.id(place.cluster, user).hash;
        let Some(client) = self.clients.all.get_mut(client_key) else { return Flow::Next };
        if !client.may_combine(self.hot.epoch) {
            return client.wait(Gate::Drain);
        }
        // What they hold in the queue; a request of more is bounded by its number of users.
        let bytes = ops.iter().map(ReserveOp::weight_bytes).sum::<usize>() as u32;
        let mut waiter = Waiter {
            to: AnswerTo::Slot { client: client_key.to_number(), sequence: 0 },
            operations: 1,
            worker: self.core.index as u16,
            received_ns: self.core.now_ns,
            upstream_ns: 0,
            class: RequestClass::Reserve,
            command: Some(resolved.command),
            bytes,
            delta: 0,
            verb: CounterVerb::default(),
            version: client.session.version,
        };
        if !self.hot.enter_sale(&self.core, (sku, hash), &waiter) {
            return self.await_sale_room_of(client_key, hash);
        }
        client.combined += 1;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        waiter.to = AnswerTo::Slot { client: client_key.to_number(), sequence };
        self.count_access(client_key, resolved);
        let request = SaleRequest { sku, hash, place, ops, is_list, user, waiter };
        self.hot.take_reservation(&mut self.core, request);
        // It may be answered already. Then nothing of it is under way when the client's next request is looked at.
        self.deliver_answers();
        Flow::Next
    }
}
