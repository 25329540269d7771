//! A Redis small enough to be checked by eye: one thing after the other, the commands that the tests use, and the flush
//! script by what its head says that it does.

mod collections;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hotgate::{
    combine::flush_script_sha,
    resp::{RespVersion, encode, parse_integer},
};

use super::harness::{Backend, requests};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(Vec<u8>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Sorted(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// The model server.
#[derive(Default)]
pub struct Model {
    keys: HashMap<Vec<u8>, Value>,
    /// In milliseconds.
    expiry: HashMap<Vec<u8>, i64>,
    remembered: HashMap<Vec<u8>, (u64, Vec<Vec<u8>>)>,
    out_of_memory: bool,
    pub script_known: bool,
    /// What an open transaction has queued; nothing once something of it was refused.
    queued: Option<Option<Vec<Vec<Vec<u8>>>>>,
}

/// A reply before it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    Status(&'static str),
    Error(&'static str),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Map(Vec<(Vec<u8>, Vec<u8>)>),
    Strings(Vec<Vec<u8>>),
    Array(Vec<Reply>),
}

const WRONG_TYPE: Reply = Reply::Error("WRONGTYPE Operation against a key holding the wrong kind of value");
const NOT_AN_INTEGER: Reply = Reply::Error("ERR value is not an integer or out of range");
const FIELD_NOT_AN_INTEGER: Reply = Reply::Error("ERR hash value is not an integer");
const OVERFLOW: Reply = Reply::Error("ERR increment or decrement would overflow");
const OUT_OF_MEMORY: Reply = Reply::Error("OOM command not allowed when used memory > 'maxmemory'.");

impl Backend for Model {
    const TIME_STANDS_STILL: bool = true;

    fn run(&mut self, wire: &[u8], version: RespVersion) -> Vec<Vec<u8>> {
        requests(wire).iter().map(|request| spell(&self.execute(request), version)).collect()
    }
}

impl Model {
    fn execute(&mut self, request: &[Vec<u8>]) -> Reply {
        let name = String::from_utf8(request[0].to_ascii_uppercase()).unwrap();
        let arg = |index: usize| request[index].as_slice();
        if let Some(reply) = self.in_transaction(&name, request) {
            return reply;
        }
        if takes_memory(&name) && self.out_of_memory {
            return OUT_OF_MEMORY;
        }
        match name.as_str() {
            "CONFIG" => {
                self.out_of_memory = arg(3) != b"0";
                Reply::Status("OK")
            }
            "SCRIPT" => {
                self.script_known = false;
                Reply::Status("OK")
            }
            "DEL" => {
                self.expiry.remove(arg(1));
                Reply::Integer(i64::from(self.keys.remove(arg(1)).is_some()))
            }
            "EXPIRETIME" => Reply::Integer(match self.keys.contains_key(arg(1)) {
                true => self.expiry.get(arg(1)).map_or(-1, |at| (at + 500) / 1000),
                false => -2,
            }),
            "SET" => self.set_with(arg(1), arg(2), &request[3..]),
            "GET" => self.get(arg(1)),
            "INCR" => self.add(arg(1), 1),
            "DECR" => self.add(arg(1), -1),
            "INCRBY" => self.add(arg(1), parse_integer(arg(2)).unwrap()),
            "DECRBY" => self.add(arg(1), -parse_integer(arg(2)).unwrap()),
            "STRLEN" => match self.get(arg(1)) {
                Reply::Bulk(text) => Reply::Integer(text.len() as i64),
                Reply::Null => Reply::Integer(0),
                error => error,
            },
            "EXISTS" => Reply::Integer(i64::from(self.keys.contains_key(arg(1)))),
            "TYPE" => Reply::Status(match self.keys.get(arg(1)) {
                None => "none",
                Some(Value::Text(_)) => "string",
                Some(Value::Hash(_)) => "hash",
                Some(Value::List(_)) => "list",
                Some(Value::Set(_)) => "set",
                Some(Value::Sorted(_)) => "zset",
            }),
            "HGET" => self.field(arg(1), arg(2)),
            "HINCRBY" => self.add_field(arg(1), arg(2), parse_integer(arg(3)).unwrap()),
            "HGETALL" => match self.keys.get(arg(1)) {
                None => Reply::Map(Vec::new()),
                Some(Value::Hash(fields)) => Reply::Map(fields.clone()),
                Some(_) => WRONG_TYPE,
            },
            "EVALSHA" if arg(1) != flush_script_sha().as_bytes() || !self.script_known => {
                Reply::Error("NOSCRIPT No matching script. Please use EVAL.")
            }
            "EVAL" | "EVALSHA" => {
                self.script_known = true;
                self.flush(request)
            }
            other => {
                self.run_other(other, request).unwrap_or_else(|| panic!("the model does not know {other}"))
            }
        }
    }

    /// `MULTI`, `EXEC`, and what comes between them.
    fn in_transaction(&mut self, name: &str, request: &[Vec<u8>]) -> Option<Reply> {
        match (name, &mut self.queued) {
            ("MULTI", queued) => {
                *queued = Some(Some(Vec::new()));
                Some(Reply::Status("OK"))
            }
            ("EXEC", queued) => Some(match queued.take().flatten() {
                Some(commands) => Reply::Array(commands.iter().map(|words| self.execute(words)).collect()),
                None => Reply::Error("EXECABORT Transaction discarded because of previous errors."),
            }),
            // Whatever it is: to be queued takes memory.
            (_, Some(queued)) if self.out_of_memory => {
                *queued = None;
                Some(OUT_OF_MEMORY)
            }
            (_, Some(queued)) => {
                queued.get_or_insert_default().push(request.to_vec());
                Some(Reply::Status("QUEUED"))
            }
            (_, None) => None,
        }
    }

    fn get(&self, key: &[u8]) -> Reply {
        match self.keys.get(key) {
            None => Reply::Null,
            Some(Value::Text(text)) => Reply::Bulk(text.clone()),
            Some(_) => WRONG_TYPE,
        }
    }

    fn field(&self, key: &[u8], field: &[u8]) -> Reply {
        match self.keys.get(key) {
            None => Reply::Null,
            Some(Value::Hash(fields)) => fields
                .iter()
                .find(|(name, _)| name == field)
                .map_or(Reply::Null, |(_, text)| Reply::Bulk(text.clone())),
            Some(_) => WRONG_TYPE,
        }
    }

    fn set_field(&mut self, key: &[u8], field: &[u8], text: Vec<u8>) -> Reply {
        let Value::Hash(fields) = self.keys.entry(key.to_vec()).or_insert(Value::Hash(Vec::new())) else {
            return WRONG_TYPE;
        };
        match fields.iter_mut().find(|(name, _)| name == field) {
            Some((_, old)) => *old = text,
            None => fields.push((field.to_vec(), text)),
        }
        Reply::Null
    }

    fn add(&mut self, key: &[u8], delta: i64) -> Reply {
        let reply = sum(self.get(key), delta, NOT_AN_INTEGER);
        if let Reply::Integer(value) = reply {
            self.keys.insert(key.to_vec(), Value::Text(value.to_string().into_bytes()));
        }
        reply
    }

    fn add_field(&mut self, key: &[u8], field: &[u8], delta: i64) -> Reply {
        let reply = sum(self.field(key, field), delta, FIELD_NOT_AN_INTEGER);
        if let Reply::Integer(value) = reply {
            self.set_field(key, field, value.to_string().into_bytes());
        }
        reply
    }

    /// The flush script without its short cuts: every increment on its own.
    fn flush(&mut self, request: &[Vec<u8>]) -> Reply {
        let key = &request[3];
        let keys = parse_integer(&request[2]).unwrap() as usize;
        let argv = &request[3 + keys..];
        let sequence = String::from_utf8(argv[0].clone()).unwrap();
        if let [_, sum] = argv {
            let sum = parse_integer(sum).unwrap();
            return self.flush_short(key, &request[4], (sequence.parse().unwrap(), sum));
        }
        assert_eq!(argv[2], b"0", "the model knows no quota");
        let companion =
            (!sequence.is_empty()).then(|| (request[4].clone(), sequence.parse::<u64>().unwrap()));
        if let Some((companion, sequence)) = &companion {
            match self.remembered.get(companion) {
                Some((last, results)) if last == sequence => return Reply::Strings(results.clone()),
                Some((last, _)) if last > sequence => return Reply::Error("STALE"),
                _ => {}
            }
        }
        let mut results = Vec::new();
        let mut rest = argv[3..].iter();
        while let Some(letter) = rest.next() {
            let mut take = || rest.next().unwrap().clone();
            match letter.as_slice() {
                b"R" => {
                    let count = parse_integer(&take()).unwrap();
                    let read: Vec<_> = (0..count).map(|_| take()).collect();
                    results.push(typed(self.execute(&read)));
                }
                b"S" => {
                    let (value, _gets) = (take(), take());
                    let before = self.get(key);
                    match self.execute(&[b"SET".to_vec(), key.clone(), value]) {
                        Reply::Error(text) => results.push(format!("!{text}").into_bytes()),
                        _ => results.push(b"=".to_vec()),
                    }
                    results.push(typed(before));
                }
                _ => {
                    let field = (letter == b"H").then(&mut take);
                    let [_sum, _low, _high, _gets, runs] = std::array::from_fn(|_| take());
                    results.extend(self.increments(
                        key,
                        field.as_deref(),
                        std::str::from_utf8(&runs).unwrap(),
                    ));
                }
            }
        }
        if let Some((companion, sequence)) = companion.filter(|_| !self.out_of_memory) {
            self.remembered.insert(companion, (sequence, results.clone()));
        }
        Reply::Strings(results)
    }

    /// The short form of the script.
    fn flush_short(&mut self, key: &[u8], companion: &[u8], (sequence, sum): (u64, i64)) -> Reply {
        const UNUSUAL: Reply = Reply::Error("UNUSUAL nothing was changed");
        match self.remembered.get(companion) {
            Some((last, results)) if *last == sequence => {
                return Reply::Integer(parse_integer(&results[0]).unwrap());
            }
            Some((last, _)) if *last > sequence => return Reply::Error("STALE"),
            _ => {}
        }
        if self.out_of_memory {
            return UNUSUAL;
        }
        match self.add(key, sum) {
            Reply::Integer(after) if after.unsigned_abs() <= 99_999_999_999_999 => {
                self.remembered.insert(companion.to_vec(), (sequence, vec![after.to_string().into_bytes()]));
                Reply::Integer(after)
            }
            Reply::Integer(_) => {
                self.add(key, -sum);
                UNUSUAL
            }
            _ => UNUSUAL,
        }
    }

    fn increments(&mut self, key: &[u8], field: Option<&[u8]>, runs: &str) -> [Vec<u8>; 2] {
        let before = field.map_or_else(|| self.get(key), |field| self.field(key, field));
        let mut counts = Vec::new();
        for pair in runs.split(' ').collect::<Vec<_>>().chunks(2) {
            let (delta, times): (i64, u32) = (pair[0].parse().unwrap(), pair[1].parse().unwrap());
            let mut count = 0;
            for _ in 0..times {
                let reply = match field {
                    _ if self.out_of_memory => OUT_OF_MEMORY,
                    Some(field) => self.add_field(key, field, delta),
                    None => self.add(key, delta),
                };
                match reply {
                    Reply::Integer(_) => count += 1,
                    error if error == OVERFLOW => {}
                    Reply::Error(text) => return [format!("!{text}").into_bytes(), typed(before)],
                    other => panic!("{other:?}"),
                }
            }
            counts.push(count.to_string());
        }
        [format!("#{}", counts.join(" ")).into_bytes(), typed(before)]
    }
}

/// Whether Redis refuses a command where memory is short.
fn takes_memory(name: &str) -> bool {
    let names = "SET SETNX SETEX INCRBY INCR DECR DECRBY HINCRBY HSET HMSET HSETNX LPUSH RPUSH LPUSHX RPUSHX SADD PFADD ZADD";
    names.split(' ').any(|taking| taking == name)
}

fn sum(before: Reply, delta: i64, not_an_integer: Reply) -> Reply {
    let value = match before {
        Reply::Null => Some(0),
        Reply::Bulk(text) => parse_integer(&text),
        error => return error,
    };
    match value.map(|value| value.checked_add(delta)) {
        None => not_an_integer,
        Some(None) => OVERFLOW,
        Some(Some(value)) => Reply::Integer(value),
    }
}

fn typed(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Integer(value) => format!(":{value}").into_bytes(),
        Reply::Bulk(text) => [b"$".as_slice(), &text].concat(),
        Reply::Null => b"_".to_vec(),
        Reply::Error(text) => format!("-{text}").into_bytes(),
        Reply::Status(text) => format!("+{text}").into_bytes(),
        other => panic!("{other:?} is no scalar"),
    }
}

fn spell(reply: &Reply, version: RespVersion) -> Vec<u8> {
    let mut out = Vec::new();
    match reply {
        Reply::Status(text) => encode::simple(&mut out, text),
        Reply::Error(text) => encode::error(&mut out, text),
        Reply::Integer(value) => encode::integer(&mut out, *value),
        Reply::Bulk(text) => encode::bulk(&mut out, text),
        Reply::Null => encode::null(&mut out, version),
        Reply::Map(pairs) => {
            encode::map(&mut out, version, pairs.len());
            for (field, text) in pairs {
                encode::bulk(&mut out, field);
                encode::bulk(&mut out, text);
            }
        }
        Reply::Array(replies) => {
            encode::array(&mut out, replies.len());
            replies.iter().for_each(|reply| out.extend(spell(reply, version)));
        }
        Reply::Strings(strings) => {
            encode::array(&mut out, strings.len());
            strings.iter().for_each(|text| encode::bulk(&mut out, text));
        }
    }
    out
}
