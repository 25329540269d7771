//! Tests of HOTKEYS against the `redis` crate's own parser of the Redis dialect, and against Redis's error
//! texts.

use super::*;
use crate::detect::{Class, HotKey, KeyName, Rates};
use crate::route::ClusterId;
use crate::shared::topology::Topology;
use redis::{FromRedisValue, HotkeysResponse, ToRedisArgs, Value};
use std::sync::Arc;

fn top_key(key: &[u8], ops: f64, share: f64) -> TopKey {
    let rates = Rates { ops, share, bytes_in: ops * 10.0, bytes_out: ops * 5.0, ..Rates::default() };
    TopKey { key: KeyName::new(ClusterId::DEFAULT, key), class: Class::ReadHot, rates }
}

struct Gateway {
    hotkeys: Hotkeys,
    hot_set: HotSet,
    top: Vec<TopKey>,
    topology: Topology,
    now_ms: u64,
    usage: Usage,
    version: RespVersion,
}

impl Gateway {
    fn new(cluster: bool) -> Self {
        let single = Topology::single(1, "127.0.0.1:6379".parse().unwrap());
        let shard = crate::shared::topology::Shard {
            master: crate::shared::topology::NodeIndex(0),
            ranges: vec![(0, 16383)],
            replicas: vec![],
        };
        let nodes = single.nodes.clone();
        let topology = if cluster {
            Topology::new(1, crate::shared::topology::UpstreamKind::Cluster, nodes, &[shard])
        } else {
            single
        };
        Self {
            hotkeys: Hotkeys::default(),
            hot_set: HotSet::default(),
            top: vec![top_key(b"x", 1_000.0, 0.5), top_key(b"y", 400.0, 0.2), top_key(b"x", 1_000.0, 0.5)],
            topology,
            now_ms: 1_769_420_604_522,
            usage: Usage::default(),
            version: RespVersion::Resp2,
        }
    }

    /// A second passes, in which the gateway uses 600 ms of processor time and moves 20,000 bytes.
    fn second(&mut self) {
        self.now_ms += 1_000;
        self.usage.cpu_user_us += 400_000;
        self.usage.cpu_system_us += 200_000;
        self.usage.net_bytes += 20_000;
        self.hotkeys.observe(self.now_ms, &self.top, self.usage);
    }

    fn ask(&mut self, arguments: &[&[u8]]) -> Value {
        let context = HotkeysContext {
            now_ms: self.now_ms,
            version: self.version,
            hot_set: &self.hot_set,
            top: &self.top,
            map: self.topology.cluster(ClusterId::DEFAULT),
            usage: self.usage,
        };
        redis::parse_redis_value(&self.hotkeys.answer(arguments, &context)).unwrap()
    }

