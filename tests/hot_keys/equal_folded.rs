//! What folds is told what Redis says, byte for byte: generated sessions of all that may fold, and of what does not between it, go to
//! a plain Redis and through hotgate, and every reply is compared. Before one server and before a cluster, in both versions of the
//! protocol, one by one and in pipelines, with folding forced on, off, and switched at random. In the end both hold the same.
//!
//! Of a time to live only so much is compared that two runs against the same Redis agree on.
//!
//! A failure prints the seed; `HOTGATE_SEED=n` runs the same sessions again.

use crate::support::figures::figure;
use crate::support::folding::{Folding, Switch};
use crate::support::generator::{Generator, Keys};
use crate::support::text::{encode, one_line, shown, words};
use crate::support::{self, BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, wait_until};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Requests of each cell.
const REQUESTS: usize = 1500;
const CONNECTIONS: usize = 3;
const PIPELINES: [usize; 2] = [1, 16];

/// Hashes and sets stay in the encodings that keep an order, whatever the size of their values.
const SMALL_ENCODINGS: &[&str] = &["--hash-max-ziplist-value", "1000000"];

type Arguments = Vec<Vec<u8>>;

/// What folds, and here and there something that does not. A line with semicolons is several commands. `GT` and `LT` only with points in
/// time: of equal spans the later one is the longer by as little as lay between the two.
const TEMPLATES: &[&str] = &[
    "INCR {kn}",
    "INCR {kn}",
    "INCRBY {kn} {small}",
    "INCRBY {kn} {integer}",
    "DECR {kn}",
    "DECRBY {kn} {small}",
    "GET {kn}",
    "GET {kn}",
    "INCR {kn} ; EXPIRE {k:same} {later}",
    "INCR {kn} ; EXPIRE {k:same} {later} NX ; GET {k:same}",
    "EXPIRE {kn} {later}",
    "EXPIRE {kn} {later} NX",
    "EXPIRE {kn} {later} XX",
    "PEXPIRE {kn} {later}000",
    "EXPIREAT {kn} {at} LT",
    "EXPIREAT {kn} {at}",
    "PEXPIREAT {kn} {at}000 GT",
    "EXPIREAT {kn} {at} NX",
    "EXPIRE {kn} -1",
    "EXPIRE {kn} later",
    "PERSIST {kn}",
    "TTL {kn}",
    "PTTL {kn}",
    "MULTI ; INCR {kn} ; EXPIRE {k:same} {later} ; EXEC",
    "MULTI ; INCR {kn} ; EXPIRE {k:same} {later} NX ; GET {k:same} ; EXEC",
    "MULTI ; INCRBY {kn} {small} ; PEXPIRE {k:same} {later}000 ; TTL {k:same} ; EXEC",
    "MULTI ; SET {kn} 0 EX {later} NX ; INCR {k:same} ; EXEC",
    "MULTI ; HINCRBY {kh} n 1 ; HINCRBY {k:same} m 2 ; EXEC",
    "MULTI ; INCR {kn} ; APPEND {k:same} 1 ; EXEC",
    "MULTI ; INCR {kn} ; DISCARD",
    "EVALSHA <limiter> 1 {kn} {later}",
    "EVALSHA <adder> 1 {kn} {small}",
    "EVALSHA <window> 1 {kn} {small} {later}",
    "SET {kn} {small}",
    "SET {kn} {integer}",
    "SET {kn} {small} EX {later}",
    "SET {kn} {value} PX {later}000",
    "SET {kn} {small} EXAT {at}",
    "SET {kn} {small} KEEPTTL",
    "SET {kn} {small} NX",
    "SET {kn} {small} NX PX {later}000",
    "SET {kn} {small} XX",
    "SET {kn} {small} GET",
    "SET {kn} {small} XX NX",
    "SETNX {kn} {small}",
    "SETEX {kn} {later} {small}",
    "PSETEX {kn} {later}000 {small}",
    "SETEX {kn} 0 {small}",
    "GETDEL {kn}",
    "APPEND {kn} 1",
    "STRLEN {kn}",
    "DEL {k}",
    "HSET {kh} {field} {small}",
    "HSET {kh} {field} {small} {field} {value}",
    "HSET {kh} {field} {small} {field}",
    "HMSET {kh} {field} {small}",
    "HSETNX {kh} {field} {small}",
    "HDEL {kh} {field}",
    "HINCRBY {kh} {field} {small}",
    "HINCRBY {kh} {field} {integer}",
    "HINCRBY {kh} {field} 1 ; HINCRBY {k:same} {field} 1",
    "HGET {kh} {field}",
    "HMGET {kh} {field} {field}",
    "HGETALL {kh}",
    "LPUSH {kl} {small}",
    "RPUSH {kl} {small} {small}",
    "LPUSHX {kl} {small}",
    "RPUSHX {kl} {small}",
    "LPOP {kl}",
    "LLEN {kl}",
    "LRANGE {kl} 0 5",
    "SADD {kt} {small}",
    "SADD {kt} {small} {small}",
    "SREM {kt} {small}",
    "SCARD {kt}",
    "SMEMBERS {kt}",
    "PFADD {kp} {field}",
    "PFADD {kp}",
    "PFCOUNT {kp}",
    "ZADD {kz} {small} {member}",
    "ZADD {kz} NX {small} {member}",
    "ZADD {kz} GT CH {small} {member}",
    "ZADD {kz} nan {member}",
    "ZADD {kz} INCR {small} {member}",
    "ZREM {kz} {member}",
    "ZSCORE {kz} {member}",
    "ZRANGE {kz} 0 -1 WITHSCORES",
];

