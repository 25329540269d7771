//! Generated command sequences for holding hotgate against Redis itself.
//!
//! One seed gives one sequence. It walks over every data type with a small set of keys, so that commands meet keys that
//! exist, that do not, and that hold another type; a part of the commands is malformed on purpose (arity, syntax, names
//! that nobody has). What depends on time, on chance or on the process (`TIME`, `SPOP`, `TTL`, `INFO`, ...) is not
//! generated: see `equal_to_redis.rs` for the names.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Which keys a sequence may use, and which commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Any key anywhere: what one server allows.
    Anywhere,
    /// All keys share one hash tag, so that every command is legal in a cluster.
    OneSlot,
    /// Keys in all slots, with the commands that a cluster can serve then: one key, or split by the gateway.
    AcrossSlots,
}

/// A source of commands.
pub struct Generator {
    random: SmallRng,
    keys: Keys,
    /// Only these, if there are any.
    templates: &'static [&'static str],
}

type Arguments = Vec<Vec<u8>>;

/// Templates of commands. `K` is a key and a letter after it the type that it usually holds; lower-case words in braces
/// are drawn anew each time; the rest stands as it is.
const ONE_KEY: &[&str] = &[
    // strings
    "SET {ks} {value}",
    "SET {ks} {value}",
    "SET {ks} {integer}",
    "SET {ks} {value} NX",
    "SET {ks} {value} XX GET",
    "SET {ks} {value} KEEPTTL",
    "SET {ks} {value} EXAT 4102444800",
    "SETNX {ks} {value}",
    "GETSET {ks} {value}",
    "SETEX {ks} -5 {value}",
    "PSETEX {ks} 0 {value}",
    "GET {ks}",
    "GET {ks}",
    "GET {ks}",
    "GETDEL {ks}",
    "GETEX {ks} PERSIST",
    "APPEND {ks} {value}",
    "STRLEN {ks}",
    "GETRANGE {ks} {index} {index}",
    "SUBSTR {ks} {index} {index}",
    "SETRANGE {ks} {small} {value}",
    "INCR {ks}",
    "INCR {kn}",
    "DECR {kn}",
    "INCRBY {kn} {integer}",
    "DECRBY {kn} {integer}",
    "INCRBYFLOAT {kn} {float}",
    "SET {kn} {integer}",
    "GET {kn}",
    "MGET {ks}",
    "MSET {ks} {value}",
    // bits
    "SETBIT {kb} {offset} {bit}",
    "GETBIT {kb} {offset}",
    "BITCOUNT {kb}",
    "BITCOUNT {kb} {index} {index}",
    "BITPOS {kb} {bit}",
    "BITFIELD {kb} SET u8 {small} {small} GET i4 {small} INCRBY u2 {small} 1",
    "BITFIELD {kb} OVERFLOW FAIL INCRBY u2 0 {small}",
    "BITFIELD_RO {kb} GET u8 0",
    // lists
    "LPUSH {kl} {value} {value}",
    "RPUSH {kl} {value}",
    "LPUSHX {kl} {value}",
    "RPUSHX {kl} {value}",
    "LPOP {kl}",
    "RPOP {kl} {small}",
    "LLEN {kl}",
    "LRANGE {kl} {index} {index}",
    "LRANGE {kl} 0 -1",
    "LINDEX {kl} {index}",
    "LSET {kl} {index} {value}",
    "LINSERT {kl} BEFORE {value} {value}",
    "LREM {kl} {index} {value}",
    "LTRIM {kl} {index} {index}",
    "LPOS {kl} {value} COUNT 0",
    // sets: of integers, which have one order
    "SADD {kt} {small} {small}",
    "SADD {kt} {small}",
    "SREM {kt} {small}",
    "SCARD {kt}",
    "SISMEMBER {kt} {small}",
    "SMISMEMBER {kt} {small} {small}",
    "SMEMBERS {kt}",
    "SSCAN {kt} 0",
    // hashes
    "HSET {kh} {field} {value}",
    "HSET {kh} {field} {value} {field} {integer}",
    "HSETNX {kh} {field} {value}",
    "HMSET {kh} {field} {value}",
    "HGET {kh} {field}",
    "HMGET {kh} {field} {field}",
    "HGETALL {kh}",
    "HKEYS {kh}",
    "HVALS {kh}",
    "HLEN {kh}",
    "HSTRLEN {kh} {field}",
    "HEXISTS {kh} {field}",
    "HDEL {kh} {field}",
    "HINCRBY {kh} {field} {integer}",
    "HINCRBYFLOAT {kh} {field} {float}",
    "HSCAN {kh} 0",
    // sorted sets
    "ZADD {kz} {float} {member}",
    "ZADD {kz} {integer} {member} {float} {member}",
    "ZADD {kz} NX CH {float} {member}",
    "ZADD {kz} GT INCR {float} {member}",
    "ZINCRBY {kz} {float} {member}",
    "ZREM {kz} {member}",
    "ZCARD {kz}",
    "ZSCORE {kz} {member}",
    "ZMSCORE {kz} {member} {member}",
    "ZRANK {kz} {member}",
    "ZREVRANK {kz} {member}",
    "ZCOUNT {kz} -inf +inf",
    "ZCOUNT {kz} ({float} {float}",
    "ZRANGE {kz} 0 -1",
    "ZRANGE {kz} 0 -1 WITHSCORES",
    "ZRANGE {kz} {float} +inf BYSCORE LIMIT 0 2",
    "ZREVRANGE {kz} 0 -1 WITHSCORES",
    "ZRANGEBYSCORE {kz} -inf {float}",
    "ZRANGEBYLEX {kz} - +",
    "ZLEXCOUNT {kz} [a (c",
    "ZPOPMIN {kz}",
    "ZPOPMAX {kz} 2",
    "ZREMRANGEBYRANK {kz} 5 -1",
    "ZREMRANGEBYSCORE {kz} {float} {float}",
    "ZSCAN {kz} 0",
    // geo, hyperloglog
    "GEOADD {kg} 13.361389 38.115556 {member}",
    "GEOADD {kg} 15.087269 37.502669 {member}",
    "GEOPOS {kg} {member}",
    "GEODIST {kg} {member} {member} km",
    "GEOHASH {kg} {member}",
    "GEOADD {kg} 500 0 {member}",
    "GEOSEARCH {kg} FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST",
    "PFADD {kp} {value} {value}",
    "PFCOUNT {kp}",
    // streams
    "XADD {kx} * {field}",
    "XADD {kx} {stream} {field} {value}",
    "XADD {kx} MAXLEN 3 {stream} {field} {value}",
    "XLEN {kx}",
    "XRANGE {kx} - +",
    "XREVRANGE {kx} + - COUNT 1",
    "XREAD COUNT 2 STREAMS {kx} 0",
    "XDEL {kx} {stream}",
    "XTRIM {kx} MAXLEN 2",
    "XGROUP CREATE {kx} group 0",
    "XGROUP CREATE {kx} group 0 MKSTREAM",
    "XREADGROUP GROUP group consumer COUNT 1 STREAMS {kx} >",
    "XACK {kx} group {stream}",
    "XPENDING {kx} group",
    "XINFO GROUPS {kx}",
    "XGROUP DESTROY {kx} group",
    // any key
    "DEL {k}",
    "UNLINK {k}",
    "EXISTS {k}",
    "TYPE {k}",
    "TOUCH {k}",
    "PERSIST {k}",
    "EXPIREAT {k} 4102444800",
    "PEXPIREAT {k} 4102444800123 GT",
    "EXPIRE {k} -1",
    "EXPIRE {k} later",
    "OBJECT ENCODING {k}",
    "OBJECT REFCOUNT {kh}",
    "DUMP {ks}",
    "RESTORE {k} 0 garbage",
    "SORT {kl} ALPHA",
    "SORT {kt} DESC LIMIT 0 2",
    "SORT_RO {kt}",
    "LCS {ks} {ks:same}",
    "OBJECT FREQ {k}",
    // scripts
    "EVAL {script} 1 {k} {value}",
    "EVAL {script} 1 {k}",
    "EVAL_RO {script} 1 {k} {integer}",
];

