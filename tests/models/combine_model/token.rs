//! At most once per token, whatever happens to the connection, with the real script in a real Redis; and the errors
//! that Redis itself gives.

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{
        FLUSH_SCRIPT, FlushDecision, FlushPolicy, KeyQueue, Op, Settled, companion_key, flush_script_sha,
    },
    resp::RespVersion,
};

use super::harness::{Backend, Caller, KEY, World, request};
use super::server::{Client, Server};

const ONCE: FlushPolicy =
    FlushPolicy { interval_ns: 1, early_min: usize::MAX, exactly_once: true, clamp: None, withhold: false };

fn gateway(id: &str) -> KeyQueue<Caller> {
    KeyQueue::new(Bytes::from_static(KEY), id.as_bytes())
}

/// The bytes of a flush of some increments.
fn flush(queue: &mut KeyQueue<Caller>, now_ns: u64, increments: u32) -> BytesMut {
    for member in 0..increments {
        queue.push(Op::Increment(1), member.into(), RespVersion::Resp2);
    }
    resend(queue, now_ns)
}

fn resend(queue: &mut KeyQueue<Caller>, now_ns: u64) -> BytesMut {
    assert!(matches!(queue.next_flush(now_ns, &ONCE), FlushDecision::Send(_)));
    let mut wire = BytesMut::new();
    queue.encode(&mut wire);
    wire
}

fn run(client: &mut Client, wire: &[u8]) -> Vec<Vec<u8>> {
    client.run(wire, RespVersion::Resp2)
}

fn settle(queue: &mut KeyQueue<Caller>, replies: &[Vec<u8>]) -> u32 {
    let mut answered = 0;
    assert_eq!(queue.settle(replies, |caller, _| answered += caller.operations).again, None);
    answered
}

fn loaded(server: &Server) -> Client {
    let mut client = server.client(0);
    let sha = client.ask(&[b"SCRIPT", b"LOAD", FLUSH_SCRIPT.as_bytes()]);
    assert_eq!(sha, format!("$40\r\n{}\r\n", flush_script_sha()));
    client
}

#[test]
fn the_same_flush_twice_takes_effect_once() {
    let server = Server::start();
    let mut client = loaded(&server);
    let mut queue = gateway("g1");
    let wire = flush(&mut queue, 1_000, 3);
    let first = run(&mut client, &wire);
    client.ask(&[b"INCRBY", KEY, b"100"]);
    queue.lost(2_000, &super::harness::NONE, 0, |_, _| panic!("it is retried"));
    let again = resend(&mut queue, 2_000);
    assert_eq!(run(&mut client, &again), first, "the stored result, not a new one");
    assert_eq!(settle(&mut queue, &first), 3);
    assert_eq!(client.ask(&[b"GET", KEY]), "$3\r\n103\r\n");
    let companion = companion_key(KEY, b"once:g1");
    let left: i64 = client.ask(&[b"PTTL", &companion]).trim()[1..].parse().unwrap();
    assert!((1..=600_000).contains(&left), "the companion expires");
}

#[test]
fn a_token_is_remembered_for_long_enough_and_its_time_is_set_now_and_then() {
    const MINUTE_NS: u64 = 60_000_000_000;
    let server = Server::start();
    let mut client = loaded(&server);
    let mut queue = gateway("g1");
    let companion = companion_key(KEY, b"once:g1");
    let mut flush_at = |client: &mut Client, minute: u64| {
        let wire = flush(&mut queue, minute * MINUTE_NS, 2);
        let replies = run(client, &wire);
        settle(&mut queue, &replies);
        client.ask(&[b"PTTL", &companion]).trim()[1..].parse::<i64>().unwrap()
    };
    assert!(flush_at(&mut client, 1) > 590_000);
    client.ask(&[b"PEXPIRE", &companion, b"400000"]);
    assert!(flush_at(&mut client, 3) <= 400_000, "it keeps the time that it has");
    assert!(flush_at(&mut client, 4) > 590_000, "it has the full time again");
    client.ask(&[b"DEL", &companion]);
    assert!(flush_at(&mut client, 5) > 590_000, "one that is gone is made with the full time");
}

