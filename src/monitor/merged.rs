//! The tallies of all workers added up, and what happened between two such sums.
//!
//! Every struct of the tallies is taken apart field by field without `..`, so that a field added there and
//! forgotten here does not compile.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::shared::command_tallies::CommandCount;
use crate::shared::courses::KeyCourse;
use crate::shared::tallies::{
    AdmissionTallies, ClientTallies, CombineTallies, CombinedKeyTally, DetectorTallies, NodeTally,
    QuotaTally, ReadCacheTallies, SaleCounts, SaleTallies, SaleTally, WorkerTallies, WriteBehindTallies,
};
use crate::shared::tenant_tallies::TenantTally;

/// The sum over all workers.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// The plain part: everything but the rows by key, which are below.
    pub all: WorkerTallies,
    /// Combined keys.
    pub keys: HashMap<Arc<[u8]>, CombinedKeyTally>,
    /// Reads answered from the read cache, by key.
    pub cache_hits: HashMap<Arc<[u8]>, u64>,
    /// Whether the operations on each hot key pass or are folded.
    pub courses: HashMap<Bytes, KeyCourse>,
    /// Quotas by key and rule; the empty key stands for those beyond the bound.
    pub quotas: HashMap<(Arc<[u8]>, u16), QuotaTally>,
    /// Tenants, by name.
    pub tenants: HashMap<Arc<str>, TenantTally>,
    /// Sales of reservations. Each is known to one worker.
    pub sales: HashMap<Arc<[u8]>, SaleTally>,
}

impl Merged {
    /// Adds the workers up.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a WorkerTallies>) -> Self {
        let mut merged = Self::default();
        for worker in workers {
            merged.add(worker);
        }
        merged
    }

    fn add(&mut self, worker: &WorkerTallies) {
        let WorkerTallies {
            requests,
            errors,
            request_time,
            gateway_time,
            upstream_time,
            commands,
            big_keys,
            clients,
            redirects,
            standouts,
            nodes,
            combine,
            write_behind,
            admission,
            read_cache,
            quotas,
            sales,
            detector,
            courses,
            tenants,
            near,
        } = worker;
        let all = &mut self.all;
        for (mine, theirs) in all.requests.iter_mut().flatten().zip(requests.iter().flatten()) {
            *mine += theirs;
        }
        add_each(&mut all.errors, errors);
        add_each(&mut all.redirects, redirects);
        add_each(&mut all.standouts, standouts);
        all.request_time.merge(request_time);
        all.gateway_time.merge(gateway_time);
        all.upstream_time.merge(upstream_time);
        all.commands.add(commands);
        all.big_keys.add(big_keys);
        add_clients(&mut all.clients, clients);
        for (place, node) in nodes.iter().enumerate() {
            add_node(all.node(place), node);
        }
        self.add_combine(combine);
        add_write_behind(&mut self.all.write_behind, write_behind);
        add_admission(&mut self.all.admission, admission);
        add_read_cache(&mut self.all.read_cache, read_cache);
        for (key, tally) in read_cache.keys.iter() {
            *self.cache_hits.entry(key.clone()).or_default() += tally.hits;
        }
        add_detector(&mut self.all.detector, detector);
        let SaleTallies { all: counts, keys } = sales;
        add_sale_counts(&mut self.all.sales.all, counts);
        self.sales.extend(keys.iter().map(|(sku, tally)| (sku.clone(), tally.clone())));
        self.all.near.add(*near);
        for (name, tally) in tenants.names.iter().zip(&tenants.rows) {
            self.tenants.entry(Arc::clone(name)).or_default().add(tally);
        }
        for course in courses {
            self.add_course(course);
        }
        for (key, tally) in quotas.iter() {
            add_quota(self.quotas.entry((key.clone(), tally.rule)).or_default(), tally);
        }
        if quotas.overflow().admitted + quotas.overflow().refused.iter().sum::<u64>() > 0 {
            add_quota(
                self.quotas.entry((Arc::from(&b""[..]), quotas.overflow().rule)).or_default(),
                quotas.overflow(),
            );
        }
    }

    /// The state at the worker that interferes most is shown, and the commands that do not fold at any.
    fn add_course(&mut self, theirs: &KeyCourse) {
        let Some(mine) = self.courses.get_mut(&theirs.key) else {
            self.courses.insert(theirs.key.clone(), theirs.clone());
            return;
        };
        let (mut commands, mut clients) =
            (std::mem::take(&mut mine.commands), std::mem::take(&mut mine.clients));
        add_counts(&mut commands, &theirs.commands);
        // Each client has one worker.
        clients.extend(&theirs.clients);
        let mut unfolded = std::mem::take(&mut mine.unfolded);
        unfolded.extend(
            theirs.unfolded.iter().filter(|name| !unfolded.contains(name)).cloned().collect::<Vec<_>>(),
        );
        // Flushes leave at its home only.
        let flushes_max = [mine.flushes_max, theirs.flushes_max].into_iter().flatten().reduce(f64::min);
        let turn_wait_us = mine.turn_wait_us.max(theirs.turn_wait_us);
        if (mine.course, mine.for_ms) < (theirs.course, theirs.for_ms) {
            *mine = theirs.clone();
        }
        (mine.flushes_max, mine.turn_wait_us, mine.unfolded) = (flushes_max, turn_wait_us, unfolded);
        (mine.commands, mine.clients) = (commands, clients);
    }

    fn add_combine(&mut self, theirs: &CombineTallies) {
        let CombineTallies {
            offered,
            flushed,
            crowds,
            turn_waits,
            turn_wait_us,
            replayed,
            batch_size,
            added_wait_us,
            keys,
        } = theirs;
        let mine = &mut self.all.combine;
        mine.offered += offered;
        mine.flushed += flushed;
        mine.crowds += crowds;
        mine.turn_waits += turn_waits;
        mine.turn_wait_us += turn_wait_us;
        mine.replayed += replayed;
        mine.batch_size.merge(batch_size);
        mine.added_wait_us.merge(added_wait_us);
        for (key, tally) in keys.iter() {
            add_key(self.keys.entry(key.clone()).or_default(), tally);
        }
    }
}

