//! Clients that increment one counter whatever happens to the servers and gateways meanwhile, and the account of what they
//! were told.
//!
//! Each client sends its increments in small pipelines, connects again when its connection ends, and keeps the reply to
//! every single increment, or that none came. So the value that the counter may have in the end is known exactly:
//! what was acknowledged is in it, what was refused is not, and only what was left unknown may be either.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::client::Client;
use super::text::{one_line, request};
use super::wait_until;

/// Increments in one pipeline.
const PIPELINE_MAX: usize = 16;

/// What became of the increments of all clients together.
#[derive(Debug, Default)]
pub struct Account {
    /// The values that came back.
    pub acknowledged: Vec<i64>,
    /// The error said that the outcome is unknown, or no reply came.
    pub unknown: i64,
    /// The error said that the command was not sent.
    pub refused: i64,
    /// The errors, to be shown when the account is not in order.
    pub errors: Vec<String>,
}

impl Account {
    /// Holds the counter's last value against what the clients were told.
    pub fn check(&mut self, value: i64, seed: u64) {
        let acknowledged = self.acknowledged.len() as i64;
        let (least, most) = (acknowledged, acknowledged + self.unknown);
        assert!(
            (least..=most).contains(&value),
            "seed {seed}: the counter is {value}, but {acknowledged} increments were acknowledged and {} are unknown",
            self.unknown
        );
        self.acknowledged.sort_unstable();
        let twice = self.acknowledged.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "seed {seed}: two clients were told {twice:?}");
        assert!(
            self.acknowledged.last().is_none_or(|last| *last <= value),
            "seed {seed}: a value beyond the last"
        );
    }

    /// As [`Account::check`], where nothing may be left open: each increment has its own value, without a gap.
    pub fn check_whole(&mut self, value: i64, seed: u64) {
        self.check(value, seed);
        let open = (self.unknown, self.refused);
        assert_eq!(open, (0, 0), "seed {seed}: unknown and refused increments, {:?}", self.errors);
        let gapless = self.acknowledged.iter().zip(1..).all(|(value, place)| *value == place);
        assert!(gapless, "seed {seed}: the values have gaps");
    }
}

/// Running clients.
pub struct Increments {
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Account>>,
}

impl Increments {
    /// Starts `clients` threads that increment `key`. The number of a client chooses its gateway; a gateway's address may
    /// change, when it is started again.
    pub fn start(key: &str, clients: usize, gateways: &[Arc<Mutex<SocketAddr>>], seed: u64) -> Increments {
        Self::saying(&format!("INCR {key}"), clients, gateways, seed)
    }

    /// The same of clients that count with this line.
    pub fn saying(line: &str, clients: usize, gateways: &[Arc<Mutex<SocketAddr>>], seed: u64) -> Increments {
        let stop = Arc::new(AtomicBool::new(false));
        let replies = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|number| {
                let counting = Counting {
                    request: request(line),
                    gateway: Arc::clone(&gateways[number % gateways.len()]),
                    rng: SmallRng::seed_from_u64(seed.wrapping_add(number as u64)),
                    stop: Arc::clone(&stop),
                    replies: Arc::clone(&replies),
                    account: Account::default(),
                };
                std::thread::spawn(move || counting.run())
            })
            .collect();
        Increments { stop, replies, clients }
    }

    /// Waits for `count` more replies.
    pub fn wait_for_replies(&self, count: usize) {
        let wished = self.replies.load(Ordering::Relaxed) + count;
        wait_until("increments are answered", || {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client failed");
            self.replies.load(Ordering::Relaxed) >= wished
        });
    }

    /// Lets the clients come to an end; each has the replies to all that it sent, or knows that none will come.
    pub fn finish(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Account::default();
        for client in self.clients {
            let Account { acknowledged, unknown, refused, errors } = client.join().expect("a client failed");
            all.acknowledged.extend(acknowledged);
            all.unknown += unknown;
            all.refused += refused;
            all.errors.extend(errors);
        }
        all
    }
}

struct Counting {
    request: Vec<u8>,
    gateway: Arc<Mutex<SocketAddr>>,
    rng: SmallRng,
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicUsize>,
    account: Account,
}

impl Counting {
    fn run(mut self) -> Account {
        while !self.stop.load(Ordering::Relaxed) {
            let address = *self.gateway.lock().unwrap();
            match Client::try_connect(address) {
                Ok(client) => self.converse(client),
                // Its gateway is down at the moment.
                Err(_) => std::thread::yield_now(),
            }
        }
        self.account
    }

    /// Increments until it is to stop or the connection ends.
    fn converse(&mut self, mut client: Client) {
        let mut last = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let count = self.rng.random_range(1..=PIPELINE_MAX);
            if client.try_send(&self.request.repeat(count)).is_err() {
                self.account.unknown += count as i64;
                return;
            }
            for place in 0..count {
                let Ok(reply) = client.try_reply() else {
                    self.account.unknown += (count - place) as i64;
                    return;
                };
                self.note(&one_line(&reply), &mut last);
                self.replies.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn note(&mut self, reply: &str, last: &mut i64) {
        if let Some(value) = reply.strip_prefix(':') {
            let value = value.parse().unwrap();
            assert!(value > *last, "a connection was told {value} after {last}");
            *last = value;
            self.account.acknowledged.push(value);
            return;
        }
        self.account.errors.push(reply.to_string());
        if reply.contains("outcome") && reply.contains("unknown") {
            self.account.unknown += 1;
        } else {
            assert!(reply.contains("was not sent"), "{} -> {reply}", one_line(&self.request));
            self.account.refused += 1;
        }
    }
}
