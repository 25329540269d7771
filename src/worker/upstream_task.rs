//! The task of one upstream connection: connect, carry requests and replies, break, wait, connect again.
//!
//! A shared connection is kept up for as long as its node is part of the topology; a session's ends with its first
//! break, because what it carried is lost with it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use tokio::time::{sleep, timeout};

use super::intake::{Filled, Intake};
use super::names::UpstreamKey;
use super::owners::Worker;
use super::turn::turn;
use super::upstream::greeting::{Connected, Greeting, GreetingError, greet};
use super::upstream::parallel::ALONE;
use super::upstream::{Left, Role, Upstream};
use crate::limits::READS_PER_TURN_MAX;

/// A connection that lived this long counts as a success: the next pause starts from the shortest again.
const STABLE_NS: u64 = 1_000_000_000;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// We closed it.
    Closed,
    /// It broke.
    Broken(String),
    /// Its node has another address: it is made anew at once, with what was put on it meanwhile.
    Moved,
    /// The server answers, but refused a request in a way after which the connection is of no further use.
    Refused(String),
}

/// Runs the connection `key` until it is not wanted any more.
pub async fn maintain(worker: Rc<RefCell<Worker>>, key: UpstreamKey) {
    let mut failures = 0_u32;
    loop {
        poll_fn(|cx| await_companion(&worker, key, cx)).await;
        let Some((greeting, patience)) = turn(&worker, |worker| worker.upstreams.greeting(&worker.core, key))
        else {
            // Something may have been queued while it waited for its companion.
            turn(&worker, |worker| worker.fail_all(key, "closed by the gateway"));
            break;
        };
        let outcome = greet_patiently(&worker, key, &greeting, patience).await;
        let Connected { stream, server_id, connect_ns, early } = match outcome {
            Ok(open) => open,
            Err(error) => {
                failures += 1;
                let pause = turn(&worker, |worker| worker.connect_failed(key, failures, &error));
                let Some(pause) = pause else { break };
                sleep(pause).await;
                continue;
            }
        };
        let opened_ns = turn(&worker, |worker| worker.connected(key, stream, server_id, connect_ns));
        let Some(opened_ns) = opened_ns else {
            // It was closed while it was being opened.
            turn(&worker, |worker| worker.fail_all(key, "closed by the gateway"));
            break;
        };
        turn(&worker, |worker| worker.deliver_early(key, early));
        let ended = poll_fn(|cx| turn(&worker, |worker| drive(worker, key, cx))).await;
        if matches!(ended, ConnectionEnd::Moved) {
            failures = 0;
            continue;
        }
        let lived_ns = worker.borrow().core.now_ns - opened_ns;
        // The connection of suspects is there to break.
        let is_alone = worker
            .borrow()
            .upstreams
            .connections
            .get(key)
            .is_some_and(|known| known.role() == Role::Shared(ALONE));
        let is_sound = lived_ns >= STABLE_NS || is_alone || matches!(ended, ConnectionEnd::Refused(_));
        failures = if is_sound { 1 } else { failures + 1 };
        let pause = turn(&worker, |worker| worker.disconnected(key, failures, ended));
        let Some(pause) = pause else { break };
        sleep(pause).await;
    }
    turn(&worker, |worker| worker.upstreams.remove_connection(key));
}

/// Connects and logs in within `patience`, or within the pause of a server that pauses everything.
async fn greet_patiently(
    worker: &Rc<RefCell<Worker>>,
    key: UpstreamKey,
    greeting: &Greeting,
    patience: Duration,
) -> Result<Connected, GreetingError> {
    let mut attempt = pin!(greet(greeting));
    loop {
        match timeout(patience, &mut attempt).await {
            Ok(outcome) => return outcome,
            Err(_) if turn(worker, |worker| worker.is_paused(key)) => {}
            Err(_) => return Err(GreetingError::Timeout),
        }
    }
}

