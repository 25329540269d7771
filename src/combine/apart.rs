//! Clamps of counters whose slot is on its way from one node to another, while the keys of one script are on both.
//!
//! Redis runs a script then only if all keys that it names are on one node: it says `TRYAGAIN`, though each key by itself is served. So
//! what the clamp reads beside the counter is read by commands of one key, and the flush is clamped by what was found.
//! Between the two an operator may change the limit: then the flush counts as one that came just before.
//!
//! Windows are counted in beforehand, one by one, each by a script of its key alone: it takes room for the whole flush, or what there is. What
//! the flush then does not use is given back. So several gateways never take more than there is room for. Between the two, another
//! one may find a window full that is not; and if a connection breaks there, room stays taken that nobody uses, until the window ends.
//! Windows of shadow quotas don't count meanwhile.
//!
//! Says what is to be asked, and makes the clamp of the answers.

use bytes::{Bytes, BytesMut};

use super::clamp::{CLAMP_VALUE_MAX, Ceiling, Clamp, ClampReport, Consumes, Window, WindowState};
use crate::resp::{bulk_payload, elements, encode, first_error, parse_integer, parse_integer_reply};

/// Takes up to `ARGV[1]` units of a window of `ARGV[2]` that lasts `ARGV[3]` milliseconds. Returns what was used, how much was taken, and how long the
/// window lasts. It does with its key what the flush script does.
const TAKE: &[u8] = b"local used = redis.pcall('GET', KEYS[1])
if used == false then used = '0' end
if type(used) ~= 'string' or not string.find(used, '^%d+$') or tonumber(used) > 4503599627370496 then
  return redis.error_reply('UNUSABLE')
end
used = tonumber(used)
local left = redis.call('PTTL', KEYS[1])
local over = left > tonumber(ARGV[3])
if over then used = 0 end
local take = math.min(tonumber(ARGV[1]), math.max(0, tonumber(ARGV[2]) - used))
if take > 0 then
  if over then redis.call('DEL', KEYS[1]) end
  redis.call('INCRBY', KEYS[1], string.format('%.0f', take))
end
if left == -1 or (take > 0 and (over or left == -2)) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  left = tonumber(ARGV[3])
elseif over then
  left = 0
end
return { string.format('%.0f', used), string.format('%.0f', take), math.max(0, left) }";

/// Gives `ARGV[1]` units back to a window, if it still is the one that had `ARGV[2]` milliseconds to go.
const GIVE_BACK: &[u8] = b"local left, used = redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1])
if left > 0 and left <= tonumber(ARGV[2]) and tonumber(used) >= tonumber(ARGV[1]) then
  redis.call('INCRBY', KEYS[1], '-' .. ARGV[1])
end
return 0";

/// What was taken of one window for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShare {
    /// What the window held before, and how long it lasts.
    before: WindowState,
    units: i64,
}

impl Window {
    /// The command that takes so many units, or what there is.
    pub fn take(&self, units: i64) -> Bytes {
        let arguments = [units.to_string(), self.limit.to_string(), self.window_ms.to_string()];
        script_of(TAKE, &self.key, &arguments)
    }

    /// What the reply to that says; `None` if the window can't be used.
    pub fn taken(&self, reply: &[u8]) -> Option<WindowShare> {
        let mut parts = elements(reply)?;
        let used = parse_integer(bulk_payload(parts.next()?)?)?;
        let units = parse_integer(bulk_payload(parts.next()?)?)?;
        let left_ms = u64::try_from(parse_integer_reply(parts.next()?)?).ok()?;
        Some(WindowShare { before: WindowState { used, left_ms }, units })
    }
}

