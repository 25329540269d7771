//! What one room of a worker asks of another.
//!
//! Rooms do not call each other. Whoever changes its own things and wants something changed elsewhere says so with an [`Effect`];
//! at the end of the turn ([`mod@super::turn`]) all of them are applied, in the order in which they were said. The queue is empty
//! between turns, so it is as long as what one turn reads can make it.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::client::behind::Passage;
use super::client::tracking_options::Asked;
use super::errors::UpstreamError;
use super::names::{ClientKey, FillId, UpstreamKey};
use super::owners::Worker;
use super::pending::Pending;
use super::upstream::maintain;

/// One thing that a room asks of another.
#[derive(Debug)]
pub enum Effect {
    /// The connection that this client waits for has room: its request is looked at again.
    RoomForClient(ClientKey),
    /// The same for the queue of a hot key, by its hash.
    RoomForKey(u64),
    /// Something of a client was answered that has a passage past keys in write-behind mode, which may be over now.
    EndPassage(ClientKey),
    /// The passage of a client that is ending: the homes of its keys are told.
    ReleasePassage(ClientKey, Box<Passage>),
    /// Answer this slot of a client's reply queue when the control thread has answered.
    AwaitControl {
        /// The client.
        key: ClientKey,
        /// The slot.
        sequence: u32,
        /// The answer.
        answer: oneshot::Receiver<Bytes>,
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
    HoldFill(FillId),
    /// It is sent again.
    ResumeFill(FillId),
}

/// What has been asked in this turn.
#[derive(Debug, Default)]
pub struct Effects {
    queue: VecDeque<Effect>,
}

impl Effects {
    /// Asks for something.
    pub fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }
}

impl Worker {
    /// Does what rooms have asked of each other, and what that makes them ask.
    pub(super) fn apply_effects(&mut self) {
        while let Some(effect) = self.core.effects.queue.pop_front() {
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
            Effect::RoomForKey(hash) => self.look_at_key(hash),
            Effect::EndPassage(key) => self.end_passage(key),
            Effect::ReleasePassage(key, passage) => self.release_passage(key, Some(passage)),
            Effect::AwaitControl { key, sequence, answer } => self.await_control(key, sequence, answer),
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
            Effect::HoldFill(fill) => self.hold_fill(fill),
            Effect::ResumeFill(fill) => self.resume_fill(fill),
        }
    }
}