/// Several keys in one slot.
const SEVERAL_KEYS: &[&str] = &[
    "MSETNX {ks} {value} {ks} {value}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {k} {k} REPLACE",
    "LMOVE {kl} {kl} LEFT RIGHT",
    "RPOPLPUSH {kl} {kl}",
    "LMPOP 2 {kl} {kl} LEFT COUNT 2",
    "SMOVE {kt} {kt} {small}",
    "SINTER {kt} {kt}",
    "SINTERCARD 2 {kt} {kt} LIMIT 1",
    "SINTERSTORE {kt} {kt} {kt}",
    "SUNION {kt} {kt}",
    "SUNIONSTORE {kt} {kt} {kt}",
    "SDIFF {kt} {kt}",
    "SDIFFSTORE {kt} {kt} {kt}",
    "ZUNION 2 {kz} {kz} WITHSCORES",
    "ZINTER 2 {kz} {kz} WEIGHTS 2 3",
    "ZDIFF 2 {kz} {kz}",
    "ZUNIONSTORE {kz} 2 {kz} {kz} AGGREGATE MAX",
    "ZINTERSTORE {kz} 2 {kz} {kz}",
    "ZDIFFSTORE {kz} 2 {kz} {kz}",
    "ZRANGESTORE {kz} {kz} 0 3",
    "ZMPOP 2 {kz} {kz} MIN",
    "ZINTERCARD 2 {kz} {kz}",
    "BITOP AND {kb} {kb} {kb}",
    "BITOP NOT {kb} {kb} {kb}",
    "PFMERGE {kp} {kp} {kp}",
    "PFCOUNT {kp} {kp}",
    "GEOSEARCHSTORE {kg} {kg} FROMLONLAT 15 37 BYRADIUS 200 km",
    "SORT {kl} ALPHA STORE {kl}",
    "XREAD STREAMS {kx} {kx} 0 0",
    "LCS {ks} {ks} IDX WITHMATCHLEN",
    "EVAL {script} 2 {k} {k} {value}",
    "BLPOP {kl} {kl} 0.01",
    "BRPOPLPUSH {kl} {kl} 0.01",
    "BZPOPMIN {kz} {kz} 0.01",
];

