//! What one room of a worker asks of another.
//!
//! Rooms do not call each other. Whoever changes its own things and wants something changed elsewhere says so with an [`Effect`];
//! at the end of the turn ([`mod@super::turn`]) all of them are applied, in the order in which they were said. The queue is empty
//! between turns, so it is as long as what one turn reads can make it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::client::behind::Barrier;
use super::client::tracking_options::Asked;
use super::ended::Ended;
use super::errors::UpstreamError;
use super::names::{CacheFetchId, ClientKey, ReplySlot, UpstreamKey};
use super::owners::Worker;
use super::pending::Pending;
use super::reply::ReplyBytes;
use super::upstream_task::maintain;
use crate::limits::KEPT_BYTES_MAX;
use crate::shared::ending::Ending;
use crate::shared::handoff::{Answer, AnswerBytes, AnswerTo, Answers, Waiter};
use crate::shared::labels::{Outcome, RequestClass};

/// One thing that a room asks of another.
#[derive(Debug)]
pub enum Effect {
    /// The connection or the hot key that this client waits for has room: its request is looked at again.
    RoomForClient(ClientKey),
    /// The same for the queue of a hot key, by its hash.
    RoomForKey(u64),
    /// Something of a client was answered that has a barrier past keys in write-behind mode, which may be over now.
    EndBarrier(ClientKey),
    /// The barrier of a client that is ending: the homes of its keys are told.
    ReleaseBarrier(ClientKey, Box<Barrier>),
    /// Answer this slot of a client's reply queue when the control thread has answered.
    AwaitControl {
        /// The client.
        key: ClientKey,
        /// The slot.
        sequence: u32,
        /// The answer.
        answer: oneshot::Receiver<Bytes>,
    },
    /// Tell a client after this pause that its log-in failed.
    RefuseLogin {
        /// The client.
        key: ClientKey,
        /// The slot of its reply queue.
        sequence: u32,
        /// How long it waits.
        pause: Duration,
    },
    /// Find the client with this id at another worker, to which a `CLIENT TRACKING` redirects.
    FindRedirect {
        /// Who tracks.
        key: ClientKey,
        /// The slot of the command in its reply queue.
        sequence: u32,
        /// What it asks for.
        asked: Box<Asked>,
        /// The id.
        id: u64,
    },
    /// Start the task of a new connection.
    RunConnection(UpstreamKey),
    /// End a request that comes to nothing: with what Redis said last, or with the error.
    Fail(Box<(Pending, UpstreamError, Option<Bytes>)>),
    /// A read that makes a copy waits to be sent again.
    HoldCacheFetch(CacheFetchId),
    /// It is sent again.
    ResumeCacheFetch(CacheFetchId),
    /// Databases were swapped, or may have been: no copy holds any more.
    DatabasesSwapped,
    /// Grants have gathered that replicas are to confirm, in the group of this number.
    AskReplicas(usize),
}

/// What has been asked in this turn.
#[derive(Debug, Default)]
pub struct Effects {
    queue: VecDeque<Effect>,
    /// Answers to clients of this worker. They have a list of their own, since a flush may bring thousands.
    answers: Answers,
}

impl Effects {
    /// Asks for something.
    pub fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }

    /// Has a client of this worker answered that waits for operations on the hot key, or the sale, of this hash. `reply` are as many replies
    /// as it waits for.
    pub fn answer(&mut self, hash: u64, waiter: Waiter, ending: Ending, reply: ReplyBytes<'_>) {
        self.push_answer(Some(hash), waiter, ending, reply);
    }

    /// The same for an operation on a key in write-behind mode.
    pub fn answer_absorbed(&mut self, waiter: Waiter, outcome: Outcome, reply: ReplyBytes<'_>) {
        self.push_answer(None, waiter, outcome.into(), reply);
    }

    fn push_answer(&mut self, hash: Option<u64>, waiter: Waiter, ending: Ending, reply: ReplyBytes<'_>) {
        match reply {
            ReplyBytes::Borrowed(bytes) => self.answers.push_copied(hash, waiter, ending, bytes),
            ReplyBytes::Owned(bytes) => self.answers.push_shared(hash, waiter, ending, bytes),
        }
    }

    /// Gives back what the largest burst has left behind.
    pub fn give_back(&mut self) {
        self.answers.give_back(KEPT_BYTES_MAX);
    }
}

