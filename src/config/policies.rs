//! The tables of the file that say what is done about hot keys and quotas.

use crate::limits::{COUNTER_SCRIPT_BY_MAX, QUOTA_VALUE_MAX};
use std::path::PathBuf;
use std::time::Duration;

use super::declare::section;
use super::schema::{
    GB, HOUR, KB, Kind, MB, MINUTE, MS, SECOND, count, count_or, duration, duration_or, size,
};
use super::types::{
    ExpireUnit, ExpireWhen, OnUnavailable, QuotaReply, ReadPolicy, RuleMode, Secret, TenantOver,
};

section! {
    /// `[detect]`: when a key counts as hot.
    Detect {
        enabled: bool = true, Kind::Flag, live,
            "Whether accesses are counted. If not, only rules make a key hot.";
        window: Duration = Duration::from_secs(1), duration(200 * MS, 2 * SECOND), restart,
            "The time over which rates are shown. A key is noticed within two steps of 100 ms in any case.";
        top_k: usize = 128, count(1, 1024), live,
            "The number of keys in the published hot set.";
        memory_max: usize = 8 * MB as usize, size(256 * KB, GB), restart,
            "The memory of each worker's counters. More memory makes the rates more exact.";
        enter_rate: u64 = 1000, count(1, 1_000_000_000), live,
            "The requests per second from which a key becomes hot, if its share is high enough too.";
        enter_share: f64 = 0.01, Kind::Share, live,
            "The share of all requests from which a key becomes hot, if its rate is high enough too.";
        leave_rate: u64 = 500, count(0, 1_000_000_000), live,
            "The requests per second below which a hot key cools.";
        leave_share: f64 = 0.005, Kind::Share, live,
            "The share of all requests below which a hot key cools.";
        enter_bytes_rate: Option<u64> = Some(32 * MB),
            Kind::Bytes { min: KB, max: 1024 * GB, zero: "bytes make no key hot" }, live,
            "The bytes per second, in and out, from which a key becomes hot at any rate.";
        hold: Duration = Duration::from_secs(2), duration(0, HOUR), live,
            "How long a key must stay below a leave threshold before it cools.";
        sample_max: u32 = 16, count(1, 1024), live,
            "Under pressure one access in up to this many is counted, and stands for all of them; 1 always \
             counts every access.";
        never_track: Vec<String> = Vec::new(), Kind::List { of: &Kind::Glob, min: 0, max: 100 }, live,
            "Patterns of keys that are never counted, shown or combined by detection.";
    }
}

section! {
    /// `[combine]`: how operations on a hot key are folded.
    Combine {
        enabled: bool = true, Kind::Flag, live,
            "Whether hot keys are combined. Rules that say combine apply in any case.";
        flush_interval: Duration = Duration::from_millis(1), duration(0, SECOND), live,
            "The longest pause between two flushes of one key.";
        early_flush_min: usize = 256, count(1, 1_048_576), live,
            "The number of operations that a pause must bring to be made.";
        pending_max: usize = 65_536, count(1, 16_777_216), live,
            "The number of operations that wait for one key's flush.";
        exactly_once: bool = false, Kind::Flag, live,
            "Whether each flush carries a token, so that it can be sent again when its outcome is unknown. \
             Flushes of write-behind always do.";
    }
}

section! {
    /// `[write_behind]`: the bounds of keys that a rule puts in write-behind mode.
    WriteBehind {
        flush_interval: Duration = Duration::from_millis(100), duration(MS, MINUTE), live,
            "How long an increment waits at most to be flushed: what a crash may lose without the journal.";
        flush_max: usize = 10_000, count(1, 16_777_216), live,
            "The number of increments of one key that are flushed without waiting for the interval.";
        pending_max: usize = 1_000_000, count(1, 1_000_000_000), live,
            "The number of increments of all keys that the process holds while Redis is away. Each worker has \
             an equal share.";
        journal: bool = false, Kind::Flag, restart,
            "Whether an increment is on disk before it is answered, so that a crash loses none.";
        journal_path: PathBuf = PathBuf::from("hotgate.journal"), Kind::Path, restart,
            "The directory of the journal's files. It belongs to one process. A relative name starts at the \
             working directory.";
        journal_adopt: bool = false, Kind::Flag, restart,
            "Whether pending increments in the journal are flushed although they were answered for servers \
             other than those of upstream.servers.";
        journal_bytes_max: u64 = GB, size(MB, 1024 * GB), restart,
            "The size of the journal.";
    }
}

