//! The task of one client connection, and how it ends.
//!
//! A connection ends in steps, because closing a socket whose input was not read makes the kernel send a reset, and a
//! reset may overtake the last reply: answer what is unsettled, write everything, shut our side, read and drop what still
//! comes, and close when the peer has closed too or [`LINGER_NS`] have passed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::session::Session;
use super::{Client, Gate, Phase};
use crate::limits::{READ_AHEAD_BYTES_MAX, READS_PER_TURN_MAX};
use crate::shared::labels::CloseReason;
use crate::worker::intake::Filled;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;
use crate::worker::serve::serve;
use crate::worker::turn::turn;

/// How long a finished connection waits for its peer to close. Long enough for a last reply on a slow link.
const LINGER_NS: u64 = 1_000_000_000;

/// Serves the client `key` until its connection is closed.
pub async fn run(worker: Rc<RefCell<Worker>>, key: ClientKey) {
    poll_fn(|cx| turn(&worker, |worker| drive(worker, key, cx))).await;
    turn(&worker, |worker| end(worker, key));
}

fn end(worker: &mut Worker, key: ClientKey) {
    let Some(client) = worker.clients.all.remove(key) else { return };
    worker.release_passage(key, client.passage);
    worker.core.gateway.connections.release();
    let tally = &mut worker.core.tallies.clients;
    if let Phase::Dead(reason) = client.phase {
        tally.closed[reason.index()] += 1;
    }
    end_session(worker, client.session);
}

fn drive(worker: &mut Worker, key: ClientKey, cx: &mut Context<'_>) -> Poll<()> {
    let Some(client) = worker.clients.all.get_mut(key) else { return Poll::Ready(()) };
    if client.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        client.waker = Some(cx.waker().clone());
    }
    if client.write_blocked {
        client.write_blocked = matches!(client.stream.poll_write_ready(cx), Poll::Pending);
    }
    for turn in 0.. {
        if turn == READS_PER_TURN_MAX {
            cx.waker().wake_by_ref();
            break;
        }
        let progress = match worker.clients.all.get(key).map(|client| client.phase) {
            Some(Phase::Open) => read_and_serve(worker, key, cx),
            Some(Phase::Lingering(..)) => drop_input(worker, key, cx),
            _ => false,
        };
        if !progress {
            break;
        }
    }
    flush_client(worker, key);
    // What was written may have made room for requests that had to wait for just that.
    if let Some(client) = worker.clients.all.get_mut(key)
        && client.paused
        && client.gate == Gate::Open
        && client.may_go_on(&worker.core.config.limits)
    {
        cx.waker().wake_by_ref();
    }
    finish(worker, key, cx)
}

/// Serves what was read before, then reads once more. `false` when nothing more can be done now.
fn read_and_serve(worker: &mut Worker, key: ClientKey, cx: &mut Context<'_>) -> bool {
    serve(worker, key, &[]);
    let mut scratch = std::mem::take(&mut worker.scratch);
    let progress = read_once(worker, key, &mut scratch, cx);
    worker.scratch = scratch;
    progress
}

fn read_once(worker: &mut Worker, key: ClientKey, scratch: &mut [u8], cx: &mut Context<'_>) -> bool {
    let Some(client) = worker.clients.all.get_mut(key) else { return false };
    let Client { stream, inbox: Some(inbox), phase: Phase::Open, .. } = client else { return false };
    if inbox.end_of_stream {
        return false;
    }
    let kept = inbox.intake.partial.len();
    if client.paused && (kept >= READ_AHEAD_BYTES_MAX || !inbox.stalled.is_empty()) {
        return false;
    }
    match inbox.intake.poll_fill(stream, scratch, cx) {
        Poll::Pending => false,
        Poll::Ready(Ok(Filled::EndOfStream)) => {
            inbox.end_of_stream = true;
            true
        }
        Poll::Ready(Ok(Filled::Scratch(count))) => {
            client.bytes_in += count as u64;
            worker.core.tallies.clients.bytes_in += count as u64;
            serve(worker, key, &scratch[..count]);
            true
        }
        Poll::Ready(Ok(Filled::Partial)) => {
            let count = (inbox.intake.partial.len() - kept) as u64;
            client.bytes_in += count;
            worker.core.tallies.clients.bytes_in += count;
            true
        }
        Poll::Ready(Err(_)) => {
            client.phase = Phase::Dead(CloseReason::Io);
            false
        }
    }
}

