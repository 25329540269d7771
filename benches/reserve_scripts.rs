//! What a sale costs Redis, script by script, without a gateway: `cargo bench --bench reserve_scripts [-- HOLDERS]`.
//!
//! Fills one sale with ten million holders whose names have 12 bytes (HOLDERS sets another number), 64 in a call, and tells
//!
//! - the memory of a holder, without the ledger;
//! - Redis's processor time per operation at 1, 16 and 64 operations a call, for that sale and for one of a hundred holders;
//! - what a page of 100 rows costs at row 10 and at the last row, in turns;
//! - how long the slowest command took, of all that ran, steps of a move and of a drop among them.
//!
//! Does not measure what clients wait: `sale` does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use hotgate::demo::private_redis::PrivateServer;
use hotgate::reserve::{
    Departure, FlushResults, OPS_PER_CALL_MAX, OpKind, ReserveCall, ReserveCommand, ReserveOp, Script,
    encode_drop, encode_list, encode_move_out, open_result, sale_key, steps_left,
};
use hotgate::resp::{ReplyScan, ReplyScanner, encode};

const HOLDERS: usize = 10_000_000;
const NAME_BYTES: usize = 12;
/// Calls on the way while the sale is filled.
const INFLIGHT: usize = 8;
const ROUNDS: usize = 40;
/// The bounds that are told as met or not.
const BYTES_MAX: usize = 2 * NAME_BYTES + 64;
const PAGE_EXCESS_MAX: f64 = 0.10;
const COMMAND_US_MAX: u64 = 2000;

const LARGE: &str = "{8421}:large";
const SMALL: &str = "{8421}:small";
const NEXT: &str = "{8421}:next";

fn main() {
    let holders = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(HOLDERS);
    let server = started(PrivateServer::start(&["--save", "", "--slowlog-max-len", "1000"]));
    let mut redis = Redis::connect(server.address().port);
    redis.ask("CONFIG SET slowlog-log-slower-than 2000");
    redis.open(LARGE, "LIMIT 4294967295 LEDGER OFF");
    redis.open(SMALL, "LIMIT 4294967295 LEDGER OFF");
    redis.open(NEXT, "LIMIT 4294967295 LEDGER OFF");
    redis.fill(SMALL, 100);
    let before = redis.figure("memory", "used_memory:");
    redis.fill(LARGE, holders);
    // What is freed in the background is counted until it is.
    let bytes = (redis.figure("memory", "used_memory:") - before) / holders as f64;
    println!(
        "{holders} holders: {bytes:.1} bytes for each with a name of {NAME_BYTES} bytes (at most {BYTES_MAX}: {})",
        verdict(bytes <= BYTES_MAX as f64)
    );
    println!("Redis's µs per operation, by operations a call:     1      16      64");
    for (sku, size) in [(LARGE, holders), (SMALL, 100)] {
        for (what, terms, kind) in CASES {
            redis.open(
                sku,
                &format!("LIMIT {} {terms}", if what == "refused" { 0 } else { 4_294_967_295_u32 }),
            );
            let costs = [1, 16, 64].map(|ops| redis.cost(sku, kind, ops, size));
            println!("{size:>9} holders, {what:<28} {:>10.2} {:>7.2} {:>7.2}", costs[0], costs[1], costs[2]);
        }
    }
    redis.pages(holders);
    redis.steps();
    let (slow, slowest) = redis.slow_commands();
    println!(
        "commands over {COMMAND_US_MAX} µs: {slow}, the slowest took {slowest} µs ({})",
        verdict(slow == 0)
    );
}

