//! A worker's end of the journal: it passes records in without waiting, and learns what is on disk.

use std::{
    collections::VecDeque,
    sync::mpsc::{SyncSender, TrySendError},
};

use tokio::sync::watch;

use super::{error::RefusedRecord, record::Record};

/// The number of a record among those of its client. Records reach the disk in this order.
pub type Ticket = u64;

/// How far the disk is with the records of one client. Only the latest state matters, so it can be overwritten unread.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Counts refusals: each ends an epoch, and all records of it that are not durable are refused together.
    pub epoch: u64,
    pub durable_through: Ticket,
    /// Why the last epoch ended.
    pub refused: Option<RefusedRecord>,
    /// Why new records would be refused now.
    pub fault: Option<RefusedRecord>,
}

pub(super) enum Message {
    Record { client: usize, epoch: u64, ticket: Ticket, record: Record },
    Close,
}

/// The result of [`JournalClient::progress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progressed {
    /// All records up to this one are on disk.
    pub durable_through: Ticket,
    /// All later records that were appended so far are refused, for this reason. The owner takes all of them back
    /// before it appends another: each may have told its client of those before it.
    pub refused: Option<RefusedRecord>,
}

/// Wakes when the client has something to learn. For code that does not own the client.
pub struct JournalNews {
    progress: watch::Receiver<Progress>,
}

impl JournalNews {
    /// Completes when there may be news; `false` when these are the last, since the writer is gone. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.progress.changed().await.is_ok()
    }
}

/// Owned by one worker. Never blocks.
pub struct JournalClient {
    index: usize,
    sender: SyncSender<Message>,
    progress: watch::Receiver<Progress>,
    epoch: u64,
    ticket_last: Ticket,
    /// Ends of flushes that did not fit into the queue: at most one for each flush in flight, since no flush starts
    /// while any is here.
    settled: VecDeque<Record>,
}

impl JournalClient {
    pub(super) fn new(
        index: usize,
        sender: SyncSender<Message>,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self { index, sender, progress, epoch: 0, ticket_last: 0, settled: VecDeque::new() }
    }

    /// Hands over deltas or the start of a flush. Their effect has to wait for [`Self::progress`]: the reply to an
    /// increment, and the sending of a flush.
    pub fn append(&mut self, record: Record) -> Result<Ticket, RefusedRecord> {
        {
            let progress = self.progress.borrow();
            let blocking = progress
                .fault
                .as_ref()
                .filter(|fault| **fault != RefusedRecord::Full || matches!(record, Record::Deltas { .. }));
            let ended = progress.refused.as_ref().filter(|_| progress.epoch != self.epoch);
            if let Some(error) = ended.or(blocking) {
                return Err(error.clone());
            }
        }
        self.send_settled();
        if !self.settled.is_empty() {
            return Err(RefusedRecord::Busy);
        }
        let ticket = self.ticket_last + 1;
        let message = Message::Record { client: self.index, epoch: self.epoch, ticket, record };
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => RefusedRecord::Busy,
            TrySendError::Disconnected(_) => RefusedRecord::Closed,
        })?;
        self.ticket_last = ticket;
        Ok(ticket)
    }

    /// Hands over the end of a flush ([`Record::FlushSettled`]). It is a fact: it is never refused, and nothing has to
    /// wait for it. Should it be lost with the process, the next one asks Redis by the token.
    pub fn settle(&mut self, record: Record) {
        self.settled.push_back(record);
        self.send_settled();
    }

    /// What tells a task of its own when there is something for [`Self::progress`].
    pub fn news(&self) -> JournalNews {
        JournalNews { progress: self.progress.clone() }
    }

    /// How far the disk is.
    pub fn progress(&mut self) -> Progressed {
        let (durable_through, refused) = {
            let progress = self.progress.borrow_and_update();
            let ended = progress.epoch != self.epoch;
            self.epoch = progress.epoch;
            (progress.durable_through, progress.refused.clone().filter(|_| ended))
        };
        self.send_settled();
        // What a writer that is gone has not written never will be.
        let gone = self.progress.has_changed().is_err();
        Progressed { durable_through, refused: refused.or(gone.then_some(RefusedRecord::Closed)) }
    }

    fn send_settled(&mut self) {
        while let Some(record) = self.settled.pop_front() {
            let (client, epoch, ticket) = (self.index, self.epoch, 0);
            let sent = self.sender.try_send(Message::Record { client, epoch, ticket, record });
            // Without a writer nothing is left to be told; the token answers at the next start.
            if let Err(TrySendError::Full(Message::Record { record, .. })) = sent {
                return self.settled.push_front(record);
            }
        }
    }
}
