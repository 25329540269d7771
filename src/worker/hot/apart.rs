//! Flushes of counters whose slot moves key by key, while the keys of their script are on two nodes (`TRYAGAIN`).
//!
//! A plain increment is served all the while, so these are as well. What the clamp reads is asked for key by key, each where it
//! is, and the flush is made anew with what was found there: as a script of the counter alone, or without a quota as plain
//! commands. It carries no token, since no node takes a new key beside a counter that has not moved yet. If its connection
//! breaks, the outcome is unknown, as that of a plain increment is.
//!
//! Not so where a window counts beside the counter, and for what is owed, whose answers have left already: those wait until their keys are
//! together.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Sending;
use super::{FlushExit, FlushRequest, HotKey, HotKeys, Put};
use crate::combine::{Clamp, ClampRead};
use crate::resp::RespVersion;
use crate::worker::core::Core;
use crate::worker::names::FlushKey;
use crate::worker::pending::Origin;
use crate::worker::retryable::Retryable;

/// How far the flush of a key is whose keys are apart.
pub enum Apart {
    /// What its clamp reads is asked for, one after the other.
    Reading {
        /// The clamp.
        clamp: Arc<Clamp>,
        /// What it reads.
        reads: Vec<ClampRead>,
        /// What was found.
        found: Vec<Bytes>,
        /// The next question is on the wire.
        asked: bool,
    },
    /// It goes with this clamp.
    Ready(Option<Arc<Clamp>>),
}

impl HotKey {
    /// The clamp of the next flush, if its keys are apart and that is ready to go.
    pub(super) fn clamp_apart(&self) -> Option<Option<Arc<Clamp>>> {
        match &self.apart {
            Some(Apart::Ready(clamp)) => Some(clamp.clone()),
            _ => None,
        }
    }

    /// Whether a question of its flush is awaited or to be sent.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.apart, Some(Apart::Reading { .. }))
    }
}

impl HotKeys {
    /// A node said that the keys of a flush are not together. Says whether it goes on apart: otherwise it is to be tried
    /// again as it was.
    pub(super) fn go_apart(&mut self, hash: u64, home: &mut HotKey, reply: &[u8]) -> bool {
        let is_unclamped = self.entries.get(&hash).is_some_and(|entry| entry.is_unclamped);
        if !reply.starts_with(b"-TRYAGAIN ") || is_unclamped || !home.queue.take_back() {
            return false;
        }
        if home.apart.take().is_some() {
            return false;
        }
        let clamp = home.held.as_ref().and_then(|held| held.admission.clamp().cloned());
        home.apart = Some(match clamp {
            Some(clamp) => match clamp.reads() {
                reads if reads.is_empty() => Apart::Ready(Some(clamp)),
                reads => Apart::Reading { clamp, reads, found: Vec::new(), asked: false },
            },
            None => Apart::Ready(None),
        });
        home.owner.begin_anew();
        self.look_again(hash, home);
        true
    }

    /// Asks for what the clamp of a flush reads next, unless that is under way.
    pub(super) fn read_apart(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        hash: u64,
        home: &mut HotKey,
    ) {
        let Some(Apart::Reading { reads, found, asked, .. }) = &mut home.apart else { return };
        let Some(read) = reads.get(found.len()).filter(|_| !*asked) else { return };
        let request = [read.request().into()];
        *asked = true;
        let sending = self.next_sending();
        let origin = Origin::Flush(FlushKey { hash, sending });
        let flush = FlushRequest { origin, version: RespVersion::Resp2, commands: &request };
        match home.owner.send(core, exit, (home.place, sending), flush) {
            Put::Sent(node) => {
                home.sending = Sending { node: Some(node), expected: 1, ..Sending::default() };
            }
            Put::NoRoom => home.ask_again(),
            Put::Unreachable => {
                home.ask_again();
                self.try_later(core, hash, home);
            }
        }
    }

    /// An answer came, or its connection was lost.
    pub(super) fn finish_reading(&mut self, core: &mut Core, hash: u64, home: &mut HotKey, sending: Sending) {
        let Some(reply) = sending.replies.into_iter().next() else {
            home.ask_again();
            return self.try_later(core, hash, home);
        };
        if Retryable::of(&reply).is_some() {
            home.ask_again();
            return self.follow(core, hash, home, &reply);
        }
        let Some(Apart::Reading { clamp, reads, found, asked }) = &mut home.apart else { return };
        *asked = false;
        found.push(reply);
        if found.len() == reads.len() {
            home.apart = Some(Apart::Ready(Some(Arc::new(clamp.with_found(found)))));
        }
        home.owner.begin_anew();
        self.look_again(hash, home);
    }
}

impl HotKey {
    /// The question that was to go, or did, has no answer.
    fn ask_again(&mut self) {
        if let Some(Apart::Reading { asked, .. }) = &mut self.apart {
            *asked = false;
        }
    }
}
