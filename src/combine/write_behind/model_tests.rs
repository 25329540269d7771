//! The machine against a Redis that does one thing after the other, over a network that loses what it likes.
//!
//! A seed that fails is printed; `HOTGATE_SEED` runs it alone.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;
use crate::combine::{flush_script_sha, script::RETRY_NS_MAX};
use crate::resp::{Request, RequestLimits, RequestScan, RequestScanner, RespVersion, encode, parse_integer};

const KEY: &[u8] = b"sku:{8421}:reserved";
const IDENTITY: WriteBehindIdentity = WriteBehindIdentity { gateway_id: b"g1", token_floor: 7 };
const POLICY: WriteBehindPolicy = WriteBehindPolicy {
    flush_interval_ns: 1_000_000,
    flush_deltas_max: 20,
    base_age_ns_max: 50_000_000,
    journal: false,
};

/// One counter, one companion, and what is wrong with the server at the moment.
#[derive(Default)]
struct Redis {
    value: Option<Vec<u8>>,
    remembered: Option<(u64, Vec<u8>)>,
    script_known: bool,
    fault: Option<&'static str>,
    /// Tokens that took effect, each with its sum. A second time is a failure of the test.
    landed: HashMap<u64, i64>,
}

impl Redis {
    fn add(&mut self, delta: i64) -> Result<i64, String> {
        if let Some(fault) = self.fault {
            return Err(fault.to_owned());
        }
        let value = self.value.as_deref().map_or(Some(0), parse_integer);
        let value = value.ok_or("ERR value is not an integer or out of range")?;
        let value = value.checked_add(delta).ok_or("ERR increment or decrement would overflow")?;
        self.value = Some(value.to_string().into_bytes());
        Ok(value)
    }

    fn get(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.value {
            Some(value) => encode::bulk(&mut out, value),
            None => encode::null(&mut out, RespVersion::Resp2),
        }
        out
    }

    fn flush(&mut self, wire: &[u8]) -> Vec<u8> {
        let args = arguments(wire);
        let mut out = Vec::new();
        if args[0] == b"EVALSHA" && !self.script_known {
            assert_eq!(args[1], flush_script_sha().as_bytes());
            encode::error(&mut out, "NOSCRIPT No matching script. Please use EVAL.");
            return out;
        }
        self.script_known = true;
        assert_eq!(
            (&args[2][..], &args[3][..], &args[7][..], &args[8][..]),
            (&b"2"[..], KEY, &b"0"[..], &b"I"[..])
        );
        let token = parse_integer(&args[5]).unwrap() as u64;
        match &self.remembered {
            Some((last, reply)) if *last == token => return reply.clone(),
            Some((last, _)) if *last > token => {
                encode::error(&mut out, "STALE a later flush of this key was applied");
                return out;
            }
            _ => {}
        }
        let sum = parse_integer(&args[9]).unwrap();
        let before = self.value.clone();
        let verdict = match self.add(sum) {
            Ok(_) => {
                assert!(self.landed.insert(token, sum).is_none(), "token {token} took effect twice");
                "=".to_owned()
            }
            Err(text) if text.contains("overflow") => "#0".to_owned(),
            Err(text) => format!("!{text}"),
        };
        encode::array(&mut out, 2);
        encode::bulk(&mut out, verdict.as_bytes());
        let before = before.map_or_else(|| b"_".to_vec(), |before| [b"$".as_slice(), &before].concat());
        encode::bulk(&mut out, &before);
        if self.fault.is_none() {
            self.remembered = Some((token, out.clone()));
        }
        out
    }
}

fn arguments(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut scanner = RequestScanner::new(RequestLimits {
        bulk_bytes_max: 1 << 20,
        arguments_max: 100,
        inline_bytes_max: 100,
        authenticated: true,
    });
    assert_eq!(scanner.scan(wire), RequestScan::Complete { len: wire.len() });
    Request::new(wire, scanner.spans()).args().map(<[u8]>::to_vec).collect()
}

/// What is under way to Redis.
#[derive(Clone)]
enum Sent {
    Base,
    Flush(Vec<u8>),
}