/// Scripts that count, and what their tables say beside the name.
const SCRIPTS: [(&str, &str, &str); 3] = [
    (
        "<limiter>",
        "local c = redis.call('INCR', KEYS[1]) if c == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return c",
        "expire_argument = 1\n",
    ),
    ("<adder>", "return redis.call('INCRBY', KEYS[1], ARGV[1])", "by_argument = 1\n"),
    (
        "<window>",
        "local c = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], ARGV[2]) return c",
        "by_argument = 1\nexpire_argument = 2\nexpire_when = 'always'\n",
    ),
];

/// The names of the scripts, once a client has loaded them.
fn load_scripts(client: &mut Client) -> Vec<(&'static str, String)> {
    let load = |&(name, body, _): &(&'static str, &str, &str)| {
        let reply = one_line(&client.call(&["SCRIPT", "LOAD", body]));
        (name, reply.split(' ').nth(1).unwrap().to_owned())
    };
    SCRIPTS.iter().map(load).collect()
}

fn tables(names: &[(&str, String)]) -> String {
    let table = |((_, sha1), (_, _, more)): (&(&str, String), &(&str, &str, &str))| {
        format!("[[counter_script]]\nsha1 = '{sha1}'\n{more}")
    };
    names.iter().zip(&SCRIPTS).map(table).collect()
}

/// Makes up what the clients say.
struct Sessions {
    random: SmallRng,
    data: Generator,
    scripts: Vec<(&'static str, String)>,
}

impl Sessions {
    /// One line: a command, or some that belong together.
    fn unit(&mut self) -> Vec<Arguments> {
        let mut words = self.data.command();
        for word in &mut words {
            if let Some((_, sha1)) = self.scripts.iter().find(|(name, _)| name.as_bytes() == &word[..]) {
                *word = sha1.clone().into_bytes();
            }
        }
        // A value may be a semicolon, and the last word.
        let commands = words.split(|word| word == b";").filter(|command| !command.is_empty());
        commands.map(<[Vec<u8>]>::to_vec).collect()
    }

    /// What one client sends at once: a few different lines, some of them again and again.
    fn burst(&mut self, length: usize) -> Vec<Arguments> {
        let pool: Vec<Vec<Arguments>> = (0..self.random.random_range(1..6)).map(|_| self.unit()).collect();
        let mut burst = Vec::new();
        while burst.len() < length {
            let unit = if self.random.random_ratio(1, 8) { self.unit() } else { self.any_of(&pool) };
            let times = if self.random.random_ratio(1, 4) { self.random.random_range(2..5) } else { 1 };
            (0..times).for_each(|_| burst.extend(unit.iter().cloned()));
        }
        burst
    }

    fn any_of(&mut self, pool: &[Vec<Arguments>]) -> Vec<Arguments> {
        pool.choose(&mut self.random).unwrap().clone()
    }
}

/// Reads of all that may be there.
fn everything() -> Vec<Arguments> {
    let reads = [
        ("n", "GET"),
        ("s", "GET"),
        ("h", "HGETALL"),
        ("l", "LRANGE 0 -1"),
        ("t", "SMEMBERS"),
        ("p", "PFCOUNT"),
        ("z", "ZRANGE 0 -1 WITHSCORES"),
    ];
    let mut all = Vec::new();
    for (kind, read) in reads {
        for number in [&b"0"[..], b"1", b"2", b"\x00\r\n\xff"] {
            let key = [kind.as_bytes(), number].concat();
            for read in [read, "TTL"] {
                let mut command = words(read);
                command.insert(1, key.clone());
                all.push(command);
            }
        }
    }
    all
}

/// Whether a reply is what Redis said. Times to live may differ by what lay between the two.
fn is_equal(command: &Arguments, reply: &[u8], expected: &[u8]) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    let apart_max = match &name[..] {
        "TTL" => 30,
        "PTTL" => 30_000,
        "EXEC" => 30,
        _ => return reply == expected,
    };
    let lines = |reply: &[u8]| -> Vec<String> { one_line(reply).split(' ').map(str::to_owned).collect() };
    let (lines, wanted) = (lines(reply), lines(expected));
    let number = |line: &String| line.strip_prefix(':')?.parse::<i64>().ok().filter(|number| *number > 500);
    let is_close = |(line, wanted): (&String, &String)| match (number(line), number(wanted)) {
        (Some(number), Some(wanted)) => (number - wanted).abs() <= apart_max,
        _ => line == wanted,
    };
    lines.len() == wanted.len() && lines.iter().zip(&wanted).all(is_close)
}