/// What is measured: its name, the terms of the sale, and the operation.
const CASES: [(&str, &str, Cost); 6] = [
    ("ADD, no ledger", "LEDGER OFF", Cost::Add),
    ("ADD", "LEDGER ON", Cost::Add),
    ("ADD, held", "LEDGER ON HOLD 86400000", Cost::Add),
    ("ADD of a holder", "HOLD 0", Cost::AddAgain),
    ("CHECK", "", Cost::Check),
    ("CANCEL", "", Cost::Cancel),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Add,
    AddAgain,
    Check,
    Cancel,
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

fn started<T, E: std::fmt::Debug>(start: impl Future<Output = Result<T, E>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(start).unwrap()
}

/// A name of [`NAME_BYTES`] bytes that is no integer: Redis would store that in less.
fn name(number: usize) -> Vec<u8> {
    format!("user{number:08}").into_bytes()
}

/// A connection, and where the next new user stands.
struct Redis {
    stream: TcpStream,
    buffer: Vec<u8>,
    sequence: u64,
    next_user: usize,
}

impl Redis {
    fn connect(port: u16) -> Redis {
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

    fn reply(&mut self) -> Vec<u8> {
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

    fn call(&mut self, encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut wire = BytesMut::new();
        encode(&mut wire);
        self.stream.write_all(&wire).unwrap();
        self.reply()
    }

    fn ask(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = self.call(|out| encode::command(out, &words));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// A number of INFO.
    fn figure(&mut self, section: &str, name: &str) -> f64 {
        let info = self.ask(&format!("INFO {section}"));
        let text = info.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {info}"));
        text.split(['\r', ',']).next().unwrap().parse().unwrap()
    }

    fn open(&mut self, sku: &str, terms: &str) {
        let line = format!("RESERVE.OPEN {sku} {}", terms.trim_end());
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let Ok(ReserveCommand::Open(terms)) = ReserveCommand::parse(&words) else { panic!("{line}") };
        let reply = self.call(|out| Script::encode_open(&sale_key(sku.as_bytes()), &terms, false, out));
        assert_eq!(open_result(&reply), Some(Ok(())), "{line}");
    }

    fn send(&mut self, sku: &str, ops: &[ReserveOp]) {
        self.sequence += 1;
        let sequence = ops.iter().any(|op| op.kind.is_write()).then_some(self.sequence);
        let key = sale_key(sku.as_bytes());
        let call = ReserveCall { sale_key: &key, gateway: b"bench", sequence, with_body: false };
        let mut wire = BytesMut::new();
        call.encode(ops.iter(), &mut wire);
        self.stream.write_all(&wire).unwrap();
    }

    fn settle(&mut self, ops: usize) {
        let reply = self.reply();
        let results =
            FlushResults::parse(&reply, ops).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&reply)));
        assert_eq!(results.count(), ops);
    }

    fn fill(&mut self, sku: &str, holders: usize) {
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

    /// Redis's µs per operation of calls with so many.
    fn cost(&mut self, sku: &str, cost: Cost, ops: usize, holders: usize) -> f64 {
        self.ask("CONFIG RESETSTAT");
        for round in 0..ROUNDS {
            let ops: Vec<ReserveOp> = (0..ops).map(|at| self.op(cost, round * ops + at, holders)).collect();
            self.send(sku, &ops);
            self.settle(ops.len());
        }
        self.figure("commandstats", "cmdstat_evalsha:calls=");
        self.figure("commandstats", "cmdstat_evalsha:calls=40,usec=") / (ROUNDS * ops) as f64
    }

    fn op(&mut self, cost: Cost, number: usize, holders: usize) -> ReserveOp {
        // Holders far from each other, so that none is in the processor's cache from the operation before.
        let holder = name(number.wrapping_mul(7_368_787) % holders);
        match cost {
            Cost::Add => {
                self.next_user += 1;
                op(OpKind::Add, name(self.next_user))
            }
            Cost::AddAgain => op(OpKind::Add, holder),
            Cost::Check => op(OpKind::Check, holder),
            Cost::Cancel => op(OpKind::Cancel, name(self.next_user - number)),
        }
    }

    /// Pages at both ends, in turns: the medians of Redis's own time for each call.
    fn pages(&mut self, holders: usize) {
        let mut costs = [Vec::new(), Vec::new()];
        // From the same place in a page of the script: one that begins in its middle needs two.
        let last_row = 10 + (holders - 10 - ROUNDS * 5 - 100) / 128 * 128;
        for round in 0..ROUNDS * 5 {
            for (end, after) in [10 + round, last_row + round].into_iter().enumerate() {
                self.ask("CONFIG RESETSTAT");
                let key = sale_key(LARGE.as_bytes());
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
        println!(
            "a page of 100 rows: {first:.0} µs at row 10, {last:.0} µs at row {} (at most 10 % more: {})",
            last_row,
            verdict(last <= first * (1.0 + PAGE_EXCESS_MAX))
        );
    }

    /// Some steps of a move and of a drop, of the largest size.
    fn steps(&mut self) {
        let (from, to) = (sale_key(LARGE.as_bytes()), sale_key(NEXT.as_bytes()));
        self.ask("CONFIG RESETSTAT");
        for _ in 0..ROUNDS {
            let reply =
                self.call(|out| encode_move_out(&from, NEXT.as_bytes(), 64, 4_294_967_295, false, out));
            let rows = Departure::parse(&reply).unwrap().unwrap();
            let reply = self.call(|out| rows.encode_move_in(&to, LARGE.as_bytes(), false, out));
            assert_eq!(open_result(&reply), Some(Ok(())));
            let reply = self.call(|out| rows.encode_move_done(&from, false, out));
            assert!(steps_left(&reply).unwrap().is_ok());
        }
        let us = self.figure("commandstats", &format!("cmdstat_evalsha:calls={},usec=", ROUNDS * 3));
        println!(
            "a move: {:.2} µs of Redis for each holder ({} calls)",
            us / (ROUNDS * 64) as f64,
            ROUNDS * 3
        );
        let small = sale_key(SMALL.as_bytes());
        self.call(|out| Script::encode_close(&small, true, false, out));
        loop {
            let reply = self.call(|out| encode_drop(&small, 200, false, out));
            if steps_left(&reply).unwrap().unwrap() == 0 {
                break;
            }
        }
    }

    /// How many commands took longer than the bound, and the longest.
    fn slow_commands(&mut self) -> (usize, u64) {
        let log = self.ask("SLOWLOG GET 1000");
        // Each entry has its number, its time and its duration first; only that is looked for.
        let lines: Vec<&str> = log.split("\r\n").collect();
        let durations = lines.windows(4).filter(|window| window[0] == "*6").map(|window| &window[3][1..]);
        let durations: Vec<u64> = durations.map(|text| text.parse().unwrap()).collect();
        (durations.len(), durations.iter().copied().max().unwrap_or(0))
    }
}

fn op(kind: OpKind, user: Vec<u8>) -> ReserveOp {
    ReserveOp { count: (kind == OpKind::Add).then_some(1), ..ReserveOp::on(kind, &user) }
}
