//! Sales of reservations on the data path: the operations on one SKU gather at its home, and travel as one call of a script.
//!
//! ```text
//!   worker/reserve --> home here: what is known refuses, or it waits --> one call --> upstream --> each gets its own reply
//!                  \-> home elsewhere: outbox --(once per tick)--> that worker
//! ```
//!
//! What a sale is, and how it lies in Redis, is in [`crate::reserve`]. A sale has one home in the process and at most one call in
//! flight; the next takes what has gathered meanwhile. So the round trip is the clock: a lone operation goes at once, and the more come
//! the more travel together. Nothing is folded into less: each operation has an answer of its own.
//!
//! A call that changes something carries the gateway's name and a number, and Redis remembers what the last such call gave. After a lost
//! connection the same call is sent again until its outcome is known or the number may be forgotten. Redirections, a node that is away and
//! scripts that are missing are waited for as by any request.
//!
//! Bounds: requests that wait for one sale, in number (`combine.pending_max`) and bytes, beyond which clients are held back ([`room`]); sales
//! whose home is one worker, beyond which there is an error, and nothing was done; a call, in operations and bytes.
//!
//! Deliberately absent: any count of places. Only the script grants.

mod answers;
mod figures;
mod flight;
mod holders;
mod home;
mod known;
mod room;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use bytes::Bytes;

use super::owner_request::OwnerRequest;
use super::room::Unsettled;
use super::{Due, Hashed, HotKeys, RETRY_PAUSE_NS};
use crate::limits::SALES_MAX;
use crate::reserve::{OpKind, ReserveOp, sale_key};
use crate::route::SlotAt;
use crate::shared::ending::Ending;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::keyed::RowId;
use crate::shared::reservations::SaleRequest;
use crate::worker::core::Core;
use holders::Holders;
use known::{Known, Refused};
use waiting::{Item, Waiting};

/// How long a sale is remembered that nobody uses.
const IDLE_NS: u64 = 60_000_000_000;

/// How long one is that Redis does not have.
const IDLE_MISSING_NS: u64 = 1_000_000_000;

/// A sale at its home.
struct Sale {
    sku: Bytes,
    hash: u64,
    /// The name of its first key in Redis.
    key: Bytes,
    place: SlotAt,
    /// What is not sent yet.
    waiting: Waiting,
    /// What is.
    flight: Option<Flight>,
    /// What the script told to try again: a holding was being moved, or more holds were over than one call takes back.
    told_to_wait: Waiting,
    /// How far the call is on its way to the owner of the slot.
    owner: OwnerRequest,
    /// What Redis said last to the call at hand, where that was that it does not serve the slot at present.
    said: Option<Bytes>,
    known: Known,
    holders: Holders,
    /// The reply to the last `RESERVE.INFO`, in both versions of the protocol, and when it came.
    info: Option<(u64, [Vec<u8>; 2])>,
    /// What has come of a reply that is an array, or the error that it is instead.
    partial: Vec<u8>,
    partial_error: Option<(String, Ending)>,
    /// It is in the list of changed sales.
    dirty: bool,
    /// When it was last used.
    active_ns: u64,
    row: RowId,
}

/// A call of the script.
struct Flight {
    items: Vec<Item>,
    /// Its number; none where nothing is changed.
    sequence: Option<u64>,
    /// It may have taken effect already.
    in_doubt: bool,
    /// The source goes along: Redis said that it does not know the script.
    with_body: bool,
    /// It is on the wire.
    sent: bool,
}

/// What a worker keeps of sales.
pub struct Sales {
    homes: HashMap<u64, Box<Sale>, BuildHasherDefault<Hashed>>,
    refused: Refused,
    /// Users that all sales remember of their buckets.
    holders: usize,
    /// What of this worker's clients is unsettled, by sale.
    unsettled: HashMap<u64, Unsettled, BuildHasherDefault<Hashed>>,
    /// The names of those among them whose home is another worker, for the command log.
    elsewhere: HashMap<u64, Box<[u8]>, BuildHasherDefault<Hashed>>,
    /// Sales to be looked at in this tick.
    dirty: VecDeque<u64>,
    /// Operations for the homes of other workers, by worker.
    outboxes: Vec<Vec<SaleRequest>>,
    /// The number of the last call of this worker, of whatever sale.
    last_sequence: u64,
}

