//! One turn of a worker: the clock, an act, its effects, and one write to each client that got something.
//!
//! Every task of a worker acts in turns and borrows the worker in no other way, so no turn can forget what an act asks of other
//! rooms, or leave a reply unwritten.

use std::cell::RefCell;
use std::rc::Rc;

use super::owners::Worker;

/// Acts on the worker. Must not be called within a turn.
pub fn turn<T>(worker: &Rc<RefCell<Worker>>, act: impl FnOnce(&mut Worker) -> T) -> T {
    let worker = &mut *worker.borrow_mut();
    worker.core.tick();
    let outcome = act(worker);
    worker.apply_effects();
    worker.clients.flush_dirty(&mut worker.core);
    outcome
}
