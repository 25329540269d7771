//! Random histories: bursts of operations that fold, faults, and other writers between the flushes.

use hotgate::resp::RespVersion;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::harness::{Backend, KEY, World, request, transaction};

const ODD_VALUES: &[&str] = &[
    "0",
    "5",
    "-3",
    "05",
    "+5",
    " 5",
    "5 ",
    "-0",
    "",
    "abc",
    "3.5",
    "1e3",
    "0x10",
    "nan",
    "inf",
    "9007199254740993",
    "9223372036854775800",
    "9223372036854775807",
    "-9223372036854775800",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999999",
];

const DELTAS: &[i64] = &[
    1,
    1,
    1,
    1,
    2,
    5,
    -1,
    -1,
    -4,
    0,
    7,
    i64::MAX,
    i64::MIN,
    i64::MAX / 2,
    i64::MIN / 2,
    1 << 53,
    -(1 << 60),
];

/// Commands without their key, by flavour: the limiter, strings with options, a document, a list, a set, a sorted set, a sketch. The
/// times to live differ by more than a test takes.
const LINES: [&[&str]; 11] = [
    &[
        "INCR",
        "INCR",
        "INCR",
        "EXPIRE 1000",
        "EXPIRE 1000",
        "EXPIRE 2000",
        "EXPIRE 1000 NX",
        "PEXPIRE 4000000",
        "PEXPIRE 4000000 XX",
        "EXPIREAT 3000000000",
        "EXPIREAT 3000000000 GT",
        "EXPIREAT 3000001000 GT",
        "PEXPIREAT 3000000000000 LT",
        "EXPIREAT 5 LT",
        "EXPIREAT 5",
        "EXPIREAT 5 XX",
        "EXPIREAT 3000000000 XX",
        "PERSIST",
        "GET",
        "INCRBY 5",
    ],
    &[
        "SET 1",
        "SET 2 EX 1000",
        "SET 3 PX 2000000",
        "SET 4 EXAT 3000000000",
        "SET 5 EXAT 5",
        "SET 6 KEEPTTL",
        "SET 7 NX",
        "SET 8 NX EX 1000",
        "SET 9 XX",
        "SET 10 XX KEEPTTL",
        "SETNX 11",
        "SETEX 1000 12",
        "GET",
        "INCR",
        "EXPIRE 4000",
    ],
    &[
        "HSET a 1",
        "HSET a 2",
        "HSET a 3 b 4",
        "HSET a 5 b 6",
        "HSET b 7 a 8",
        "HMSET a 9",
        "HMSET a 10",
        "HSETNX a 11",
        "HSETNX a 12",
        "HSETNX c 13",
        "HDEL a",
        "HDEL a",
        "HINCRBY a 1",
        "HINCRBY b 2",
        "HGET a",
        "HMGET a b",
        "HGETALL",
    ],
    &["LPUSH a", "LPUSH b c", "RPUSH d", "RPUSH e f", "LPUSHX g", "RPUSHX h i", "LLEN", "RPUSH j", "SET 1"],
    &["SADD a", "SADD a", "SADD b", "SADD a b", "SREM a", "SREM a", "SREM b a", "SCARD", "SADD c"],
    &[
        "ZADD 1 a",
        "ZADD 2 a",
        "ZADD 1 b",
        "ZADD 3 a 4 b",
        "ZADD NX 5 a",
        "ZADD x a",
        "ZSCORE a",
        "ZADD NX 6 c",
    ],
    &["PFADD a", "PFADD a", "PFADD b", "PFADD a b c", "EXPIRE 1000"],
    // Transactions: their commands one behind the other, and a number that is drawn.
    &[
        "INCR; EXPIRE 1000",
        "INCR; EXPIRE 1000",
        "INCR; EXPIRE 1000 NX",
        "INCRBY N; PEXPIRE 2000000 XX",
        "INCRBY N; PEXPIRE 2000000 XX",
        "DECRBY 3; EXPIRE 1000; GET",
        "INCR; EXPIRE 5000; EXISTS",
        "SET 5 NX; INCR; TYPE",
        "SET 0 NX EX 1000; INCR",
        "SETNX 3; EXPIRE 1000; INCRBY 2",
        "INCR",
        "GET",
        "EXPIRE 2000",
        "SET 7",
        "SET 9 EX 3000",
    ],
    &[
        "INCR; EXPIRETIME",
        "INCR; EXPIRETIME",
        "INCRBY N; EXPIRETIME; GET",
        "EXPIREAT 3000000000",
        "EXPIREAT 5",
        "PERSIST",
        "GET",
        "INCRBY 4",
    ],
    &[
        "HINCRBY a 1; EXPIRE 1000",
        "HINCRBY a 1; EXPIRE 1000",
        "HINCRBY a -2; HINCRBY b 3; HGET a",
        "HINCRBY a 4611686018427387904; HINCRBY b 1",
        "HINCRBY a 1",
        "HSET a 9223372036854775807",
        "HSET a 2",
        "HGET a",
        "HDEL a",
    ],
    // Where time stands still.
    &[
        "INCR; EXPIRE 1000 NX; TTL",
        "INCR; EXPIRE 1000 NX; TTL",
        "INCR; TTL",
        "DECRBY 3; EXPIRE 1000 GT; GET; PTTL",
        "INCR; EXPIRE 500 LT; TTL",
        "INCR; EXPIRE 2000 XX GT",
        "SET 5 NX EX 30; TTL; INCR",
        "EXPIRE 700",
        "PERSIST",
    ],
];