impl Sales {
    /// No sale yet.
    pub fn new(workers: usize) -> Self {
        Self {
            homes: HashMap::default(),
            refused: Refused::default(),
            holders: 0,
            unsettled: HashMap::default(),
            elsewhere: HashMap::default(),
            dirty: VecDeque::new(),
            outboxes: (0..workers).map(|_| Vec::new()).collect(),
            last_sequence: 0,
        }
    }

    /// The sales to be looked at in this tick.
    pub fn changed(&mut self) -> &mut VecDeque<u64> {
        &mut self.dirty
    }

    /// Whether sales are to be looked at now.
    pub(super) fn has_changed(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What is to be sent to another worker.
    pub(super) fn outbox(&mut self, worker: usize) -> &mut Vec<SaleRequest> {
        &mut self.outboxes[worker]
    }
}

impl Sale {
    fn new((sku, hash): (&[u8], u64), place: SlotAt, row: RowId, now_ns: u64) -> Self {
        Self {
            sku: Bytes::copy_from_slice(sku),
            hash,
            key: sale_key(sku),
            place,
            waiting: Waiting::default(),
            flight: None,
            told_to_wait: Waiting::default(),
            owner: OwnerRequest::default(),
            said: None,
            known: Known::default(),
            holders: Holders::default(),
            info: None,
            partial: Vec::new(),
            partial_error: None,
            dirty: false,
            active_ns: now_ns,
            row,
        }
    }

    /// Whether somebody waits for an answer.
    fn is_awaited(&self) -> bool {
        self.flight.is_some() || !self.waiting.is_empty() || !self.told_to_wait.is_empty()
    }
}

impl HotKeys {
    /// Has a sale looked at in this tick.
    pub(super) fn look_at_sale(&mut self, hash: u64) {
        if let Some(sale) = self.sales.homes.get_mut(&hash)
            && !std::mem::replace(&mut sale.dirty, true)
        {
            self.sales.dirty.push_back(hash);
            self.wake();
        }
    }

    /// Lends a sale out of the table, and puts it back.
    fn with_sale(&mut self, hash: u64, act: impl FnOnce(&mut Self, &mut Sale)) {
        let Some(mut sale) = self.sales.homes.remove(&hash) else { return };
        act(self, &mut sale);
        self.sales.homes.insert(hash, sale);
    }

    /// The home of a sale begins, unless there are as many as there may be.
    fn begin_sale(&mut self, core: &mut Core, (sku, hash): (&[u8], u64), place: SlotAt) -> bool {
        if let Some(known) = self.sales.homes.get_mut(&hash) {
            known.active_ns = core.now_ns;
            return known.sku == sku;
        }
        if self.sales.homes.len() >= SALES_MAX {
            return false;
        }
        core.gateway.sales_used.notify_one();
        let row = core.tallies.sales.keys.acquire(sku.into());
        self.sales.homes.insert(hash, Box::new(Sale::new((sku, hash), place, row, core.now_ns)));
        self.arm(Due::Sale(hash), core.now_ns + IDLE_MISSING_NS);
        true
    }

    /// A sale was changed by an operator of this gateway: how it stands is asked anew, also for those who look at it.
    pub fn look_at_changed_sale(&mut self, core: &mut Core, (sku, hash): (&[u8], u64), place: SlotAt) {
        if !self.begin_sale(core, (sku, hash), place) {
            return;
        }
        let waiter = Waiter::asking(core.index, AnswerTo::SaleHome, core.now_ns);
        let Some(sale) = self.sales.homes.get_mut(&hash) else { return };
        sale.known.forget();
        sale.info = None;
        sale.waiting.push(Item { waiter, op: ReserveOp::on(OpKind::Info, b""), user: 0, part: None });
        self.look_at_sale(hash);
    }
}
