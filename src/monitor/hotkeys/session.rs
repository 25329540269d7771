//! One tracking session of the Redis dialect: what it has seen, and its answer.
//!
//! The detector's rankings are rates over a sliding window; the session adds them up over time. Its tables
//! are bounded: when one is full, the lesser half is forgotten, which a list of at most 64 keys out of a
//! thousand survives unharmed.

use std::collections::HashMap;

use bytes::BytesMut;

use super::start::StartOptions;
use crate::detect::{KeyName, TopKey};
use crate::resp::{RespVersion, encode, key_slot};
use crate::shared::topology::SLOTS;

/// Keys remembered; four times as many as a ranking brings.
const KEYS_MAX: usize = 1_024;

/// Processor time and bytes of the gateway since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time in user mode, in microseconds.
    pub cpu_user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub cpu_system_us: u64,
    /// Bytes read from and written to clients.
    pub net_bytes: u64,
}

impl Usage {
    fn since(self, earlier: Self) -> Self {
        Self {
            cpu_user_us: self.cpu_user_us.saturating_sub(earlier.cpu_user_us),
            cpu_system_us: self.cpu_system_us.saturating_sub(earlier.cpu_system_us),
            net_bytes: self.net_bytes.saturating_sub(earlier.net_bytes),
        }
    }

    fn cpu_us(self) -> u64 {
        self.cpu_user_us + self.cpu_system_us
    }
}

/// See the module.
pub struct Session {
    options: StartOptions,
    started_ms: u64,
    /// When it ended; `None` while it runs.
    ended_ms: Option<u64>,
    usage_at_start: Usage,
    /// As of the last observation, which is the last before the end.
    usage: Usage,
    observed_ms: u64,
    keys: HashMap<KeyName, Spent>,
    selected: Spent,
}

#[derive(Clone, Copy, Default)]
struct Spent {
    cpu_us: f64,
    bytes: f64,
}

impl Session {
    pub fn new(options: StartOptions, now_ms: u64, usage: Usage) -> Self {
        Self {
            options,
            started_ms: now_ms,
            ended_ms: None,
            usage_at_start: usage,
            usage,
            observed_ms: now_ms,
            keys: HashMap::new(),
            selected: Spent::default(),
        }
    }

    pub fn is_active(&self) -> bool {
        self.ended_ms.is_none()
    }

    pub fn stop(&mut self, now_ms: u64) {
        self.ended_ms.get_or_insert(now_ms);
    }

    /// Adds what happened since the last observation, and ends the session when its time is over.
    pub fn observe(&mut self, now_ms: u64, top: &[TopKey], usage: Usage) {
        if !self.is_active() {
            return;
        }
        let end_ms = self.options.duration_ms.map_or(u64::MAX, |duration| self.started_ms + duration);
        let until_ms = now_ms.min(end_ms);
        let seconds = until_ms.saturating_sub(self.observed_ms) as f64 / 1_000.0;
        let cpu_us = usage.since(self.usage).cpu_us() as f64;
        (self.observed_ms, self.usage) = (until_ms, usage);
        for (place, key) in top.iter().enumerate() {
            let again = top[..place].iter().any(|earlier| earlier.key == key.key);
            if !again && self.selects(&key.key) {
                let bytes = (key.rates.bytes_in + key.rates.bytes_out) * seconds;
                self.spend(&key.key, Spent { cpu_us: cpu_us * key.rates.share, bytes });
            }
        }
        if now_ms >= end_ms {
            self.ended_ms = Some(end_ms);
        }
    }

    fn selects(&self, key: &KeyName) -> bool {
        let slots = self.options.slots.as_deref();
        slots.is_none_or(|slots| !key.is_truncated() && slots.binary_search(&key_slot(key.bytes())).is_ok())
    }

    fn spend(&mut self, key: &KeyName, spent: Spent) {
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(key) {
            let mut all: Vec<f64> = self.keys.values().map(|spent| spent.bytes).collect();
            let (_, median, _) = all.select_nth_unstable_by(KEYS_MAX / 2, f64::total_cmp);
            let median = *median;
            self.keys.retain(|_, spent| spent.bytes > median);
        }
        for total in [&mut self.selected, self.keys.entry(key.clone()).or_default()] {
            total.cpu_us += spent.cpu_us;
            total.bytes += spent.bytes;
        }
    }

