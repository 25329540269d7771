//! Flushes of counters whose slot moves key by key, while the keys of their script are on two nodes (`TRYAGAIN`).
//!
//! A plain increment is served all the while, so these are as well. What stands beside the counter is asked for key by key, each where it
//! is, and the flush goes with what was found there: as a script of the counter alone, or without a quota as plain
//! commands. It carries no token, since no node takes a new key beside a counter that has not moved yet. If its connection
//! breaks, the outcome is unknown, as that of a plain increment is.
//!
//! ```text
//!   TRYAGAIN -> read limits -> count in windows -> the flush -> give back what windows have too much -> the next flush
//! ```
//!
//! Not so for what is owed, whose answers have left already: that waits until its keys are together.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Sending;
use super::{FlushExit, FlushRequest, HotKey, HotKeys, Put};
use crate::combine::{Clamp, ClampRead, ClampReport, WindowShare};
use crate::resp::RespVersion;
use crate::worker::core::Core;
use crate::worker::names::FlushKey;
use crate::worker::pending::Origin;
use crate::worker::retryable::Retryable;

/// How far the flush of a key is whose keys are apart.
pub enum Apart {
    /// Something is asked of one key after the other. `asked` says that a question is on the wire.
    Asking { step: Step, asked: bool },
    /// It goes with this clamp.
    Ready(Option<Arc<Clamp>>),
    /// The flush that is due has this clamp, and this was taken of its windows at that time. No other may go with it.
    Counted { clamp: Arc<Clamp>, taken: Vec<WindowShare>, at_ns: u64 },
}

/// What is asked.
pub enum Step {
    /// What the clamp reads.
    Reading { clamp: Arc<Clamp>, reads: Vec<ClampRead>, found: Vec<Bytes> },
    /// Room in its windows, for so many units.
    Taking { clamp: Arc<Clamp>, units: i64, taken: Vec<WindowShare>, since_ns: u64 },
    /// These are told how much was not used.
    GivingBack { requests: Vec<Bytes>, done: usize },
}

impl Step {
    /// The next question, if there is one.
    fn question(&self) -> Option<Bytes> {
        match self {
            Self::Reading { reads, found, .. } => reads.get(found.len()).map(ClampRead::request),
            Self::Taking { clamp, units, taken, .. } => {
                clamp.windows.get(taken.len()).map(|window| window.take(*units))
            }
            Self::GivingBack { requests, done } => requests.get(*done).cloned(),
        }
    }
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
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.apart, Some(Apart::Asking { .. }))
    }

    /// Whether it was counted in windows for a flush that was given up since.
    pub(super) fn is_counted_in_vain(&self) -> bool {
        matches!(self.apart, Some(Apart::Counted { .. })) && !self.queue.has_flight()
    }

    /// Its flush is over, with this report. Says whether something of its windows is to be given back before the next.
    pub(super) fn end_apart(&mut self, report: Option<&ClampReport>, now_ns: u64) -> bool {
        let Some(Apart::Counted { clamp, taken, at_ns }) = &self.apart else { return false };
        let elapsed_ms = now_ns.saturating_sub(*at_ns) / 1_000_000;
        let requests = clamp.give_back(taken, report, elapsed_ms);
        if requests.is_empty() {
            return false;
        }
        self.apart = Some(Apart::Asking { step: Step::GivingBack { requests, done: 0 }, asked: false });
        true
    }

    /// A question that was to go, or did, has no answer.
    fn ask_again(&mut self) {
        if let Some(Apart::Asking { asked, .. }) = &mut self.apart {
            *asked = false;
        }
    }

    /// All that its clamp reads was found: it goes with that, or its windows come next.
    fn go_on_with(&mut self, mut clamp: Clamp, now_ns: u64) -> Apart {
        if clamp.fault.is_some() {
            clamp.windows.clear();
        }
        if !clamp.counts_windows() {
            self.queue.take_back();
            return Apart::Ready(Some(Arc::new(clamp)));
        }
        // What was given up meanwhile leaves nothing to count.
        let units = self.queue.units_due(clamp.consumes).unwrap_or(0);
        let clamp = Arc::new(clamp);
        let step = Step::Taking { clamp, units, taken: Vec::new(), since_ns: now_ns };
        Apart::Asking { step, asked: false }
    }
}

