//! Clamps of counters whose slot is on its way from one node to another, while the keys of one script are on both.
//!
//! Redis runs a script then only if all keys that it names are on one node: it says `TRYAGAIN`, though each key by itself is served. So
//! what the clamp reads beside the counter is read by commands of one key, and the flush is clamped by what was found.
//! Between the two an operator may change the limit: then the flush counts as one that came just before.
//!
//! Says what is to be read, and makes the clamp of it. It deliberately does not do that for windows: the script counts in them.

use bytes::{Bytes, BytesMut};

use super::clamp::{CLAMP_VALUE_MAX, Ceiling, Clamp, Consumes};
use crate::resp::{bulk_payload, elements, encode, first_error, parse_integer};

/// A key that a clamp reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClampRead {
    /// The operator's override.
    Override(Bytes),
    /// A limit of the quota that is enforced.
    Limit(Bytes),
    /// A limit of the one in shadow mode beside it.
    ShadowLimit(Bytes),
}

impl ClampRead {
    /// The command that reads it.
    pub fn request(&self) -> Bytes {
        let mut request = BytesMut::new();
        match self {
            Self::Override(key) => encode::command(&mut request, &[b"HMGET", key, b"limit", b"paused"]),
            Self::Limit(key) | Self::ShadowLimit(key) => encode::command(&mut request, &[b"GET", key]),
        }
        request.freeze()
    }
}

impl Clamp {
    /// What the script would read beside the counter. The override comes last, since it replaces limits.
    pub fn reads(&self) -> Vec<ClampRead> {
        let limit = |ceiling: &Ceiling| match ceiling {
            Ceiling::Key(key) => Some(key.clone()),
            Ceiling::Value(_) => None,
        };
        let shadow = self.shadow_bounds.iter().flat_map(|shadow| &shadow.ceilings).filter_map(limit);
        let limits = self.ceilings.iter().filter_map(limit).map(ClampRead::Limit);
        let overrides = self.override_key.iter().cloned().map(ClampRead::Override);
        limits.chain(shadow.map(ClampRead::ShadowLimit)).chain(overrides).collect()
    }

    /// The clamp that reads nothing, because this is what was found there: replies in the order of [`Self::reads`].
    pub fn with_found(&self, found: &[impl AsRef<[u8]>]) -> Self {
        let mut clamp = self.clone();
        clamp.override_key = None;
        let is_known = |ceiling: &Ceiling| matches!(ceiling, Ceiling::Value(_));
        clamp.ceilings.retain(is_known);
        clamp.shadow_bounds.iter_mut().for_each(|shadow| shadow.ceilings.retain(is_known));
        for (read, reply) in self.reads().iter().zip(found) {
            clamp.take_in(read, reply.as_ref());
        }
        clamp
    }

    fn take_in(&mut self, read: &ClampRead, reply: &[u8]) {
        let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
        match read {
            ClampRead::Override(key) => match first_error(reply) {
                Some(_) => self.fail(format!("override key '{}' is not a hash", name(key))),
                None => self.take_override(&name(key), reply),
            },
            ClampRead::Limit(key) => match limit_found(&name(key), reply) {
                Ok(limit) => self.ceilings.push(Ceiling::Value(limit)),
                Err(fault) => self.fail(fault),
            },
            ClampRead::ShadowLimit(key) => {
                let Some(shadow) = &mut self.shadow_bounds else { return };
                match limit_found(&name(key), reply) {
                    Ok(limit) => shadow.ceilings.push(Ceiling::Value(limit)),
                    Err(fault) => _ = shadow.fault.get_or_insert(fault),
                }
            }
        }
    }

    fn take_override(&mut self, name: &str, reply: &[u8]) {
        let mut fields = elements(reply).into_iter().flatten().map(bulk_payload);
        let (limit, paused) = (fields.next().flatten(), fields.next().flatten());
        self.paused = paused == Some(b"1");
        let Some(limit) = limit else { return };
        let least = if self.consumes == Consumes::Up { 0 } else { -CLAMP_VALUE_MAX };
        match number_from(&format!("field limit of '{name}'"), limit, least) {
            Err(fault) => self.fail(fault),
            Ok(limit) if self.consumes == Consumes::Up => self.ceilings = vec![Ceiling::Value(limit)],
            Ok(limit) => self.floor = Some(limit),
        }
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

/// A limit, from the reply to `GET`; else what is wrong with it, in the script's words.
fn limit_found(name: &str, reply: &[u8]) -> Result<i64, String> {
    match bulk_payload(reply) {
        Some(text) => number_from(&format!("limit key '{name}'"), text, 0),
        None if first_error(reply).is_some() => number_from(&format!("limit key '{name}'"), b"", 0),
        None => Err(format!("limit key '{name}' does not exist")),
    }
}

fn number_from(name: &str, text: &[u8], least: i64) -> Result<i64, String> {
    parse_integer(text)
        .filter(|number| (least..=CLAMP_VALUE_MAX).contains(number))
        .ok_or_else(|| format!("{name} is not an integer from {least} to {CLAMP_VALUE_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clamp() -> Clamp {
        let ceilings = vec![Ceiling::Value(9), Ceiling::Key("l".into())];
        Clamp { ceilings, override_key: Some("o".into()), ..Clamp::default() }
    }

    #[test]
    fn what_was_found_takes_the_place_of_the_keys() {
        let reads = clamp().reads();
        assert_eq!(reads, [ClampRead::Limit("l".into()), ClampRead::Override("o".into())]);
        assert_eq!(reads[1].request(), "*4\r\n$5\r\nHMGET\r\n$1\r\no\r\n$5\r\nlimit\r\n$6\r\npaused\r\n");
        let none = "*2\r\n$-1\r\n$-1\r\n";
        let check = |limit: &str, fields: &str, expect: Clamp| {
            assert_eq!(clamp().with_found(&[limit, fields]), expect, "{limit} {fields}");
        };
        let with = |limits: &[i64]| Clamp {
            ceilings: limits.iter().copied().map(Ceiling::Value).collect(),
            ..Clamp::default()
        };
        check("$1\r\n4\r\n", none, with(&[9, 4]));
        check("$1\r\n4\r\n", "*2\r\n$2\r\n70\r\n$-1\r\n", with(&[70]));
        check("$1\r\n4\r\n", "*2\r\n$-1\r\n$1\r\n1\r\n", Clamp { paused: true, ..with(&[9, 4]) });
        let fault = |text: &str, limits: &[i64]| Clamp { fault: Some(text.into()), ..with(limits) };
        check("$-1\r\n", none, fault("limit key 'l' does not exist", &[9]));
        let range = "is not an integer from 0 to 4503599627370496";
        check("$2\r\n-1\r\n", none, fault(&format!("limit key 'l' {range}"), &[9]));
        check("-WRONGTYPE x\r\n", none, fault(&format!("limit key 'l' {range}"), &[9]));
        check("$1\r\n4\r\n", "-WRONGTYPE x\r\n", fault("override key 'o' is not a hash", &[9, 4]));
        check(
            "$1\r\n4\r\n",
            "*2\r\n$1\r\nx\r\n$-1\r\n",
            fault(&format!("field limit of 'o' {range}"), &[9, 4]),
        );
    }

    #[test]
    fn an_override_of_what_counts_down_is_a_floor() {
        let down = Clamp { consumes: Consumes::Down, floor: Some(0), ..clamp() };
        let found = down.with_found(&["$1\r\n4\r\n", "*2\r\n$2\r\n-3\r\n$-1\r\n"]);
        assert_eq!((found.floor, found.ceilings.len()), (Some(-3), 2));
    }
}
