//! Calls of scripts that are declared to count: each member is told what its call would have told it, and the key is left as the calls would
//! have left it, in Redis itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hotgate::combine::{Again, Amount, CounterScript, Op, ScriptNews};
use hotgate::resp::{Request, RespVersion};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::harness::{Caller, KEY, World, request};
use super::machine::{INTERVAL_NS, PLAIN, answers, collect, filled, sent, told};
use super::server::Server;
use crate::support::seeds::seeds;

const LIMITER: &str = "local c = redis.call('INCR', KEYS[1]) if c == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return c";
const ALWAYS: &str =
    "local c = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('PEXPIRE', KEYS[1], ARGV[2]) return c";
const BARE: &str = "return redis.call('INCRBY', KEYS[1], 3)";
/// Declared as if it were the bare one.
const WRONG: &str = "redis.call('INCRBY', KEYS[1], 3) return {ok='fine'}";
const MISSING: &str = "return redis.call('INCRBY', KEYS[1], 4)";

static SCRIPTS: LazyLock<Vec<CounterScript>> = LazyLock::new(|| {
    let script = |body: &str, by, expire_ms, expires_always| {
        let digest = hotgate::shared::scripts::sha1_hex(body.as_bytes());
        CounterScript { sha1: digest, by, expire_ms, expires_always }
    };
    vec![
        script(LIMITER, Amount::Constant(1), Some(Amount::Argument(1, 1000)), false),
        script(ALWAYS, Amount::Argument(1, 1), Some(Amount::Argument(2, 1)), true),
        script(BARE, Amount::Constant(3), None, false),
        script(WRONG, Amount::Constant(3), None, false),
        script(MISSING, Amount::Constant(4), None, false),
    ]
});

/// The operation of a call of one of these scripts.
pub fn op<'a>(request: &Request<'a>) -> Option<Op<'a>> {
    let place = SCRIPTS.iter().position(|script| Some(&script.sha1[..]) == request.arg(1))?;
    SCRIPTS[place].op(place as u16, request)
}

fn call(script: usize, arguments: &[&str]) -> Vec<u8> {
    let mut words: Vec<&[u8]> = vec![b"EVALSHA", &SCRIPTS[script].sha1, b"1", KEY];
    words.extend(arguments.iter().map(|word| word.as_bytes()));
    request(&words)
}

fn random_call(rng: &mut SmallRng) -> Vec<u8> {
    match rng.random_range(0..12) {
        0..=4 => call(0, &["1000"]),
        5 => call(0, &["5000"]),
        6..=7 => call(1, &[&rng.random_range(1..20).to_string(), "900000"]),
        8 => call(2, &[]),
        9 => call(3, &[]),
        10 => call(4, &[]),
        _ => request(&[[b"GET".as_slice(), b"INCR"][rng.random_range(0..2)], KEY]),
    }
}

fn play(server: &Server, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut world = World::new(server.client(0), server.client(1), rng.random(), &format!("g{seed}"));
    world.outside(&[b"DEL", KEY]);
    for _ in 0..rng.random_range(1..16) {
        for _ in 0..rng.random_range(0..24) {
            let version = [RespVersion::Resp2, RespVersion::Resp3][usize::from(rng.random_ratio(1, 6))];
            let operations = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
            world.push_run(random_call(&mut rng), version, operations, rng.random_range(0..8));
        }
        match rng.random_range(0..24) {
            0 => world.outside(&[b"DEL", KEY]),
            1 => world.outside(&[b"SET", KEY, b"07"]),
            2 => world.outside(&[b"SET", KEY, b"9223372036854775800"]),
            3 => world.outside(&[b"SET", KEY, b"999999999999999"]),
            4 => world.outside(&[b"RPUSH", KEY, b"x"]),
            5 => world.outside(&[b"PERSIST", KEY]),
            6 => world.outside(&[b"SET", KEY, b"-2"]),
            7 => world.outside(&[b"EXPIRE", KEY, b"70000"]),
            8 => world.outside(&[b"SET", KEY, b"0", b"EX", b"3000"]),
            _ => {}
        }
        world.now_ns += rng.random_range(0..3_000_000);
        if let Some((flush, wire)) = world.take() {
            world.deliver(&flush, &wire);
        }
    }
    world.drain();
    world.check_content();
}

