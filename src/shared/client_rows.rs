//! Asking the workers who is connected: the mailbox behind `CLIENT LIST` and `/api/clients`.
//!
//! Rows are made on demand and never continuously, since there may be tens of thousands of clients. A request
//! names how many rows are wanted, and the mailbox of a worker holds few requests, so that asking cannot slow
//! a worker down beyond `rows_max` rows at a time. A worker that does not answer in time is left out, and the
//! answer says so.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::limits::CLIENT_ROWS_WAITING_MAX;
use crate::net::SocketName;

/// One client connection, as `CLIENT LIST` describes it
/// (<https://redis.io/docs/latest/commands/client-list/>).
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Unique in the process for its life.
    pub id: u64,
    /// The worker that owns the connection.
    pub worker: usize,
    /// The client's address.
    pub address: SocketName,
    /// The address that it connected to.
    pub local_address: SocketName,
    /// `CLIENT SETNAME`; empty when not set.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`; empty when not set.
    pub library_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`; empty when not set.
    pub library_version: Vec<u8>,
    /// The authenticated user.
    pub user: Vec<u8>,
    /// Age of the connection in seconds.
    pub age_s: u64,
    /// Seconds since its last request.
    pub idle_s: u64,
    /// The letters of `CLIENT LIST`: `N` normal, `x` in a transaction, `b` blocked, `P` subscribed.
    pub flags: String,
    /// The database.
    pub database: u32,
    /// 2 or 3.
    pub resp: u8,
    /// The last command, lower case, with its subcommand after `|`; empty before the first.
    pub last_command: String,
    /// Requests so far.
    pub requests: u64,
    /// Requests that got an error.
    pub errors: u64,
    /// Replies that took as long as is logged.
    pub slow_replies: u64,
    /// Bytes read so far.
    pub bytes_in: u64,
    /// Bytes written so far.
    pub bytes_out: u64,
    /// Channel subscriptions.
    pub subscriptions: u32,
    /// Pattern subscriptions.
    pub pattern_subscriptions: u32,
    /// Shard channel subscriptions.
    pub shard_subscriptions: u32,
    /// The client to which it redirects what it tracks; 0 when it redirects nothing, -1 when it does not track.
    pub redirect: i64,
    /// Commands queued in a transaction; -1 outside of one.
    pub queued_commands: i32,
    /// Requests without a reply so far.
    pub inflight: u32,
    /// Bytes in the read buffer.
    pub buffered_in_bytes: u64,
    /// Bytes of replies that wait to be written.
    pub buffered_out_bytes: u64,
}

/// By what clients are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientSort {
    /// By id: the oldest first.
    #[default]
    Id,
    /// The most requests first.
    Requests,
    /// The most bytes in both directions first.
    Bytes,
    /// The most errors first.
    Errors,
    /// The most slow replies first.
    Slow,
    /// The longest idle first.
    Idle,
}

impl ClientSort {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Id, Self::Requests, Self::Bytes, Self::Errors, Self::Slow, Self::Idle];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::Idle => "idle",
        }
    }

    /// What the word means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.word() == word)
    }

    fn measure(self, row: &ClientRow) -> u64 {
        match self {
            Self::Id => 0,
            Self::Requests => row.requests,
            Self::Bytes => row.bytes_in.saturating_add(row.bytes_out),
            Self::Errors => row.errors,
            Self::Slow => row.slow_replies,
            Self::Idle => row.idle_s,
        }
    }
}

/// Which clients are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientQuery {
    /// Their order.
    pub sort: ClientSort,
    /// What stands in their name, user, library, address, id or last command, in lower case; empty for all.
    pub search: Vec<u8>,
    /// At most so many.
    pub rows_max: usize,
}

/// The request in a worker's mailbox.
#[derive(Debug)]
pub struct ClientRowsRequest {
    /// What is asked for.
    pub query: ClientQuery,
    /// Where the rows go, with how many clients were found. The worker ignores it when the asker has gone.
    pub reply: oneshot::Sender<(Vec<ClientRow>, usize)>,
}

/// A worker's end of its mailbox.
pub type ClientRowsInbox = mpsc::Receiver<ClientRowsRequest>;

/// The askers' end: one mailbox for each worker.
#[derive(Clone, Debug)]
pub struct ClientRowsPort {
    workers: Vec<mpsc::Sender<ClientRowsRequest>>,
}

/// The answer of all workers.
#[derive(Clone, Debug, Default)]
pub struct ClientRows {
    /// In the order that was asked for.
    pub rows: Vec<ClientRow>,
    /// How many clients were found.
    pub found: usize,
    /// Workers that were too busy to answer in time.
    pub workers_missing: usize,
}

impl ClientRowsPort {
    /// A port, and the inbox of each of `workers` workers.
    pub fn new(workers: usize) -> (Self, Vec<ClientRowsInbox>) {
        let (senders, inboxes) = (0..workers).map(|_| mpsc::channel(CLIENT_ROWS_WAITING_MAX)).unzip();
        (Self { workers: senders }, inboxes)
    }

    /// At most so many clients, by id.
    pub async fn list(&self, rows_max: usize, patience: Duration) -> ClientRows {
        self.find(&ClientQuery { rows_max, ..ClientQuery::default() }, patience).await
    }

    /// Asks every worker and waits at most `patience` for all of them together.
    pub async fn find(&self, query: &ClientQuery, patience: Duration) -> ClientRows {
        let replies: Vec<_> = self
            .workers
            .iter()
            .filter_map(|worker| {
                let (reply, answer) = oneshot::channel();
                worker.try_send(ClientRowsRequest { query: query.clone(), reply }).ok().map(|()| answer)
            })
            .collect();
        let workers_missing = self.workers.len() - replies.len();
        let mut answer = ClientRows { workers_missing, ..ClientRows::default() };
        let deadline = tokio::time::Instant::now() + patience;
        for reply in replies {
            match timeout(deadline.saturating_duration_since(tokio::time::Instant::now()), reply).await {
                Ok(Ok((rows, found))) => {
                    answer.rows.extend(rows);
                    answer.found += found;
                }
                Ok(Err(_)) | Err(_) => answer.workers_missing += 1,
            }
        }
        answer.rows.sort_by_key(|row| (std::cmp::Reverse(query.sort.measure(row)), row.id));
        answer.rows.truncate(query.rows_max);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, worker: usize) -> ClientRow {
        let address = SocketName::from(std::net::SocketAddr::from(([127, 0, 0, 1], 50_000)));
        ClientRow {
            id,
            worker,
            local_address: address.clone(),
            address,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            user: b"default".to_vec(),
            age_s: 1,
            idle_s: 0,
            flags: "N".into(),
            database: 0,
            resp: 2,
            last_command: "get".into(),
            requests: 1,
            errors: 0,
            slow_replies: 0,
            bytes_in: 0,
            bytes_out: 0,
            subscriptions: 0,
            pattern_subscriptions: 0,
            shard_subscriptions: 0,
            redirect: -1,
            queued_commands: -1,
            inflight: 0,
            buffered_in_bytes: 0,
            buffered_out_bytes: 0,
        }
    }

    #[tokio::test]
    async fn rows_of_all_workers_come_in_order_and_a_silent_worker_is_counted() {
        let (port, mut inboxes) = ClientRowsPort::new(3);
        let silent = inboxes.pop();
        for (worker, mut inbox) in inboxes.into_iter().enumerate() {
            tokio::spawn(async move {
                while let Some(request) = inbox.recv().await {
                    let rows =
                        (0..4).map(|i| row(i * 2 + worker as u64, worker)).take(request.query.rows_max);
                    let _ = request.reply.send((rows.collect(), 4));
                }
            });
        }
        let answer = port.list(6, Duration::from_millis(50)).await;
        assert_eq!(answer.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!((answer.workers_missing, answer.found), (1, 8));
        drop(silent);
    }
}
