//! Admission: which counters have a quota, and what the gateway can say about one without asking Redis.
//!
//! # Who decides
//!
//! Grants are decided in one place only, the flush script that adds to the counter ([`crate::combine`]): so any number
//! of gateways share a quota without overshoot, and none holds a share of it. What is decided here is a refusal that
//! the script would make anyway. Everything known of a counter comes from the script's reports, is at most a recheck
//! interval old whenever it refuses somebody, and never grants anything.
//!
//! # A sold-out counter costs Redis next to nothing
//!
//! After a report that refused somebody, or that left no room for a single unit, the counter is exhausted: an
//! increment that does not fit by what the report told is refused on the spot. Once per recheck interval one of them goes
//! to Redis instead, as the question whether there is room by now. Each key has one home in the process, so that is one
//! question per interval, key and process, whatever the load. So a limit that is raised, or room that another gateway's
//! release makes, is seen at the next question at the latest.
//!
//! What goes to Redis at any time: an increment that still fits, for it may be granted; and a release, for it is
//! always granted. From a release on, what it may have made room for goes too, until the flush that carries it is
//! settled: `DECR` and then `INCR` on one connection are granted in that order, as Redis itself would have them. So are `SET` and
//! then `DECR`, or `DEL` and then `INCR`: who has set or removed the counter is not held to what was told before.
//!
//! A window ends by the expiry of its key at Redis. The script tells how long that is off, the state keeps the moment
//! on the gateway's clock, never too early, and reopens by itself.
//!
//! # When the script cannot decide
//!
//! - *Paused* by an operator: every increment and decrement is refused, releases too, as the script does. Other commands fare
//!   as ever: what sets or removes the counter, where the quota allows that, is how an operator puts it right.
//! - *Fault*: the limit's key is missing or no number, or a key has the wrong type. All are told so.
//! - *Redis is away*: `on_unavailable = "refuse"` refuses. `"allow"` answers at once with the last known value and adds
//!   what it let through to the counter, and to those of its windows that still last, later, unchecked and before it grants
//!   anything else. It lets nothing through that did not fit by the last known state. Of a counter of which nothing is known
//!   it lets through what fits when counted from 0, or, of one with a floor, what was put back meanwhile; and nothing where
//!   the limit is in a key that was never read. So one gateway alone passes the limit by no more than what was under way
//!   when Redis went away, or what an unknown counter held already, and several by what each of them let through besides.
//! - *Shadow mode* sends everything to Redis, where the script counts and refuses nobody.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock: time comes in as nanoseconds of one monotonic clock. It owns no queue, polls no key and writes no
//! override: it says which ([`KeyQuota::polled`], [`QuotaAction::command`]), and its owner does.

mod answer;
mod counts;
mod debt;
mod facts;
mod freed;
mod key_quota;
mod known;
mod machine;
mod other_commands;
mod polled;
mod refusal;
mod replica_wait;
mod rules;
mod sell_out;
mod template;
mod verb;

pub use counts::{Counts, Reason, RuleCounts};
pub use debt::Debt;
pub use facts::RuleFacts;
pub use key_quota::{Bound, KeyQuota, Limit, Part};
pub use machine::{Admission, Decision, Denial, Phase};
pub use other_commands::{MALFORMED_DELTA, OtherCommand, Setting, verdict_of_other_command};
pub use polled::PolledLimit;
pub use replica_wait::ReplicaWait;
pub use rules::QuotaRules;
pub use sell_out::{RATE_SAMPLES_MAX, Rates, Sample, rate_per_second, sell_out_seconds};
pub use verb::{QUOTA_HELP, QuotaAction, Verb};
