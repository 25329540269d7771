//! The clamp against a member-by-member account of what a quota allows, with the real script in a real Redis.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{
        Cause, Ceiling, Charge, Clamp, ClampReport, Consumes, FlushDecision, FlushPolicy, KeyQueue, Op,
        Refusal, Settled, ShadowBounds, Window, override_key, window_key,
    },
    resp::RespVersion,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::harness::{Backend, Caller, KEY};
use super::server::{Client, Server};
use crate::support::seeds::seeds;

/// An answer that outlives the call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Reply(String),
    Refused(Refusal),
    Fault(String),
}

fn refused(cause: Cause, limit: i64, value: i64) -> Answer {
    Answer::Refused(Refusal { cause, limit, value })
}

fn reply(text: &str) -> Answer {
    Answer::Reply(text.to_owned())
}

struct Shop {
    client: Client,
    queue: KeyQueue<Caller>,
    now_ns: u64,
    exactly_once: bool,
    together: bool,
}

impl Shop {
    fn open(server: &Server, exactly_once: bool) -> Self {
        let mut client = server.client(0);
        client.ask(&[b"FLUSHALL"]);
        let queue = KeyQueue::new(Bytes::from_static(KEY), b"g1");
        Self { client, queue, now_ns: 0, exactly_once, together: false }
    }

    fn flush(&mut self, clamp: &Clamp, ops: &[Op]) -> (Vec<Answer>, ClampReport) {
        // Equal operations come together every other time; what they are told is the same.
        self.together = !self.together;
        let mut number = 0;
        for run in ops.chunk_by(|one, next| self.together && one == next) {
            let caller = Caller { operations: run.len() as u32, ..number.into() };
            self.queue.push(run[0], caller, RespVersion::Resp2);
            number += caller.operations;
        }
        let clamp = Arc::new(clamp.clone());
        let mut answers = vec![None; ops.len()];
        let mut report = None;
        loop {
            self.now_ns += 1_000_000;
            let policy = FlushPolicy {
                interval_ns: 1,
                early_min: usize::MAX,
                exactly_once: self.exactly_once,
                clamp: Some(&clamp),
                withhold: false,
            };
            match self.queue.next_flush(self.now_ns, &policy) {
                FlushDecision::Idle => break,
                FlushDecision::Send(_) => {}
                other => panic!("{other:?}"),
            }
            let mut wire = BytesMut::new();
            self.queue.encode(&mut wire);
            let replies = self.client.run(&wire, RespVersion::Resp2);
            let settlement = self.queue.settle(&replies, |caller, settled| {
                assert_eq!(caller.operations, 1, "a quota judges one by one");
                let answer = match settled {
                    Settled::Reply(bytes) | Settled::Unsent(bytes) | Settled::OutcomeUnknown(bytes) => {
                        Answer::Reply(String::from_utf8(bytes.to_vec()).unwrap())
                    }
                    Settled::Shared(bytes) => Answer::Reply(String::from_utf8(bytes.to_vec()).unwrap()),
                    Settled::Refused(refusal) => Answer::Refused(refusal),
                    Settled::ClampError(text) => Answer::Fault(text.to_owned()),
                };
                assert_eq!(answers[caller.number as usize].replace(answer), None);
            });
            report = settlement.clamp.or(report);
        }
        (answers.into_iter().map(Option::unwrap).collect(), report.unwrap_or_default())
    }

    fn value(&mut self) -> String {
        self.client.ask(&[b"GET", KEY])
    }
}

fn ceiling(limit: i64) -> Clamp {
    Clamp { ceilings: vec![Ceiling::Value(limit)], ..Clamp::default() }
}

fn by(deltas: &[i64]) -> Vec<Op<'static>> {
    deltas.iter().map(|&delta| Op::Increment(delta)).collect()
}