#[test]
fn members_are_told_what_their_own_calls_would_have_told_them() {
    let server = Server::start();
    let mut direct = server.client(0);
    for body in [LIMITER, ALWAYS, BARE, WRONG] {
        direct.ask(&[b"SCRIPT", b"LOAD", body.as_bytes()]);
    }
    for seed in seeds(400) {
        let outcome = std::panic::catch_unwind(|| play(&server, seed));
        if let Err(panic) = outcome {
            eprintln!("HOTGATE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    let stats = direct.ask(&[b"INFO", b"commandstats"]);
    assert!(stats.contains("cmdstat_eval:"), "nothing was folded");
}

/// The words of a flush, with names in place of scripts.
fn worded(wire: &str) -> String {
    let names: BTreeMap<String, &str> = SCRIPTS
        .iter()
        .zip(["limiter", "always", "bare", "wrong", "missing"])
        .map(|(script, name)| (String::from_utf8_lossy(&script.sha1).into_owned(), name))
        .collect();
    let mut worded = wire.replace(std::str::from_utf8(KEY).unwrap(), "k");
    names.iter().for_each(|(sha1, name)| worded = worded.replace(sha1, name));
    let fold = worded.find("local value").zip(worded.rfind("ARGV[1])"));
    if let Some((start, end)) = fold {
        worded.replace_range(start..end + "ARGV[1])".len(), "fold");
    }
    worded
}

fn push_calls(queue: &mut hotgate::combine::KeyQueue<Caller>, calls: &[Vec<u8>]) {
    for (number, wire) in calls.iter().enumerate() {
        super::harness::with_op(wire, |op| queue.push(op, (number as u32).into(), RespVersion::Resp2));
    }
}

#[test]
fn one_is_tried_and_then_all_are_one() {
    let mut queue = filled(&[]);
    let calls = [call(1, &["2", "9000"]), call(1, &["5", "9000"]), call(1, &["1", "9000"])];
    push_calls(&mut queue, &calls);
    let (_, wire) = sent(&mut queue, 0, &PLAIN);
    assert_eq!(worded(&wire), "GET k; PTTL k; EVALSHA always 1 k 2 9000; GET k; PTTL k");
    let mut found = Vec::new();
    let replies = ["$1\r\n7\r\n", ":30\r\n", ":9\r\n", "$1\r\n9\r\n", ":9000\r\n"];
    let settlement = queue.settle(&replies, collect(&mut found));
    assert_eq!((found, settlement.script), (told(&[(0, ":9")]), Some(ScriptNews::AsDeclared(1))));
    let (_, wire) = sent(&mut queue, 0, &PLAIN);
    assert_eq!(worded(&wire), "EVAL fold 1 k 6 9000 always");
    assert_eq!(answers(&mut queue, &[":15\r\n"]), (told(&[(1, ":14"), (2, ":15")]), None));
    // One by itself is as it came.
    push_calls(&mut queue, &calls[..1]);
    assert_eq!(worded(&sent(&mut queue, INTERVAL_NS, &PLAIN).1), "EVALSHA always 1 k 2 9000");
    answers(&mut queue, &[":17\r\n"]);
    // Whatever is said to the fold, the members have to be told by Redis itself.
    push_calls(&mut queue, &calls);
    assert_eq!(worded(&sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1), "EVAL fold 1 k 8 9000 always");
    assert_eq!(answers(&mut queue, &["-UNUSUAL value\r\n"]), (vec![], Some(Again::OneByOne)));
    let as_they_came = "EVALSHA always 1 k 2 9000; EVALSHA always 1 k 5 9000; EVALSHA always 1 k 1 9000";
    assert_eq!(worded(&sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1), as_they_came);
    answers(&mut queue, &[":1\r\n", ":6\r\n", ":7\r\n"]);
    push_calls(&mut queue, &calls);
    assert_eq!(worded(&sent(&mut queue, 3 * INTERVAL_NS, &PLAIN).1), as_they_came, "and is not tried again");
}

#[test]
fn what_differs_from_its_declaration_or_is_not_permitted_is_not_folded_and_said() {
    let check = |replies: [&str; 5], expect: &dyn Fn(Option<ScriptNews>) -> bool| {
        let mut queue = filled(&[]);
        push_calls(&mut queue, &[call(2, &[]), call(2, &[])]);
        sent(&mut queue, 0, &PLAIN);
        let settlement = queue.settle(&replies, |_, _| {});
        assert!(expect(settlement.script.clone()), "{:?}", settlement.script);
        assert_eq!(worded(&sent(&mut queue, 0, &PLAIN).1), "EVALSHA bare 1 k");
        answers(&mut queue, &[":1\r\n"]);
        push_calls(&mut queue, &[call(2, &[]), call(2, &[])]);
        assert_eq!(worded(&sent(&mut queue, INTERVAL_NS, &PLAIN).1), "EVALSHA bare 1 k; EVALSHA bare 1 k");
    };
    let none = ["$-1\r\n", ":-2\r\n", "+OK\r\n", "$1\r\n3\r\n", ":-1\r\n"];
    check(none, &|news| matches!(news, Some(ScriptNews::Differs(2, how)) if how.contains("+OK")));
    let odd = ["$1\r\na\r\n", ":-1\r\n", "-ERR x\r\n", "$1\r\na\r\n", ":-1\r\n"];
    check(odd, &|news| news.is_none());
    let denied = ["$-1\r\n", "-NOPERM pttl\r\n", ":3\r\n", "$1\r\n3\r\n", "-NOPERM pttl\r\n"];
    check(denied, &|news| matches!(news, Some(ScriptNews::Refused(2, said)) if said == "NOPERM pttl"));
}

#[test]
fn a_script_that_a_node_does_not_know_is_loaded_if_it_is_known_here() {
    let mut queue = filled(&[]);
    push_calls(&mut queue, &[call(4, &[])]);
    let trial = "GET k; PTTL k; EVALSHA missing 1 k; GET k; PTTL k";
    assert_eq!(worded(&sent(&mut queue, 0, &PLAIN).1), trial);
    let unknown = "-NOSCRIPT No matching script\r\n";
    let replies = ["$-1\r\n", ":-2\r\n", unknown, "$-1\r\n", ":-2\r\n"];
    assert_eq!(answers(&mut queue, &replies), (vec![], Some(Again::NoScript)));
    queue.load_scripts(|sha1| (sha1 == SCRIPTS[4].sha1).then(|| MISSING.into()));
    let (flush, wire) = sent(&mut queue, 0, &PLAIN);
    assert_eq!((flush.commands, worded(&wire)), (6, format!("SCRIPT LOAD {MISSING}; {trial}")));
    let replies = ["$3\r\nsha\r\n", "$-1\r\n", ":-2\r\n", ":4\r\n", "$1\r\n4\r\n", ":-1\r\n"];
    assert_eq!(answers(&mut queue, &replies), (told(&[(0, ":4")]), None));
    // Where nobody knows it, its callers are told so.
    push_calls(&mut queue, &[call(4, &[])]);
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &[unknown]).1, Some(Again::NoScript));
    queue.load_scripts(|_| None);
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &[unknown]), (told(&[(0, unknown.trim_end())]), None));
}

#[test]
fn what_a_node_took_does_not_go_again_with_the_script() {
    let mut queue = filled(&[]);
    push_calls(&mut queue, &[call(4, &[])]);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &["$-1\r\n", ":-2\r\n", "+OK\r\n", "$1\r\n4\r\n", ":-1\r\n"]);
    push_calls(&mut queue, &[call(4, &[]), call(4, &[]), call(4, &[])]);
    let unknown = "-NOSCRIPT No matching script\r\n";
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &[unknown; 3]).1, Some(Again::NoScript));
    queue.load_scripts(|_| Some("x".into()));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).0.commands, 4);
    let (told_now, again) =
        answers(&mut queue, &["$1\r\nx\r\n", "-LOADING x\r\n", ":8\r\n", "-LOADING x\r\n"]);
    assert_eq!((told_now, again), (told(&[(1, ":8")]), Some(Again::Elsewhere { reply: 1 })));
    let (_, wire) = sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(worded(&wire), "SCRIPT LOAD x; EVALSHA missing 1 k; EVALSHA missing 1 k");
    let replies = ["$1\r\nx\r\n", ":12\r\n", ":16\r\n"];
    assert_eq!(answers(&mut queue, &replies), (told(&[(0, ":12"), (2, ":16")]), None));
}