    fn line(&mut self, line: &str) -> Value {
        self.ask(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    fn session(&mut self) -> HotkeysResponse {
        HotkeysResponse::from_redis_value(self.line("GET")).unwrap()
    }
}

fn error(value: Value) -> String {
    match value {
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_session_as_a_client_library_sees_it() {
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        let mut gateway = Gateway::new(false);
        gateway.version = version;
        gateway.top.truncate(1);
        let mut start: Vec<Vec<u8>> = vec![b"START".to_vec()];
        start.extend(redis::HotkeysOptions::new_with_cpu().and_net().with_count(5).unwrap().to_redis_args());
        assert_eq!(gateway.ask(&start.iter().map(Vec::as_slice).collect::<Vec<_>>()), Value::Okay);
        gateway.second();
        gateway.second();
        let seen = gateway.session();
        assert!(seen.tracking_active);
        assert_eq!(
            (seen.collection_start_time_unix_ms, seen.collection_duration_ms),
            (1_769_420_604_522, 2_000)
        );
        assert_eq!((seen.selected_slots[0].start, seen.selected_slots[0].end), (0, 16_383));
        assert_eq!(
            (seen.all_commands_all_slots_us, seen.net_bytes_all_commands_all_slots),
            (1_200_000, 40_000)
        );
        assert_eq!((seen.total_cpu_time_user_ms, seen.total_cpu_time_sys_ms), (Some(800), Some(400)));
        assert_eq!(seen.total_net_bytes, Some(40_000));
        let entries = |list: Option<Vec<redis::HotKeyEntry>>| -> Vec<(String, u64)> {
            list.unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect()
        };
        assert_eq!(entries(seen.by_cpu_time_us), [("x".to_owned(), 600_000)]);
        assert_eq!(entries(seen.by_net_bytes), [("x".to_owned(), 30_000)]);
        assert_eq!(seen.all_commands_selected_slots_us, None);
        assert_eq!(gateway.line("STOP"), Value::Okay);
        gateway.second();
        let stopped = gateway.session();
        assert_eq!((stopped.tracking_active, stopped.collection_duration_ms), (false, 2_000));
        assert_eq!(stopped.total_net_bytes, Some(40_000));
        assert_eq!(gateway.line("RESET"), Value::Okay);
        assert_eq!(gateway.line("GET"), Value::Array(vec![]), "no session: Valkey's answer");
    }
}

#[test]
fn the_fields_come_in_rediss_order() {
    let mut gateway = Gateway::new(true);
    gateway.line("START METRICS 2 CPU NET SAMPLE 10 SLOTS 6 10 5 1 0 6 2");
    let Value::Array(outer) = gateway.line("GET") else { panic!() };
    let Value::Array(fields) = &outer[0] else { panic!() };
    let names: Vec<String> =
        fields.iter().step_by(2).map(|name| String::from_redis_value(name.clone()).unwrap()).collect();
    assert_eq!(
        names,
        [
            "tracking-active",
            "sample-ratio",
            "selected-slots",
            "sampled-commands-selected-slots-us",
            "all-commands-selected-slots-us",
            "all-commands-all-slots-us",
            "net-bytes-sampled-commands-selected-slots",
            "net-bytes-all-commands-selected-slots",
            "net-bytes-all-commands-all-slots",
            "collection-start-time-unix-ms",
            "collection-duration-ms",
            "total-cpu-time-user-ms",
            "total-cpu-time-sys-ms",
            "total-net-bytes",
            "by-cpu-time-us",
            "by-net-bytes",
        ]
    );
    let slots = gateway.session().selected_slots;
    assert_eq!(slots.iter().map(|r| (r.start, r.end)).collect::<Vec<_>>(), [(0, 2), (5, 6), (10, 10)]);
}

#[test]
fn only_keys_of_selected_slots_are_listed() {
    let mut gateway = Gateway::new(true);
    let slot = crate::resp::key_slot(b"x");
    gateway.line(&format!("START METRICS 1 NET SLOTS 1 {slot}"));
    gateway.second();
    let seen = gateway.session();
    assert_eq!(seen.by_net_bytes.unwrap().len(), 1);
    assert_eq!(seen.net_bytes_all_commands_selected_slots, Some(15_000));
}

#[test]
fn a_session_ends_after_its_duration() {
    let mut gateway = Gateway::new(false);
    gateway.line("START METRICS 1 NET DURATION 2");
    for _ in 0..5 {
        gateway.second();
    }
    let seen = gateway.session();
    assert_eq!((seen.tracking_active, seen.collection_duration_ms), (false, 2_000));
    assert_eq!(gateway.line("STOP"), Value::Nil);
}

#[test]
fn mistakes_get_rediss_texts() {
    for (line, expect) in [
        ("START", "METRICS parameter is required"),
        ("START METRICS 0", "METRICS count must be positive"),
        ("START METRICS 3 CPU NET", "METRICS count must be positive"),
        ("START METRICS 2 CPU", "METRICS count does not match number of metric types provided"),
        ("START METRICS 1 CPU NET", "syntax error"),
        ("START METRICS 1 GPU", "METRICS no valid metrics passed"),
        ("START METRICS 2 CPU CPU", "METRICS CPU defined more than once"),
        ("START METRICS 1 CPU COUNT 65", "COUNT must be between 1 and 64"),
        ("START METRICS 1 CPU SAMPLE 0", "SAMPLE ratio must be positive"),
        ("START METRICS 1 CPU SLOTS 2 0 5", "SLOTS parameter cannot be used in non-cluster mode"),
        ("GET now", "wrong number of arguments for 'hotkeys|get' command"),
        ("NONSENSE", "unknown subcommand or wrong number of arguments"),
    ] {
        assert_eq!(error(Gateway::new(false).line(line)), format!("ERR {expect}"), "{line}");
    }
    for (line, expect) in [
        ("START METRICS 1 CPU SLOTS 2 0", "not enough slot numbers provided"),
        ("START METRICS 1 CPU SLOTS 2 0 0", "duplicate slot number"),
        ("START METRICS 1 CPU SLOTS 1 0 SLOTS 1 5", "SLOTS parameter already specified"),
        ("START METRICS 1 CPU SLOTS 1 16384", "Invalid or out of range slot"),
    ] {
        assert_eq!(error(Gateway::new(true).line(line)), format!("ERR {expect}"), "{line}");
    }
    let mut gateway = Gateway::new(false);
    assert_eq!(gateway.line("START METRICS 2 GPU CPU"), Value::Okay);
    assert!(error(gateway.line("START METRICS 1 CPU")).contains("already in progress"));
    assert!(error(gateway.line("RESET")).contains("stop tracking first"));
}

#[test]
fn without_a_session_the_answer_is_valkeys() {
    let mut gateway = Gateway::new(false);
    let hot = |key: &[u8], ops: f64| HotKey {
        key: KeyName::new(ClusterId::DEFAULT, key),
        since_ms: 0,
        class: Class::ReadHot,
        rates: Rates { ops, ..Rates::default() },
        peak: ops,
        history: Arc::from([]),
    };
    gateway.hot_set.entries = vec![hot(b"a\xff", 900.4), hot(b"b", 100.0)];
    gateway.version = RespVersion::Resp3;
    let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
    let map = |key: &[u8], qps| {
        Value::Map(vec![
            (bulk(b"key"), bulk(key)),
            (bulk(b"db"), Value::Int(0)),
            (bulk(b"qps"), Value::Int(qps)),
        ])
    };
    assert_eq!(gateway.line("GET"), Value::Array(vec![map(b"a\xff", 900), map(b"b", 100)]));
    assert_eq!(gateway.line("STOP"), Value::Nil);
    assert_eq!(gateway.line("RESET"), Value::Okay);
}

#[test]
fn tables_are_bounded() {
    let mut gateway = Gateway::new(false);
    gateway.line("START METRICS 1 NET COUNT 64");
    for round in 0..40u32 {
        gateway.top = (0..200).map(|n| top_key(format!("{round}:{n}").as_bytes(), 1.0, 0.0)).collect();
        gateway.top.push(top_key(b"steady", 50.0, 0.1));
        gateway.second();
    }
    assert_eq!(gateway.session().by_net_bytes.unwrap()[0].key, "steady");
}