#[test]
fn grants_in_order_as_far_as_they_fit() {
    let server = Server::start();
    for exactly_once in [false, true] {
        let mut shop = Shop::open(&server, exactly_once);
        let full = |value| refused(Cause::Ceiling, 10, value);
        let (answers, report) = shop.flush(&ceiling(10), &by(&[4, 5, 5, 1, 1]));
        assert_eq!(answers, [reply(":4\r\n"), reply(":9\r\n"), full(9), reply(":10\r\n"), full(10)]);
        assert_eq!((report.granted, report.refused, report.remaining()), (3, 2, Some(0)));
        let ops = [
            Op::Increment(1),
            Op::Increment(-3),
            Op::Get,
            Op::Increment(5),
            Op::Increment(0),
            Op::Increment(2),
        ];
        let (answers, _) = shop.flush(&ceiling(10), &ops);
        let expect =
            [full(10), reply(":7\r\n"), reply("$1\r\n7\r\n"), full(7), reply(":7\r\n"), reply(":9\r\n")];
        assert_eq!(answers, expect);
        assert_eq!(shop.value(), "$1\r\n9\r\n");
        let (answers, _) = shop.flush(&ceiling(12), &by(&[1, 3, 1]));
        assert_eq!(answers[1..], [refused(Cause::Ceiling, 12, 10), reply(":11\r\n")]);
    }
}

#[test]
fn refusing_all_does_not_create_the_counter() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let (answers, report) = shop.flush(&ceiling(0), &[Op::Get, Op::Increment(1), Op::Get]);
    assert_eq!(answers, [reply("$-1\r\n"), refused(Cause::Ceiling, 0, 0), reply("$-1\r\n")]);
    assert_eq!(report.value, Some(0));
    assert_eq!(shop.value(), "$-1\r\n");
}

#[test]
fn stock_does_not_go_below_its_floor() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    shop.client.ask(&[b"SET", KEY, b"2"]);
    let clamp = Clamp { floor: Some(0), consumes: Consumes::Down, ..Clamp::default() };
    let (answers, report) = shop.flush(&clamp, &by(&[-1, -2, -1, -1, 5]));
    let gone = |value| refused(Cause::Floor, 0, value);
    assert_eq!(answers, [reply(":1\r\n"), gone(1), reply(":0\r\n"), gone(0), reply(":5\r\n")]);
    assert_eq!(report.remaining(), Some(5));
}

#[test]
fn a_window_is_a_rate_and_ends_by_itself() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let key = window_key(KEY, 60_000);
    let window = Window { key: key.clone(), limit: 3, window_ms: 60_000 };
    let clamp = Clamp { windows: vec![window], ..ceiling(100) };
    let (answers, report) = shop.flush(&clamp, &by(&[2, 2, -1, 1, 1]));
    let spent = |value| refused(Cause::Window(0), 3, value);
    assert_eq!(answers, [reply(":2\r\n"), spent(2), reply(":1\r\n"), reply(":2\r\n"), spent(2)]);
    assert_eq!(report.windows[0].used, 3);
    assert!((1..=60_000).contains(&report.windows[0].left_ms));
    shop.client.ask(&[b"DEL", &key]);
    assert_eq!(shop.flush(&clamp, &by(&[1])).0, [reply(":3\r\n")]);
    shop.client.ask(&[b"SET", &key, b"9"]);
    assert_eq!(shop.flush(&clamp, &by(&[1])).0, [spent(3)]);
    assert_ne!(shop.client.ask(&[b"PTTL", &key]), ":-1\r\n", "a window that somebody else wrote ends too");
}