/// Reads and drops. `false` when nothing more has come.
fn drop_input(worker: &mut Worker, key: ClientKey, cx: &mut Context<'_>) -> bool {
    let Some(client) = worker.clients.all.get_mut(key) else { return false };
    let Phase::Lingering(reason, _) = client.phase else { return false };
    let Some(inbox) = &mut client.inbox else { return false };
    inbox.intake = Default::default();
    match inbox.intake.poll_fill(&mut client.stream, &mut worker.scratch, cx) {
        Poll::Ready(Ok(Filled::Scratch(_) | Filled::Partial)) => true,
        Poll::Ready(Ok(Filled::EndOfStream) | Err(_)) => {
            client.phase = Phase::Dead(reason);
            false
        }
        Poll::Pending => false,
    }
}

/// Takes the next step towards the end, if it is time for one; ready when the connection is to be dropped.
fn finish(worker: &mut Worker, key: ClientKey, cx: &mut Context<'_>) -> Poll<()> {
    let now_ns = worker.core.now_ns;
    let Some(client) = worker.clients.all.get_mut(key) else { return Poll::Ready(()) };
    if client.phase == Phase::Open
        && !client.paused
        && client.inbox.as_ref().is_some_and(|inbox| inbox.end_of_stream)
    {
        client.phase = Phase::Finishing(CloseReason::Client);
    }
    if client.inbox.as_ref().is_some_and(|inbox| inbox.end_of_stream) && client.session.waits_on_server() {
        client.phase = Phase::Dead(CloseReason::Client);
    }
    if let Phase::Finishing(reason) = client.phase
        && client.replies.is_empty()
        && client.output.is_empty()
    {
        let gone = client.inbox.as_ref().is_some_and(|inbox| inbox.end_of_stream);
        let shut = Pin::new(&mut client.stream).poll_shutdown(cx);
        client.phase = match (gone, shut) {
            (false, Poll::Ready(Ok(()))) => Phase::Lingering(reason, now_ns + LINGER_NS),
            _ => Phase::Dead(reason),
        };
        cx.waker().wake_by_ref();
    }
    match client.phase {
        Phase::Dead(_) => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

/// Writes what is ready for a client. What the socket does not take waits for the client's own task.
pub fn flush_client(worker: &mut Worker, key: ClientKey) {
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    if client.output.is_empty() || client.write_blocked || matches!(client.phase, Phase::Dead(_)) {
        return;
    }
    let before = client.output.len();
    let outcome = client.output.write_to(&mut client.stream);
    written(worker, key, before, outcome);
}

/// Offers its output to a client's socket though the kernel has not said that it takes any, and closes a client that has taken
/// nothing for too long.
pub fn press_on(worker: &mut Worker, key: ClientKey) {
    let timeout = worker.core.config.limits.output_stall_timeout;
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    let before = client.output.len();
    let outcome = client.output.press_into(&mut client.stream);
    written(worker, key, before, outcome);
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    // What was taken may have made room for its next request.
    client.wake();
    if client.stall.is_over(timeout) && !matches!(client.phase, Phase::Dead(_)) {
        tracing::warn!(
            client = %client.peer,
            waiting_bytes = client.output.len(),
            "closed a client that has taken nothing of its replies for limits.output_stall_timeout ({timeout:?}); a client \
             that reads more seldom needs a longer one"
        );
        close_client(worker, key, CloseReason::OutputStalled);
    }
}

/// What a try to write has come to: of `before` bytes, the output has what was not taken.
fn written(worker: &mut Worker, key: ClientKey, before: usize, outcome: io::Result<bool>) {
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    let written = (before - client.output.len()) as u64;
    client.bytes_out += written;
    worker.core.tallies.clients.bytes_out += written;
    match outcome {
        Ok(true) => {
            client.write_blocked = false;
            if client.stall.waits() {
                // To take what was asked for is no silence.
                client.active_ns = worker.core.now_ns;
            }
            client.stall.nothing_waits();
            client.pushed_bytes = client.session.held_push_bytes();
        }
        Ok(false) => {
            client.stall.tried(
                worker.core.now_ns,
                written > 0,
                worker.core.config.limits.output_stall_timeout,
            );
            client.write_blocked = true;
            client.wake();
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::WouldBlock {
                client.phase = Phase::Dead(CloseReason::Io);
                client.wake();
            }
        }
    }
}

/// Puts a client among those that are written at the end of the tick.
pub fn touch(worker: &mut Worker, key: ClientKey) {
    if let Some(client) = worker.clients.all.get_mut(key)
        && !client.touched
    {
        client.touched = true;
        worker.clients.dirty.push(key);
    }
}

/// Writes to all clients that got replies in this tick, one write each, and wakes those with something left to do.
pub fn flush_touched(worker: &mut Worker) {
    let mut touched = std::mem::take(&mut worker.clients.dirty);
    for key in touched.drain(..) {
        let Some(client) = worker.clients.all.get_mut(key) else { continue };
        client.touched = false;
        flush_client(worker, key);
        let Some(client) = worker.clients.all.get(key) else { continue };
        if client.paused || client.phase != Phase::Open {
            client.wake();
        }
    }
    // Clients touched meanwhile, if any, keep their place for the next tick.
    touched.append(&mut worker.clients.dirty);
    worker.clients.dirty = touched;
}

/// Ends a connection at once: what is unsettled or unwritten is dropped.
pub fn close_client(worker: &mut Worker, key: ClientKey, reason: CloseReason) {
    if let Some(client) = worker.clients.all.get_mut(key)
        && !matches!(client.phase, Phase::Dead(_))
    {
        client.phase = Phase::Dead(reason);
        client.wake();
    }
}

/// Ends a connection as Redis's own would have ended: what is ready leaves, and nothing else is answered.
pub fn hang_up(worker: &mut Worker, key: ClientKey, reason: CloseReason) {
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    if let Phase::Lingering(..) | Phase::Dead(_) = client.phase {
        return;
    }
    client.replies.abandon();
    client.phase = Phase::Finishing(reason);
    client.wake();
    // Others wait for its end, which must not depend on whether the peer closes too.
    let passage = client.passage.take();
    worker.release_passage(key, passage);
    touch(worker, key);
}

/// Gives up the upstream connections that a session held.
pub(in crate::worker) fn end_session(worker: &mut Worker, session: Session) {
    if let Some((_, key)) = session.watch {
        // What its transaction makes of the connection is not known yet.
        match session.executing.as_ref().is_some_and(|transaction| transaction.changes_connection()) {
            true => worker.upstreams.close_own(key),
            false => worker.upstreams.unwatch(&mut worker.core, key),
        }
    }
    let subscriptions = session.subscriptions.as_deref();
    let subscribed = subscriptions.iter().flat_map(|all| all.connections());
    let tracked = session.tracking.iter().flat_map(|tracking| &tracking.connections);
    let tracking = tracked.flat_map(|tracked| [Some(tracked.connection), tracked.companion]).flatten();
    let own = session.blocking.into_iter().chain(session.monitors.iter().copied());
    for key in own.chain(subscribed).chain(tracking) {
        worker.upstreams.close_own(key);
    }
}
