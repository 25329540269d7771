//! How much of this worker's clients may be unsettled on one sale. A client that finds no room is held back, as it is by a hot key and by a full
//! connection, and gets no error.
//!
//! The bounds are those of one queue, `combine.pending_max` requests and [`crate::limits::QUEUE_BYTES_MAX`], in equal shares for the workers of the
//! process. So the queue at the sale's home needs no bound of its own. Clients that are held back go on when half of the share is free.
//!
//! Owns the figures of the sales of this worker's clients, wherever the homes are. A sale of which nothing is unsettled has none.

use super::HotKeys;
use crate::shared::handoff::Waiter;
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::hot::room::Share;
use crate::worker::names::ClientKey;

impl HotKeys {
    /// Takes a request of one of this worker's clients in, if its sale has room.
    pub fn enter_sale(&mut self, core: &Core, (sku, hash): (&[u8], u64), waiter: &Waiter) -> bool {
        let unsettled = self.sales.unsettled.entry(hash).or_default();
        let has_room = unsettled.has_room(Share::of_worker(core));
        if has_room {
            unsettled.add(waiter);
            if core.home_of(hash) != core.index {
                self.sales.elsewhere.entry(hash).or_insert_with(|| sku.into());
            }
        }
        has_room
    }

    /// The name of a sale on which something of this worker's clients is unsettled, or whose home this worker is.
    pub fn sku_of(&self, hash: u64) -> Option<&[u8]> {
        let at_home = self.sales.homes.get(&hash).map(|sale| &sale.sku[..]);
        at_home.or_else(|| self.sales.elsewhere.get(&hash).map(|sku| &sku[..]))
    }

    /// A client's next request is looked at again when its sale has room.
    pub fn await_sale_room(&mut self, hash: u64, client: ClientKey) {
        self.sales.unsettled.entry(hash).or_default().await_room(client);
    }

    /// A request of this worker's clients about a sale has been answered.
    pub fn on_reservation_answered(&mut self, core: &mut Core, hash: u64, waiter: &Waiter) {
        let Some(unsettled) = self.sales.unsettled.get_mut(&hash) else { return };
        unsettled.settle(waiter);
        for client in unsettled.take_waiters(Share::of_worker(core)) {
            core.effects.push(Effect::RoomForClient(client));
        }
        if unsettled.is_none() {
            self.sales.unsettled.remove(&hash);
            self.sales.elsewhere.remove(&hash);
        }
    }
}
