//! What a client has to do with tenants: whose its user is, and whose the requests are that it waits for.
//!
//! There is one only where the configuration names tenants. Requests are noted in their order, and counted when their replies leave,
//! which is the order too; so whoever answers one need not know of tenants.
//!
//! Owns the notes of one client. It deliberately decides nothing: `worker/tenants` does.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::route::tenants::TenantId;
use crate::shared::command_tallies::CommandRow;
use crate::shared::tenant_tallies::TenantTallies;
use crate::shared::tenants::Place;

/// A request of a tenant that waits for its reply, or several alike.
#[derive(Clone, Copy, Debug)]
struct Note {
    /// The first slot of the reply queue.
    sequence: u32,
    /// How many there are.
    requests: u32,
    tenant: TenantId,
    command: CommandRow,
    received_ns: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tenancy {
    /// The tenant of its user.
    pub of_user: Option<TenantId>,
    /// The place that it has among the connections of that.
    pub place: Option<Place>,
    /// The tenants that the request at hand concerns, while it is not known whether it will be taken.
    pub at_hand: SmallVec<[TenantId; 2]>,
    /// Since when its request at hand is held back, by the worker's clock in nanoseconds.
    pub held_since_ns: Option<u64>,
    /// It will be woken to have a look.
    pub is_to_be_woken: bool,
    notes: VecDeque<Note>,
}

impl Tenancy {
    /// Notes the request at hand, which will have the slot `sequence`.
    pub fn note(&mut self, tenant: TenantId, command: CommandRow, sequence: u32, received_ns: u64) {
        self.notes.push_back(Note { sequence, requests: 1, tenant, command, received_ns });
    }

    /// The request that was noted last has to come again.
    pub fn take_back(&mut self) {
        self.notes.pop_back();
    }

    /// There are so many like the request that was noted last.
    pub fn repeat(&mut self, requests: u32) {
        if let Some(note) = self.notes.back_mut() {
            note.requests = requests;
        }
    }

    /// A reply, or one part of it, has come for this slot. Says whose it is.
    pub fn replied(&self, sequence: u32) -> Option<TenantId> {
        let is_before = |note: &Note| (note.sequence.wrapping_sub(sequence) as i32) <= 0;
        let behind = self.notes.partition_point(is_before);
        let note = self.notes.get(behind.checked_sub(1)?)?;
        (sequence.wrapping_sub(note.sequence) < note.requests).then_some(note.tenant)
    }

    /// Counts the requests whose replies have left: all before this slot.
    pub fn left(&mut self, before: u32, now_ns: u64, tallies: &mut TenantTallies) {
        while let Some(note) = self.notes.front_mut() {
            let gone = before.wrapping_sub(note.sequence).min(note.requests);
            if before.wrapping_sub(note.sequence) as i32 <= 0 {
                return;
            }
            count(note, gone, now_ns, tallies);
            if gone < note.requests {
                (note.sequence, note.requests) = (before, note.requests - gone);
                return;
            }
            self.notes.pop_front();
        }
    }

    /// Counts all requests: nothing is waited for. One that is answered at once takes no slot of its own, so a slot does not tell of it.
    pub fn all_left(&mut self, now_ns: u64, tallies: &mut TenantTallies) {
        for note in self.notes.drain(..) {
            count(&note, note.requests, now_ns, tallies);
        }
    }

    /// Gives back what its largest pipeline has left behind.
    pub fn give_back(&mut self) {
        if self.notes.is_empty() {
            self.notes = VecDeque::new();
        }
    }
}

fn count(note: &Note, requests: u32, now_ns: u64, tallies: &mut TenantTallies) {
    let Some(row) = tallies.rows.get_mut(note.tenant.position()) else { return };
    row.requests += u64::from(requests);
    let took_ns = now_ns.saturating_sub(note.received_ns);
    let us = took_ns / 1000;
    let count = row.commands.row(note.command);
    count.calls += u64::from(requests);
    count.sum_ns = count.sum_ns.wrapping_add(took_ns.wrapping_mul(u64::from(requests)));
    (0..requests).for_each(|_| row.reply_us.record(us));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn tallies() -> TenantTallies {
        let mut tallies = TenantTallies::default();
        tallies.rename(Arc::from([Arc::from("a"), Arc::from("b")]));
        tallies
    }

    #[test]
    fn requests_are_counted_when_their_replies_leave() {
        let (mut tenancy, mut tallies) = (Tenancy::default(), tallies());
        let (a, b) = (TenantId(0), TenantId(1));
        let first = u32::MAX - 1;
        tenancy.note(a, CommandRow::UNKNOWN, first, 0);
        tenancy.note(b, CommandRow::UNKNOWN, first.wrapping_add(2), 0);
        tenancy.repeat(3);
        tenancy.note(a, CommandRow::UNKNOWN, first.wrapping_add(6), 0);
        tenancy.take_back();
        let whose: Vec<Option<TenantId>> = (0..7).map(|at| tenancy.replied(first.wrapping_add(at))).collect();
        assert_eq!(whose, [Some(a), None, Some(b), Some(b), Some(b), None, None]);
        assert_eq!(tenancy.replied(first.wrapping_sub(1)), None);
        let mut counts = |tenancy: &mut Tenancy, before: u32| {
            tenancy.left(first.wrapping_add(before), 5_000, &mut tallies);
            [tallies.rows[0].requests, tallies.rows[1].requests]
        };
        assert_eq!(counts(&mut tenancy, 0), [0, 0]);
        assert_eq!(counts(&mut tenancy, 1), [1, 0]);
        assert_eq!(counts(&mut tenancy, 4), [1, 2]);
        assert_eq!(counts(&mut tenancy, 9), [1, 3]);
        assert_eq!(tallies.rows[1].reply_us.count(), 3);
        // Two that were answered at once, and took no slot.
        (0..2).for_each(|_| tenancy.note(a, CommandRow::UNKNOWN, first.wrapping_add(9), 0));
        tenancy.left(first.wrapping_add(9), 5_000, &mut tallies);
        assert_eq!(tallies.rows[0].requests, 1);
        tenancy.all_left(5_000, &mut tallies);
        tenancy.take_back();
        assert_eq!(tallies.rows[0].requests, 3);
    }
}