struct World {
    rng: SmallRng,
    redis: Redis,
    machine: WriteBehindKey<u32, u32>,
    budget: PendingBudget,
    now_ns: u64,
    sent: Option<Sent>,
    /// Bytes of lost connections, which may be executed at any later time.
    late: Vec<Vec<u8>>,
    holding: Vec<u32>,
    next_member: u32,
    ops: HashMap<u32, WriteBehindOp>,
    /// Members and barriers in the order in which they were taken and neither answered, passed through nor holding the key.
    open: VecDeque<u32>,
    taken: (i128, usize),
    over: (i128, usize),
    applied: HashSet<u64>,
    unknown: HashSet<u64>,
    /// Nobody else writes and nothing is refused: then every answer is known beforehand.
    alone: Option<i64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            alone: seed.is_multiple_of(2).then_some(0),
            rng,
            redis: Redis::default(),
            machine: WriteBehindKey::new(Bytes::from_static(KEY), IDENTITY),
            budget: PendingBudget::new(60),
            now_ns: 1_000,
            sent: None,
            late: Vec::new(),
            holding: Vec::new(),
            next_member: 0,
            ops: HashMap::new(),
            open: VecDeque::new(),
            taken: (0, 0),
            over: (0, 0),
            applied: HashSet::new(),
            unknown: HashSet::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.take(),
            40..43 => self.barrier(),
            43..60 => self.now_ns += self.rng.random_range(0..2_000_000),
            60..75 => self.pump(false),
            75..93 => self.network(),
            93..95 => self.end_hold(),
            95 => self.arrive_late(),
            96 => self.machine.doubt_total(),
            97 => self.redis.script_known = false,
            98 if self.alone.is_none() => self.disturb(),
            _ => self.now_ns += if self.rng.random_ratio(1, 20) { RETRY_NS_MAX + 1 } else { 0 },
        }
        let facts = self.machine.facts();
        assert_eq!(facts.pending_deltas, self.budget.deltas());
        assert_eq!(self.taken.1, self.over.1 + facts.pending_deltas, "every delta is somewhere");
    }

    fn take(&mut self) {
        let op = match self.rng.random_range(0..10) {
            0..7 => WriteBehindOp::Increment(self.rng.random_range(-3..9)),
            7 if self.alone.is_none() => WriteBehindOp::Increment(self.rng.random()),
            _ => WriteBehindOp::Get,
        };
        let member = self.member(op);
        match self.machine.take(op, member, self.now_ns, &POLICY, &mut self.budget) {
            Taken::Waits => self.open.push_back(member),
            Taken::PassThrough => assert!(self.open.is_empty() && self.budget.deltas() == 0),
            taken => {
                assert!(self.open.is_empty(), "nobody is overtaken");
                self.answered(member, taken);
            }
        }
    }

    fn member(&mut self, op: WriteBehindOp) -> u32 {
        self.next_member += 1;
        self.ops.insert(self.next_member, op);
        self.next_member
    }

    fn barrier(&mut self) {
        self.next_member += 1;
        assert!(self.machine.barrier(self.next_member));
        self.open.push_back(self.next_member);
    }

    fn answered(&mut self, member: u32, taken: Taken) {
        let Taken::Answer { answer, delta, .. } = taken else {
            return assert_eq!(taken, Taken::Refused);
        };
        let op = self.ops[&member];
        if let Some(delta) = delta {
            assert_eq!(op, WriteBehindOp::Increment(delta.delta));
            self.taken = (self.taken.0 + i128::from(delta.delta), self.taken.1 + 1);
        }
        let Some(total) = &mut self.alone else { return };
        match (op, answer) {
            (WriteBehindOp::Increment(delta), Answer::Integer(value)) => {
                *total += delta;
                assert_eq!(value, *total);
            }
            (WriteBehindOp::Get, Answer::Bulk(value)) => assert_eq!(value, *total),
            (WriteBehindOp::Get, Answer::Null) => assert_eq!(self.taken.1, 0),
            other => panic!("{other:?}"),
        }
    }

    fn pump(&mut self, draining: bool) {
        loop {
            while let Some((member, taken)) = self.machine.resume(self.now_ns, &POLICY, &mut self.budget) {
                assert_eq!(self.open.pop_front(), Some(member));
                self.answered(member, taken);
            }
            match self.machine.next(self.now_ns, &POLICY, draining, &mut self.budget) {
                Action::AskBase => self.sent = Some(Sent::Base),
                Action::Flush(_) => {
                    let mut wire = BytesMut::new();
                    self.machine.encode(&mut wire);
                    assert!(self.sent.is_none(), "one flush at a time");
                    self.sent = Some(Sent::Flush(wire.to_vec()));
                }
                Action::Hold(barrier) => {
                    assert_eq!(self.budget.deltas(), 0, "all before it is flushed");
                    assert_eq!(self.open.pop_front(), Some(barrier));
                    self.holding.push(barrier);
                }
                Action::PassThrough(op, member) => {
                    assert_eq!(self.budget.deltas(), 0, "all before it is flushed");
                    assert_eq!(self.open.pop_front(), Some(member));
                    assert_eq!(self.ops[&member], op);
                    assert!(self.alone.is_none(), "a counter is not passed through");
                }
                Action::Over(outcome) => self.over(&outcome),
                Action::NotBefore(at) => {
                    assert!(at > self.now_ns);
                    return;
                }
                Action::InFlight | Action::Idle => return,
            }
        }
    }

    fn over(&mut self, outcome: &FlushOutcome) {
        let (sum, count) = match outcome {
            FlushOutcome::Applied { token, sum, count, .. } => {
                assert_eq!(self.redis.landed.get(token), Some(sum), "an acknowledged flush landed");
                self.applied.insert(*token);
                (*sum, *count)
            }
            FlushOutcome::Returned { token, .. } => {
                return assert!(!self.redis.landed.contains_key(token), "a returned flush did not land");
            }
            FlushOutcome::Lost(loss) => {
                assert!(self.alone.is_none(), "{loss:?}");
                assert!(!self.redis.landed.contains_key(&loss.token));
                (loss.sum, loss.count)
            }
            FlushOutcome::Unknown(loss) => {
                // From here on the answers are a guess.
                self.alone = None;
                self.unknown.insert(loss.token);
                (loss.sum, loss.count)
            }
        };
        self.over = (self.over.0 + i128::from(sum), self.over.1 + count);
    }

    fn network(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        let fate = self.rng.random_range(0..10);
        match (sent, fate) {
            (Sent::Base, 0) => {
                while let Some(waiting) = self.machine.abandon_one() {
                    let (WriteBehindWaiting::Op(_, failed) | WriteBehindWaiting::Barrier(failed)) = waiting;
                    assert_eq!(self.open.pop_front(), Some(failed));
                }
            }
            (Sent::Base, 1) => self.machine.lost(true),
            (Sent::Base, _) => {
                let reply = self.redis.get();
                assert_eq!(self.settle(&reply), WriteBehindReply::Base);
            }
            (Sent::Flush(wire), 0) => {
                self.late.push(wire);
                self.machine.lost(true);
            }
            (Sent::Flush(wire), 1) => {
                self.redis.flush(&wire);
                self.machine.lost(true);
            }
            (Sent::Flush(_), 2) => {
                self.machine.lost(false);
                if self.rng.random() {
                    self.machine.take_back_flush();
                }
            }
            (Sent::Flush(wire), _) => {
                let reply = self.redis.flush(&wire);
                match self.settle(&reply) {
                    WriteBehindReply::Over(outcome) => self.over(&outcome),
                    WriteBehindReply::Again(_) => {}
                    WriteBehindReply::Base => panic!("a flush was sent"),
                }
            }
        }
    }

    fn settle(&mut self, reply: &[u8]) -> WriteBehindReply {
        self.machine.settle(reply, self.now_ns, &POLICY, &mut self.budget)
    }

    fn end_hold(&mut self) {
        if self.holding.pop().is_some() {
            self.machine.end_hold();
        }
    }

    fn arrive_late(&mut self) {
        if !self.late.is_empty() {
            let index = self.rng.random_range(0..self.late.len());
            self.redis.flush(&self.late.swap_remove(index));
        }
    }

    fn disturb(&mut self) {
        match self.rng.random_range(0..6) {
            0..3 => drop(self.redis.add(self.rng.random_range(-100..100))),
            3 => self.redis.fault = Some("OOM command not allowed when used memory > 'maxmemory'."),
            4 if self.rng.random_ratio(1, 10) => self.redis.value = Some(b"abc".to_vec()),
            _ => self.redis.fault = None,
        }
    }

    /// The network and the server are well again.
    fn finish(&mut self) {
        self.redis.fault = None;
        for _ in 0..10_000 {
            while !self.holding.is_empty() {
                self.end_hold();
            }
            self.pump(true);
            if self.machine.is_empty() && self.sent.is_none() {
                break;
            }
            self.now_ns += 1_000_000;
            self.network();
        }
        assert!(self.machine.is_empty() && self.open.is_empty(), "{:?}", self.machine);
        while !self.late.is_empty() {
            self.arrive_late();
        }
        assert_eq!(self.taken, self.over, "every delta is accounted for once");
        assert_eq!(self.budget.deltas(), 0);
        let landed: HashSet<u64> = self.redis.landed.keys().copied().collect();
        assert!(self.applied.is_subset(&landed));
        assert!(landed.is_subset(&self.applied.union(&self.unknown).copied().collect()));
        if let Some(total) = self.alone {
            assert_eq!(self.redis.value.as_deref().map_or(Some(0), parse_integer), Some(total));
        }
    }
}

#[test]
fn every_delta_takes_effect_once_or_is_reported() {
    let seeds = match std::env::var("HOTGATE_SEED") {
        Ok(seed) => seed.parse().map(|seed: u64| seed..seed + 1).expect("HOTGATE_SEED is a number"),
        Err(_) => 0..3_000,
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..400).for_each(|_| world.step());
            world.finish();
        });
        if let Err(panic) = run {
            eprintln!("HOTGATE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