#[test]
fn a_window_that_lasts_longer_than_it_is_long_is_over() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let key = window_key(KEY, 60_000);
    let window = Window { key: key.clone(), limit: 3, window_ms: 60_000 };
    let left_ms = |shop: &mut Shop| shop.client.ask(&[b"PTTL", &key]).trim()[1..].parse::<i64>().unwrap();
    // Alone; and beside another in shadow mode that counts in the same window.
    let shadow_bounds = Some(ShadowBounds {
        windows: vec![Window { limit: 2, ..window.clone() }],
        ..ShadowBounds::default()
    });
    for shadow_bounds in [None, shadow_bounds] {
        let clamp = Clamp { windows: vec![window.clone()], shadow_bounds, ..ceiling(1000) };
        shop.client.ask(&[b"DEL", &key, KEY]);
        let spent = |value| refused(Cause::Window(0), 3, value);
        assert_eq!(shop.flush(&clamp, &by(&[3, 1])).0, [reply(":3\r\n"), spent(3)]);
        // As when the server's clock is set back by an hour.
        shop.client.ask(&[b"PEXPIRE", &key, b"3660000"]);
        // Nothing that is refused or given back begins a window.
        let (answers, report) = shop.flush(&clamp, &by(&[4, -1]));
        assert_eq!(answers, [spent(3), reply(":2\r\n")]);
        assert_eq!((report.windows[0].used, report.windows[0].left_ms), (0, 0));
        assert!(left_ms(&mut shop) > 60_000);
        let (answers, report) = shop.flush(&clamp, &by(&[2, 1, 1]));
        assert_eq!(answers, [reply(":4\r\n"), reply(":5\r\n"), spent(5)]);
        assert_eq!(report.windows[0].used, 3);
        assert_eq!(shop.client.ask(&[b"GET", &key]), "$1\r\n3\r\n");
        assert!((1..=60_000).contains(&left_ms(&mut shop)));
        // What was let through without asking begins one too, of the length that is left.
        shop.client.ask(&[b"PEXPIRE", &key, b"3660000"]);
        let charge = Charge { key: key.clone(), units: 2, left_ms: 30_000, window_ms: 60_000 };
        shop.flush(&Clamp { shadow: true, charges: vec![charge], ..Clamp::default() }, &by(&[2]));
        assert_eq!(shop.client.ask(&[b"GET", &key]), "$1\r\n2\r\n");
        assert!((1..=30_000).contains(&left_ms(&mut shop)));
    }
}

#[test]
fn limits_kept_in_redis_take_effect_at_once() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let limit_key = Bytes::from_static(b"sku:{8421}:limit");
    let operator = override_key(KEY);
    let clamp = Clamp {
        ceilings: vec![Ceiling::Key(limit_key.clone())],
        override_key: Some(operator.clone()),
        ..Clamp::default()
    };
    shop.client.ask(&[b"SET", &limit_key, b"1"]);
    assert_eq!(shop.flush(&clamp, &by(&[1, 1])).0[1], refused(Cause::Ceiling, 1, 1));
    shop.client.ask(&[b"SET", &limit_key, b"2"]);
    assert_eq!(shop.flush(&clamp, &by(&[1, 1])).0, [reply(":2\r\n"), refused(Cause::Ceiling, 2, 2)]);
    shop.client.ask(&[b"HSET", &operator, b"limit", b"3"]);
    assert_eq!(shop.flush(&clamp, &by(&[1, 1])).0, [reply(":3\r\n"), refused(Cause::Ceiling, 3, 3)]);
    shop.client.ask(&[b"HSET", &operator, b"limit", b"99", b"paused", b"1"]);
    let (answers, report) = shop.flush(&clamp, &[Op::Increment(1), Op::Increment(-1), Op::Get]);
    let paused = refused(Cause::Paused, 99, 3);
    assert_eq!(answers, [paused.clone(), paused, reply("$1\r\n3\r\n")]);
    assert!(report.paused);
}