section! {
    /// `[read_cache]`: the bounds of the copies that serve `tracked` and `ttl` reads. Each worker has its
    /// own.
    ReadCache {
        entries_max: usize = 1024, count(1, 1_048_576), live,
            "The number of replies that one worker keeps.";
        bytes_max: usize = 64 * MB as usize, size(64 * KB, 64 * GB), live,
            "The bytes of the replies that one worker keeps.";
        value_bytes_max: usize = MB as usize, size(64, 512 * MB), live,
            "The size of one reply that is kept.";
        tracked_age_max: Duration = Duration::from_secs(10), duration(MS, 24 * HOUR), live,
            "The age at which a tracked copy is read again even if nothing invalidated it.";
    }
}

section! {
    /// `[[route]]`: in which cluster the keys live that a pattern matches, or that a user names, or both.
    ///
    /// At least one of `match` and `user` is set in a `Config` that was parsed.
    Route {
        pattern as "match": Option<String> = None, Kind::Glob, live,
            "The pattern of the keys.";
        user: Option<String> = None, Kind::Text, live,
            "The user whose keys alone it is about: what comes over connections that have logged in as it.";
        clusters: Vec<String>, Kind::List { of: &Kind::Text, min: 1, max: 64 }, live,
            "The names of the clusters that share the keys; it must be given.";
        by: Option<String> = None, Kind::Template, live,
            "What of the key picks one of several clusters.";
        force: bool = false, Kind::Flag, live,
            "Whether a reload may change where the keys of this route live.";
    }
}

section! {
    /// `[[tenant]]`: what one of those who share the gateway may use of it.
    ///
    /// Exactly one of `match` and `user` is set in a `Config` that was parsed.
    Tenant {
        name: Option<String> = None, Kind::Text, live,
            "What the tenant is called in figures and errors.";
        pattern as "match": Option<String> = None, Kind::Glob, live,
            "The pattern of its keys: a request that names one is the tenant's.";
        user: Option<String> = None, Kind::Text, live,
            "Its user, instead of match: what comes over connections that have logged in as it is the tenant's.";
        rate: Option<u64> = None, count_or(1, 1_000_000_000, "as many as come"), live,
            "The number of requests per second that this gateway takes.";
        bytes_rate: Option<u64> = None, Kind::Bytes { min: KB, max: 1024 * GB, zero: "as many as come" }, live,
            "The bytes of requests and replies per second.";
        clients_max: Option<usize> = None, count_or(1, 1_000_000, "gateway.clients_max alone"), live,
            "The number of connections that may be logged in as its user.";
        burst: Duration = Duration::from_secs(1), duration(10 * MS, MINUTE), live,
            "For how long a rate that is not used is kept: so much may come at once.";
        over: TenantOver = TenantOver::Error,
            Kind::ChoiceOr { names: TenantOver::NAMES, key: "delay", of: &TENANT_DELAY }, live,
            "What a request gets that comes faster than a rate: an error at once, or only after its client was held back for a time.";
    }
}

impl Route {
    /// The pattern of its keys; that of all where only a user is given.
    pub fn pattern(&self) -> &str {
        self.pattern.as_deref().unwrap_or("*")
    }
}

const TENANT_DELAY: Kind = duration(MS, MINUTE);

impl Tenant {
    /// What it is called: its name, or else whose requests are its own.
    pub fn display_name(&self) -> &str {
        let names = [&self.name, &self.user, &self.pattern];
        names.into_iter().flatten().next().map_or("", String::as_str)
    }
}

section! {
    /// `[[rule]]`: what is done with the keys that a pattern matches.
    Rule {
        pattern as "match": String, Kind::Glob, live,
            "The pattern of the keys; it must be given.";
        mode: RuleMode = RuleMode::Auto, Kind::Choice { names: RuleMode::NAMES }, live,
            "What is done with writes: auto folds while the key is hot and its node has a queue, combine always, \
             write-behind answers before Redis does, off never.";
        exactly_once: bool = false, Kind::Flag, live,
            "Whether a flush of the keys carries a token: combine.exactly_once for these keys.";
        read: ReadPolicy = ReadPolicy::Collapse,
            Kind::ChoiceOr { names: ReadPolicy::NAMES, key: "ttl", of: &READ_TTL }, live,
            "What is done with reads: collapse is exact, tracked serves a copy that Redis invalidates, ttl a \
             copy of at most that age.";
    }
}

