//! The requests that stood out: slow ones, large ones, and those with a large reply. Each kind is a list, as in Valkey's command log
//! (<https://valkey.io/commands/commandlog-get/>); that of slow ones is Redis's slow log (<https://redis.io/docs/latest/commands/slowlog-get/>).
//!
//! Workers add what they notice, and the control thread shows it. Only a request that stands out touches a lock. Bounded in number by
//! `slowlog.entries_max`, and in bytes by [`LIST_BYTES_MAX`]: at the bound the oldest gives way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::labels::Standout;

/// What one list may hold, in bytes of its entries.
pub const LIST_BYTES_MAX: usize = 8 << 20;

/// Where the time of a request went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// From its last byte to its reply among those of its client.
    pub whole_us: u64,
    /// Of that, before it began to be written to its node: in queues, in a flush that was gathered.
    pub waiting_us: u64,
    /// Of that, from then to the reply.
    pub upstream_us: u64,
    /// How long its client had taken nothing when the reply came: it waits for at least as long again.
    pub stalled_us: u64,
}

/// A request that stood out.
#[derive(Clone, Debug, Default)]
pub struct LoggedRequest {
    /// Its number; later ones are higher. The list fills it in.
    pub id: u64,
    /// When it was answered, in milliseconds of the Unix clock.
    pub at_ms: u64,
    /// Its arguments, cut as Redis cuts them. Of one that was folded only the command and the key, and what it adds.
    pub arguments: Vec<Vec<u8>>,
    /// Its client's address.
    pub address: String,
    /// Its client's name, if it has one.
    pub name: Vec<u8>,
    /// The user that its client is.
    pub user: Vec<u8>,
    /// The cluster that it was for; empty where it was folded and its key is not known any more.
    pub cluster: String,
    /// The node that answered; empty where it was folded.
    pub node: String,
    /// It shared a command with others.
    pub folded: bool,
    /// Where its time went.
    pub spent: Spent,
    /// Its size in bytes; 0 where it was folded.
    pub request_bytes: u64,
    /// The size of its reply in bytes.
    pub reply_bytes: u64,
}

impl LoggedRequest {
    /// What a list of this kind measures it by: microseconds, or bytes.
    pub fn measure(&self, kind: Standout) -> u64 {
        match kind {
            Standout::Slow => self.spent.whole_us,
            Standout::LargeRequest => self.request_bytes,
            Standout::LargeReply => self.reply_bytes,
        }
    }

    fn weight_bytes(&self) -> usize {
        let whose = self.address.len() + self.name.len() + self.user.len();
        let texts = whose + self.cluster.len() + self.node.len();
        let arguments = self.arguments.iter().map(|argument| argument.len() + size_of::<Vec<u8>>());
        size_of::<Self>() + texts + arguments.sum::<usize>()
    }
}

/// One list, the latest first.
#[derive(Debug, Default)]
struct List {
    entries: VecDeque<LoggedRequest>,
    bytes: usize,
    next_id: u64,
}

impl List {
    fn add(&mut self, mut entry: LoggedRequest, entries_max: usize) {
        (entry.id, self.next_id) = (self.next_id, self.next_id + 1);
        self.bytes += entry.weight_bytes();
        self.entries.push_front(entry);
        while self.entries.len() > entries_max || self.bytes > LIST_BYTES_MAX {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.bytes -= oldest.weight_bytes();
        }
    }
}

/// The lists, one for each kind.
#[derive(Debug, Default)]
pub struct CommandLog {
    lists: [Mutex<List>; Standout::COUNT],
}

impl CommandLog {
    fn list(&self, kind: Standout) -> MutexGuard<'_, List> {
        // A panic while it was held leaves a list that is still a list.
        self.lists[kind.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request to a list that keeps so many.
    pub fn add(&self, kind: Standout, entry: LoggedRequest, entries_max: usize) {
        self.list(kind).add(entry, entries_max);
    }

    /// So many of the latest, the latest first.
    pub fn latest(&self, kind: Standout, count: usize) -> Vec<LoggedRequest> {
        self.list(kind).entries.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self, kind: Standout) -> usize {
        self.list(kind).entries.len()
    }

    /// Forgets them. Later ones are numbered on.
    pub fn reset(&self, kind: Standout) {
        let mut list = self.list(kind);
        list.entries = VecDeque::new();
        list.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> LoggedRequest {
        LoggedRequest { arguments: vec![vec![b'x'; bytes]], ..LoggedRequest::default() }
    }

    fn ids(log: &CommandLog, kind: Standout) -> Vec<u64> {
        log.latest(kind, usize::MAX).iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn the_oldest_gives_way_in_number_and_in_bytes() {
        let log = CommandLog::default();
        for _ in 0..5 {
            log.add(Standout::Slow, entry(10), 3);
        }
        assert_eq!(ids(&log, Standout::Slow), [4, 3, 2]);
        for _ in 0..3 {
            log.add(Standout::LargeReply, entry(LIST_BYTES_MAX / 2), 3);
        }
        assert_eq!(ids(&log, Standout::LargeReply), [2]);
        assert!(ids(&log, Standout::LargeRequest).is_empty(), "each kind has a list of its own");
    }

    #[test]
    fn what_is_forgotten_is_not_numbered_again() {
        let log = CommandLog::default();
        log.add(Standout::Slow, entry(1), 3);
        log.reset(Standout::Slow);
        log.add(Standout::Slow, entry(1), 3);
        assert_eq!(ids(&log, Standout::Slow), [1]);
    }
}
