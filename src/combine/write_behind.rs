//! Write-behind: increments of a counter are answered before Redis has them.
//!
//! # What it does
//!
//! The first operation on a key needs the value in Redis: the state machine asks once ([`Action::AskBase`]), and operations
//! wait for it. Then each increment is answered at once with: the last known total, plus the deltas in flight, plus the deltas
//! gathered here. A `GET` is answered in the same way. Gathered deltas go to Redis as one sum, under a token, by the flush script
//! of combining. The reply to the flush has the true total, so increments of others show from then on.
//!
//! A total that is old and has nothing pending is asked for again before it is used. If Redis does not answer, it is used anyway.
//!
//! Another command needs a barrier: everything taken before it is flushed, then the barrier holds the key ([`Action::Hold`]) until
//! the command has been answered. Operations behind it wait, because the value after the command must be asked for. Several
//! barriers may hold a key at once.
//!
//! # What is promised
//!
//! Deltas are added to the total in order of arrival, and each delta goes to Redis in exactly one flush. A flush
//! takes effect at most once ([`crate::combine`] says why; at most one is in flight here too). It ends in one of four
//! ways. The owner is told which ([`FlushOutcome`]), and it is counted:
//!
//! - *Applied.* Redis has it.
//! - *Returned.* It surely has not taken effect, and Redis may accept it later: out of memory, a replica, no permission,
//!   never sent. Its deltas gather again, for a later flush under a new token.
//! - *Lost.* Redis refused the sum because of what the key holds: another type, no integer, or too near the end of the
//!   64-bit range after writes of others. No retry could mean the same. The loss is stated exactly, and the key is passed
//!   through from then on. Deltas that gathered behind it are tried once.
//! - *Unknown.* The connection was lost after the flush was written, and its outcome could not be found out within half the
//!   life of its token. It is not sent again, because Redis might have forgotten that it took effect.
//!
//! # What it deliberately does not do
//!
//! No IO and no clock: time comes in as nanoseconds of the caller's clock. No file: the owner writes each delta and each
//! flush to the journal, if there is one, reports what is on disk ([`WriteBehindKey::durable`]), and takes back what
//! could not be written ([`WriteBehindKey::retract`]). No hashes. No quotas: a clamp needs Redis's decision before the reply.

mod answer;
#[cfg(test)]
mod barrier_model_tests;
mod barriers;
mod base;
mod flight;
mod gathered;
mod key;
#[cfg(test)]
mod model_tests;
mod probe;
mod reply;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Delta, LossSum, PendingBudget, Taken, WriteBehindFacts, WriteBehindOp};
pub use barriers::{BarrierTurn, Barriers};
pub use flight::{DeltaFlush, FlushInDoubt, FlushOutcome, Loss, Recovered, Retry};
pub use key::WriteBehindKey;

/// How a key is flushed. May differ from call to call.
#[derive(Clone, Copy, Debug)]
pub struct WriteBehindPolicy {
    /// How long a delta waits at most before it is sent, in nanoseconds.
    pub flush_interval_ns: u64,
    /// How many deltas are sent without waiting for that.
    pub flush_deltas_max: usize,
    /// How old the last known total may be to answer from when nothing is pending, in nanoseconds. Beyond it Redis is
    /// asked again, so that a key that others write to is not answered from the distant past.
    pub base_age_ns_max: u64,
    /// Whether the owner keeps a journal: then each delta has to be reported as durable, or retracted.
    pub journal: bool,
}

/// By what name Redis remembers the flushes of this process.
#[derive(Clone, Copy, Debug)]
pub struct WriteBehindIdentity<'a> {
    /// Differs from that of every other gateway. With a journal it is the journal's, which outlives the process, so that
    /// the next process can ask for the outcome of a flush that this one left in doubt.
    pub gateway_id: &'a [u8],
    /// Added to the clock's microseconds to make a token. With a journal: the highest token of its former life.
    pub token_floor: u64,
}

/// Who waits, in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBehindWaiting<M, B> {
    /// This member, for the answer to its operation.
    Op(WriteBehindOp, M),
    /// This barrier, to hold the key.
    Barrier(B),
}

/// What a reply to what was sent has settled.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteBehindReply {
    /// What the key holds is known, or that it holds no counter.
    Base,
    /// The same has to be sent again, for this reason.
    Again(Retry),
    /// The flush is over.
    Over(FlushOutcome),
}

/// The next action. Ask again until it is one of the last three.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<M, B> {
    /// Send `GET` of the key, once, and hand in the reply ([`WriteBehindKey::settle`]).
    AskBase,
    /// Send the bytes of [`WriteBehindKey::encode`]: behind the journal's record of it, if there is a journal.
    Flush(DeltaFlush),
    /// The key is passed through: send this member's operation the ordinary way.
    PassThrough(WriteBehindOp, M),
    /// This barrier holds the key from now on, until [`WriteBehindKey::end_hold`].
    Hold(B),
    /// A flush is over without a reply.
    Over(FlushOutcome),
    /// Ask again at this time, in nanoseconds on the caller's clock.
    NotBefore(u64),
    /// A reply is awaited, or the end of a hold; ask again when it has come.
    InFlight,
    /// Nothing is pending.
    Idle,
}
