//! Combining: many operations on one hot key become one command, and every caller gets the reply that Redis would have given it
//! if the operations had come one by one.
//!
//! # What it does
//!
//! While a flush of a key is in flight, later operations on the key wait in its queue. When the flush is settled, the waiting
//! operations are folded into the next one. A run of increments becomes their sum, a run of `SET`s the last one, a run of equal
//! reads one read; other writes fold by their forms ([`WriteForm`]), transactions that count by their shape ([`transaction_op`]), and scripts that are
//! declared to count ([`CounterScript`]). The one reply from Redis settles all of them. Increments get
//! the partial sums in order of arrival, so their replies are unique and without gaps. A `GET` among them gets the value at its place.
//!
//! No waiting operation has been answered, so Redis might have run them in any order that keeps each connection's own order.
//! So operations of one kind may be taken together from among others (`places`). The history is linearizable, whatever other
//! clients write to the key between flushes.
//!
//! Equal operations that follow each other on one connection are one member of the queue ([`Member`]), which gets all their
//! replies at once.
//!
//! The idea is that of combining trees (Yew, Tzeng and Lawrie, "Distributing Hot-Spot Addressing in Large-Scale
//! Multiprocessors", IEEE ToC 1987) and of flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
//!
//! # Two forms of a flush
//!
//! *Plain*, the default: each segment is a command of its own (`INCRBY`, `HINCRBY`, `SET`, a read, ...), all in one write. Redis may
//! run other commands between them. The clients' own commands could do the same, so it needs no other rights and leaves no
//! other key. A sum that may differ from its parts is cut until it cannot; a run of one goes as it came. If Redis refuses a fold,
//! its writes are told so at once; its reads, and writes that might fare differently one by one, go again (`plain`), and for some
//! seconds such are not folded in that way any more (`refusals`). Nothing is folded before the server has accepted
//! the members' own commands from the gateway's user (`rights`): so a hot key is refused what it would be refused cold, and nothing
//! else. If the connection breaks after a write, its members get the error that they would have got without folding.
//!
//! *Exactly once*, where it is asked for: a script that applies the segments, one by one if need be, under a token. Quotas use
//! the script without a token.
//!
//! # Why remembering the last token is enough
//!
//! The token of a flush is (gateway id, key, sequence). The script keeps the last token that it applied, with its result, in a
//! companion key in the slot of the hot key. A call with that token returns the stored result and changes nothing. A call with
//! an earlier token is refused. A call with a later token is applied and remembered instead, in one atomic step. Claim: each flush
//! takes effect at most once, and if the gateway learns a result, it is the right one.
//!
//! - *Retry.* At most one flush per key and gateway is in flight. So while flush n is retried, there is no n+1, and the last
//!   token is n (it was applied) or earlier (it was not). In both cases the retry does the right thing.
//! - *A first sending that arrives late.* Redis may read the bytes of a lost connection after the retry. Then the last token is n,
//!   and the late call returns the stored result to nobody; or it is n+1 or later, and the late call is refused. That
//!   is why sequences are compared, and why even a first sending checks.
//! - *Given up.* A flush whose outcome was reported as unknown cannot take effect after a later one did.
//! - *Failover.* One script writes the counter and its companion, and they are replicated as one transaction. A promoted
//!   replica has both or neither, and a retry there is right in both cases. (An acknowledged write that the replica does not
//!   have is lost, as with any Redis; `WAIT` is the remedy.) The same holds for AOF and for a slot that moves, because the
//!   companion is in the slot.
//! - *Expiry.* The companion lives at least three quarters of [`TOKEN_TTL_MS`] from the moment that the flush was applied: most flushes
//!   leave it the time that an earlier one gave it. A retry is sent at most half of that
//!   time after the first sending, so it finds the companion. A server that evicts keys under memory pressure may drop it earlier:
//!   there the claim holds only while it stays.
//! - *Two gateways* have different ids, so different companions, and know nothing of each other.
//! - *A restarted gateway* has a new id. It cannot take an old companion for its own, and is not refused by it. What the old
//!   one had in flight was never acknowledged, and its companion expires.
//! - *The home of a key moves* from worker to worker. The sequence is the time of sending in microseconds of the process's
//!   clock, or the last sequence plus one. The old home has settled everything before the new one sends. So the new home's
//!   first sequence is later than the old home's last, and no state is handed over.
//! - *The companion was deleted* by `FLUSHALL`: the effect was deleted with it, and a retry is a new, right application.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock, no retry policy, no choice of keys. It does not take a command that does not fold: the caller lets that
//! wait for its connection's operations in the queue, and sends it the ordinary way. It does not reorder what one connection
//! sends: if that alternates between kinds, its operations share a flush but do not fold, and [`QueueCounters`] shows that the key
//! gains nothing. What goes by the script keeps the order of arrival.

mod apart;
mod clamp;
mod counter_script;
mod cut;
mod flight;
mod fold;
mod foldable_write;
mod member;
mod op;
mod pace;
mod places;
mod plain;
mod queue;
mod refusals;
mod retryable;
mod rights;
mod script;
mod script_shape;
mod segment;
mod settle;
mod slot_tags;
mod spares;
mod terms;
mod transaction;
mod transaction_shape;
mod transactions;
mod wire;
mod write_behind;
mod write_form;
mod writes;

pub use apart::{ClampRead, WindowShare};
pub use clamp::{
    CLAMP_VALUE_MAX, Cause, Ceiling, Charge, Clamp, ClampReport, Consumes, Refusal, ShadowBounds, Window,
    WindowState, override_key, window_key,
};
pub use counter_script::{Amount, CounterScript};
pub use foldable_write::FoldableWrite;
pub use member::{Member, Verb};
pub use op::{Foldable, Op, classify};
pub use queue::KeyQueue;
pub use script::{FLUSH_SCRIPT, TOKEN_TTL_MS, flush_script_sha};
pub use script_shape::ScriptShape;
pub use settle::Settled;
pub use slot_tags::{companion_key, is_companion_key, slot_tag};
pub use spares::SpareSegments;
pub use terms::{Again, Flush, FlushDecision, FlushPolicy, QueueCounters, ScriptNews, Settlement};
pub use transaction::transaction_op;
pub use transaction_shape::TransactionShape;
pub use transactions::{EXEC, MULTI};
pub use write_behind::{
    Action, Answer, BarrierTurn, Barriers, Delta, DeltaFlush, FlushInDoubt, FlushOutcome, Loss, LossSum,
    PendingBudget, Recovered, Retry, Taken, WriteBehindFacts, WriteBehindIdentity, WriteBehindKey,
    WriteBehindOp, WriteBehindPolicy, WriteBehindReply, WriteBehindWaiting,
};
pub use write_form::WriteForm;