impl Worker {
    /// Does what rooms have asked of each other, and what that makes them ask.
    pub(super) fn apply_effects(&mut self) {
        loop {
            self.deliver_answers();
            let Some(effect) = self.core.effects.queue.pop_front() else { break };
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::RoomForClient(key) => {
                if let Some(client) = self.clients.all.get_mut(key) {
                    client.room_awaited = None;
                    client.wake();
                }
            }
            Effect::RoomForKey(hash) => self.hot.look_at_key(hash),
            Effect::AskReplicas(group) => self.ask_replicas(group),
            Effect::EndBarrier(key) => self.end_barrier(key),
            Effect::ReleaseBarrier(key, barrier) => self.release_barrier(key, Some(barrier)),
            Effect::AwaitControl { key, sequence, answer } => self.await_control(key, sequence, answer),
            Effect::RefuseLogin { key, sequence, pause } => self.refuse_login_later(key, sequence, pause),
            Effect::FindRedirect { key, sequence, asked, id } => {
                self.find_redirect(key, sequence, *asked, id)
            }
            Effect::RunConnection(key) => {
                if let Some(worker) = self.me.upgrade() {
                    tokio::task::spawn_local(maintain(worker, key));
                }
            }
            Effect::Fail(failed) => {
                let (pending, error, reply) = *failed;
                self.settle_error(&pending, &error, reply.as_deref());
            }
            Effect::DatabasesSwapped => self.drop_all_copies(),
            Effect::HoldCacheFetch(fetch) => self.hold_fetch(fetch),
            Effect::ResumeCacheFetch(fetch) => self.resume_fetch(fetch),
        }
    }

    /// Delivers the answers that hot keys have given so far.
    pub(super) fn deliver_answers(&mut self) {
        while !self.core.effects.answers.is_empty() {
            let mut answers = std::mem::take(&mut self.core.effects.answers);
            self.deliver_all_of(&answers);
            answers.clear();
            // The memory serves again.
            if self.core.effects.answers.is_empty() {
                self.core.effects.answers = answers;
                return;
            }
        }
    }

    /// Delivers answers to clients of this worker.
    pub(super) fn deliver_all_of(&mut self, answers: &Answers) {
        for (answer, reply) in answers.iter() {
            self.deliver_answer(answer, reply);
        }
    }

    fn deliver_answer(&mut self, answer: &Answer, reply: AnswerBytes<'_>) {
        let Waiter { to, operations, received_ns, upstream_ns, class, .. } = answer.waiter;
        let took_ns = self.core.now_ns.saturating_sub(received_ns);
        // Before its sale is forgotten, which the entry names.
        if self.core.standouts.has(took_ns, 0, reply.len()) {
            self.note_folded_standout(answer, reply.len());
        }
        match answer.hash {
            Some(sale) if class == RequestClass::Reserve => {
                self.hot.on_reservation_answered(&mut self.core, sale, &answer.waiter);
            }
            Some(key) => self.hot.on_answered(&mut self.core, key, &answer.waiter),
            None => {}
        }
        let AnswerTo::Slot { client, sequence } = to else { return };
        let slot = ReplySlot::new(ClientKey::from_number(client), sequence);
        if let Some(client) = self.clients.all.get_mut(slot.client) {
            client.combined -= operations;
        }
        let ended = Ended::shared(class, answer.ending, received_ns, upstream_ns);
        let reply = match reply {
            AnswerBytes::Copied(bytes) => ReplyBytes::Borrowed(bytes),
            AnswerBytes::Shared(bytes) => ReplyBytes::Owned(bytes.clone()),
        };
        match operations {
            1 => self.clients.settle(&mut self.core, slot, ended, reply),
            _ => self.clients.settle_run(&mut self.core, slot, ended, operations, reply),
        }
    }
}
