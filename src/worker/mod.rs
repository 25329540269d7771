//! HOT: the data path. One thread owns everything in here.
//!
//! Each worker runs a tokio current-thread runtime with listeners of its own (`SO_REUSEPORT`), so the kernel deals the
//! connections out and workers have nothing to share. The path of a request reads top to bottom:
//!
//! ```text
//!   client_task, serve   (a) bytes -> request
//!   dispatch                one request: resolved, decided, asked of its policies, sent
//!   resolve                 request -> Resolved: command, class, keys with place and hash
//!   decide/                 (snapshots, session, Resolved) -> verdict
//!   policy                  quota, write-behind, copies, combining: their precedence
//!   send/                   the one exit: node, room, connection; or later
//!   upstream_task       (b) onto the wire, and off it; connection_ends: what is noted when a connection opens or ends
//!   deliver             (c) the reply finds its request; redirect, lost: or goes elsewhere, or nowhere
//!   finish                  what was forwarded ends with its reply, or with an error
//!   ended, client/settle (d) the one end, whoever answered: reply slot, class and outcome, times
//! ```
//!
//! Three rooms own things and import nothing of each other: [`client`], [`upstream`] and [`hot`]. What one wants of another it says
//! as an [effect](effects). [`session`] and [`send`] borrow clients and connections together. The files that lie here compose the
//! rooms: they alone have methods of the whole [`Worker`]. `tests/house` holds that.
//!
//! ```text
//!   owners, core, turn, effects        what a worker is, and one turn of it
//!   names, pending, reply, errors      words that all rooms use
//!   flush, enqueue, transactions, write_behind   hot keys meet clients and connections
//!   reserve                            so do sales of reservations
//!   copies, copy_connections           copies of values meet them
//!   standouts                          what was slow or large goes into the command log
//!   tenants, tenant_shares             limits of those who share the gateway
//! ```
//!
//! Invariants: no lock, no atomic and no blocking call in this directory; no await between a check and the act that rests on
//! it (`Worker` is borrowed within one poll only); every queue is bounded.

mod accept;
pub mod arena;
pub mod certified;
pub mod client;
mod client_task;
mod connection_ends;
mod copies;
mod copy_connections;
pub mod core;
mod crowds;
pub mod decide;
mod deliver;
pub mod denials;
pub mod dispatch;
pub mod effects;
pub mod ended;
mod enqueue;
pub mod errors;
mod finish;
pub mod flow;
pub mod flush;
mod handshakes;
pub mod hot;
pub mod intake;
mod lost;
mod messages;
pub mod names;
mod out_of_band;
pub mod owners;
pub mod parked;
pub mod pending;
pub mod policy;
mod questions;
mod redirect;
pub mod reply;
pub mod reply_times;
mod reserve;
pub mod resolve;
mod retries;
pub mod retryable;
pub mod rounds;
pub mod selection;
pub mod send;
pub mod serve;
pub mod session;
pub mod standouts;
mod tenant_shares;
mod tenants;
pub mod timers;
mod transactions;
pub mod turn;
pub mod upstream;
mod upstream_task;
pub mod user_login;
mod users;
mod write_behind;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::SLICE;
use crate::net::BoundListener;
use crate::shared::client_rows::ClientRowsInbox;
use crate::shared::gateway::{Gateway, Stage};
use crate::shared::mailbox::WorkerMessage;
use handshakes::Handshakes;
use hot::behind::{Unflushed, WorkerJournal};
use owners::Worker;
use turn::turn;

/// How often a draining worker looks whether its clients have gone.
const DRAIN_LOOK_PERIOD: Duration = Duration::from_millis(5);

/// What a worker is given to start with.
pub struct Setup {
    /// Its place among the workers.
    pub index: usize,
    /// What all threads share.
    pub gateway: Arc<Gateway>,
    /// Bound and listening, one per address.
    pub listeners: Vec<BoundListener>,
    /// Its mailbox.
    pub messages: mpsc::Receiver<WorkerMessage>,
    /// Asks for descriptions of its clients.
    pub client_rows: ClientRowsInbox,
    /// Its end of the journal, if there is one.
    pub journal: Option<WorkerJournal>,
}

/// What a worker leaves behind when it ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// Clients that it had to cut off.
    pub cut_off: usize,
    /// Increments that write-behind acknowledged and Redis does not have.
    pub unflushed: Unflushed,
    /// Increments that quotas let through while Redis was away and that it does not have.
    pub unpaid: Unflushed,
}

/// Runs one worker on the calling thread until the process stops.
///
/// # Errors
/// The runtime or a listener can't be set up.
pub fn run(setup: Setup) -> io::Result<Ended> {
    let runtime = LocalRuntime::new()?;
    runtime.block_on(serve(setup))
}

