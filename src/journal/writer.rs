//! The journal's thread: takes the records of all clients and puts them on disk together.
//!
//! While one group is written and synced, the next gathers in the queue. So the slower the disk, the larger the groups: one
//! sync covers everything that came during the one before.
//!
//! A failure ends an epoch for every client with a record in the group: that record and all later ones of the client
//! are refused together, because each delta was answered on top of those before it. No record is accepted until a new segment,
//! with a checkpoint of what did reach the disk, could be written. The end of a flush is a fact and not a request: it counts
//! at once whatever the disk does, and the checkpoint has it.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    client::{Message, Progress, Ticket},
    error::RefusedRecord,
    frame_head::FRAME_HEAD_BYTES,
    ledger::{Contradiction, Ledger, OpenKey},
    record::{JournalKey, Record},
    segments::{AppendError, FRAME_BYTES_MAX, Segment, Segments},
};

/// How often a journal that cannot be written tries again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A thread that nothing wakes; `recv_timeout` wants a number.
const IDLE: Duration = Duration::from_secs(3600);

/// The figures of the journal since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalFacts {
    /// Records on disk.
    pub records: u64,
    /// Group commits, each with one sync.
    pub commits: u64,
    /// Bytes of the frames written, in all segments.
    pub bytes: u64,
    /// Bytes of the current segment.
    pub segment_bytes: u64,
    /// Segments made.
    pub segments: u64,
    /// Keys on which something is pending.
    pub open_keys: usize,
    /// Times that the disk refused a write.
    pub faults: u64,
    /// It refuses records now.
    pub faulty: bool,
    /// Pending deltas fill it.
    pub full: bool,
    /// Why it refuses them, as the system numbers its errors, if it said.
    pub os_error: Option<i32>,
}

/// The thread's state of one client.
pub(super) struct Port {
    sender: watch::Sender<Progress>,
    epoch: u64,
    /// The last record that was accepted; on disk once the group is.
    accepted: Ticket,
    durable: Ticket,
    refused: Option<RefusedRecord>,
    /// Its epoch ended in this group.
    ended: bool,
}

impl Port {
    pub fn new(sender: watch::Sender<Progress>) -> Self {
        Self { sender, epoch: 0, accepted: 0, durable: 0, refused: None, ended: false }
    }

    fn refuse(&mut self, reason: RefusedRecord) {
        if !self.ended {
            self.epoch += 1;
            self.ended = true;
            self.refused = Some(reason);
        }
    }

    fn publish(&mut self, fault: Option<&RefusedRecord>) {
        let changed = |old: &mut Progress| {
            let same =
                old.epoch == self.epoch && old.durable_through == self.durable && old.fault.as_ref() == fault;
            *old = Progress {
                epoch: self.epoch,
                durable_through: self.durable,
                refused: self.refused.clone(),
                fault: fault.cloned(),
            };
            !same
        };
        self.sender.send_if_modified(changed);
        self.ended = false;
    }
}

pub(super) struct Writer {
    pub segments: Segments,
    pub segment: Option<Segment>,
    pub ledger: Ledger,
    pub ports: Vec<Port>,
    pub bytes_max: u64,
    pub facts: JournalFacts,
    pub told: watch::Sender<JournalFacts>,
    pub fault: Option<RefusedRecord>,
    pub retry_at: Instant,
}

/// The records of one group.
#[derive(Default)]
struct Group {
    frame: Vec<u8>,
    records: u64,
    /// What the ledger said before each record.
    before: Vec<(JournalKey, Option<OpenKey>)>,
    settled: Vec<Record>,
}

impl Writer {
    pub fn run(mut self, queue: &Receiver<Message>) {
        let mut open = true;
        while open {
            let patience = match self.segment {
                Some(_) => IDLE,
                None => self.retry_at.saturating_duration_since(Instant::now()),
            };
            let mut group = Group::default();
            match queue.recv_timeout(patience) {
                Ok(first) => open = self.gather(first, queue, &mut group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            self.commit(group);
            self.move_on();
            self.publish();
        }
    }

    /// Takes what is queued, up to the size of a frame. False once the journal is to be closed.
    fn gather(&mut self, first: Message, queue: &Receiver<Message>, group: &mut Group) -> bool {
        group.frame.resize(FRAME_HEAD_BYTES, 0);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Record { client, epoch, ticket, record } => {
                    self.take(client, epoch, ticket, record, group);
                }
                Message::Close => return false,
            }
            next = if group.frame.len() < FRAME_BYTES_MAX { queue.try_recv().ok() } else { None };
        }
        true
    }

