//! The task that has requests sent again when their time has come.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::owners::Worker;
use super::turn::turn;

/// Runs the queue of one worker for as long as it lives.
pub(super) async fn run_retries(worker: Rc<RefCell<Worker>>) {
    let arrived = worker.borrow().upstreams.retries.arrivals();
    loop {
        let (front, now_ns) =
            turn(&worker, |worker| (worker.upstreams.retries.next_due_ns(), worker.core.now_ns));
        match front {
            None => arrived.notified().await,
            Some(due_ns) if due_ns > now_ns => sleep(Duration::from_nanos(due_ns - now_ns)).await,
            Some(_) => turn(&worker, |worker| {
                worker.look_at_snapshots();
                worker.sender().run_due();
            }),
        }
    }
}