    /// `HOTKEYS GET`: one map in an array, its fields in Redis's order.
    pub fn render(&self, now_ms: u64, usage: Usage, version: RespVersion, out: &mut BytesMut) {
        let used = if self.is_active() { usage } else { self.usage }.since(self.usage_at_start);
        let sampled = self.options.slots.is_some() && self.options.sample_ratio > 1;
        let selected = self.options.slots.is_some();
        let mut fields = Fields::default();
        fields.integer("tracking-active", u64::from(self.is_active()));
        fields.integer("sample-ratio", u64::from(self.options.sample_ratio));
        fields.slots("selected-slots", self.options.slots.as_deref());
        fields.integer_if(sampled, "sampled-commands-selected-slots-us", self.selected.cpu_us as u64);
        fields.integer_if(selected, "all-commands-selected-slots-us", self.selected.cpu_us as u64);
        fields.integer("all-commands-all-slots-us", used.cpu_us());
        fields.integer_if(sampled, "net-bytes-sampled-commands-selected-slots", self.selected.bytes as u64);
        fields.integer_if(selected, "net-bytes-all-commands-selected-slots", self.selected.bytes as u64);
        fields.integer("net-bytes-all-commands-all-slots", used.net_bytes);
        fields.integer("collection-start-time-unix-ms", self.started_ms);
        let until_ms = self.ended_ms.unwrap_or(now_ms);
        fields.integer("collection-duration-ms", until_ms.saturating_sub(self.started_ms));
        fields.integer_if(self.options.cpu, "total-cpu-time-user-ms", used.cpu_user_us / 1_000);
        fields.integer_if(self.options.cpu, "total-cpu-time-sys-ms", used.cpu_system_us / 1_000);
        fields.integer_if(self.options.net, "total-net-bytes", used.net_bytes);
        if self.options.cpu {
            fields.ranking("by-cpu-time-us", self.ranking(|spent| spent.cpu_us));
        }
        if self.options.net {
            fields.ranking("by-net-bytes", self.ranking(|spent| spent.bytes));
        }
        encode::array(out, 1);
        encode::map(out, version, fields.count);
        out.extend_from_slice(&fields.encoded);
    }

    fn ranking(&self, by: fn(&Spent) -> f64) -> Vec<(&KeyName, u64)> {
        let mut keys: Vec<_> = self.keys.iter().map(|(key, spent)| (key, by(spent) as u64)).collect();
        keys.retain(|(_, spent)| *spent > 0);
        keys.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        keys.truncate(self.options.count);
        keys
    }
}

/// The fields of the answer as they are collected; their number is known only at the end.
#[derive(Default)]
struct Fields {
    count: usize,
    encoded: BytesMut,
}

impl Fields {
    fn name(&mut self, name: &str) {
        self.count += 1;
        encode::bulk(&mut self.encoded, name.as_bytes());
    }

    fn integer(&mut self, name: &str, value: u64) {
        self.name(name);
        encode::integer(&mut self.encoded, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn integer_if(&mut self, wanted: bool, name: &str, value: u64) {
        if wanted {
            self.integer(name, value);
        }
    }

    /// Ranges as arrays of two, single slots as arrays of one; all slots when none were selected.
    fn slots(&mut self, name: &str, slots: Option<&[u16]>) {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &slot in slots.unwrap_or_default() {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == slot => *end = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        if slots.is_none() {
            ranges.push((0, SLOTS - 1));
        }
        self.name(name);
        encode::array(&mut self.encoded, ranges.len());
        for (start, end) in ranges {
            let ends: &[u16] = if start == end { &[start] } else { &[start, end] };
            encode::array(&mut self.encoded, ends.len());
            ends.iter().for_each(|slot| encode::integer(&mut self.encoded, i64::from(*slot)));
        }
    }

    fn ranking(&mut self, name: &str, ranking: Vec<(&KeyName, u64)>) {
        self.name(name);
        encode::array(&mut self.encoded, ranking.len() * 2);
        for (key, spent) in ranking {
            encode::bulk(&mut self.encoded, key.bytes());
            encode::integer(&mut self.encoded, i64::try_from(spent).unwrap_or(i64::MAX));
        }
    }
}