/// Ready once the companion of the connection is open, if it has one.
fn await_companion(worker: &Rc<RefCell<Worker>>, key: UpstreamKey, cx: &mut Context<'_>) -> Poll<()> {
    turn(worker, |worker| {
        if let Some(upstream) = worker.upstreams.connections.get_mut(key) {
            upstream.woken = false;
            upstream.waker = Some(cx.waker().clone());
        }
        if worker.sessions().has_companion(key) { Poll::Ready(()) } else { Poll::Pending }
    })
}

/// Reads what has come, delivers it, writes what is queued.
fn drive(worker: &mut Worker, key: UpstreamKey, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
    let Some(upstream) = worker.upstreams.connections.get_mut(key) else {
        return Poll::Ready(ConnectionEnd::Closed);
    };
    upstream.woken = false;
    if upstream.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        upstream.waker = Some(cx.waker().clone());
    }
    if upstream.closing {
        return Poll::Ready(ConnectionEnd::Closed);
    }
    let given_up = upstream.given_up.take();
    let alive_ns = upstream.alive_ns;
    let mut outcome = Ok(());
    let mut has_read = false;
    for turn in 0.. {
        if turn == READS_PER_TURN_MAX {
            cx.waker().wake_by_ref();
            break;
        }
        match read(worker, key, cx) {
            Ok(true) => has_read = true,
            Ok(false) => break,
            Err(why) => {
                outcome = Err(why);
                break;
            }
        }
    }
    if outcome.is_ok() {
        look_at_pace(worker, key);
        write_or_yield(worker, key, has_read, cx);
    }
    // It is judged on what has come up to now.
    if let Some(why) = given_up
        && outcome.is_ok()
        && worker.upstreams.connections.get(key).is_some_and(|upstream| upstream.alive_ns == alive_ns)
    {
        outcome = Err(ConnectionEnd::Broken(why.to_owned()));
    }
    if outcome.is_ok() && worker.upstreams.connections.get(key).is_some_and(|upstream| upstream.leaving) {
        outcome = match worker.upstreams.left(key) {
            None => Ok(()),
            Some(Left::MadeAnew) => Err(ConnectionEnd::Moved),
            Some(Left::Closed) => Err(ConnectionEnd::Closed),
            Some(Left::Lost) => Err(ConnectionEnd::Broken("its name has other addresses now".to_owned())),
        };
    }
    match outcome {
        Ok(()) => Poll::Pending,
        Err(ended) => Poll::Ready(ended),
    }
}

/// Writes what is queued. When the task runs because replies have come, and not because a request was queued last, clients
/// that became ready in the same tick are still behind it in the runtime's queue: it lets them go first, once, so that all
/// of the tick's requests leave in one write.
///
/// A server that closes may have answered or said why before. So a socket that takes no more is still read: that ends with the
/// end of the stream or an error.
fn write_or_yield(worker: &mut Worker, key: UpstreamKey, has_read: bool, cx: &mut Context<'_>) {
    let Some(upstream) = worker.upstreams.connections.get_mut(key) else { return };
    if has_read && !upstream.yielded && upstream.wire.has_unwritten() {
        upstream.yielded = true;
        cx.waker().wake_by_ref();
        return;
    }
    upstream.yielded = false;
    if upstream.write_failed || !upstream.wire.has_unwritten() {
        return;
    }
    let node = upstream.node;
    worker.core.tick();
    let outcome = write(worker, key, cx);
    if let Some(Upstream { gauge, wire, .. }) = worker.upstreams.connections.get_mut(key) {
        gauge.on_write(worker.core.now_ns, wire.pushed(), wire.answered(), wire.has_unwritten());
    }
    if let Err(error) = outcome {
        tracing::debug!(node = %worker.core.node_name(node), %error, "can't write to an upstream node; reading what it said last");
        if let Some(upstream) = worker.upstreams.connections.get_mut(key) {
            upstream.write_failed = true;
        }
    }
}

