//! What it costs to resolve a request and to decide what to do with it, beside decoding it with redis-protocol: the decision must not be what a
//! request costs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use hotgate::access::{DEFAULT_USER, User, Users};
use hotgate::command::CommandTable;
use hotgate::config::ReadFrom;
use hotgate::resp::{Request, RequestLimits, RequestScan, RequestScanner};
use hotgate::route::{ClusterId, KeyHasher, Routes};
use hotgate::shared::topology::{Address, Node, NodeIndex, Role, Shard, Topology, UpstreamKind};
use hotgate::worker::client::session::Session;
use hotgate::worker::decide::classes::Classes;
use hotgate::worker::decide::{Snapshots, decide};
use hotgate::worker::resolve::resolve;

fn cluster() -> Topology {
    let node = |port| {
        let address = Address::new("127.0.0.1", port);
        Arc::new(Node {
            cluster: ClusterId::DEFAULT,
            address,
            id: port.to_string(),
            role: Role::Master,
            present: true,
            healthy: true,
        })
    };
    let shard = |index: u16, ranges| Shard { master: NodeIndex(index), ranges, replicas: Vec::new() };
    let shards = [shard(0, vec![(0, 5460)]), shard(1, vec![(5461, 10922)]), shard(2, vec![(10923, 16383)])];
    Topology::new(1, UpstreamKind::Cluster, vec![node(7000), node(7001), node(7002)], &shards)
}

fn snapshots(topology: Topology) -> Snapshots {
    let commands = CommandTable::builtin();
    let rules = ["on", "nopass", "~key:*", "+@read", "+@write"];
    let users = Users::of([User::unrestricted(DEFAULT_USER, &[], &commands)]);
    let users = users.with_rules(b"shop", &rules, &commands).unwrap_or_default();
    Snapshots {
        routes: Routes::default(),
        topology: Arc::new(topology),
        classes: Classes::new(&commands),
        users: Arc::new(users),
        commands: Arc::new(commands),
        read_from: Box::new([ReadFrom::Master]),
        near: Box::default(),
    }
}

fn decisions(criterion: &mut Criterion) {
    let limits = RequestLimits {
        bulk_bytes_max: 1 << 20,
        arguments_max: 1024,
        inline_bytes_max: 1 << 16,
        authenticated: true,
    };
    let single = snapshots(Topology::single(1, Address::new("127.0.0.1", 6379)));
    let cluster = snapshots(cluster());
    let requests: [(&str, &[u8]); 3] = [
        ("GET", b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n"),
        ("INCR", b"*2\r\n$4\r\nINCR\r\n$16\r\nkey:000000012345\r\n"),
        ("SET", b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$3\r\nxxx\r\n"),
    ];
    for (name, bytes) in requests {
        let mut scanner = RequestScanner::new(limits);
        assert!(matches!(scanner.scan(bytes), RequestScan::Complete { .. }));
        let request = Request::new(bytes, scanner.spans());
        let mut session = Session::new(single.users.anybody());
        let mut restricted = Session::new(single.users.get(b"shop"));
        let hasher = KeyHasher::default();
        let mut group = criterion.benchmark_group(name);
        group.bench_function("resolve and decide, one server", |bench| {
            bench.iter(|| {
                let resolved = resolve(&single, &hasher, &mut session, black_box(&request)).ok();
                resolved.map(|resolved| decide(&single, &mut session, &resolved))
            });
        });
        group.bench_function("resolve and decide, one server, a user with rules", |bench| {
            bench.iter(|| {
                let resolved = resolve(&single, &hasher, &mut restricted, black_box(&request)).ok();
                resolved.map(|resolved| decide(&single, &mut restricted, &resolved))
            });
        });
        group.bench_function("resolve and decide, cluster", |bench| {
            bench.iter(|| {
                let resolved = resolve(&cluster, &hasher, &mut session, black_box(&request)).ok();
                resolved.map(|resolved| decide(&cluster, &mut session, &resolved))
            });
        });
        group.bench_function("redis-protocol, decode only", |bench| {
            bench.iter(|| redis_protocol::resp2::decode::decode_range(black_box(bytes)));
        });
        group.finish();
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
