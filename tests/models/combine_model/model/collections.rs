//! What the model knows beside counters: times to live, `SET` with options, hashes by many fields, lists, sets, sorted sets.
//! A sketch of `PFADD` is kept as a set: of a few elements each changes a register.

use super::{Model, Reply, Value, WRONG_TYPE, parse_integer};

/// The time of the model in milliseconds: it stands still.
const NOW_MS: i64 = 1_700_000_000_000;

impl Model {
    /// Runs a command that is not about counters. `None` if the model does not know it.
    pub(super) fn run_other(&mut self, name: &str, request: &[Vec<u8>]) -> Option<Reply> {
        let key = &request[1];
        let rest = &request[2..];
        let has_key = self.keys.contains_key(key);
        Some(match name {
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => self.expire(name, key, rest),
            "TTL" | "PTTL" => Reply::Integer(match self.expiry.get(key) {
                _ if !has_key => -2,
                None => -1,
                Some(at) if name == "TTL" => (at - NOW_MS + 500) / 1000,
                Some(at) => at - NOW_MS,
            }),
            "PERSIST" => Reply::Integer(i64::from(has_key && self.expiry.remove(key).is_some())),
            "SETNX" if has_key => Reply::Integer(0),
            "SETNX" => {
                self.set(key, &rest[0], None);
                Reply::Integer(1)
            }
            "SETEX" => {
                self.set(key, &rest[1], Some(NOW_MS + number(&rest[0]) * 1000));
                Reply::Status("OK")
            }
            "HMSET" => match self.set_fields(key, rest) {
                Reply::Integer(_) => Reply::Status("OK"),
                error => error,
            },
            "HSET" => self.set_fields(key, rest),
            "HSETNX" => match self.field(key, &rest[0]) {
                Reply::Null => self.set_fields(key, rest),
                Reply::Bulk(_) => Reply::Integer(0),
                error => error,
            },
            "HDEL" => self.remove_fields(key, rest),
            "HMGET" => match self.keys.get(key) {
                None | Some(Value::Hash(_)) => {
                    Reply::Array(rest.iter().map(|field| self.field(key, field)).collect())
                }
                Some(_) => WRONG_TYPE,
            },
            "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" => self.push(name, key, rest),
            "LLEN" => self.with_list(key, |list| list.len() as i64),
            "SADD" | "PFADD" => self.add_members(key, rest, name == "PFADD"),
            "SREM" => self.remove_members(key, rest),
            "SCARD" => match self.keys.get(key) {
                None => Reply::Integer(0),
                Some(Value::Set(members)) => Reply::Integer(members.len() as i64),
                Some(_) => WRONG_TYPE,
            },
            "ZADD" => self.add_scores(key, rest),
            "ZSCORE" => match self.keys.get(key) {
                None => Reply::Null,
                Some(Value::Sorted(members)) => {
                    members.get(&rest[0]).map_or(Reply::Null, |score| Reply::Bulk(score.clone()))
                }
                Some(_) => WRONG_TYPE,
            },
            "LRANGE" => match self.keys.get(key) {
                None => Reply::Strings(Vec::new()),
                Some(Value::List(list)) => Reply::Strings(list.clone()),
                Some(_) => WRONG_TYPE,
            },
            "SMEMBERS" => match self.keys.get(key) {
                None => Reply::Strings(Vec::new()),
                Some(Value::Set(members)) => Reply::Strings(members.iter().cloned().collect()),
                Some(_) => WRONG_TYPE,
            },
            "ZRANGE" => match self.keys.get(key) {
                None => Reply::Strings(Vec::new()),
                Some(Value::Sorted(members)) => {
                    let pairs = members.iter().map(|(member, score)| [&**member, b" ", &**score].concat());
                    Reply::Strings(pairs.collect())
                }
                Some(_) => WRONG_TYPE,
            },
            _ => return None,
        })
    }

    fn set(&mut self, key: &[u8], value: &[u8], expiry_ms: Option<i64>) {
        self.keys.insert(key.to_vec(), Value::Text(value.to_vec()));
        match expiry_ms {
            Some(at) => self.expiry.insert(key.to_vec(), at),
            None => self.expiry.remove(key),
        };
    }