/// Split over the nodes of a cluster by the gateway.
const SPLIT: &[&str] = &[
    "MGET {ks} {k} {ks} {kn} {k}",
    "MSET {ks} {value} {kn} {integer} {ks} {value}",
    "DEL {k} {k} {k}",
    "UNLINK {k} {k}",
    "EXISTS {k} {k} {k}",
    "TOUCH {k} {k} {k}",
    "MSET {ks} {value} {ks}",
];

/// No key at all.
const NO_KEY: &[&str] = &[
    "PING",
    "PING {value}",
    "ECHO {value}",
    "DBSIZE",
    "PUBLISH {field} {value}",
    "SCRIPT EXISTS {field}",
    "EVAL {constant} 0",
    "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
    "CLIENT GETNAME",
    "CLIENT SETNAME {field}",
    "OBJECT HELP",
    "COMMAND GETKEYS GET {k}",
    "FUNCTION LIST",
    "PUBSUB NUMSUB {field}",
    "PUBSUB NUMPAT",
];

/// Not as Redis wants them.
const WRONG: &[&str] = &[
    "GET",
    "GET {k} {k}",
    "SET {k}",
    "SET {k} {value} SOMETHING",
    "SET {k} {value} EX",
    "SET {k} {value} EX {value}",
    "NOSUCHCOMMAND",
    "NOSUCHCOMMAND {k} {value} {value}",
    "INCRBY {k} {value}",
    "INCRBY {k} 9223372036854775807",
    "INCRBY {k} 9223372036854775808",
    "HSET {k} {field}",
    "HSET {k}",
    "ZADD {k} {value} {member}",
    "ZADD {k} nan {member}",
    "OBJECT",
    "OBJECT NOSUCH {k}",
    "OBJECT ENCODING",
    "XADD {k} 0-0 {field} {value}",
    "XADD {k} {value} {field} {value}",
    "LSET {k} {value} {value}",
    "EVAL {constant}",
    "EVAL {constant} -1",
    "EVAL {constant} {value}",
    "EVAL broken( 0",
    "EVAL {constant} 2 {k}",
    "SETBIT {k} -1 1",
    "SETBIT {k} 0 2",
    "BITOP NOSUCH {k} {k:same}",
    "MSET",
    "MSET {k}",
    "MGET",
    "DEL",
    "PING {value} {value}",
    "ECHO",
    "EXPIRE {k} 1 NX XX",
    "GETEX {k} EX 0",
    "LPOP {k} -1",
    "LMPOP 0 {k} LEFT",
    "SINTERCARD 0 {k}",
    "ZRANGE {k} 0 -1 BYLEX",
    "XREAD STREAMS {k}",
    "XGROUP NOSUCH",
    "CLIENT NOSUCH",
    "{value} {value}",
    "{large} {k}",
    "SETEX {k} 0 {value}",
    "GEOADD {k} 1 {member}",
    "COPY {k}",
    "SORT {k} BY",
];

const SCRIPTS: &[&str] = &[
    "return redis.call('TYPE', KEYS[1])",
    "return redis.pcall('INCR', KEYS[1])",
    "return redis.call('INCR', KEYS[1])",
    "return {1, 2.9, 'three', false, true, {ok='fine'}, {4, {5, {}}}}",
    "return redis.error_reply('MINE my own')",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "return {KEYS, ARGV}",
    "error('thrown')",
    "redis.setresp(3); return redis.call('TYPE', KEYS[1])",
    "redis.setresp(3); return {map={a=1}, double=1.5}",
    "redis.setresp(3); return {map={a=1}}",
    "redis.setresp(3); return {double=1.5}",
];

const CONSTANTS: &[&str] =
    &["return 1", "return 'text'", "return {}", "return nil", "return ARGV[1]", "return {1,{2,{3}}}"];

