//! The task of one client connection: reads, has its requests served, writes, and takes the steps towards its end.
//!
//! It owns nothing: what is read, written and ended is a [`Client`](super::client::Client)'s own doing; who serves a request is
//! [`mod@super::serve`]'s.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::client::{Phase, Read};
use super::names::ClientKey;
use super::owners::Worker;
use super::serve::serve;
use super::turn::turn;
use crate::limits::READS_PER_TURN_MAX;

/// Serves the client `key` until its connection is closed.
pub async fn run(worker: Rc<RefCell<Worker>>, key: ClientKey) {
    poll_fn(|cx| turn(&worker, |worker| worker.drive_client(key, cx))).await;
    turn(&worker, |worker| worker.end_client(key));
}

impl Worker {
    fn drive_client(&mut self, key: ClientKey, cx: &mut Context<'_>) -> Poll<()> {
        let Some(client) = self.clients.all.get_mut(key) else { return Poll::Ready(()) };
        client.begin_turn(cx);
        for turn in 0.. {
            if turn == READS_PER_TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
            let progress = match self.clients.all.get_mut(key) {
                Some(client) if client.phase == Phase::Open => self.read_and_serve(key, cx),
                Some(client) => client.drop_input(&mut self.scratch, cx),
                None => false,
            };
            if !progress {
                break;
            }
        }
        self.clients.flush(&mut self.core, key);
        let Some(client) = self.clients.all.get_mut(key) else { return Poll::Ready(()) };
        client.end_turn(&self.core, cx)
    }

    /// Serves what was read before, then reads once more. `false` when nothing more can be done now.
    fn read_and_serve(&mut self, key: ClientKey, cx: &mut Context<'_>) -> bool {
        serve(self, key, &[]);
        let Some(client) = self.clients.all.get_mut(key) else { return false };
        match client.read(&mut self.core, &mut self.scratch, cx) {
            Read::Nothing => false,
            Read::Kept => true,
            Read::Fresh(count) => {
                let scratch = std::mem::take(&mut self.scratch);
                serve(self, key, &scratch[..count]);
                self.scratch = scratch;
                true
            }
        }
    }

    fn end_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.remove(key) else { return };
        self.release_barrier(key, client.barrier);
        if client.knocks {
            self.clients.logins.end();
        }
        self.core.gateway.connections.release();
        if let Phase::Dead(reason) = client.phase {
            self.core.tallies.clients.closed[reason.index()] += 1;
        }
        self.sessions().release_session(client.session);
    }
}
