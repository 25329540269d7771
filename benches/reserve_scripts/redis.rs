//! A connection to a Redis that has a sale of many holders, and what those cost there: memory, and a page of them at both ends.
//!
//! Speaks to Redis without a gateway. Prints nothing.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use hotgate::reserve::{
    FlushResults, OPS_PER_CALL_MAX, OpKind, ReserveCall, ReserveCommand, ReserveOp, Script, encode_list,
    open_result, sale_key,
};
use hotgate::resp::{ReplyScan, ReplyScanner, encode};

const NAME_BYTES: usize = 12;
/// Calls on the way while the sale is filled.
const INFLIGHT: usize = 8;
/// How often each cost is taken.
pub const ROUNDS: usize = 40;
/// The bounds that are told as met or not.
const BYTES_MAX: usize = 2 * NAME_BYTES + 64;
const PAGE_EXCESS_MAX: f64 = 0.10;

/// Whether a target is met, in words.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

/// A name of [`NAME_BYTES`] bytes that is no integer: Redis would store that in less.
pub fn name(number: usize) -> Vec<u8> {
    format!("user{number:08}").into_bytes()
}

/// A connection, and where the next new user stands.
pub struct Redis {
    stream: TcpStream,
    buffer: Vec<u8>,
    sequence: u64,
    pub next_user: usize,
}

impl Redis {
    pub fn connect(port: u16) -> Redis {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut redis = Redis { stream, buffer: Vec::new(), sequence: 0, next_user: 50_000_000 };
        for script in Script::ALL {
            let mut wire = Vec::new();
            encode::command(&mut wire, &[b"SCRIPT", b"LOAD", script.source().as_bytes()]);
            redis.stream.write_all(&wire).unwrap();
            assert!(redis.reply().starts_with(b"$40"));
        }
        redis
    }

    pub fn reply(&mut self) -> Vec<u8> {
        let mut scanner = ReplyScanner::new();
        loop {
            match scanner.scan(&self.buffer) {
                ReplyScan::Complete { len } => return self.buffer.drain(..len).collect(),
                ReplyScan::Incomplete { .. } => {
                    let mut chunk = [0; 1 << 16];
                    let count = self.stream.read(&mut chunk).unwrap();
                    assert!(count > 0, "redis-server closed the connection");
                    self.buffer.extend_from_slice(&chunk[..count]);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn call(&mut self, encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut wire = BytesMut::new();
        encode(&mut wire);
        self.stream.write_all(&wire).unwrap();
        self.reply()
    }

    pub fn ask(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = self.call(|out| encode::command(out, &words));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// A number of INFO.
    pub fn figure(&mut self, section: &str, name: &str) -> f64 {
        let info = self.ask(&format!("INFO {section}"));
        let text = info.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {info}"));
        text.split(['\r', ',']).next().unwrap().parse().unwrap()
    }

    pub fn open(&mut self, sku: &str, terms: &str) {
        let line = format!("RESERVE.OPEN {sku} {}", terms.trim_end());
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let Ok(ReserveCommand::Open(terms)) = ReserveCommand::parse(&words) else { panic!("{line}") };
        let reply = self.call(|out| Script::encode_open(&sale_key(sku.as_bytes()), &terms, false, out));
        assert_eq!(open_result(&reply), Some(Ok(())), "{line}");
    }

    pub fn send(&mut self, sku: &str, ops: &[ReserveOp]) {
        self.sequence += 1;
        let sequence = ops.iter().any(|op| op.kind.is_write()).then_some(self.sequence);
        let key = sale_key(sku.as_bytes());
        let call = ReserveCall { sale_key: &key, gateway: b"bench", sequence, with_body: false };
        let mut wire = BytesMut::new();
        call.encode(ops.iter(), &mut wire);
        self.stream.write_all(&wire).unwrap();
    }

    pub fn settle(&mut self, ops: usize) {
        let reply = self.reply();
        let results =
            FlushResults::parse(&reply, ops).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&reply)));
        assert_eq!(results.count(), ops);
    }

    /// So many holders of one place each.
    pub fn fill(&mut self, sku: &str, holders: usize) {
        let mut inflight = VecDeque::new();
        for first in (0..holders).step_by(OPS_PER_CALL_MAX) {
            let upto = holders.min(first + OPS_PER_CALL_MAX);
            let ops: Vec<ReserveOp> = (first..upto).map(|user| op(OpKind::Add, name(user))).collect();
            self.send(sku, &ops);
            inflight.push_back(ops.len());
            if inflight.len() == INFLIGHT {
                self.settle(inflight.pop_front().unwrap());
            }
        }
        inflight.into_iter().for_each(|ops| self.settle(ops));
    }

    /// Fills an empty sale: the memory of each holder.
    pub fn weigh(&mut self, sku: &str, holders: usize) -> String {
        let before = self.figure("memory", "used_memory:");
        self.fill(sku, holders);
        // What is freed in the background is counted until it is.
        let bytes = (self.figure("memory", "used_memory:") - before) / holders as f64;
        format!(
            "{holders} holders: {bytes:.1} bytes for each with a name of {NAME_BYTES} bytes (at most {BYTES_MAX}: {})",
            verdict(bytes <= BYTES_MAX as f64)
        )
    }

    /// Pages of a sale at both ends, in turns: the medians of Redis's own time for each call.
    pub fn pages(&mut self, sku: &str, holders: usize) -> String {
        let mut costs = [Vec::new(), Vec::new()];
        // From the same place in a page of the script: one that begins in its middle needs two.
        let last_row = 10 + (holders - 10 - ROUNDS * 5 - 100) / 128 * 128;
        for round in 0..ROUNDS * 5 {
            for (end, after) in [10 + round, last_row + round].into_iter().enumerate() {
                self.ask("CONFIG RESETSTAT");
                let key = sale_key(sku.as_bytes());
                let reply = self.call(|out| encode_list(&key, after as i64, 100, None, false, out));
                assert!(reply.starts_with(b"*502"), "{}", String::from_utf8_lossy(&reply));
                costs[end].push(self.figure("commandstats", "cmdstat_evalsha:calls=1,usec="));
            }
        }
        // Medians: what else the machine does meets single calls.
        let [first, last] = costs.map(|mut us| {
            us.sort_by(f64::total_cmp);
            us[us.len() / 2]
        });
        format!(
            "a page of 100 rows: {first:.0} µs at row 10, {last:.0} µs at row {} (at most 10 % more: {})",
            last_row,
            verdict(last <= first * (1.0 + PAGE_EXCESS_MAX))
        )
    }
}

/// An operation of one user; an ADD asks for one place.
pub fn op(kind: OpKind, user: Vec<u8>) -> ReserveOp {
    ReserveOp { count: (kind == OpKind::Add).then_some(1), ..ReserveOp::on(kind, &user) }
}
