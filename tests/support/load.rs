//! Clients that count, under whatever a test does to the servers meanwhile, and an oracle that knows what each reply may be.
//!
//! Each client increments keys that nobody else touches, one request at a time. So every reply is known beforehand, but
//! for increments whose outcome the gateway called unknown: those may or may not have happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::client::Client;
use super::gateway::Gateway;
use super::text::one_line;
use super::wait_until;

/// What may happen to writes that were acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// None is lost.
    Kept,
    /// Redis itself loses some: replication is asynchronous, and a master dies.
    MayBeLost,
}

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts `clients` threads. `key` names the key of a client's number and an index below `keys`.
    pub fn start(
        gateway: &Gateway,
        clients: usize,
        keys: usize,
        acknowledged: Acknowledged,
        key: impl Fn(usize, usize) -> String,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let replies = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|number| {
                let names = (0..keys).map(|index| key(number, index)).collect();
                let counter = Counter { client: gateway.client(), acknowledged, errors: Vec::new() };
                let (stop, replies) = (Arc::clone(&stop), Arc::clone(&replies));
                std::thread::spawn(move || counter.run(names, &stop, &replies))
            })
            .collect();
        Load { stop, replies, clients }
    }

    /// Waits until the clients have got `count` more replies.
    pub fn wait_for_replies(&self, count: usize) {
        let wished = self.replies.load(Ordering::Relaxed) + count;
        wait_until("the load goes on", || {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client of the load failed");
            self.replies.load(Ordering::Relaxed) >= wished
        });
    }

    /// Stops the clients, which then read all their keys once more. Returns the errors they got.
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client of the load failed"))
            .collect()
    }
}

/// The counter of one key, as far as its only client can know it.
#[derive(Clone, Copy)]
struct Known {
    least: i64,
    most: i64,
}

struct Counter {
    client: Client,
    acknowledged: Acknowledged,
    errors: Vec<String>,
}

impl Counter {
    fn run(mut self, names: Vec<String>, stop: &AtomicBool, replies: &AtomicUsize) -> Vec<String> {
        let mut counters: Vec<(String, Known)> =
            names.into_iter().map(|name| (name, Known { least: 0, most: 0 })).collect();
        while !stop.load(Ordering::Relaxed) {
            for (name, known) in &mut counters {
                self.increment(name, known);
                replies.fetch_add(1, Ordering::Relaxed);
            }
        }
        for (name, known) in &counters {
            self.read(name, *known);
        }
        self.errors
    }

    fn increment(&mut self, name: &str, known: &mut Known) {
        let reply = self.client.ask(&format!("INCR {name}"));
        if let Some(value) = reply.strip_prefix(':') {
            let value: i64 = value.parse().unwrap();
            self.hold(name, value, known.least + 1, known.most + 1);
            *known = Known { least: value, most: value };
            return;
        }
        // Only what the gateway itself says, never a node's redirection or state.
        assert!(reply.starts_with("-ERR hotgate: "), "INCR {name} -> {reply}");
        if reply.contains("outcome is unknown") {
            known.most += 1;
        }
        self.errors.push(reply);
    }

    fn read(&mut self, name: &str, known: Known) {
        let reply = one_line(&self.client.call(&["GET", name]));
        let value = match reply.strip_prefix('$').and_then(|rest| rest.split_once(' ')) {
            Some((_, digits)) => digits.parse().unwrap(),
            None if reply == "$-1" => 0,
            None => panic!("GET {name} -> {reply}"),
        };
        self.hold(name, value, known.least, known.most);
    }

    fn hold(&self, name: &str, value: i64, least: i64, most: i64) {
        let least = if self.acknowledged == Acknowledged::Kept { least } else { 0 };
        assert!((least..=most).contains(&value), "{name} is {value}, but must be {least} to {most}");
    }
}