fn write(worker: &mut Worker, key: UpstreamKey, cx: &mut Context<'_>) -> io::Result<()> {
    let Some(upstream) = worker.upstreams.connections.get_mut(key) else { return Ok(()) };
    let Upstream { stream: Some(stream), wire, alive_ns, .. } = upstream else { return Ok(()) };
    wire.begin_batch(worker.core.now_ns);
    while wire.has_unwritten() {
        let attempt = match wire.single_slice() {
            Some(slice) => stream.try_write(slice),
            None => {
                let mut slices: Vec<IoSlice<'_>> = Vec::new();
                wire.slices(&mut slices);
                stream.try_write_vectored(&slices)
            }
        };
        match attempt {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                wire.advance_written(count);
                // What the kernel takes whole says nothing of the node.
                if wire.has_unwritten() {
                    *alive_ns = worker.core.now_ns;
                }
                worker.core.tallies.node(upstream.node.position()).bytes_out += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads once and delivers. `Ok(false)` when nothing more has come.
fn read(worker: &mut Worker, key: UpstreamKey, cx: &mut Context<'_>) -> Result<bool, ConnectionEnd> {
    let mut scratch = std::mem::take(&mut worker.scratch);
    let outcome = read_into(worker, key, &mut scratch, cx);
    worker.scratch = scratch;
    outcome
}

fn read_into(
    worker: &mut Worker,
    key: UpstreamKey,
    scratch: &mut [u8],
    cx: &mut Context<'_>,
) -> Result<bool, ConnectionEnd> {
    let Some(upstream) = worker.upstreams.connections.get_mut(key) else { return Ok(false) };
    let role = upstream.role();
    let Upstream { stream: Some(stream), intake, node, alive_ns, held, .. } = upstream else {
        return Ok(false);
    };
    let before = intake.partial.len();
    let filled = match intake.poll_fill(stream, scratch, cx) {
        Poll::Pending => return Ok(false),
        Poll::Ready(Ok(filled)) => filled,
        Poll::Ready(Err(error)) => return Err(ConnectionEnd::Broken(error.to_string())),
    };
    *alive_ns = worker.core.now_ns;
    if let (true, Role::Shared(number)) = (std::mem::take(held), role) {
        worker.upstreams.pools.release(*node, number);
    }
    let node = node.position();
    match filled {
        Filled::EndOfStream => return Err(ConnectionEnd::Broken("the server closed it".to_owned())),
        Filled::Scratch(count) => {
            worker.core.tallies.node(node).bytes_in += count as u64;
            let (consumed, wanted) = worker.deliver_all(key, &scratch[..count])?;
            if let Some(upstream) = worker.upstreams.connections.get_mut(key) {
                upstream.intake.keep(&scratch[consumed..count], wanted);
            }
        }
        Filled::Partial => {
            let mut partial = std::mem::take(&mut intake.partial);
            worker.core.tallies.node(node).bytes_in += (partial.len() - before) as u64;
            let (consumed, wanted) = worker.deliver_buffer(key, &mut partial)?;
            partial.advance(consumed);
            if let Some(upstream) = worker.upstreams.connections.get_mut(key) {
                upstream.intake = Intake { partial, wanted };
                upstream.intake.consume(0);
            }
        }
    }
    Ok(true)
}

/// A shared connection was read until nothing more had come.
fn look_at_pace(worker: &mut Worker, key: UpstreamKey) {
    let Some(upstream) = worker.upstreams.connections.get_mut(key) else { return };
    // What waits for its turn on the connection of suspects does not wait for the node.
    if matches!(upstream.role(), Role::Shared(number) if number != ALONE) {
        let answered = upstream.wire.answered();
        if worker.hot.look_at_pace(&mut worker.core, upstream.node, &mut upstream.gauge, answered) {
            worker.look_for_crowds(key);
        }
    }
}
