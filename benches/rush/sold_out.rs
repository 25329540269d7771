//! The SKU is sold out, and the buyers do not stop.
//!
//! First 100,000 increments per second, open-loop, while `MONITOR` on every node tells what Redis is still asked. Then
//! the cost: refusals with 16 in each pipeline of 50 connections, closed-loop, beside the replies of a bare task, and `PING`
//! on the same connections, which the gateway answers itself.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hotgate::demo::load::{Arrival, Catalogue, Connections, HOT_KEY, Offer, Outcome, Stop};

use crate::floor::Floor;
use crate::processes::{Gateway, cpu_seconds};
use crate::stage::Stage;

const LIMIT: u32 = 1000;
const RATE: u32 = 100_000;
const RUN_TIME: Duration = Duration::from_secs(5);

const CLIENTS: usize = 50;
const PIPELINE: usize = 16;
const ROUNDS: usize = 7;
const ROUND_TIME: Duration = Duration::from_millis(1200);

/// What was seen.
pub struct SoldOut {
    pub outcome: Outcome,
    /// Commands per second that all nodes together got from any client, whatever for.
    pub commands_per_second: f64,
    /// Processor time of the gateway for one request, in µs, at P=16.
    pub refusal_us: f64,
    pub ping_us: f64,
    /// Of the bare task.
    pub floor_us: f64,
}

pub fn run(stage: &Stage) -> SoldOut {
    let config = format!("[[quota]]\nmatch = \"sku:*:sold\"\nlimit = {LIMIT}\n");
    let gateway = Gateway::start(&stage.upstream(), &config);
    let mut catalogue = Catalogue::default();
    let key = HOT_KEY.replace("reserved", "sold");
    let increment = catalogue.add(&[b"INCR", key.as_bytes()], 0, 0);
    let ping = catalogue.add(&[b"PING"], 0, 0);

    let connect = |port| Connections::open(&[port], CLIENTS, &Stop::default()).unwrap();
    let mut buyers = connect(gateway.port);
    let arrivals = |count: u32| {
        (0..count).map(move |number| Arrival { due_us: number * (1_000_000 / RATE), request: increment })
    };
    let offer = |time| Offer { time, classes: 1 };
    buyers.offer(&catalogue, arrivals(RATE), offer(Duration::from_secs(1))).unwrap();
    let mut monitors: Vec<Monitor> = stage.ports.iter().map(|port| Monitor::start(*port)).collect();
    let outcome = buyers.offer(&catalogue, arrivals(u32::MAX), offer(RUN_TIME)).unwrap();
    let commands: usize = monitors.iter_mut().map(Monitor::commands).sum();
    drop(buyers);

    let floor = Floor::start();
    let mut to_gateway = connect(gateway.port);
    let mut to_floor = connect(floor.port);
    let cost_us = |connections: &mut Connections, pid, request| {
        let before = cpu_seconds(pid);
        let seen = connections.saturate(&catalogue, request, PIPELINE, ROUND_TIME).unwrap();
        (cpu_seconds(pid) - before) * 1e6 / seen.replies as f64
    };
    let (mut refusals, mut pings, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.push(cost_us(&mut to_floor, floor.pid(), increment));
        pings.push(cost_us(&mut to_gateway, gateway.pid(), ping));
        refusals.push(cost_us(&mut to_gateway, gateway.pid(), increment));
    }
    SoldOut {
        outcome,
        commands_per_second: commands as f64 / RUN_TIME.as_secs_f64(),
        refusal_us: median(refusals),
        ping_us: median(pings),
        floor_us: median(floors),
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A connection on which a node tells each command that it gets.
struct Monitor {
    stream: TcpStream,
}

impl Monitor {
    fn start(port: u16) -> Monitor {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n");
        stream.set_nonblocking(true).unwrap();
        Monitor { stream }
    }

    /// Those that clients sent so far: what a script runs is marked `[db lua]`.
    fn commands(&mut self) -> usize {
        let mut told = Vec::new();
        match self.stream.read_to_end(&mut told) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("the node ended MONITOR: {other:?}"),
        }
        String::from_utf8_lossy(&told).lines().filter(|line| !line.contains(" lua] ")).count()
    }
}