fn add_each<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

fn add_clients(mine: &mut ClientTallies, theirs: &ClientTallies) {
    let ClientTallies {
        opened,
        closed,
        rejected,
        current,
        blocked,
        subscribed,
        bytes_in,
        bytes_out,
        buffered_in_bytes,
        buffered_out_bytes,
        buffered_bytes_max,
        paused,
    } = theirs;
    add_each(&mut mine.closed, closed);
    add_each(&mut mine.rejected, rejected);
    mine.opened += opened;
    mine.current += current;
    mine.blocked += blocked;
    mine.subscribed += subscribed;
    mine.bytes_in += bytes_in;
    mine.bytes_out += bytes_out;
    mine.buffered_in_bytes += buffered_in_bytes;
    mine.buffered_out_bytes += buffered_out_bytes;
    mine.buffered_bytes_max += buffered_bytes_max;
    mine.paused += paused;
}

fn add_node(mine: &mut NodeTally, theirs: &NodeTally) {
    let NodeTally {
        state,
        requests,
        errors,
        last_error,
        refusals,
        bytes_in,
        bytes_out,
        connects,
        reconnects,
        connect_failures,
        inflight,
        inflight_max,
        waiting,
        silent_ms,
        held_ms,
        queue_us,
        flushes_max,
        buffered_bytes,
        reply_us,
        commands,
    } = theirs;
    mine.state = mine.state.max(*state);
    mine.requests += requests;
    if *errors > mine.errors {
        mine.last_error = *last_error;
    }
    mine.errors += errors;
    add_each(&mut mine.refusals, refusals);
    mine.bytes_in += bytes_in;
    mine.bytes_out += bytes_out;
    mine.connects += connects;
    mine.reconnects += reconnects;
    mine.connect_failures += connect_failures;
    mine.inflight += inflight;
    mine.inflight_max += inflight_max;
    mine.waiting += waiting;
    mine.silent_ms = mine.silent_ms.max(*silent_ms);
    mine.held_ms = mine.held_ms.max(*held_ms);
    mine.queue_us = mine.queue_us.max(*queue_us);
    mine.flushes_max += flushes_max;
    mine.buffered_bytes += buffered_bytes;
    mine.reply_us.merge(reply_us);
    mine.commands.merge(commands, CommandCount::add);
}

fn add_counts(mine: &mut Vec<(String, u32)>, theirs: &[(String, u32)]) {
    for (name, count) in theirs {
        match mine.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(*count),
            None => mine.push((name.clone(), *count)),
        }
    }
}

fn add_key(mine: &mut CombinedKeyTally, theirs: &CombinedKeyTally) {
    let CombinedKeyTally { offered, flushed, added_wait_us_sum, queued, pending } = theirs;
    mine.offered += offered;
    mine.flushed += flushed;
    mine.added_wait_us_sum += added_wait_us_sum;
    mine.queued += queued;
    mine.pending += pending;
}

fn add_admission(mine: &mut AdmissionTallies, theirs: &AdmissionTallies) {
    let AdmissionTallies { keys, keys_max, bytes, bytes_max, refused_full, flushed } = theirs;
    mine.flushed += flushed;
    mine.keys += keys;
    mine.keys_max = mine.keys_max.max(*keys_max);
    mine.bytes += bytes;
    mine.bytes_max += bytes_max;
    mine.refused_full += refused_full;
}

