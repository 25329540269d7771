//! What has to wait for the disk: replies, and the sending of flushes.
//!
//! All of a worker waits in one line, since records reach the disk in the order in which they were handed over. A read
//! waits behind all that was handed over before it, for it may tell of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Behind, BehindKey, identity_of};
use crate::combine::{
    Answer, Delta, DeltaFlush, FlushInDoubt, Recovered, WriteBehindIdentity, WriteBehindKey,
};
use crate::journal::{
    FlushEnd, JournalClient, JournalFacts, JournalKey, JournalNews, OpenKey, Record, RefusedRecord, Ticket,
};
use crate::route::KeyId;
use crate::shared::handoff::Waiter;
use crate::shared::labels::ErrorKind;
use crate::shared::worker_journal::WorkerJournal;
use crate::worker::core::Core;
use crate::worker::hot::HotKeys;

/// A worker's end of the journal, and what waits for it.
pub(super) struct JournalSide {
    client: JournalClient,
    facts: Option<watch::Receiver<JournalFacts>>,
    durable_through: Ticket,
    ticket_last: Ticket,
    /// In the order of tickets.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    ticket: Ticket,
    hash: u64,
    what: What,
}

enum What {
    /// A reply, and the delta that it acknowledges.
    Reply { waiter: Waiter, answer: Answer, sequence: Option<u64> },
    /// The start of the flush at hand.
    Start,
}

/// The error that a client gets for what the journal refused.
pub(super) fn refusal(refused: &RefusedRecord) -> String {
    match refused {
        RefusedRecord::NotSynced(_) => format!(
            "ERR hotgate: {refused}; the increment takes effect only if the process is killed before the journal could be \
             written anew: look at the counter before sending it again, and at the disk of write_behind.journal_path"
        ),
        _ => format!("ERR hotgate: {refused}; the command was not taken, try again later"),
    }
}

impl Behind {
    /// Tells when the journal has news, if there is a journal.
    pub fn journal_news(&self) -> Option<JournalNews> {
        self.journal.as_ref().map(|side| side.client.news())
    }
}

impl BehindKey {
    fn journaled(&self) -> JournalKey {
        JournalKey { cluster: self.id.cluster, name: self.machine.key().clone() }
    }
}

impl JournalSide {
    /// Writes a delta down. `true` when the reply need not wait for the disk; else it waits here.
    pub fn admit(
        &mut self,
        key: &mut BehindKey,
        waiter: Waiter,
        answer: Answer,
        delta: Option<Delta>,
    ) -> Result<bool, RefusedRecord> {
        if let Some(Delta { sequence, delta }) = delta {
            let record = Record::Deltas { key: key.journaled(), sum: delta, count: 1, sequence };
            self.ticket_last = self.client.append(record)?;
            key.journaled_sequence = sequence;
        }
        if self.has_on_disk(self.ticket_last) {
            return Ok(true);
        }
        let what = What::Reply { waiter, answer, sequence: delta.map(|delta| delta.sequence) };
        self.waiting.push_back(Waiting { ticket: self.ticket_last, hash: key.id.hash, what });
        Ok(false)
    }

    /// Writes down that a flush begins; it may be sent when that is on disk.
    pub fn start(&mut self, key: &BehindKey, flush: &DeltaFlush) -> Result<Ticket, RefusedRecord> {
        let record = Record::FlushStarted {
            key: key.journaled(),
            token: flush.token,
            sum: flush.sum,
            through: key.journaled_sequence,
            first_sent_unix_ms: unix_ms(),
        };
        self.ticket_last = self.client.append(record)?;
        let (ticket, hash) = (self.ticket_last, key.id.hash);
        self.waiting.push_back(Waiting { ticket, hash, what: What::Start });
        Ok(self.ticket_last)
    }

    /// Writes down how a flush ended.
    pub fn settle(&mut self, key: &BehindKey, token: u64, end: FlushEnd) {
        self.client.settle(Record::FlushSettled { key: key.journaled(), token, end });
    }

    /// What the journal has done, if this worker is the one that counts it.
    pub fn facts(&self) -> Option<JournalFacts> {
        self.facts.as_ref().map(|facts| *facts.borrow())
    }

    /// Whether anything waits for the disk.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all up to this ticket is on disk.
    pub fn has_on_disk(&self, ticket: Ticket) -> bool {
        ticket <= self.durable_through
    }

    fn pop_durable(&mut self) -> Option<Waiting> {
        let durable = self.has_on_disk(self.waiting.front()?.ticket);
        if durable { self.waiting.pop_front() } else { None }
    }
}

