//! What Redis has of a sale, read past the gateway.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hotgate::reserve::{Script, sale_key};
use hotgate::resp::encode;

use crate::processes::{ask, command_calls};

/// A sale behind its run.
pub struct Books {
    /// Places that are taken, by the sale's own count.
    pub taken: u64,
    /// Users that hold one, by the fields of all buckets.
    pub holders: u64,
    /// Entries of the ledger that are grants: all but that of the terms.
    pub entries: u64,
    /// From the first grant to the last, by Redis's clock.
    pub seconds: f64,
}

impl Books {
    pub fn read(port: u16, sku: &str) -> Books {
        let key = String::from_utf8(sale_key(sku.as_bytes()).to_vec()).unwrap();
        let part = |name: &str| key.replacen("hotgate:sale:", &format!("hotgate:sale.{name}:"), 1);
        let numbers = "local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'numbers'))";
        let taken = eval(port, &format!("{numbers} return s[9]"), &key);
        // Each bucket has a field that is no user.
        let holders = part("holders.").replace(".:", ".' .. bucket .. ':");
        let users = format!(
            "{numbers} local users = 0 for bucket = 0, s[14] - 1 do \
             users = users + redis.call('HLEN', '{holders}') - 1 end return users"
        );
        let holders = eval(port, &users, &key);
        let ledger = part("ledger");
        let entries = integer(&ask(port, &format!("XLEN {ledger}"))) - 1;
        // Behind the entry of the terms, each is a grant.
        let at_ms = |command: &str| {
            let reply = ask(port, &format!("{command} COUNT 1"));
            let mut words = reply.lines().skip_while(|line| *line != "ms");
            let ms = words.nth(2).unwrap_or_else(|| panic!("an entry has its time: {reply}"));
            ms.parse::<u64>().unwrap()
        };
        let first = at_ms(&format!("XRANGE {ledger} 2-0 +"));
        let last = at_ms(&format!("XREVRANGE {ledger} + -"));
        Books { taken, holders, entries, seconds: (last - first).max(1) as f64 / 1000.0 }
    }

    /// Grants per second.
    pub fn rate(&self) -> f64 {
        self.taken as f64 / self.seconds
    }
}

/// Redis knows the script before clients call it by its hash.
pub fn load_script(port: u16) {
    let mut wire = Vec::new();
    encode::command(&mut wire, &[b"SCRIPT", b"LOAD", Script::Reserve.source().as_bytes()]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&wire).unwrap();
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"$40\r");
}

/// Calls of scripts so far.
pub fn calls(port: u16) -> u64 {
    let calls = command_calls(port);
    ["eval", "evalsha"].iter().filter_map(|name| calls.get(*name)).sum()
}

/// Returns when Redis has dealt with all that was sent to it: it serves its connections in turn.
pub fn settle(port: u16) {
    let mut last = None;
    while last != Some(calls(port)) {
        last = Some(calls(port));
        std::thread::park_timeout(Duration::from_millis(300));
    }
}

fn eval(port: u16, script: &str, key: &str) -> u64 {
    integer(&ask(port, &format!("EVAL \"{script}\" 1 {key}")))
}

fn integer(reply: &str) -> u64 {
    reply.trim().strip_prefix(':').and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
}
