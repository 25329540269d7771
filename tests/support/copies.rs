//! Gateways with a read cache, and connections that notice when time goes backwards.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::figures::calls;
use super::text::{elements, one_line, request, words};
use super::{Client, Gateway, Server, Version, wait_until};

/// Copies that nothing but what is tested takes away.
pub const RULES: &str = "[read_cache]\ntracked_age_max = '1h'\n\
                     [[rule]]\nmatch = 't:*'\nread = 'tracked'\n\
                     [[rule]]\nmatch = 'a:*'\nread = { ttl = '1h' }\n\
                     [[rule]]\nmatch = 'tc:*'\nmode = 'combine'\nread = 'tracked'\n\
                     [[rule]]\nmatch = 'ac:*'\nmode = 'combine'\nread = { ttl = '1h' }\n";

/// Reads until Redis is not asked any more.
pub fn warm(client: &mut Client, direct: &mut Client, line: &str) {
    let command = words(line)[0].to_ascii_lowercase();
    let command = String::from_utf8(command).unwrap();
    wait_until("a copy is served", || {
        let before = calls(direct, &command);
        client.ask(line);
        client.ask(line);
        calls(direct, &command) == before
    });
}

/// The number in a reply: an integer, a string, or nothing.
pub fn value_of(reply: &[u8]) -> i64 {
    elements(reply).last().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A connection that uses counters, which only grow, in every way there is: whoever has seen a value must never see a
/// lower one.
pub struct Witness {
    pub client: Client,
    rng: SmallRng,
    /// The highest value seen of each key.
    seen: HashMap<String, i64>,
    /// Whether an error is a reply like any other.
    pub tolerant: bool,
}

impl Witness {
    pub fn new(gateway: &Gateway, version: Version, seed: u64) -> Witness {
        let rng = SmallRng::seed_from_u64(seed);
        Witness { client: gateway.speaking(version), rng, seen: HashMap::new(), tolerant: false }
    }

    fn saw(&mut self, key: &str, line: &str, reply: &[u8]) {
        if reply.starts_with(b"-") {
            return assert!(self.tolerant, "{line}: {}", one_line(reply));
        }
        let value = value_of(reply);
        let seen = self.seen.entry(key.to_string()).or_default();
        assert!(value >= *seen, "{line} -> {value} after {seen}");
        *seen = value;
    }

    /// Sends a few commands on a few keys at once, and reads their replies.
    pub fn step(&mut self) {
        let mut expected = Vec::new();
        let mut batch = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let prefix = ["t:", "a:", "tc:", "ac:"][self.rng.random_range(0..4)];
            let key = format!("{prefix}{}", self.rng.random_range(0..3));
            let lines: Vec<String> = match self.rng.random_range(0..16) {
                0..2 => vec![format!("INCR {key}")],
                2 => vec![format!("INCR {key}"); 3],
                3 => vec!["MULTI".into(), format!("INCR {key}"), "EXEC".into()],
                4 => vec![format!("EVAL \"return redis.call('incr', KEYS[1])\" 1 {key}")],
                5 => vec![format!("EVAL \"return redis.call('incr', ARGV[1])\" 0 {key}")],
                6 => vec![format!("MGET none {key}")],
                7 => vec!["GETSET other 1".into(), format!("GET {key}")],
                9 if key.starts_with('t') => vec![format!("GETRANGE {key} 0 -1")],
                8 => vec![format!("INCRBY {key} 1"), format!("GET {key}"), format!("GET {key}")],
                10 => vec![format!("GET {key}"); 4],
                _ => vec![format!("GET {key}")],
            };
            for line in lines {
                batch.extend(request(&line));
                let shows = !line.starts_with("MULTI") && !line.contains("other");
                let queued =
                    expected.last().is_some_and(|(_, last, _): &(String, String, bool)| last == "MULTI");
                expected.push((key.clone(), line, shows && !queued));
            }
        }
        self.client.send(&batch);
        for (key, line, shows) in expected {
            let reply = self.client.reply();
            if shows {
                self.saw(&key, &line, &reply);
            }
        }
    }
}