fn script_of(body: &[u8], key: &[u8], arguments: &[String]) -> Bytes {
    let mut words: Vec<&[u8]> = vec![b"EVAL", body, b"1", key];
    words.extend(arguments.iter().map(String::as_bytes));
    let mut request = BytesMut::new();
    encode::command(&mut request, &words);
    request.freeze()
}

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

    /// Whether it has windows that have to be counted in before it can be applied without them.
    pub fn counts_windows(&self) -> bool {
        !self.shadow && !self.windows.is_empty() && self.windows_found.is_empty()
    }

    /// The same without the windows that only tell.
    pub fn without_shadow_windows(mut self) -> Self {
        if self.shadow {
            self.windows.clear();
        }
        self.shadow_bounds.iter_mut().for_each(|shadow| shadow.windows.clear());
        self
    }

    /// The same, counted in its windows beforehand: what was taken in their order.
    pub fn with_taken(&self, taken: &[WindowShare]) -> Self {
        Self { windows_found: taken.iter().map(|taken| taken.before).collect(), ..self.clone() }
    }

    /// The same where a window can't be counted in, as this reply says: that is the answer.
    pub fn with_unusable(&self, window: &Window, reply: &[u8]) -> Self {
        let mut clamp = Self { windows: Vec::new(), ..self.clone() };
        let name = String::from_utf8_lossy(&window.key);
        clamp.fail(match first_error(reply).filter(|text| !text.starts_with(b"UNUSABLE")) {
            Some(text) => {
                format!("window key '{name}' can't be counted in: {}", String::from_utf8_lossy(text))
            }
            None => format!("window key '{name}' is not an integer from 0 to {CLAMP_VALUE_MAX}"),
        });
        clamp
    }

    /// What is to be given back of what was taken so long ago, once the flush reported what it used; if it did not, it used nothing.
    pub fn give_back(
        &self,
        taken: &[WindowShare],
        report: Option<&ClampReport>,
        elapsed_ms: u64,
    ) -> Vec<Bytes> {
        let mut requests = Vec::new();
        for (index, (window, taken)) in self.windows.iter().zip(taken).enumerate() {
            let behind = report.and_then(|report| report.windows.get(index)).map(|window| window.used);
            let unused = taken.units - behind.map_or(0, |used| used - taken.before.used);
            // Another window of this key may have begun.
            let is_over = elapsed_ms >= taken.before.left_ms / 2;
            if unused > 0 && !is_over {
                let arguments = [unused.to_string(), taken.before.left_ms.to_string()];
                requests.push(script_of(GIVE_BACK, &window.key, &arguments));
            }
        }
        requests
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
    fn what_was_taken_of_windows_and_not_used_is_given_back() {
        let window = |limit| Window { key: "w".into(), limit, window_ms: 1000 };
        let taken = window(9).taken(b"*3\r\n$1\r\n3\r\n$1\r\n6\r\n:800\r\n").unwrap();
        assert_eq!(taken, WindowShare { before: WindowState { used: 3, left_ms: 800 }, units: 6 });
        assert_eq!(window(9).taken(b"-UNUSABLE\r\n"), None);
        let clamp = Clamp { windows: vec![window(9)], ..Clamp::default() };
        assert!(clamp.counts_windows() && !clamp.with_taken(&[taken]).counts_windows());
        let report = |used| ClampReport {
            windows: vec![WindowState { used, left_ms: 700 }],
            ..ClampReport::default()
        };
        let check = |report: Option<&ClampReport>, elapsed_ms, expect: &[&str]| {
            let requests = clamp.give_back(&[taken], report, elapsed_ms);
            let units = |request: &Bytes| {
                let text = String::from_utf8_lossy(request).into_owned();
                text.rsplit("\r\n").nth(3).unwrap().to_owned()
            };
            assert_eq!(requests.iter().map(units).collect::<Vec<_>>(), expect, "{report:?} {elapsed_ms}");
        };
        check(Some(&report(9)), 1, &[]);
        check(Some(&report(5)), 1, &["4"]);
        check(None, 1, &["6"]);
        check(None, 400, &[]);
    }

    #[test]
    fn an_override_of_what_counts_down_is_a_floor() {
        let down = Clamp { consumes: Consumes::Down, floor: Some(0), ..clamp() };
        let found = down.with_found(&["$1\r\n4\r\n", "*2\r\n$2\r\n-3\r\n$-1\r\n"]);
        assert_eq!((found.floor, found.ceilings.len()), (Some(-3), 2));
    }
}