    fn take(&mut self, client: usize, epoch: u64, ticket: Ticket, record: Record, group: &mut Group) {
        let Some(port) = self.ports.get_mut(client) else { return };
        let settled = matches!(record, Record::FlushSettled { .. });
        if !settled && epoch != port.epoch {
            return;
        }
        if let Some(fault) = self.fault.as_ref().filter(|_| !settled && self.segment.is_none()) {
            return port.refuse(fault.clone());
        }
        match self.ledger.apply(&record) {
            Ok(before) => {
                record.encode(&mut group.frame);
                group.records += 1;
                group.before.push((record.key().clone(), before));
                if settled {
                    group.settled.push(record);
                } else {
                    port.accepted = ticket;
                }
            }
            Err(Contradiction(what)) => {
                tracing::error!(?record, what, "a record contradicts the journal");
                if !settled {
                    port.refuse(RefusedRecord::Contradiction(what));
                }
            }
        }
    }

    fn commit(&mut self, mut group: Group) {
        let Some(segment) = self.segment.as_mut().filter(|_| group.records > 0) else { return };
        let held = self.segments.hold().map_err(AppendError::Write);
        let Err(error) = held.and_then(|()| segment.append(&mut group.frame)) else {
            self.facts.records += group.records;
            self.facts.commits += 1;
            self.facts.bytes += group.frame.len() as u64;
            self.ports.iter_mut().for_each(|port| port.durable = port.accepted);
            return;
        };
        for (key, before) in group.before.iter().rev() {
            self.ledger.restore(key, *before);
        }
        for record in &group.settled {
            if let Err(Contradiction(what)) = self.ledger.apply(record) {
                tracing::error!(?record, what, "a record contradicts the journal");
            }
        }
        let (fault, os_error) = match error {
            AppendError::Write(error) => {
                (RefusedRecord::NotWritten(error.to_string().into()), error.raw_os_error())
            }
            AppendError::Sync(error) => {
                (RefusedRecord::NotSynced(error.to_string().into()), error.raw_os_error())
            }
        };
        for port in self.ports.iter_mut().filter(|port| port.accepted > port.durable) {
            port.refuse(fault.clone());
            port.accepted = port.durable;
        }
        self.fail(fault, os_error);
    }

    fn fail(&mut self, fault: RefusedRecord, os_error: Option<i32>) {
        // Said once, however often it is tried again meanwhile.
        if self.fault.as_ref() != Some(&fault) {
            tracing::error!(%fault, "the journal refuses increments until it can be written again");
        }
        self.segment = None;
        self.retry_at = Instant::now() + RETRY_INTERVAL;
        self.facts.faults += 1;
        self.facts.os_error = os_error;
        self.fault = Some(fault);
    }

    /// Begins a new segment when the current one is large enough, or could not be written.
    fn move_on(&mut self) {
        let due = match &self.segment {
            Some(segment) => segment.bytes() > self.bytes_max / 2,
            None => Instant::now() >= self.retry_at,
        };
        if !due {
            return;
        }
        match self.segments.advance(&self.ledger) {
            Ok(segment) => {
                if self.segment.replace(segment).is_none() {
                    tracing::info!("the journal can be written again");
                    self.fault = None;
                }
                self.facts.segments += 1;
            }
            Err(error) => {
                let directory = self.segments.directory.display();
                let fault = RefusedRecord::NotWritten(format!("{directory}: {error}").into());
                self.fail(fault, error.raw_os_error());
            }
        }
    }

    fn publish(&mut self) {
        if self.segment.is_some() {
            // A checkpoint may take a quarter, so that a segment of a half always has room for more than that.
            let full = self.ledger.checkpoint_bytes_max() > self.bytes_max / 4;
            self.fault = full.then_some(RefusedRecord::Full);
        }
        self.facts.segment_bytes = self.segment.as_ref().map_or(0, Segment::bytes);
        self.facts.open_keys = self.ledger.keys().len();
        self.facts.faulty = self.segment.is_none();
        self.facts.os_error = self.facts.os_error.filter(|_| self.segment.is_none());
        self.facts.full = self.fault == Some(RefusedRecord::Full);
        // First the facts, so that whoever has just been refused finds the reason in them.
        self.told.send_replace(self.facts);
        for port in &mut self.ports {
            port.publish(self.fault.as_ref());
        }
    }
}