/// One way to talk, and what it is held against.
struct Cell<'a> {
    plain: &'a Server,
    gateways: &'a [Gateway],
    version: Version,
    pipeline: usize,
    folding: Folding,
    config: &'a str,
}

impl Cell<'_> {
    fn compare(&self, seed: u64, scripts: &[(&'static str, String)]) {
        let gateway = &self.gateways[0];
        let connect = |address| -> Vec<Client> {
            (0..CONNECTIONS).map(|_| Client::speaking(address, self.version)).collect()
        };
        let (mut to_redis, mut to_hotgate) = (connect(self.plain.address()), connect(gateway.address));
        for client in [&mut to_redis[0], &mut to_hotgate[0]] {
            client.check("FLUSHALL", "+OK");
        }
        let mut sessions = Sessions {
            random: SmallRng::seed_from_u64(!seed),
            data: Generator::of(TEMPLATES, seed, Keys::Anywhere),
            scripts: scripts.to_vec(),
        };
        let mut switch = Switch::new(self.gateways, self.config, "*", self.folding, seed);
        let (mut said, mut past) = (0, Vec::new());
        while said < REQUESTS {
            switch.perhaps(10);
            let who = sessions.random.random_range(0..CONNECTIONS);
            let burst = sessions.burst(self.pipeline);
            for burst in burst.chunks(if self.pipeline == 1 { 1 } else { burst.len() }) {
                said += burst.len();
                past.push(format!("{who}: {}", line_of(burst)));
                let mut pair = (&mut to_redis[who], &mut to_hotgate[who]);
                self.check(&mut pair, burst, seed, &past);
            }
        }
        past.push("all that there is".to_owned());
        self.check(&mut (&mut to_redis[0], &mut to_hotgate[0]), &everything(), seed, &past);
    }

    fn check(&self, pair: &mut (&mut Client, &mut Client), burst: &[Arguments], seed: u64, past: &[String]) {
        let bytes: Vec<u8> = burst.iter().flat_map(|command| encode(command)).collect();
        pair.0.send(&bytes);
        pair.1.send(&bytes);
        for command in burst {
            let (expected, reply) = (pair.0.reply(), pair.1.reply());
            assert!(
                is_equal(command, &reply, &expected),
                "seed {seed}, {:?}, {} in a pipeline, folding {:?}, {:?}:\n    {}\n  {}\n  hotgate {}\n  redis   {}",
                self.version,
                self.pipeline,
                self.folding,
                self.config,
                past[past.len().saturating_sub(8)..].join("\n    "),
                line_of(std::slice::from_ref(command)),
                shown(&reply),
                shown(&expected)
            );
        }
    }
}

fn line_of(burst: &[Arguments]) -> String {
    let one = |command: &Arguments| command.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
    burst.iter().map(one).collect::<Vec<_>>().join(" ; ")
}

/// All versions, pipelines and ways of folding; `start` starts a gateway before the servers at hand.
fn compare_all(config: &str, foldings: &[Folding], start: impl Fn(&str) -> Gateway) {
    let plain = Server::with(SMALL_ENCODINGS);
    let scripts = load_scripts(&mut plain.client());
    for &folding in foldings {
        let config = format!("{config}[gateway]\nworkers = 2\n{}", tables(&scripts));
        let gateways = [start(&format!("{config}{}", folding.rule("*")))];
        load_scripts(&mut gateways[0].client());
        for version in BOTH_VERSIONS {
            for pipeline in PIPELINES {
                let (plain, gateways, config) = (&plain, &gateways, &config);
                let cell = Cell { plain, gateways, version, pipeline, folding, config };
                cell.compare(support::seed(), &scripts);
            }
        }
        if folding == Folding::On {
            let mut admin = gateways[0].client();
            wait_until("it was folded", || {
                figure(&mut admin, "combine_offered") > figure(&mut admin, "combine_flushed")
            });
        }
    }
}

#[test]
fn before_one_server() {
    let behind = Server::with(SMALL_ENCODINGS);
    compare_all("", &Folding::ALL, |config| Gateway::before(&behind).config(config).start());
}

#[test]
fn before_a_cluster() {
    let cluster = Cluster::with(SMALL_ENCODINGS);
    compare_all("", &Folding::ALL, |config| Gateway::before(&cluster).config(config).start());
}

#[test]
fn under_tokens() {
    let behind = Server::with(SMALL_ENCODINGS);
    compare_all("[combine]\nexactly_once = true\n", &[Folding::On, Folding::Switching], |config| {
        Gateway::before(&behind).config(config).start()
    });
}
