//! Replies to operations on a key in write-behind mode, and the figures of the key.

use bytes::BufMut;

use super::flight::Loss;
use crate::combine::settle::OVERFLOW;
use crate::resp::{RespVersion, encode};

/// The operations that write-behind answers by itself. Everything else is a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBehindOp {
    /// `INCR`, `DECR`, `INCRBY`, `DECRBY`.
    Increment(i64),
    /// `GET`.
    Get,
}

/// The reply to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To an increment.
    Integer(i64),
    /// To a `GET`.
    Bulk(i64),
    /// To a `GET` of a key that does not exist.
    Null,
    /// To an increment that would leave the 64-bit range, in Redis' words.
    Overflow,
}

impl Answer {
    /// Appends the reply's bytes.
    pub fn encode(self, version: RespVersion, out: &mut impl BufMut) {
        match self {
            Self::Integer(value) => encode::integer(out, value),
            Self::Bulk(value) => encode::bulk(out, itoa::Buffer::new().format(value).as_bytes()),
            Self::Null => encode::null(out, version),
            Self::Overflow => encode::error(out, OVERFLOW),
        }
    }
}

/// A delta that was taken, for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Its place among the deltas of the key.
    pub sequence: u64,
    /// The delta.
    pub delta: i64,
}

/// What the key does with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is answered.
    Answer {
        /// The reply.
        answer: Answer,
        /// The delta that it added, if it did.
        /// With a journal the reply has to wait until this and all deltas before it are on disk: it tells of them.
        delta: Option<Delta>,
    },
    /// It is answered or released later.
    Waits,
    /// A bound is reached: too many deltas are pending in the process, or too many operations wait on the key. It has
    /// not been taken; its client gets an error.
    Refused,
    /// The key is not absorbed any more and nothing of it is pending: send the command the ordinary way.
    PassThrough,
}

/// How many deltas all keys together may hold that Redis has not acknowledged. The keys share one and take from it.
#[derive(Clone, Copy, Debug)]
pub struct PendingBudget {
    deltas_max: usize,
    deltas: usize,
}

impl PendingBudget {
    /// An unused budget.
    pub fn new(deltas_max: usize) -> Self {
        Self { deltas_max, deltas: 0 }
    }

    /// Changes the bound. What is held beyond it stays; no more is taken until it fits again.
    pub fn set_max(&mut self, deltas_max: usize) {
        self.deltas_max = deltas_max;
    }

    /// The bound.
    pub fn deltas_max(&self) -> usize {
        self.deltas_max
    }

    /// Deltas held.
    pub fn deltas(&self) -> usize {
        self.deltas
    }

    pub(super) fn take(&mut self) -> bool {
        let fits = self.deltas < self.deltas_max;
        self.deltas += usize::from(fits);
        fits
    }

    pub(super) fn take_over(&mut self, deltas: usize) {
        self.deltas += deltas;
    }

    pub(super) fn give_back(&mut self, deltas: usize) {
        self.deltas = self.deltas.saturating_sub(deltas);
    }
}

/// Deltas whose effect is missing, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossSum {
    /// How many deltas.
    pub deltas: u64,
    /// Their sum; it saturates at the end of the 64-bit range.
    pub sum: i64,
}

impl LossSum {
    pub(super) fn add(&mut self, loss: &Loss) {
        self.deltas += loss.count as u64;
        self.sum = self.sum.saturating_add(loss.sum);
    }
}

/// The state of a key and what became of its flushes, counted since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteBehindFacts {
    /// Deltas that Redis has not acknowledged: gathered or on their way.
    pub pending_deltas: usize,
    /// Their sum.
    pub pending_sum: i64,
    /// Some of them may be in Redis: a flush of them was given out to be sent, and its outcome is not known.
    pub in_doubt: bool,
    /// When the oldest of them was taken, in nanoseconds on the caller's clock.
    pub oldest_unflushed_ns: Option<u64>,
    /// Deltas taken.
    pub absorbed: u64,
    /// Deltas that Redis acknowledged.
    pub acknowledged: u64,
    /// Flushes, each counted once.
    pub flushes: u64,
    /// Flushes sent again, each time.
    pub resends: u64,
    /// Flushes whose outcome could not be found out.
    pub unknown_outcomes: u64,
    /// Their deltas.
    pub unknown: LossSum,
    /// Deltas that Redis refused for good.
    pub lost: LossSum,
    /// Flushes taken over from a former process whose outcome was in doubt.
    pub replays: u64,
}