impl Generator {
    pub fn new(seed: u64, keys: Keys) -> Generator {
        Self::of(&[], seed, keys)
    }

    /// One that makes its commands of these templates only.
    pub fn of(templates: &'static [&'static str], seed: u64, keys: Keys) -> Generator {
        Generator { random: SmallRng::seed_from_u64(seed), keys, templates }
    }

    /// The next command.
    pub fn command(&mut self) -> Arguments {
        let templates = match (self.random.random_range(0..100), self.keys) {
            _ if !self.templates.is_empty() => self.templates,
            (0..8, _) => WRONG,
            (8..13, _) => NO_KEY,
            (13..20, _) => SPLIT,
            (20..40, Keys::Anywhere | Keys::OneSlot) => SEVERAL_KEYS,
            _ => ONE_KEY,
        };
        let template = *templates.choose(&mut self.random).unwrap();
        let mut arguments: Arguments = Vec::new();
        let mut last_key = Vec::new();
        for word in template.split(' ') {
            let argument = match word {
                "{ks:same}" | "{k:same}" => last_key.clone(),
                _ => self.fill(word),
            };
            if word.starts_with("{k") {
                last_key = argument.clone();
            }
            arguments.push(argument);
        }
        if self.random.random_bool(0.05) {
            arguments[0].make_ascii_lowercase();
        }
        arguments
    }

    /// A word of a template with what stands in braces drawn.
    fn fill(&mut self, word: &str) -> Vec<u8> {
        let Some((before, rest)) = word.split_once('{') else { return word.into() };
        let (name, after) = rest.split_once('}').unwrap();
        let mut filled = before.as_bytes().to_vec();
        filled.extend(self.draw(name));
        filled.extend_from_slice(after.as_bytes());
        filled
    }

    fn draw(&mut self, name: &str) -> Vec<u8> {
        let random = &mut self.random;
        match name {
            "value" => self.value(),
            "large" => vec![b'x'; 200],
            "integer" => match random.random_range(0..10) {
                0 => b"9223372036854775807".to_vec(),
                1 => b"-9223372036854775808".to_vec(),
                2 => b"007".to_vec(),
                _ => random.random_range(-1_000..1_000).to_string().into_bytes(),
            },
            "float" => (f64::from(random.random_range(-400..400)) / 8.0).to_string().into_bytes(),
            "index" => random.random_range(-5..6).to_string().into_bytes(),
            "small" => random.random_range(0..12).to_string().into_bytes(),
            "offset" => random.random_range(0..100).to_string().into_bytes(),
            "bit" => random.random_range(0..2).to_string().into_bytes(),
            "field" => format!("f{}", random.random_range(0..5)).into_bytes(),
            "member" => [b'a' + random.random_range(0..6)].to_vec(),
            "stream" => format!("{}-{}", random.random_range(1..40), random.random_range(0..3)).into_bytes(),
            // In seconds, so far apart that a test is over before one looks like another.
            "later" => format!("{}000", random.random_range(1..4)).into_bytes(),
            "at" => format!("4{}00000000", random.random_range(1..3)).into_bytes(),
            "script" => SCRIPTS.choose(random).unwrap().as_bytes().to_vec(),
            "constant" => CONSTANTS.choose(random).unwrap().as_bytes().to_vec(),
            key => self.key(key),
        }
    }

    /// Mostly a key of the type that the letter after `k` names; now and then one of another type.
    fn key(&mut self, name: &str) -> Vec<u8> {
        let kinds = b"snblthzgpx";
        let kind = match name.as_bytes() {
            [b'k', kind] if !self.random.random_bool(0.05) => *kind,
            _ => *kinds.choose(&mut self.random).unwrap(),
        };
        let number = self.random.random_range(0..4);
        let mut key = match self.keys {
            Keys::OneSlot => b"{tag}".to_vec(),
            Keys::Anywhere | Keys::AcrossSlots => Vec::new(),
        };
        key.push(kind);
        // Number 3 is a binary name: keys are bytes.
        key.extend(if number == 3 { b"\x00\r\n\xff".to_vec() } else { number.to_string().into_bytes() });
        key
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.random_range(0..20) {
            0 => Vec::new(),
            1 => b"\r\n$5\r\nfalse\r\n\x00".to_vec(),
            2 => {
                let length = *[100, 1_023, 16_384, 70_000].choose(&mut self.random).unwrap();
                vec![b'a' + self.random.random_range(0..26); length]
            }
            3..6 => self.random.random_range(-50..50).to_string().into_bytes(),
            _ => {
                let length = self.random.random_range(1..12);
                (0..length).map(|_| self.random.random()).collect()
            }
        }
    }
}
