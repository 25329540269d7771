//! Combining: many operations on one hot key become one, and every caller gets the reply that Redis would have given
//! it had they arrived one by one.
//!
//! # What it does
//!
//! While a flush of a key is on the wire, later operations on the key queue up. When it settles, what has queued is
//! folded into the next: a run of increments into their sum, a run of `SET`s into the last, a run of equal reads into
//! one, other writes by their forms ([`WriteForm`]). The one reply from Redis then settles all of them: the increments get the partial sums, in the order in which
//! they arrived, so replies are unique and gapless, and a `GET` between them gets the value at its place. None of what waits has
//! been answered, so any order of it is one in which Redis might have run it, as long as each connection's own stays: so
//! operations of one kind come together from among others (`places`), and the folded history is linearizable, whatever
//! other clients write to the key between flushes.
//! Equal operations that come one behind the other on one connection are one member of the queue ([`Member`]) that is told
//! all their replies at once.
//! The idea is that of combining trees (Yew, Tzeng and Lawrie, "Distributing Hot-Spot Addressing in Large-Scale
//! Multiprocessors", IEEE ToC 1987) and of flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA 2010).
//!
//! # Two forms of a flush
//!
//! *Plain*, the default: each segment is a command of its own (`INCRBY`, `HINCRBY`, `SET` or a read), all in one write, each with a
//! place of its own in the order of what Redis does. That is no more than the clients' own commands could do, so it needs no other
//! rights and leaves no other key. What cannot be proved to be worth its parts is cut until it can; a run of one goes as it
//! came; and where Redis refuses a fold whose members might fare differently, they go again as they came (`plain`).
//! Nothing is folded that the server has not taken from the gateway's user as it came (`rights`), so a key that is hot is refused
//! what it would be refused cold, and nothing else.
//! A connection that is lost after a write leaves its members with the error that they would have got without folding.
//!
//! *Exactly once*, where it is asked for: a script that applies the segments, one by one if need be, under a token. The script
//! without a token is what quotas use.
//!
//! # Why remembering the last token is enough
//!
//! The token of a flush is (gateway id, key, sequence). The script keeps the last one that it applied, with its result,
//! in a companion key in the slot of the hot key. A call with that very token returns the result and changes nothing;
//! one with an earlier token is refused; one with a later token is applied and remembered in its place, all in one
//! atomic step. Claim: each flush takes effect at most once, and if the gateway learns a result, it is the right one.
//!
//! - *Retry.* At most one flush per key and gateway is in flight, so while flush n is retried no n+1 exists, and the
//!   last token is n (it was applied) or earlier (it was not). Either way the retry does the right thing.
//! - *A first sending that arrives late.* The bytes of a lost connection may lie unread in Redis and be executed after
//!   the retry: the token is then n, and the late one returns the stored result to nobody. Or after n+1: the token is
//!   later, and the late one is refused. This is why sequences are compared, and why even a first sending looks.
//! - *Given up.* A flush whose outcome was reported as unknown cannot take effect any more once a later one did.
//! - *Failover.* The counter and its companion are written by one script, and replicated as one transaction: a replica
//!   that is promoted has both or neither, and a retry there is right in both cases. (An acknowledged write that the
//!   replica has not got is lost, as with any Redis; `WAIT` is the remedy.) The same holds for AOF and for a slot that
//!   moves, since the companion is in the slot.
//! - *Expiry.* The companion lives [`TOKEN_TTL_MS`] from the moment that the flush was applied. A retry is sent at
//!   most half of that after the first sending, so it finds it. A server that evicts keys under memory pressure
//!   may drop the companion earlier: there, the claim holds only while it stays.
//! - *Two gateways* have different ids, hence different companions, and know nothing of each other.
//! - *A restarted gateway* has a new id: it can neither take an old companion for its own nor be refused by it. What the
//!   old one had in flight was never acknowledged; its companion expires.
//! - *The home of a key moves* from worker to worker: the sequence is the time of the sending in microseconds of the
//!   process's clock, or the last plus one. The old home has settled all before the new one sends, so the new home's
//!   first sequence is later than the old home's last, and no state has to be handed over.
//! - *The companion was deleted* by `FLUSHALL`: the effect went with it, and a retry is a new, right application.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock, no retry policy, no choice of keys. A command that does not fold is not taken: the caller lets it
//! wait for what its own connection has in the queue, and sends it the ordinary way. What one connection sends is not
//! reordered: where it alternates between kinds, its operations share a flush, but do not fold, and [`QueueCounters`]
//! shows when a key gains nothing. What goes by the script keeps the order of arrival.

mod clamp;
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
mod retryable;
mod rights;
mod script;
mod segment;
mod settle;
mod slot_tags;
mod spares;
mod terms;
mod wire;
mod write_behind;
mod write_form;
mod writes;

pub use clamp::{
    CLAMP_VALUE_MAX, Cause, Ceiling, Charge, Clamp, ClampReport, Consumes, Refusal, ShadowBounds, Window,
    WindowState, override_key, window_key,
};
pub use foldable_write::FoldableWrite;
pub use member::{Member, Verb};
pub use op::{Foldable, Op, classify};
pub use queue::KeyQueue;
pub use script::{FLUSH_SCRIPT, TOKEN_TTL_MS, flush_script_sha};
pub use settle::{OUTCOME_UNKNOWN, Settled};
pub use slot_tags::{companion_key, is_companion_key, slot_tag};
pub use spares::SpareSegments;
pub use terms::{Again, Flush, FlushDecision, FlushPolicy, Full, QueueCounters, QueueLimits, Settlement};
pub use write_behind::{
    Action, Answer, Delta, DeltaFlush, FlushInDoubt, FlushOutcome, Loss, LossSum, PendingBudget, Recovered,
    Retry, Taken, WriteBehindFacts, WriteBehindIdentity, WriteBehindKey, WriteBehindOp, WriteBehindPolicy,
};
pub use write_form::WriteForm;