/// Near the ends of the range, and where the value is no number, nothing is done by the short way.
#[test]
fn whatever_the_value_is_a_retry_gets_the_first_result() {
    for value in [
        "",
        "0",
        "-5",
        "4503599627370495",
        "4503599627370496",
        "-4503599627370497",
        "9223372036854775806",
        "05",
        "x",
    ] {
        let server = Server::start();
        let mut client = loaded(&server);
        if !value.is_empty() {
            client.ask(&[b"SET", KEY, value.as_bytes()]);
        }
        let mut queue = gateway("g1");
        let wire = flush(&mut queue, 1_000, 2);
        let first = run(&mut client, &wire);
        let after = client.ask(&[b"GET", KEY]);
        assert_eq!(run(&mut client, &wire), first, "{value}");
        assert_eq!(client.ask(&[b"GET", KEY]), after, "{value}");
        let mut told = Vec::new();
        queue.settle(&first, |_, settled| told.push(format!("{settled:?}")));
        let mut plain = server.client(0);
        plain.ask(&[b"DEL", KEY]);
        if !value.is_empty() {
            plain.ask(&[b"SET", KEY, value.as_bytes()]);
        }
        let expected: Vec<String> = (0..2).map(|_| plain.ask(&[b"INCR", KEY])).collect();
        assert_eq!(plain.ask(&[b"GET", KEY]), after, "{value}");
        for (told, expected) in told.iter().zip(expected) {
            let bytes = format!("{:?}", Settled::Reply(expected.as_bytes()));
            assert_eq!(*told, bytes, "{value}");
        }
    }
}

/// The flushes after the first are told in short: with the same values, near the ends of what that does too, each member has the
/// reply that it would have had alone, and a retry changes nothing.
#[test]
fn a_flush_in_short_is_as_exact_as_a_whole_one() {
    let runs: [&[i64]; 6] = [&[1], &[1, -1], &[-1, 1, 0], &[5, -7], &[99_999_999_999_999], &[-1, -1, 3]];
    let server = Server::start();
    let mut client = loaded(&server);
    let mut plain = server.client(1);
    let values = ["", "0", "-5", "99999999999998", "99999999999999", "100000000000000", "-100000000000000"];
    let ends = ["4503599627370497", "-9223372036854775808", "9223372036854775807", "x", "05"];
    for (round, (value, deltas)) in
        values.iter().chain(&ends).flat_map(|value| runs.map(|run| (*value, run))).enumerate()
    {
        let mut queue = gateway(&format!("g{round}"));
        let first = flush(&mut queue, 1_000, 1);
        let replies = run(&mut client, &first);
        settle(&mut queue, &replies);
        for client in [&mut client, &mut plain] {
            client.ask(&[b"DEL", KEY]);
            if !value.is_empty() {
                client.ask(&[b"SET", KEY, value.as_bytes()]);
            }
        }
        for (member, delta) in deltas.iter().enumerate() {
            queue.push(Op::Increment(*delta), (member as u32).into(), RespVersion::Resp2);
        }
        let mut told = Vec::new();
        for now_ns in 2_000.. {
            let wire = resend(&mut queue, now_ns);
            let replies = run(&mut client, &wire);
            if !replies[0].starts_with(b"-") {
                assert_eq!(run(&mut client, &wire), replies, "{value} {deltas:?}: again");
            }
            let tell = |_: Caller, settled: Settled<'_>| told.push(format!("{settled:?}"));
            if queue.settle(&replies, tell).again.is_none() {
                break;
            }
        }
        let expected = deltas.iter().map(|delta| plain.ask(&[b"INCRBY", KEY, delta.to_string().as_bytes()]));
        let expected: Vec<_> =
            expected.map(|reply| format!("{:?}", Settled::Reply(reply.as_bytes()))).collect();
        assert_eq!(told, expected, "{value} {deltas:?}");
        assert_eq!(client.ask(&[b"GET", KEY]), plain.ask(&[b"GET", KEY]), "{value} {deltas:?}");
    }
}

#[test]
fn a_first_sending_that_arrives_late_changes_nothing() {
    let server = Server::start();
    let mut client = loaded(&server);
    let mut queue = gateway("g1");
    let first = flush(&mut queue, 1_000, 1);
    queue.lost(2_000, &super::harness::NONE, 0, |_, _| {});
    let retry = resend(&mut queue, 2_000);
    let replies = run(&mut client, &retry);
    run(&mut client, &first);
    assert_eq!(client.ask(&[b"GET", KEY]), "$1\r\n1\r\n", "behind its retry");
    settle(&mut queue, &replies);
    let second = flush(&mut queue, 5_000, 1);
    let replies = run(&mut client, &second);
    settle(&mut queue, &replies);
    assert!(run(&mut client, &first)[0].starts_with(b"-STALE"));
    assert_eq!(client.ask(&[b"GET", KEY]), "$1\r\n2\r\n", "behind the next flush");
}

#[test]
fn a_flush_that_was_given_up_stays_out_once_a_later_one_is_in() {
    let server = Server::start();
    let mut client = loaded(&server);
    let mut queue = gateway("g1");
    let lost = flush(&mut queue, 1_000, 1);
    queue.abandon("ERR upstream away", |_, _| {});
    let next = flush(&mut queue, 1_001, 1);
    let replies = run(&mut client, &next);
    settle(&mut queue, &replies);
    run(&mut client, &lost);
    assert_eq!(client.ask(&[b"GET", KEY]), "$1\r\n1\r\n");
}