async fn serve(setup: Setup) -> io::Result<Ended> {
    let mut stage = setup.gateway.stage.clone();
    let worker = Worker::new(setup.index, setup.gateway);
    if let Some(journal) = setup.journal {
        turn(&worker, |worker| worker.hot.open_journal(&mut worker.core, journal));
    }
    let mut accepting = Vec::new();
    // Apart, so that those who knock with TLS do not keep others from coming by a balancer.
    let [with_tls, plain] = {
        let tls = &worker.borrow().core.config.tls;
        [(); 2].map(|()| Handshakes::new(tls.handshakes_max, tls.handshake_timeout))
    };
    for listener in setup.listeners {
        let listener = listener.accepting()?;
        let handshakes = Rc::clone(if listener.is_tls() { &with_tls } else { &plain });
        let accept = accept::accept(Rc::clone(&worker), listener, handshakes);
        accepting.push(tokio::task::spawn_local(accept));
    }
    tokio::task::spawn_local(retries::run_retries(Rc::clone(&worker)));
    tokio::task::spawn_local(messages::receive(Rc::clone(&worker), setup.messages));
    tokio::task::spawn_local(messages::describe_clients(Rc::clone(&worker), setup.client_rows));
    tokio::task::spawn_local(flush::pump(Rc::clone(&worker)));
    tokio::task::spawn_local(write_behind::follow_journal(Rc::clone(&worker)));
    tokio::task::spawn_local(follow_topology(Rc::clone(&worker)));
    tokio::task::spawn_local(follow_hot_set(Rc::clone(&worker)));
    tokio::task::spawn_local(follow_polled_limits(Rc::clone(&worker)));
    tokio::task::spawn_local(follow_overrides(Rc::clone(&worker)));
    tokio::task::spawn_local(housekeep(Rc::clone(&worker)));
    #[cfg(debug_assertions)]
    tokio::task::spawn_local(crate::panics::provoke("worker"));
    // An error means that the sender is gone, and with it the process.
    let _ = stage.wait_for(|stage| *stage >= Stage::HandedOver).await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = stage.wait_for(|stage| *stage >= Stage::Draining).await;
    turn(&worker, |worker| worker.core.draining = true);
    let mut look = interval(DRAIN_LOOK_PERIOD);
    loop {
        let stopped = *stage.borrow() == Stage::Stopped;
        if let Some(ended) = turn(&worker, |worker| drain(worker, stopped)) {
            return Ok(ended);
        }
        look.tick().await;
    }
}

/// What the worker leaves behind, once nothing is left to be done or it has to stop.
fn drain(worker: &mut Worker, stopped: bool) -> Option<Ended> {
    worker.housekeep();
    worker.hot.drain_behind();
    // Clients of other workers may need this one as the home of a key.
    let left = worker.core.gateway.connections.open();
    let is_over = stopped || (left == 0 && !worker.hot.owes() && !worker.hot.has_unflushed());
    is_over.then(|| Ended {
        cut_off: worker.clients.all.len(),
        unflushed: worker.hot.report_unflushed(&worker.core.gateway.key_names),
        unpaid: worker.hot.report_unpaid(&worker.core.gateway.key_names),
    })
}

/// Takes over each new topology as soon as it is published.
async fn follow_topology(worker: Rc<RefCell<Worker>>) {
    let mut changes = worker.borrow().core.gateway.topology.changes();
    while changes.changed().await.is_ok() {
        turn(&worker, Worker::look_at_snapshots);
    }
}

/// Takes over each new hot set as soon as it is published.
async fn follow_hot_set(worker: Rc<RefCell<Worker>>) {
    let mut hot_set = worker.borrow().core.gateway.hot_set.clone();
    while hot_set.changed().await.is_ok() {
        let published = Arc::clone(&hot_set.borrow_and_update());
        turn(&worker, |worker| worker.hot.adopt_hot_set(&mut worker.core, &published));
    }
}

/// Takes over limits of quotas as soon as they are published.
async fn follow_polled_limits(worker: Rc<RefCell<Worker>>) {
    let mut limits = worker.borrow().core.gateway.polled_limits.clone();
    limits.mark_changed();
    while limits.changed().await.is_ok() {
        let published = Arc::clone(&limits.borrow_and_update());
        turn(&worker, |worker| worker.hot.adopt_polled_limits(&published));
    }
}

/// Takes over what operators set for single counters as soon as it is published.
async fn follow_overrides(worker: Rc<RefCell<Worker>>) {
    let mut overrides = worker.borrow().core.gateway.overrides.clone();
    let mut known = Arc::clone(&overrides.borrow_and_update());
    while overrides.changed().await.is_ok() {
        let published = Arc::clone(&overrides.borrow_and_update());
        turn(&worker, |worker| worker.hot.adopt_overrides(&worker.core, &known, &published));
        known = published;
    }
}

async fn housekeep(worker: Rc<RefCell<Worker>>) {
    let mut period = interval(SLICE);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        turn(&worker, Worker::housekeep);
    }
}