section! {
    /// `[[counter_script]]`: what a script does that counts.
    CounterScript {
        sha1: String, Kind::Text, live,
            "The SHA-1 digest under which EVALSHA calls the script; it must be given.";
        by: i64 = 1, Kind::Integer { min: 1, max: COUNTER_SCRIPT_BY_MAX }, live,
            "What a call adds to its one key.";
        by_argument: Option<usize> = None, count_or(1, 64, "by is added"), live,
            "The place of the argument that a call adds, instead of by: 1 is the first of ARGV.";
        expire: Option<Duration> = None, duration_or(MS, 366 * 24 * HOUR, "it sets none"), live,
            "The time to live that the script sets.";
        expire_argument: Option<usize> = None, count_or(1, 64, "it is no argument"), live,
            "The place of the argument that is the time to live, instead of expire: 1 is the first of ARGV.";
        expire_unit: ExpireUnit = ExpireUnit::Seconds, Kind::Choice { names: ExpireUnit::NAMES }, live,
            "The unit of that argument.";
        expire_when: ExpireWhen = ExpireWhen::New, Kind::Choice { names: ExpireWhen::NAMES }, live,
            "When the script sets the time to live: for a new counter, or with each call.";
    }
}

const READ_TTL: Kind = duration(MS, HOUR);

section! {
    /// `[admission]`: the bounds that all quotas share.
    Admission {
        keys_max: usize = 100_000, count(1, 10_000_000), live,
            "The number of counters under a quota whose state the process remembers.";
        bytes_max: usize = GB as usize, size(MB, 1024 * GB), live,
            "The memory that those counters may take together, including their names.";
    }
}

section! {
    /// `[reserve]`: how sales of reservations are looked after.
    Reserve {
        recheck: Duration = Duration::from_millis(50), duration(MS, MINUTE), live,
            "How often Redis is asked whether a sale that refuses users (sold out, closed, not open yet) still does.";
        sweep_interval: Duration = Duration::from_secs(1), duration(100 * MS, HOUR), live,
            "How often each sale is looked at for places whose time is over; of several gateways one does it.";
    }
}

section! {
    /// `[ledger]`: reservations in an SQL database, which `hotgate ledger` writes.
    Ledger {
        url: Option<Secret> = None, Kind::Secret, live,
            "The database that hotgate ledger writes reservations into; empty is none.";
        lag_max: usize = 100_000, count(1, 10_000_000), live,
            "The number of entries of one sale that the database may lack.";
        required: bool = false, Kind::Flag, live,
            "Whether a sale beyond lag_max gives no places until the database has caught up.";
    }
}

section! {
    /// `[[quota]]`: what the counters that a pattern matches may reach.
    ///
    /// Exactly one of `limit`, `limit_key` and `floor` is set in a `Config` that was parsed.
    Quota {
        pattern as "match": String, Kind::Glob, live,
            "The pattern of the counters; it must be given.";
        limit: Option<i64> = None, Kind::Integer { min: 0, max: QUOTA_VALUE_MAX }, live,
            "The value that the counter never exceeds.";
        limit_key: Option<String> = None, Kind::Template, live,
            "The key that holds the limit, instead of limit. In the counter's slot a change takes effect on the \
             next flush, elsewhere within recheck.";
        floor: Option<i64> = None, Kind::Integer { min: -QUOTA_VALUE_MAX, max: QUOTA_VALUE_MAX }, live,
            "The value that the counter never goes below, instead of limit: for stock that is counted down.";
        window: Option<Duration> = None, duration(MS, 366 * 24 * HOUR), live,
            "The time in which the limit may be used up once. It makes the limit a rate; without it the limit \
             is for ever.";
        wait_replicas: usize = 0, count(0, 16), live,
            "The number of replicas that must hold a grant before it is answered (WAIT).";
        wait_timeout: Duration = Duration::from_secs(1), duration(MS, MINUTE), live,
            "How long the replicas may take.";
        recheck: Duration = Duration::from_millis(50), duration(MS, MINUTE), live,
            "How often Redis is asked about an exhausted counter. Refusals in between are local.";
        reply: QuotaReply = QuotaReply::Error,
            Kind::ChoiceOr { names: QuotaReply::NAMES, key: "integer", of: &REPLY_INTEGER }, live,
            "What a refused client gets: an error, null, the counter's unchanged value, or a given integer.";
        on_unavailable: OnUnavailable = OnUnavailable::Refuse,
            Kind::Choice { names: OnUnavailable::NAMES }, live,
            "What happens while Redis is away.";
        enforce: bool = true, Kind::Flag, live,
            "Whether it refuses. With false it only counts what it would have refused.";
        exactly_once: bool = false, Kind::Flag, live,
            "Whether a flush of the counters carries a token: combine.exactly_once for these counters.";
    }
}

const REPLY_INTEGER: Kind = Kind::Integer { min: i64::MIN, max: i64::MAX };