#[test]
fn gateways_and_homes_do_not_take_each_other_for_themselves() {
    let server = Server::start();
    let mut client = loaded(&server);
    for (round, id) in ["g1", "g2", "g1", "g3"].into_iter().enumerate() {
        let mut home = gateway(id);
        let wire = flush(&mut home, 1_000_000 * (1 + round as u64), 1);
        let replies = run(&mut client, &wire);
        assert_eq!(settle(&mut home, &replies), 1);
        assert_eq!(client.ask(&[b"GET", KEY]), format!("$1\r\n{}\r\n", round + 1));
    }
}

#[test]
fn a_script_that_redis_forgot_is_sent_along() {
    let server = Server::start();
    let mut client = server.client(0);
    let mut queue = gateway("g1");
    let wire = flush(&mut queue, 1_000, 2);
    let replies = run(&mut client, &wire);
    assert!(replies[0].starts_with(b"-NOSCRIPT"));
    assert!(queue.settle(&replies, |_, _| panic!("nobody is answered")).again.is_some());
    let wire = resend(&mut queue, 2_000);
    let replies = run(&mut client, &wire);
    assert_eq!(settle(&mut queue, &replies), 2);
}

#[test]
fn a_foreign_companion_is_an_error_and_no_effect() {
    let server = Server::start();
    let mut client = loaded(&server);
    client.ask(&[b"RPUSH", &companion_key(KEY, b"once:g1"), b"x"]);
    let mut queue = gateway("g1");
    let wire = flush(&mut queue, 1_000, 1);
    let replies = run(&mut client, &wire);
    let mut told = Vec::new();
    queue.settle(&replies, |_, settled| told.push(format!("{settled:?}")));
    assert_eq!(told.len(), 1);
    assert_eq!(client.ask(&[b"EXISTS", KEY]), ":0\r\n");
}

/// Every way in which a counter can refuse, with the members that see it differently.
#[test]
fn errors_are_those_of_one_by_one() {
    let server = Server::start();
    let incr = || request(&[b"INCR", KEY]);
    let decr = || request(&[b"DECR", KEY]);
    let by = |delta: i64| request(&[b"INCRBY", KEY, delta.to_string().as_bytes()]);
    let get = || request(&[b"GET", KEY]);
    let field = |delta: i64| request(&[b"HINCRBY", KEY, b"f", delta.to_string().as_bytes()]);
    let mixed = || vec![get(), incr(), get(), decr(), by(5), get(), by(0)];
    let members: [Vec<Vec<u8>>; 6] = [
        mixed(),
        vec![incr(), incr(), incr()],
        vec![by(i64::MAX), by(i64::MAX), incr(), decr(), by(i64::MIN), get()],
        vec![by(i64::MIN), decr(), incr(), get()],
        vec![field(1), request(&[b"HGET", KEY, b"f"]), field(-1), field(i64::MAX), field(i64::MAX)],
        vec![request(&[b"SET", KEY, b"7"]), get(), request(&[b"SET", KEY, b"8"]), incr(), get()],
    ];
    let states: [&[&[u8]]; 16] = [
        &[b"DEL", KEY],
        &[b"SET", KEY, b"41"],
        &[b"SET", KEY, b"-0"],
        &[b"SET", KEY, b"007"],
        &[b"SET", KEY, b"+5"],
        &[b"SET", KEY, b" 5"],
        &[b"SET", KEY, b""],
        &[b"SET", KEY, b"abc"],
        &[b"SET", KEY, b"9223372036854775806"],
        &[b"SET", KEY, b"-9223372036854775807"],
        &[b"SET", KEY, b"9223372036854775808"],
        &[b"RPUSH", KEY, b"x"],
        &[b"HSET", KEY, b"f", b"abc"],
        &[b"HSET", KEY, b"f", b"9223372036854775806"],
        &[b"CONFIG", b"SET", b"maxmemory", b"1"],
        &[b"REPLICAOF", b"127.0.0.1", b"1"],
    ];
    for (index, state) in states.iter().enumerate() {
        for (batch, members) in members.iter().enumerate() {
            for exactly_once in [false, true] {
                let id = format!("g{index}.{batch}");
                let mut world = World::new(server.client(0), server.client(1), exactly_once, &id);
                world.outside(&[b"DEL", KEY]);
                world.outside(state);
                for wire in members {
                    world.push(wire.clone(), RespVersion::Resp2);
                }
                world.drain();
                world.check_content();
                world.outside(&[b"REPLICAOF", b"NO", b"ONE"]);
                world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
            }
        }
    }
}
