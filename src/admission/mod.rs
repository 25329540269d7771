//! Admission: which counters have a quota, and what the gateway can answer about one without asking Redis.
//!
//! # Who decides
//!
//! Only the flush script grants: it adds to the counter and reads the limit in one step ([`crate::combine`]). So any number
//! of gateways share a quota without overshoot, and no gateway holds a share of it. This module only refuses, and only what
//! the script would refuse anyway. What it knows of a counter comes from the script's reports. When it refuses, that
//! knowledge is at most one recheck interval old.
//!
//! # A sold-out counter costs Redis almost nothing
//!
//! A counter is *exhausted* after a report that refused a member or left no room for one unit. Then an increment that does not
//! fit, by the last report, is refused locally. Once per recheck interval one increment goes to Redis instead, to find out
//! whether there is room again. Each key has one home worker in the process, so that is one command per interval, key
//! and process, whatever the load. A raised limit, or room that another gateway freed, is seen at the next recheck.
//!
//! Two kinds of operation always go to Redis: an increment that still fits, because it may be granted; and a release,
//! because it is always granted. After a release, operations that it may have made room for go too, until its flush is
//! settled. So `DECR` and then `INCR` on one connection are granted in that order, as Redis would. The same holds for `SET`
//! and then `DECR`, and for `DEL` and then `INCR`: once a client has written the counter, older knowledge refuses nothing.
//!
//! A window ends when its key expires at Redis. The script reports the time left. The state machine keeps the end on the
//! gateway's clock, never too early, and reopens the counter by itself.
//!
//! # When the script cannot decide
//!
//! - *Paused* by an operator: every increment and decrement is refused, releases too. Other commands work as usual: an operator
//!   corrects the counter with them, where the quota allows it.
//! - *Fault*: the limit key is missing, is no number, or has the wrong type. Every operation gets an error that says so.
//! - *Redis is away*, `on_unavailable = "refuse"`: every increment and decrement is refused.
//! - *Redis is away*, `on_unavailable = "allow"`: the gateway answers at once, from the last known value. It adds what it let
//!   through to the counter later, and to the windows that have not ended, before it grants anything else. It lets through only
//!   what fits by the last known state. A counter that was never seen counts from 0; with a floor, only what was
//!   put back meanwhile can be taken. If the limit is in a key that was never read, nothing is let through. One gateway alone can
//!   pass the limit only by what was in flight when Redis went away, and by what an unseen counter already held. Several
//!   gateways can pass it by what each of them let through as well.
//! - *Shadow mode* sends everything to Redis. The script counts and refuses nothing.
//!
//! # What it deliberately does not do
//!
//! No IO and no clock: time comes in as nanoseconds of one monotonic clock. It owns no queue, polls no key and writes no
//! override. It says which ([`KeyQuota::polled`], [`QuotaAction::command`]), and its owner does it.

mod answer;
mod counts;
mod facts;
mod freed;
mod key_quota;
mod known;
mod machine;
mod other_commands;
mod owed;
mod polled;
mod refusal;
mod replica_wait;
mod rules;
mod sell_out;
mod template;
mod verb;

pub use counts::{Counts, Reason, RuleCounts};
pub use facts::RuleFacts;
pub use key_quota::{Bound, KeyQuota, Limit, Part};
pub use machine::{Admission, Decision, Denial, Phase};
pub use other_commands::{CommandContext, MALFORMED_DELTA, OtherCommand, verdict_of_other_command};
pub use owed::Owed;
pub use polled::PolledLimit;
pub use replica_wait::ReplicaWait;
pub use rules::QuotaRules;
pub use sell_out::{RATE_SAMPLES_MAX, Rates, Sample, rate_per_second, sell_out_seconds};
pub use verb::{QUOTA_HELP, QuotaAction, Verb, overrides_index};