impl HotKeys {
    /// A node said that the keys of a flush are not together. Says whether it goes on apart: otherwise it is to be tried
    /// again as it was.
    pub(super) fn go_apart(&mut self, core: &Core, hash: u64, home: &mut HotKey, reply: &[u8]) -> bool {
        let is_unclamped = self.entries.get(&hash).is_some_and(|entry| entry.is_unclamped);
        if !reply.starts_with(b"-TRYAGAIN ") || is_unclamped {
            return false;
        }
        let clamp = home.held.as_ref().and_then(|held| held.admission.clamp().cloned());
        // Windows are counted in for the very flush that is due; any other is made anew.
        let counts = clamp.as_ref().is_some_and(|clamp| clamp.counts_windows());
        let is_due = match &clamp {
            Some(clamp) if counts => home.queue.units_due(clamp.consumes).is_some(),
            _ => home.queue.take_back(),
        };
        if !is_due || home.apart.take().is_some() {
            return false;
        }
        home.apart = Some(match clamp {
            Some(clamp) => match clamp.reads() {
                reads if reads.is_empty() => {
                    home.go_on_with((*clamp).clone().without_shadow_windows(), core.now_ns)
                }
                reads => {
                    Apart::Asking { step: Step::Reading { clamp, reads, found: Vec::new() }, asked: false }
                }
            },
            None => Apart::Ready(None),
        });
        home.owner.begin_anew();
        self.look_again(hash, home);
        true
    }

    /// Asks what is to be asked next, unless that is under way.
    pub(super) fn ask_apart(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        hash: u64,
        home: &mut HotKey,
    ) {
        let Some(Apart::Asking { step, asked: asked @ false }) = &mut home.apart else { return };
        let Some(question) = step.question() else { return };
        let request = [question.into()];
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
    pub(super) fn finish_asking(&mut self, core: &mut Core, hash: u64, home: &mut HotKey, sending: Sending) {
        let gives_back = matches!(&home.apart, Some(Apart::Asking { step: Step::GivingBack { .. }, .. }));
        let reply = sending.replies.into_iter().next();
        match reply {
            Some(reply) if Retryable::of(&reply).is_none() => self.take_answer(core, hash, home, reply),
            // Nobody knows whether it was given back, and it must not be twice.
            None if gives_back => self.take_answer(core, hash, home, Bytes::new()),
            None => {
                home.ask_again();
                self.try_later(core, hash, home);
            }
            Some(reply) => {
                home.ask_again();
                self.follow(core, hash, home, &reply);
            }
        }
    }

    fn take_answer(&mut self, core: &mut Core, hash: u64, home: &mut HotKey, reply: Bytes) {
        let Some(Apart::Asking { step, .. }) = home.apart.take() else { return };
        let next = match step {
            Step::Reading { clamp, reads, mut found } => {
                found.push(reply);
                if found.len() == reads.len() {
                    home.go_on_with(clamp.with_found(&found).without_shadow_windows(), core.now_ns)
                } else {
                    Apart::Asking { step: Step::Reading { clamp, reads, found }, asked: false }
                }
            }
            Step::Taking { clamp, units, mut taken, since_ns } => {
                let Some(window) = clamp.windows.get(taken.len()) else { return self.look_again(hash, home) };
                match window.taken(&reply) {
                    Some(one) => taken.push(one),
                    None => {
                        let clamp = Arc::new(clamp.with_unusable(window, &reply));
                        home.queue.take_back();
                        home.apart = Some(Apart::Ready(Some(clamp)));
                        return self.look_again(hash, home);
                    }
                }
                if taken.len() < clamp.windows.len() {
                    Apart::Asking { step: Step::Taking { clamp, units, taken, since_ns }, asked: false }
                } else {
                    let counted = Arc::new(clamp.with_taken(&taken));
                    // Without a flush, all is given back.
                    let goes = home.queue.go_with(Arc::clone(&counted));
                    home.apart = Some(Apart::Counted { clamp: counted, taken, at_ns: since_ns });
                    if !goes && !home.end_apart(None, core.now_ns) {
                        home.apart = None;
                    }
                    home.owner.begin_anew();
                    return self.look_again(hash, home);
                }
            }
            Step::GivingBack { requests, done } if done + 1 < requests.len() => {
                Apart::Asking { step: Step::GivingBack { requests, done: done + 1 }, asked: false }
            }
            Step::GivingBack { .. } => return self.go_on(hash, home),
        };
        home.apart = Some(next);
        home.owner.begin_anew();
        self.look_again(hash, home);
    }
}
