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

mod redis;

use hotgate::demo::private_redis::PrivateServer;
use hotgate::reserve::{
    Departure, OpKind, ReserveOp, Script, encode_drop, encode_move_out, open_result, sale_key, steps_left,
};
use redis::{ROUNDS, Redis, name, op, verdict};

const HOLDERS: usize = 10_000_000;
/// The bound that is told as met or not.
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
    println!("{}", redis.weigh(LARGE, holders));
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
    println!("{}", redis.pages(LARGE, holders));
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

fn started<T, E: std::fmt::Debug>(start: impl Future<Output = Result<T, E>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(start).unwrap()
}

impl Redis {
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
