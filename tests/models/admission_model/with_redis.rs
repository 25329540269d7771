//! The same promises with the real queue, the real script and a real Redis; only the gateway's clock is simulated.

use bytes::{Bytes, BytesMut};
use hotgate::{
    admission::{Admission, Decision, Phase, Verb},
    combine::{FlushDecision, FlushPolicy, KeyQueue, Member, Op, window_key},
    resp::RespVersion,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{KEY, MS, quota};
use crate::support::seeds::seeds;
use crate::support::{Client, Server};

const RECHECK_NS: u64 = 50 * MS;
const FULL: &str = "-QUOTA limit of 10 reached for 'sku:{8421}:reserved'\r\n";

/// Who waits for an increment.
#[derive(Clone, Copy)]
struct Caller {
    index: usize,
    delta: i64,
}

impl Member for Caller {
    type Caller = usize;

    fn operations(&self) -> u32 {
        1
    }

    fn one(&self, _: u32) -> Self {
        *self
    }

    fn caller(&self) -> usize {
        self.index
    }
}

/// One gateway's home of the key.
struct Home {
    client: Client,
    queue: KeyQueue<Caller>,
    admission: Admission,
    now_ns: u64,
}

impl Home {
    fn open(server: &Server, gateway: &str, directives: &str) -> Self {
        let queue = KeyQueue::new(Bytes::from_static(KEY), gateway.as_bytes());
        Self { client: server.client(), queue, admission: Admission::new(quota(directives)), now_ns: 0 }
    }

    /// Runs increments that arrive together, and gives their replies.
    fn add(&mut self, deltas: &[i64]) -> Vec<String> {
        let mut replies = vec![String::new(); deltas.len()];
        for (index, &delta) in deltas.iter().enumerate() {
            match self.admission.decide(self.now_ns, delta) {
                Decision::Admit | Decision::Ask => {
                    self.queue.push(Op::Increment(delta), Caller { index, delta }, RespVersion::Resp2);
                }
                Decision::Refuse(denial) => {
                    let mut out = Vec::new();
                    self.admission.write_denial(denial, RespVersion::Resp2, &mut out);
                    replies[index] = String::from_utf8(out).unwrap();
                }
                Decision::LetThrough(_) => panic!("Redis is there"),
            }
        }
        while self.flush(&mut replies) {}
        replies
    }

    fn flush(&mut self, replies: &mut [String]) -> bool {
        let clamp = self.admission.clamp().unwrap().clone();
        let policy = FlushPolicy {
            interval_ns: 0,
            early_min: usize::MAX,
            exactly_once: true,
            clamp: Some(&clamp),
            withhold: false,
        };
        let flush = match self.queue.next_flush(self.now_ns, &policy) {
            FlushDecision::Idle => return false,
            FlushDecision::Send(flush) => flush,
            other => panic!("{other:?}"),
        };
        self.admission.on_flush(self.queue.len() > flush.operations);
        let mut wire = BytesMut::new();
        self.queue.encode(&mut wire);
        self.client.send(&wire);
        let from_redis: Vec<_> = (0..flush.commands).map(|_| self.client.reply()).collect();
        let (admission, mut scratch) = (&mut self.admission, Vec::new());
        let settlement = self.queue.settle(&from_redis, |Caller { index, delta }, settled| {
            let told = admission.settle(delta, settled, RespVersion::Resp2, &mut scratch);
            replies[index] = String::from_utf8(told.to_vec()).unwrap();
        });
        if let Some(report) = settlement.clamp {
            self.admission.on_report(self.now_ns, &report);
        }
        true
    }

    fn flushes(&self) -> u64 {
        self.queue.counters().flushes
    }

    fn value(&mut self) -> i64 {
        String::from_utf8(self.client.bulk("GET sku:{8421}:reserved")).unwrap().parse().unwrap()
    }

    /// Carries out what an operator asks for.
    fn operator(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let Ok(Verb::Change(key, action, _)) = Verb::parse(&words) else { panic!("{line} is no change") };
        action.check(&key, Some(self.admission.quota())).unwrap();
        let reply = self.client.call(&action.command(&key, "a model"));
        assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
    }
}

fn counted(from: i64, to: i64) -> Vec<String> {
    (from..=to).map(|value| format!(":{value}\r\n")).collect()
}

#[test]
fn a_sold_out_counter_is_asked_once_per_recheck() {
    let server = Server::start();
    let mut home = Home::open(&server, "g1", "limit=10");
    assert_eq!(home.add(&[1; 12]), [counted(1, 10), vec![FULL.to_owned(); 2]].concat());
    assert_eq!(home.flushes(), 1);
    for _ in 0..40 {
        home.now_ns += 5 * MS;
        assert_eq!(home.add(&[1; 100]), vec![FULL; 100]);
    }
    assert_eq!(home.flushes(), 1 + 200 / 50);
    assert_eq!(home.add(&[-1, 1, 1]), [":9\r\n", ":10\r\n", FULL]);
    assert_eq!(home.value(), 10);
    let counts = home.admission.counts()[0];
    assert_eq!((counts.admitted, counts.admitted_units, counts.rechecks), (12, 11, 4));
    assert_eq!(counts.refused, [2 + 4000 + 1, 0, 0, 0, 0]);
}

#[test]
fn operators_change_what_holds() {
    let server = Server::start();
    let mut home = Home::open(&server, "g1", "limit=10");
    let key = std::str::from_utf8(KEY).unwrap();
    home.add(&[10, 1]);
    let check = |home: &mut Home, line: &str, expect: &str| {
        let limit = if line == "SET" { " LIMIT 12" } else { "" };
        home.operator(&format!("{line} {key}{limit}"));
        home.now_ns += RECHECK_NS;
        assert_eq!(home.add(&[1]), [expect], "{line}");
    };
    check(&mut home, "SET", ":11\r\n");
    let paused = "-QUOTA paused by an operator for 'sku:{8421}:reserved'\r\n";
    check(&mut home, "PAUSE", paused);
    assert_eq!(home.add(&[-1]), [paused]);
    check(&mut home, "RESUME", ":12\r\n");
    check(&mut home, "RESET", FULL);
    assert_eq!(home.value(), 12);
}

#[test]
fn a_limit_key_in_the_slot_counts_from_the_next_flush() {
    let server = Server::start();
    let mut home = Home::open(&server, "g1", "limit_key='sku:$1:limit'");
    let mut other = server.client();
    let fault = |what: &str| format!("-QUOTA cannot be applied for 'sku:{{8421}}:reserved': {what}\r\n");
    let missing = fault("limit key 'sku:{8421}:limit' does not exist");
    assert_eq!(home.add(&[1, 1]), vec![missing.clone(); 2]);
    assert_eq!((home.add(&[1]), home.flushes()), (vec![missing], 1));
    other.check("SET sku:{8421}:limit 3", "+OK");
    home.now_ns += RECHECK_NS;
    assert_eq!(home.add(&[1]), [":1\r\n"]);
    assert_eq!(home.add(&[1, 1]), counted(2, 3));
    other.check("SET sku:{8421}:limit 4", "+OK");
    home.now_ns += RECHECK_NS;
    assert_eq!(home.add(&[1]), [":4\r\n"]);
    other.check("SET sku:{8421}:limit many", "+OK");
    home.now_ns += RECHECK_NS;
    let wrong = fault("limit key 'sku:{8421}:limit' is not an integer from 0 to 4503599627370496");
    assert_eq!(home.add(&[1]), [wrong]);
    assert_eq!(home.value(), 4);
}

#[test]
fn a_window_ends_where_redis_lets_it_end() {
    let server = Server::start();
    let mut home = Home::open(&server, "g1", "limit=3;window='1h';recheck='1m'");
    let full = "-QUOTA limit of 3 per 3600s reached for 'sku:{8421}:reserved'\r\n";
    assert_eq!(home.add(&[2, 1, 1]), [":2\r\n", ":3\r\n", full]);
    home.now_ns += 50_000 * MS;
    assert_eq!((home.add(&[1]), home.flushes()), (vec![full.to_owned()], 1));
    assert_eq!(home.client.call(&[b"DEL".as_slice(), &window_key(KEY, 3_600_000)]), b":1\r\n");
    home.now_ns = 3_600_001 * MS;
    assert_eq!(home.add(&[1, 3]), [":4\r\n", full]);
    assert_eq!(home.admission.counts()[0].rechecks, 0);
}

#[test]
fn gateways_share_a_quota_to_the_last_unit() {
    let server = Server::start();
    for seed in seeds(10) {
        println!("HOTGATE_SEED={seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        server.client().check("FLUSHALL", "+OK");
        let mut homes: Vec<_> =
            (0..4).map(|gateway| Home::open(&server, &format!("{seed}:{gateway}"), "limit=1000")).collect();
        let (mut held, mut granted) = (Vec::<i64>::new(), 0);
        for round in 0..400 {
            let home = &mut homes[rng.random_range(0..4)];
            home.now_ns += rng.random_range(0..20 * MS);
            let deltas: Vec<i64> = (0..rng.random_range(1..40))
                .map(|_| match held.pop().filter(|_| round < 300 && rng.random_ratio(1, 4)) {
                    Some(given) => -given,
                    None if round < 300 => rng.random_range(1..8),
                    None => 1,
                })
                .collect();
            for (delta, reply) in deltas.iter().zip(home.add(&deltas)) {
                assert!(delta > &0 || reply.starts_with(':'), "seed {seed}: a release is refused: {reply}");
                if reply.starts_with(':') {
                    granted += delta;
                    held.extend((*delta > 0).then_some(*delta));
                }
            }
            assert!(granted <= 1000, "seed {seed}: oversold");
        }
        assert_eq!((homes[0].value(), granted), (1000, 1000), "seed {seed}");
        assert!(homes.iter().all(|home| home.admission.phase().0 != Phase::Open), "seed {seed}");
    }
}
