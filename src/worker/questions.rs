//! What a client asks of other threads: a task waits for the answer and takes its turn when that has come.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::client::tracking::Redirect;
use super::client::tracking_options::Asked;
use super::decide::local::WRONGPASS;
use super::ended::Ended;
use super::names::{ClientKey, ReplySlot};
use super::owners::Worker;
use super::reply::ReplyBytes;
use super::turn::turn;
use crate::resp::encode;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::mailbox::WorkerMessage;

impl Worker {
    /// The control thread answers the request in slot `sequence` of a client's reply queue.
    pub(super) fn await_control(&mut self, key: ClientKey, sequence: u32, answer: oneshot::Receiver<Bytes>) {
        let Some(worker) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let answer = answer
                .await
                .unwrap_or_else(|_| Bytes::from_static(b"-ERR hotgate: the gateway is stopping\r\n"));
            turn(&worker, |worker| {
                let (slot, ended) = (ReplySlot::new(key, sequence), Ended::answered(RequestClass::Local));
                worker.clients.settle(&mut worker.core, slot, ended, ReplyBytes::Owned(answer));
            });
        });
    }

    /// The log-in in slot `sequence` of a client's reply queue failed, as the ones before it from there.
    pub(super) fn refuse_login_later(&mut self, key: ClientKey, sequence: u32, pause: Duration) {
        let Some(worker) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            turn(&worker, |worker| {
                let mut text = Vec::new();
                encode::error(&mut text, WRONGPASS);
                let ended = Ended::failed(RequestClass::Local, ErrorKind::ClientAuth);
                let slot = ReplySlot::new(key, sequence);
                worker.clients.settle(&mut worker.core, slot, ended, ReplyBytes::Borrowed(&text));
            });
        });
    }

    /// Asks the other workers for the client with this id, to which the client `key` wants to redirect its invalidations.
    pub(super) fn find_redirect(&mut self, key: ClientKey, sequence: u32, asked: Asked, id: u64) {
        let own = self.core.index;
        let workers = self.core.gateway.workers.iter().map(|worker| worker.mailbox.clone()).enumerate();
        let others: Vec<_> = workers.filter(|(worker, _)| *worker != own).collect();
        let Some(worker) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let mut redirect = None;
            for (worker, mailbox) in others {
                let (reply, found) = oneshot::channel();
                if mailbox.send(WorkerMessage::FindClient { id, reply }).await.is_ok()
                    && let Ok(Some(client)) = found.await
                {
                    redirect = Some(Redirect { id, worker, client });
                }
            }
            turn(&worker, |worker| worker.sessions().apply_tracking(key, sequence, asked, redirect));
        });
    }
}