#[test]
fn faults_are_told_and_change_nothing() {
    let server = Server::start();
    let limit_key = Bytes::from_static(b"sku:{8421}:limit");
    let window = window_key(KEY, 1000);
    let operator = override_key(KEY);
    let clamp = Clamp {
        ceilings: vec![Ceiling::Key(limit_key.clone())],
        windows: vec![Window { key: window.clone(), limit: 5, window_ms: 1000 }],
        override_key: Some(operator.clone()),
        ..Clamp::default()
    };
    let check = |spoil: &[&[u8]], part: &str| {
        let mut shop = Shop::open(&server, true);
        shop.client.ask(&[b"SET", &limit_key, b"5"]);
        shop.client.ask(&[b"SET", KEY, b"1"]);
        shop.client.ask(spoil);
        let before = shop.value();
        let (answers, report) = shop.flush(&clamp, &[Op::Get, Op::Increment(1)]);
        let Answer::Fault(text) = &answers[1] else { panic!("{spoil:?}: {answers:?}") };
        assert!(text.contains(part), "{text}");
        assert_eq!(report.fault.as_ref(), Some(text));
        assert_eq!(answers[0], reply(&before));
        assert_eq!(shop.value(), before);
        let shadow = Clamp { shadow: true, ..clamp.clone() };
        let (answers, report) = shop.flush(&shadow, &by(&[1]));
        assert!(matches!(&answers[0], Answer::Reply(text) if text.starts_with(':')), "{answers:?}");
        assert!(report.fault.is_some_and(|text| text.contains(part)));
    };
    let polled = Clamp { fault: Some("limit key 'far away' does not exist".to_owned()), ..ceiling(0) };
    let mut shop = Shop::open(&server, true);
    let (answers, report) = shop.flush(&polled, &by(&[1]));
    assert_eq!(answers, [Answer::Fault("limit key 'far away' does not exist".to_owned())]);
    assert_eq!(report.fault, polled.fault);
    let shadow_bounds = Some(ShadowBounds {
        ceilings: vec![Ceiling::Value(0)],
        fault: polled.fault,
        ..ShadowBounds::default()
    });
    let (answers, report) = shop.flush(&Clamp { shadow_bounds, ..ceiling(10) }, &by(&[1]));
    assert_eq!((answers, report.would_refuse), (vec![reply(":1\r\n")], 0), "it is left out");
    check(&[b"DEL", &limit_key], "does not exist");
    check(&[b"SET", &limit_key, b"abc"], "limit key 'sku:{8421}:limit' is not an integer");
    check(&[b"SET", &limit_key, b"-5"], "is not an integer from 0 to 4503599627370496");
    check(&[b"SET", &limit_key, b"9007199254740993"], "is not an integer from 0");
    check(&[b"SET", &window, b"x"], "window key");
    check(&[b"RPUSH", &window, b"x"], "window key");
    check(&[b"SET", &operator, b"x"], "is not a hash");
    check(&[b"HSET", &operator, b"limit", b"many"], "field limit of");
    check(&[b"SET", KEY, b"4503599627370497"], "the counter is beyond 2^52");
}

#[test]
fn what_the_counter_itself_refuses_is_redis_own_error() {
    let server = Server::start();
    let check = |spoil: &[&[u8]], error: &str, get: &str| {
        let mut shop = Shop::open(&server, true);
        shop.client.ask(spoil);
        let (answers, _) = shop.flush(&ceiling(5), &[Op::Get, Op::Increment(1), Op::Increment(-1)]);
        assert_eq!(answers, [reply(get), reply(error), reply(error)]);
        shop.client.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    };
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    check(&[b"RPUSH", KEY, b"x"], wrong_type, wrong_type);
    check(&[b"SET", KEY, b"05"], "-ERR value is not an integer or out of range\r\n", "$2\r\n05\r\n");
    let no_memory = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    check(&[b"CONFIG", b"SET", b"maxmemory", b"1"], no_memory, "$-1\r\n");
}

#[test]
fn a_delta_too_large_to_be_exact_is_refused() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let (answers, _) = shop.flush(&ceiling(10), &by(&[i64::MAX, i64::MIN, 1]));
    let huge = refused(Cause::TooLarge, 1 << 52, 0);
    assert_eq!(answers, [huge.clone(), huge, reply(":1\r\n")]);
}

