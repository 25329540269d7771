//! The Redis of the sale: a cluster of three masters, as it runs where sales are held.
//!
//! The master that owns the SKU has the servers' core for itself, the other two are on the load's core, where they
//! only have background traffic to answer. All of them keep an append-only file, synced each second: nobody takes
//! reservations on a counter that is gone after a crash.

use std::collections::BTreeMap;

use hotgate::demo::load::HOT_KEY;
use hotgate::demo::private_redis::PrivateCluster;
use hotgate::resp::key_slot;

use crate::processes::{LOAD_CORE, SERVER_CORE, ask, command_calls, cpu_seconds, pin, wait_for};

const MASTERS: usize = 3;

/// A rewrite of the file would fork in the middle of a run.
const SERVER_ARGUMENTS: &[&str] =
    &["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];

/// Which commands count as work for the hot key: the background has none of them. Those that a script runs count too,
/// so that a flush by script counts about twice.
const HOT_COMMANDS: [&str; 4] = ["incr", "incrby", "eval", "evalsha"];

/// The running cluster.
pub struct Stage {
    cluster: PrivateCluster,
    pub ports: Vec<u16>,
    /// First slot of a range -> its node.
    ranges: BTreeMap<u16, usize>,
    pub hot_node: usize,
}

/// What the hot node has done so far.
pub struct Work {
    pub cpu_seconds: f64,
    pub hot_commands: u64,
}

impl Stage {
    pub fn start() -> Stage {
        let cluster = wait_for(PrivateCluster::start(MASTERS, 0, SERVER_ARGUMENTS))
            .unwrap_or_else(|error| panic!("{error}"));
        let ports: Vec<u16> = cluster.addresses().iter().map(|address| address.port).collect();
        let ranges = ranges(&ask(ports[0], "CLUSTER NODES"), &ports);
        let mut stage = Stage { cluster, ports, ranges, hot_node: 0 };
        stage.hot_node = stage.node_of(HOT_KEY.as_bytes());
        for node in 0..MASTERS {
            let core = if node == stage.hot_node { SERVER_CORE } else { LOAD_CORE };
            pin(stage.cluster.node(node).pid(), core);
        }
        stage
    }

    pub fn upstream(&self) -> String {
        self.cluster.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    pub fn node_of(&self, key: &[u8]) -> usize {
        *self.ranges.range(..=key_slot(key)).next_back().expect("every slot has a node").1
    }

    /// So far, by the hot node.
    pub fn work(&self) -> Work {
        let calls = command_calls(self.ports[self.hot_node]);
        Work {
            cpu_seconds: cpu_seconds(self.cluster.node(self.hot_node).pid()),
            hot_commands: HOT_COMMANDS.iter().filter_map(|name| calls.get(*name)).sum(),
        }
    }

    /// Returns when the hot node has dealt with all that was sent to it: it serves its connections in turn, so it
    /// answers at once when nothing else is left.
    pub fn settle(&self) {
        let mut last = None;
        loop {
            let calls = command_calls(self.ports[self.hot_node]).get("incr").copied();
            if calls == last {
                return;
            }
            last = calls;
            std::thread::park_timeout(std::time::Duration::from_millis(200));
        }
    }
}

/// From the lines `id host:port@bus flags master ping pong epoch state slot-slot ...`.
fn ranges(nodes: &str, ports: &[u16]) -> BTreeMap<u16, usize> {
    let mut ranges = BTreeMap::new();
    for line in nodes.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some((_, port)) = fields.get(1).and_then(|field| field.split('@').next()?.rsplit_once(':'))
        else {
            continue;
        };
        let node = ports.iter().position(|known| known.to_string() == port).expect("a node of the cluster");
        for range in &fields[8..] {
            let first = range.trim().split('-').next().unwrap();
            ranges.insert(first.parse().expect("a slot"), node);
        }
    }
    ranges
}
