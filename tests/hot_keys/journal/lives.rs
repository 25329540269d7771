//! Lives of a gateway that is killed at random moments: each acknowledged delta takes effect exactly once.

use std::{fs, path::Path};

use bytes::BytesMut;
use hotgate::{
    combine::{
        Action, FlushInDoubt, FlushOutcome, PendingBudget, Recovered, Taken, WriteBehindIdentity,
        WriteBehindKey, WriteBehindOp, WriteBehindPolicy, WriteBehindReply,
    },
    journal::{FlushEnd, Journal, JournalClient, JournalKey, Opened, Record},
    resp::{Request, RequestLimits, RequestScan, RequestScanner, encode, parse_integer},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tempfile::TempDir;

use super::{key, open, write};
use crate::support::seeds::seeds;

/// One counter and its companion.
#[derive(Default)]
struct Redis {
    value: i64,
    remembered: Option<(Vec<u8>, i64, Vec<u8>)>,
}

impl Redis {
    fn flush(&mut self, wire: &[u8]) -> Vec<u8> {
        let limits = RequestLimits {
            bulk_bytes_max: 1 << 20,
            arguments_max: 100,
            inline_bytes_max: 100,
            authenticated: true,
        };
        let mut scanner = RequestScanner::new(limits);
        assert_eq!(scanner.scan(wire), RequestScan::Complete { len: wire.len() });
        let request = Request::new(wire, scanner.spans());
        let args: Vec<_> = request.args().collect();
        let (companion, token) = (args[4].to_vec(), parse_integer(args[5]).unwrap());
        let mut reply = Vec::new();
        match &self.remembered {
            Some((name, last, reply)) if *name == companion && *last == token => return reply.clone(),
            Some((name, last, _)) if *name == companion && *last > token => {
                encode::error(&mut reply, "STALE a later flush of this key was applied");
                return reply;
            }
            _ => {}
        }
        encode::array(&mut reply, 2);
        encode::bulk(&mut reply, b"=");
        encode::bulk(&mut reply, format!("${}", self.value).as_bytes());
        self.value += parse_integer(args[9]).unwrap();
        self.remembered = Some((companion, token, reply.clone()));
        reply
    }

    fn get(&self) -> Vec<u8> {
        let mut reply = Vec::new();
        encode::bulk(&mut reply, self.value.to_string().as_bytes());
        reply
    }
}

/// One life of a gateway that is killed at a random moment.
struct Life {
    machine: WriteBehindKey<u32, u32>,
    budget: PendingBudget,
    client: JournalClient,
    journal: Journal,
    now_ns: u64,
}

const POLICY: WriteBehindPolicy = WriteBehindPolicy {
    flush_interval_ns: 1_000_000,
    flush_deltas_max: 10,
    base_age_ns_max: 1_000_000_000,
    journal: true,
};

impl Life {
    fn new(directory: &Path) -> Self {
        let Opened { journal, mut clients, recovery } = open(directory).unwrap();
        let identity = WriteBehindIdentity {
            gateway_id: recovery.gateway_id.as_bytes(),
            token_floor: recovery.token_floor,
        };
        let mut budget = PendingBudget::new(1_000);
        let open = recovery.keys.first().map(|(_, open)| *open).unwrap_or_default();
        let in_doubt = open.flush.map(|flush| FlushInDoubt {
            token: flush.token,
            sum: flush.deltas.sum,
            count: flush.deltas.count as usize,
            age_ns: Some(0),
        });
        let (sum, count) = (open.unflushed.sum, open.unflushed.count as usize);
        let recovered = Recovered { in_doubt, sum, count, sequence: open.sequence };
        let machine = WriteBehindKey::recovered(Self::key().name, identity, &recovered, 0, &mut budget);
        Self { machine, budget, client: clients.remove(0), journal, now_ns: 0 }
    }

    fn key() -> JournalKey {
        key(0, "sku")
    }

    /// Increments once; true if that was acknowledged at once.
    fn increment(&mut self, delta: i64) -> bool {
        let op = WriteBehindOp::Increment(delta);
        let Taken::Answer { delta: Some(delta), .. } =
            self.machine.take(op, 0, self.now_ns, &POLICY, &mut self.budget)
        else {
            return false;
        };
        let (sum, sequence) = (delta.delta, delta.sequence);
        write(&mut self.client, Record::Deltas { key: Self::key(), sum, count: 1, sequence }).unwrap();
        self.machine.durable(sequence);
        true
    }

    /// One thing that is due, over a network that may fail; deltas that were answered by it are written as well.
    fn pump(&mut self, redis: &mut Redis, fate: u32, acknowledged: &mut i64) -> bool {
        match self.machine.next(self.now_ns, &POLICY, true, &mut self.budget) {
            Action::AskBase => {
                let reply = redis.get();
                self.machine.settle(&reply, self.now_ns, &POLICY, &mut self.budget);
            }
            Action::Flush(flush) => {
                if !flush.resend {
                    let started = Record::FlushStarted {
                        key: Self::key(),
                        token: flush.token,
                        sum: flush.sum,
                        through: flush.through,
                        first_sent_unix_ms: 0,
                    };
                    write(&mut self.client, started).unwrap();
                }
                let mut wire = BytesMut::new();
                self.machine.encode(&mut wire);
                match fate {
                    0 => self.machine.lost(true),
                    1 => {
                        redis.flush(&wire);
                        self.machine.lost(true);
                    }
                    _ => {
                        let reply = redis.flush(&wire);
                        let outcome = self.machine.settle(&reply, self.now_ns, &POLICY, &mut self.budget);
                        let WriteBehindReply::Over(FlushOutcome::Applied { token, .. }) = outcome else {
                            panic!("{outcome:?}")
                        };
                        let end = FlushEnd::Acknowledged;
                        self.client.settle(Record::FlushSettled { key: Self::key(), token, end });
                    }
                }
            }
            Action::NotBefore(at) => self.now_ns = at,
            Action::Idle => return false,
            other => panic!("{other:?}"),
        }
        while let Some((_, taken)) = self.machine.resume(self.now_ns, &POLICY, &mut self.budget) {
            let Taken::Answer { delta: Some(delta), .. } = taken else { panic!("{taken:?}") };
            let (sum, sequence) = (delta.delta, delta.sequence);
            write(&mut self.client, Record::Deltas { key: Self::key(), sum, count: 1, sequence }).unwrap();
            self.machine.durable(sequence);
            *acknowledged += sum;
        }
        true
    }
}

/// The directory as a process that is killed now would leave it.
fn killed(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A file may be replaced by the next one while this looks; it is the next one that counts.
        let _ = fs::copy(&path, copy.path().join(path.file_name().unwrap()));
    }
    copy
}

#[test]
fn what_was_acknowledged_takes_effect_exactly_once_across_kills() {
    for seed in seeds(40) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut redis = Redis::default();
        let mut directory = TempDir::new().unwrap();
        let mut acknowledged = 0;
        for _ in 0..5 {
            let mut life = Life::new(directory.path());
            for _ in 0..rng.random_range(1..60) {
                let delta = rng.random_range(-5..10);
                if rng.random_ratio(1, 2) {
                    acknowledged += if life.increment(delta) { delta } else { 0 };
                } else {
                    life.pump(&mut redis, rng.random_range(0..5), &mut acknowledged);
                }
                life.now_ns += rng.random_range(0..1_000_000);
            }
            directory = killed(directory.path());
            drop(life.journal);
        }
        let mut life = Life::new(directory.path());
        while life.pump(&mut redis, 9, &mut acknowledged) {}
        assert_eq!(redis.value, acknowledged, "seed {seed}");
        drop(life.journal);
        assert!(open(directory.path()).unwrap().recovery.keys.is_empty());
    }
}