impl HotKeys {
    /// Takes the worker's end of the journal, and what a former process left to the keys that this worker is home to.
    pub fn open_journal(&mut self, core: &mut Core, journal: WorkerJournal) {
        core.tick();
        let WorkerJournal { client, facts, gateway_id, token_floor, recovered } = journal;
        let behind = &mut self.behind;
        (behind.identity, behind.token_floor) = (identity_of(&gateway_id), token_floor);
        let waiting = VecDeque::new();
        behind.journal = Some(JournalSide { client, facts, durable_through: 0, ticket_last: 0, waiting });
        for (JournalKey { cluster, name }, open) in recovered.iter() {
            let id = core.gateway.key_hasher.id(*cluster, name);
            if core.home_of(id.hash) == core.index {
                self.recover(core, id, name, open);
            }
        }
        self.configure_behind(core);
    }

    fn recover(&mut self, core: &mut Core, id: KeyId, name: &Bytes, open: &OpenKey) {
        let in_doubt = open.flush.map(|flush| FlushInDoubt {
            token: flush.token,
            sum: flush.deltas.sum,
            count: flush.deltas.count as usize,
            age_ns: unix_ms()
                .checked_sub(flush.first_sent_unix_ms)
                .map(|age_ms| age_ms.saturating_mul(1_000_000)),
        });
        let recovered = Recovered {
            in_doubt,
            sum: open.unflushed.sum,
            count: open.unflushed.count as usize,
            sequence: open.sequence,
        };
        tracing::info!(
            key = core.gateway.key_names.label(name),
            increments = recovered.count + in_doubt.map_or(0, |flush| flush.count),
            in_doubt = in_doubt.is_some(),
            "taken over from the journal"
        );
        let row = core.tallies.combine.keys.acquire(Arc::from(&name[..]));
        let now_ns = core.now_ns;
        let behind = &mut self.behind;
        let identity = WriteBehindIdentity { gateway_id: &behind.identity, token_floor: behind.token_floor };
        let machine =
            WriteBehindKey::recovered(name.clone(), identity, &recovered, now_ns, &mut behind.budget);
        let mut key = BehindKey::new(id, machine, row, now_ns);
        (key.journaled_sequence, key.durable_sequence) = (open.sequence, open.sequence);
        self.keep_key(key);
        self.look(id.hash);
    }

    /// Lets go what is on disk now, and takes back what the journal refused.
    pub fn take_journal_progress(&mut self, core: &mut Core) {
        let Some(side) = &mut self.behind.journal else { return };
        let progressed = side.client.progress();
        side.durable_through = progressed.durable_through;
        while let Some(waiting) = self.behind.journal.as_mut().and_then(JournalSide::pop_durable) {
            match waiting.what {
                What::Reply { waiter, answer, sequence } => {
                    if let (Some(sequence), Some(key)) = (sequence, self.behind.get_mut(waiting.hash)) {
                        key.machine.durable(sequence);
                        key.durable_sequence = sequence;
                    }
                    self.answer_member(core, waiter, answer);
                }
                What::Start => self.look(waiting.hash),
            }
        }
        if let Some(refused) = progressed.refused {
            self.take_back(core, &refused);
        }
    }

    /// Everything that is not on disk was refused.
    fn take_back(&mut self, core: &mut Core, refused: &RefusedRecord) {
        let Some(side) = &mut self.behind.journal else { return };
        let waiting = std::mem::take(&mut side.waiting);
        side.ticket_last = side.durable_through;
        let text = refusal(refused);
        for Waiting { hash, what, .. } in waiting {
            match what {
                What::Reply { waiter, sequence, .. } => {
                    self.with_behind(hash, |hot, key| {
                        if let Some(sequence) = sequence {
                            key.machine.retract(sequence, &mut hot.behind.budget);
                            key.journaled_sequence = key.durable_sequence;
                        }
                        hot.look_again_behind(key);
                    });
                    core.tallies.error(ErrorKind::Overload);
                    self.fail_member(core, waiter, &text);
                }
                What::Start => self.with_behind(hash, |hot, key| hot.start_refused(core, key, &text)),
            }
        }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_whose_it_is_and_what_to_do() {
        let disk = || Arc::from("No space left on device");
        for (refused, says) in [
            (RefusedRecord::Busy, "try again later"),
            (RefusedRecord::Full, "try again later"),
            (RefusedRecord::NotWritten(disk()), "try again later"),
            (RefusedRecord::NotSynced(disk()), "look at the counter before sending it again"),
            (RefusedRecord::Contradiction("a token twice"), "try again later"),
            (RefusedRecord::Closed, "try again later"),
        ] {
            let text = refusal(&refused);
            assert!(text.starts_with("ERR hotgate: ") && text.contains(says), "{text}");
        }
    }
}