    /// `SET` with its options.
    pub(super) fn set_with(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>]) -> Reply {
        let mut expiry_ms = None;
        let mut options = options.iter().map(|option| option.to_ascii_uppercase());
        while let Some(option) = options.next() {
            let mut time = || number(&options.next().unwrap());
            match option.as_slice() {
                b"EX" => expiry_ms = Some(NOW_MS + time() * 1000),
                b"PX" => expiry_ms = Some(NOW_MS + time()),
                b"EXAT" => expiry_ms = Some(time() * 1000),
                b"PXAT" => expiry_ms = Some(time()),
                b"KEEPTTL" => expiry_ms = self.expiry.get(key).copied(),
                b"NX" if self.keys.contains_key(key) => return Reply::Null,
                b"XX" if !self.keys.contains_key(key) => return Reply::Null,
                b"NX" | b"XX" => {}
                other => panic!("the model does not know SET {}", String::from_utf8_lossy(other)),
            }
        }
        self.set(key, value, expiry_ms);
        self.drop_expired(key);
        Reply::Status("OK")
    }

    fn drop_expired(&mut self, key: &[u8]) {
        if self.expiry.get(key).is_some_and(|at| *at <= NOW_MS) {
            self.expiry.remove(key);
            self.keys.remove(key);
        }
    }

    fn expire(&mut self, name: &str, key: &[u8], rest: &[Vec<u8>]) -> Reply {
        let time = number(&rest[0]);
        let at = match name {
            "EXPIRE" => NOW_MS + time * 1000,
            "PEXPIRE" => NOW_MS + time,
            "EXPIREAT" => time * 1000,
            _ => time,
        };
        if !self.keys.contains_key(key) {
            return Reply::Integer(0);
        }
        let current = self.expiry.get(key).copied();
        let holds = rest[1..].iter().all(|option| match option.to_ascii_uppercase().as_slice() {
            b"NX" => current.is_none(),
            b"XX" => current.is_some(),
            b"GT" => current.is_some_and(|current| at > current),
            b"LT" => current.is_none_or(|current| at < current),
            other => panic!("the model does not know {name} {}", String::from_utf8_lossy(other)),
        });
        if holds {
            self.expiry.insert(key.to_vec(), at);
            self.drop_expired(key);
        }
        Reply::Integer(i64::from(holds))
    }

    fn set_fields(&mut self, key: &[u8], pairs: &[Vec<u8>]) -> Reply {
        let mut new = 0;
        for pair in pairs.chunks(2) {
            match self.field(key, &pair[0]) {
                Reply::Null => new += 1,
                Reply::Bulk(_) => {}
                error => return error,
            }
            self.set_field(key, &pair[0], pair[1].clone());
        }
        Reply::Integer(new)
    }

    fn remove_fields(&mut self, key: &[u8], names: &[Vec<u8>]) -> Reply {
        let Some(value) = self.keys.get_mut(key) else { return Reply::Integer(0) };
        let Value::Hash(fields) = value else { return WRONG_TYPE };
        let before = fields.len();
        fields.retain(|(name, _)| !names.contains(name));
        let (removed, is_empty) = (before - fields.len(), fields.is_empty());
        self.drop_if(key, is_empty);
        Reply::Integer(removed as i64)
    }

    fn drop_if(&mut self, key: &[u8], is_empty: bool) {
        if is_empty {
            self.keys.remove(key);
            self.expiry.remove(key);
        }
    }

    fn with_list(&self, key: &[u8], of: impl Fn(&[Vec<u8>]) -> i64) -> Reply {
        match self.keys.get(key) {
            None => Reply::Integer(of(&[])),
            Some(Value::List(list)) => Reply::Integer(of(list)),
            Some(_) => WRONG_TYPE,
        }
    }

    fn push(&mut self, name: &str, key: &[u8], elements: &[Vec<u8>]) -> Reply {
        if !self.keys.contains_key(key) && name.ends_with('X') {
            return Reply::Integer(0);
        }
        let list = self.keys.entry(key.to_vec()).or_insert(Value::List(Vec::new()));
        let Value::List(list) = list else { return WRONG_TYPE };
        for element in elements {
            let place = if name.starts_with('L') { 0 } else { list.len() };
            list.insert(place, element.clone());
        }
        Reply::Integer(list.len() as i64)
    }

    fn add_members(&mut self, key: &[u8], members: &[Vec<u8>], is_sketch: bool) -> Reply {
        let value = self.keys.entry(key.to_vec()).or_insert(Value::Set(Default::default()));
        let Value::Set(set) = value else { return WRONG_TYPE };
        let new = members.iter().filter(|member| set.insert((*member).clone())).count() as i64;
        Reply::Integer(if is_sketch { new.min(1) } else { new })
    }

    fn remove_members(&mut self, key: &[u8], members: &[Vec<u8>]) -> Reply {
        let Some(value) = self.keys.get_mut(key) else { return Reply::Integer(0) };
        let Value::Set(set) = value else { return WRONG_TYPE };
        let removed = members.iter().filter(|member| set.remove(*member)).count();
        let is_empty = set.is_empty();
        self.drop_if(key, is_empty);
        Reply::Integer(removed as i64)
    }

    fn add_scores(&mut self, key: &[u8], rest: &[Vec<u8>]) -> Reply {
        let (is_new_only, rest) = match rest[0].as_slice() {
            b"NX" => (true, &rest[1..]),
            _ => (false, rest),
        };
        if rest.iter().step_by(2).any(|score| parse_integer(score).is_none()) {
            return Reply::Error("ERR value is not a valid float");
        }
        let value = self.keys.entry(key.to_vec()).or_insert(Value::Sorted(Default::default()));
        let Value::Sorted(members) = value else { return WRONG_TYPE };
        let mut new = 0;
        for pair in rest.chunks(2) {
            if is_new_only && members.contains_key(&pair[1]) {
                continue;
            }
            new += i64::from(members.insert(pair[1].clone(), pair[0].clone()).is_none());
        }
        Reply::Integer(new)
    }
}

fn number(text: &[u8]) -> i64 {
    parse_integer(text).expect("a number that folds")
}