/// A random command that folds. `flavour` 0: a counter with its reads, 1: with `SET` as well, 2: hashes too, 3: only
/// `INCR` and `DECR`, from 4 on: [`LINES`].
pub fn random_request(rng: &mut SmallRng, flavour: u32) -> Vec<u8> {
    if let Some(lines) = (flavour as usize).checked_sub(4).map(|place| LINES[place]) {
        let line = lines[rng.random_range(0..lines.len())];
        let number = DELTAS[rng.random_range(0..DELTAS.len())].to_string();
        let worded = |line: &'static str| {
            let word = |word: &'static str| if word == "N" { number.as_bytes() } else { word.as_bytes() };
            let mut words: Vec<&[u8]> = line.split(' ').map(word).collect();
            words.insert(1, KEY);
            words
        };
        let is_transaction = line.contains("; ") || line.starts_with("INCRBY N");
        return match is_transaction {
            true => transaction(&line.split("; ").map(worded).collect::<Vec<_>>()),
            false => request(&worded(line)),
        };
    }
    let delta = DELTAS[rng.random_range(0..DELTAS.len())];
    let small = rng.random_range(-3..10i64);
    let number = if rng.random_ratio(1, 6) { delta } else { small }.to_string();
    let value = ODD_VALUES[rng.random_range(0..ODD_VALUES.len())];
    let field: &[u8] = if rng.random_ratio(4, 5) { b"a" } else { b"b" };
    let choice = match flavour {
        0 => rng.random_range(0..14),
        1 => rng.random_range(0..18),
        2 => rng.random_range(0..28),
        _ => rng.random_range(0..8),
    };
    match choice {
        0..=5 => request(&[b"INCR", KEY]),
        6..=7 => request(&[b"DECR", KEY]),
        8 => request(&[b"INCRBY", KEY, number.as_bytes()]),
        9 => request(&[b"DECRBY", KEY, small.to_string().as_bytes()]),
        10..=11 => request(&[b"GET", KEY]),
        12 => request(&[[b"EXISTS".as_slice(), b"STRLEN", b"TYPE"][rng.random_range(0..3)], KEY]),
        13 => request(&[b"EXPIRETIME", KEY]),
        14..=15 => request(&[b"SET", KEY, value.as_bytes()]),
        16..=17 => request(&[b"get", KEY]),
        18..=22 => request(&[b"HINCRBY", KEY, field, number.as_bytes()]),
        23..=25 => request(&[b"HGET", KEY, field]),
        _ => request(&[b"HGETALL", KEY]),
    }
}

fn random_outside<B: Backend>(world: &mut World<B>, rng: &mut SmallRng) {
    let value = ODD_VALUES[rng.random_range(0..ODD_VALUES.len())].as_bytes();
    match rng.random_range(0..17) {
        14 => world.outside(&[b"SADD", KEY, b"a"]),
        15 => world.outside(&[b"EXPIRE", KEY, b"5000"]),
        16 => world.outside(&[b"HSET", KEY, b"b", b"1"]),
        0..=3 => world.outside(&[b"SET", KEY, value]),
        4..=6 => world.outside(&[b"DEL", KEY]),
        7 => world.outside(&[b"RPUSH", KEY, b"x"]),
        8..=9 => world.outside(&[b"HSET", KEY, b"a", value]),
        10 => world.outside(&[b"EXPIREAT", KEY, b"4000000000"]),
        11 => world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"1"]),
        12 => world.outside(&[b"SCRIPT", b"FLUSH"]),
        _ => world.outside(&[b"INCR", KEY]),
    }
}

/// One random history: bursts of operations, faults, and other writers between the flushes.
pub fn play<B: Backend>(world: &mut World<B>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let flavours = LINES.len() as u32 - u32::from(!B::TIME_STANDS_STILL);
    let flavour = rng.random_range(0..4 + flavours);
    let faults = rng.random_bool(0.5);
    let versions = [RespVersion::Resp2, RespVersion::Resp3];
    for _ in 0..rng.random_range(1..12) {
        let burst = if rng.random_ratio(1, 8) { 90 } else { 12 };
        for _ in 0..rng.random_range(0..burst) {
            let version = versions[usize::from(rng.random_ratio(1, 4))];
            let operations = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
            let connection = rng.random_range(0..8);
            world.push_run(random_request(&mut rng, flavour), version, operations, connection);
        }
        if rng.random_ratio(1, 3) {
            random_outside(world, &mut rng);
        }
        world.now_ns += rng.random_range(0..3_000_000);
        let Some((flush, wire)) = world.take() else { continue };
        match rng.random_range(0..6) {
            0 if faults => world.queue.not_executed(),
            1 if faults => world.lose(&flush, &wire, true),
            2 if faults => world.lose(&flush, &wire, false),
            _ => world.deliver(&flush, &wire),
        }
        if rng.random_ratio(1, 4) {
            world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        }
    }
    world.drain();
    world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    if !world.void {
        world.check_content();
    }
}

/// Plays many histories; a failure names its seed.
pub fn play_all<B: Backend>(seeds: std::ops::Range<u64>, mut make: impl FnMut(u64, bool) -> World<B>) {
    for seed in seeds {
        for exactly_once in [false, true] {
            let mut world = make(seed, exactly_once);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world, seed)));
            if let Err(panic) = outcome {
                eprintln!("HOTGATE_SEED={seed}, exactly_once {exactly_once}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