fn add_write_behind(mine: &mut WriteBehindTallies, theirs: &WriteBehindTallies) {
    let WriteBehindTallies {
        absorbed,
        acknowledged,
        flushes,
        resends,
        replays,
        unknown_outcomes,
        unknown_deltas,
        lost_deltas,
        refused_full,
        pending,
        pending_max,
        oldest_pending_ms,
        journal_bytes,
        journal_syncs,
        journal_faults,
        journal_refusing,
        journal_full,
        journal_os_error,
    } = theirs;
    mine.absorbed += absorbed;
    mine.acknowledged += acknowledged;
    mine.flushes += flushes;
    mine.resends += resends;
    mine.replays += replays;
    mine.unknown_outcomes += unknown_outcomes;
    mine.unknown_deltas += unknown_deltas;
    mine.lost_deltas += lost_deltas;
    mine.refused_full += refused_full;
    mine.pending += pending;
    mine.pending_max += pending_max;
    mine.oldest_pending_ms = mine.oldest_pending_ms.max(*oldest_pending_ms);
    mine.journal_bytes += journal_bytes;
    mine.journal_syncs += journal_syncs;
    mine.journal_faults += journal_faults;
    mine.journal_refusing += journal_refusing;
    mine.journal_full += journal_full;
    mine.journal_os_error = mine.journal_os_error.max(*journal_os_error);
}

fn add_read_cache(mine: &mut ReadCacheTallies, theirs: &ReadCacheTallies) {
    let ReadCacheTallies { hits, misses, stores, invalidations, drops, entries, bytes, keys: _ } = theirs;
    mine.hits += hits;
    mine.misses += misses;
    mine.stores += stores;
    mine.invalidations += invalidations;
    mine.drops += drops;
    mine.entries += entries;
    mine.bytes += bytes;
}

fn add_quota(mine: &mut QuotaTally, theirs: &QuotaTally) {
    let QuotaTally { rule, admitted, admitted_units, refused, would_refuse, unchecked, owed_lost, rechecks } =
        theirs;
    mine.rule = *rule;
    mine.admitted += admitted;
    mine.admitted_units += admitted_units;
    add_each(&mut mine.refused, refused);
    mine.would_refuse += would_refuse;
    mine.unchecked += unchecked;
    mine.owed_lost += owed_lost;
    mine.rechecks += rechecks;
}

fn add_sale_counts(mine: &mut SaleCounts, theirs: &SaleCounts) {
    let SaleCounts { offered, added, confirmed, cancelled, refused, refused_here, calls, carried, resends } =
        theirs;
    add_each(&mut mine.offered, offered);
    mine.added += added;
    mine.confirmed += confirmed;
    mine.cancelled += cancelled;
    add_each(&mut mine.refused, refused);
    mine.refused_here += refused_here;
    mine.calls += calls;
    mine.carried += carried;
    mine.resends += resends;
}

fn add_detector(mine: &mut DetectorTallies, theirs: &DetectorTallies) {
    let DetectorTallies { accesses, sampled, excluded, displaced, tracked, memory_bytes } = theirs;
    mine.accesses += accesses;
    mine.sampled += sampled;
    mine.excluded += excluded;
    mine.displaced += displaced;
    mine.tracked += tracked;
    mine.memory_bytes += memory_bytes;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::labels::{NodeState, Outcome, RequestClass};

    #[test]
    fn workers_add_up_and_the_worst_level_counts() {
        let mut workers = [WorkerTallies::default(), WorkerTallies::default()];
        for (place, worker) in workers.iter_mut().enumerate() {
            worker.count(RequestClass::Counter, Outcome::Combined);
            worker.request_time.record(1_000);
            worker.write_behind.oldest_pending_ms = 10 * (place as u64 + 1);
            worker.node(1).requests = 3;
            let row = worker.combine.keys.acquire(Arc::from(&b"k"[..]));
            worker.combine.keys.row(row).offered = 5;
        }
        workers[1].node(1).state = NodeState::Down;
        let merged = Merged::of(&workers);
        assert_eq!(merged.all.requests_with(Outcome::Combined), 2);
        assert_eq!(merged.all.request_time.count(), 2);
        assert_eq!(merged.all.write_behind.oldest_pending_ms, 20);
        assert_eq!((merged.all.nodes[1].requests, merged.all.nodes[1].state), (6, NodeState::Down));
        assert_eq!(merged.keys[&b"k"[..]].offered, 10);
    }

    #[test]
    fn quotas_beyond_the_bound_appear_under_the_empty_key() {
        let mut worker = WorkerTallies::default();
        let mut row = worker.quotas.acquire(Arc::from(&b"0"[..]));
        for place in 1..=crate::limits::KEYS_TALLIED_MAX {
            row = worker.quotas.acquire(Arc::from(place.to_string().as_bytes()));
        }
        worker.quotas.row(row).admitted = 7;
        let merged = Merged::of([&worker]);
        assert_eq!(merged.quotas[&(Arc::from(&b""[..]), 0)].admitted, 7);
    }
}