#[test]
fn a_clamped_flush_sent_twice_grants_once() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let clamp = Arc::new(ceiling(3));
    for member in 0..5 {
        shop.queue.push(Op::Increment(1), member.into(), RespVersion::Resp2);
    }
    let policy = FlushPolicy {
        interval_ns: 1,
        early_min: usize::MAX,
        exactly_once: true,
        clamp: Some(&clamp),
        withhold: false,
    };
    let mut granted = 0;
    for round in 0..3 {
        assert!(matches!(shop.queue.next_flush(5, &policy), FlushDecision::Send(_)));
        let mut wire = BytesMut::new();
        shop.queue.encode(&mut wire);
        let replies = shop.client.run(&wire, RespVersion::Resp2);
        if round < 2 && !replies[0].starts_with(b"-NOSCRIPT") {
            shop.queue.lost(6, &super::harness::NONE, 0, |_, _| panic!("a token is retried"));
            continue;
        }
        shop.queue.settle(&replies, |_, settled| granted += u32::from(matches!(settled, Settled::Reply(_))));
        if shop.queue.is_empty() {
            break;
        }
    }
    assert_eq!(granted, 3);
    assert_eq!(shop.value(), "$1\r\n3\r\n");
}

/// One member after the other, as the rules read.
fn account(clamp: &Clamp, value: &mut i64, used: &mut i64, delta: i64) -> Answer {
    let Some(Ceiling::Value(ceiling)) = clamp.ceilings.first() else { panic!("a ceiling by value") };
    let floor = clamp.floor.unwrap();
    let window = &clamp.windows[0];
    let consumes = delta > 0;
    if delta > 0 && *value + delta > *ceiling {
        return refused(Cause::Ceiling, *ceiling, *value);
    }
    if delta < 0 && *value + delta < floor {
        return refused(Cause::Floor, floor, *value);
    }
    if consumes && *used + delta > window.limit {
        return refused(Cause::Window(0), window.limit, *value);
    }
    *value += delta;
    *used += if consumes { delta } else { 0 };
    reply(&format!(":{value}\r\n"))
}

#[test]
fn random_batches_are_granted_as_one_by_one() {
    let server = Server::start();
    for seed in seeds(150) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut shop = Shop::open(&server, rng.random());
        let window =
            Window { key: window_key(KEY, 600_000), limit: rng.random_range(0..400), window_ms: 600_000 };
        let clamp = Clamp { floor: Some(-20), windows: vec![window], ..ceiling(rng.random_range(0..200)) };
        let (mut value, mut used) = (0, 0);
        for _ in 0..6 {
            let deltas: Vec<i64> = (0..rng.random_range(1..80))
                .map(|_| if rng.random_ratio(2, 3) { 1 } else { rng.random_range(-12..14) })
                .collect();
            let expect: Vec<_> =
                deltas.iter().map(|&delta| account(&clamp, &mut value, &mut used, delta)).collect();
            let (answers, report) = shop.flush(&clamp, &by(&deltas));
            let stopped = |answers: &[Answer]| answers.iter().map(plain).collect::<Vec<_>>();
            assert_eq!(stopped(&answers), stopped(&expect), "seed {seed}: {deltas:?}");
            assert_eq!((report.value, report.windows[0].used), (Some(value), used), "seed {seed}");
        }
    }
}

/// A refusal by two limits may name either; who is refused and the value are what counts.
fn plain(answer: &Answer) -> (String, i64) {
    match answer {
        Answer::Reply(text) => (text.clone(), 0),
        Answer::Refused(refusal) => ("refused".to_owned(), refusal.value),
        Answer::Fault(text) => panic!("{text}"),
    }
}

#[test]
fn shadow_mode_lets_through_and_counts() {
    let server = Server::start();
    let mut shop = Shop::open(&server, true);
    let clamp = Clamp { shadow: true, ..ceiling(2) };
    let (answers, report) = shop.flush(&clamp, &by(&[1, 1, 1, 1, -2]));
    assert_eq!(answers, [":1", ":2", ":3", ":4", ":2"].map(|text| reply(&format!("{text}\r\n"))));
    assert_eq!((report.granted, report.refused), (5, 2));
}
