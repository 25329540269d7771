//! INFO and HOTGATE as clients see them, made from a made-up gateway's latest view.

use std::collections::HashMap;
use std::sync::Arc;

use crate::made_up::{OPENS_S, Sale, Served, Stage};
use hotgate::monitor::admin;
use hotgate::monitor::board::Frame;
use hotgate::monitor::info::{InfoFacts, render};
use hotgate::resp::RespVersion;
use redis::Value;

async fn sale() -> Arc<Frame> {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, None).await;
    for tick in 0..80 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    served.board.latest()
}

fn info(frame: &Frame, sections: &[&str]) -> String {
    let facts = InfoFacts {
        tcp_port: 6380,
        connected: 412,
        clients_max: 10_000,
        window_ms: 1_000,
        ..InfoFacts::default()
    };
    let sections: Vec<&[u8]> = sections.iter().map(|section| section.as_bytes()).collect();
    render(&sections, &frame.view, &facts)
}

fn sections(info: &str) -> Vec<&str> {
    info.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

#[tokio::test]
async fn info_selects_sections_as_redis_does() {
    let frame = sale().await;
    let every = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Commandstats",
        "Errorstats",
        "Latencystats",
        "Cluster",
        "Keyspace",
        "Hotgate",
        "Hotkeys",
        "Upstreams",
        "Quotas",
        "Sales",
    ];
    for all in
        [&["ALL"][..], &["everything"], &["server", "all"], &["default", "commandstats", "latencystats"]]
    {
        assert_eq!(sections(&info(&frame, all)), every, "{all:?}");
    }
    for default in [&[][..], &["default"], &["server", "Default"]] {
        let expect: Vec<_> =
            every.into_iter().filter(|name| !["Commandstats", "Latencystats"].contains(name)).collect();
        assert_eq!(sections(&info(&frame, default)), expect, "{default:?}");
    }
    for (wanted, expect) in [
        (&["server"][..], &["Server"][..]),
        (&["SERVER", "server"], &["Server"]),
        (&["keyspace", "memory"], &["Memory", "Keyspace"]),
        (&["nonsense"], &[]),
        (&["nonsense", "cpu"], &["CPU"]),
    ] {
        assert_eq!(sections(&info(&frame, wanted)), expect, "{wanted:?}");
    }
    assert_eq!(info(&frame, &["nonsense"]), "");
    assert!(info(&frame, &[]).contains("\r\n\r\n# Clients\r\n"), "sections are set apart by an empty line");
}

#[tokio::test]
async fn info_has_the_fields_that_clients_look_for() {
    let frame = sale().await;
    let text = info(&frame, &[]);
    let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    for (field, expect) in [
        ("redis_version", "7.0.15"),
        ("redis_mode", "standalone"),
        ("tcp_port", "6380"),
        ("role", "master"),
        ("cluster_enabled", "0"),
        ("connected_clients", "412"),
        ("maxclients", "10000"),
        ("hotkeys_last_window_duration_ms", "1000"),
    ] {
        assert_eq!(fields.get(field), Some(&expect), "{field}");
    }
    assert!(fields["hotkeys_last_window_samples"].parse::<u64>().unwrap() > 50_000);
    assert!(
        fields["hotkey0"].ends_with("key=sku:{8421}:reserved") && fields["hotkey0"].contains("class=counter")
    );
    assert!(fields["upstream0"].starts_with("address=10.0.3.10:6379,role=master,up=1"));
    assert!(fields["quota0"].starts_with("limit=1000000,value="));
    assert!(
        text.lines().all(|line| line.is_empty() || line.starts_with('#') || line.contains(':')),
        "{text}"
    );
}

fn answer(frame: &Frame, line: &str, version: RespVersion) -> Value {
    let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = admin::answer(&admin::parse(&arguments).unwrap(), frame, version).unwrap();
    redis::parse_redis_value(&reply).unwrap()
}

/// The fields of a map, in whichever version of RESP it came.
fn fields(value: &Value) -> HashMap<String, Value> {
    let text = |name: &Value| match name {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("not a name: {other:?}"),
    };
    match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), value.clone())).collect(),
        Value::Array(flat) => flat.chunks(2).map(|pair| (text(&pair[0]), pair[1].clone())).collect(),
        other => panic!("not a map: {other:?}"),
    }
}

#[tokio::test]
async fn hotgate_hotkeys_ranks_as_asked() {
    let frame = sale().await;
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        for (line, expect) in [
            ("HOTKEYS", "sku:{8421}:reserved"),
            ("HOTKEYS WRITE", "sku:{8421}:reserved"),
            ("HOTKEYS READ COUNT 1", "config:flags"),
        ] {
            let Value::Array(keys) = answer(&frame, line, version) else { panic!("{line}") };
            assert_eq!(keys.len(), if line.contains("COUNT") { 1 } else { 5 });
            assert_eq!(fields(&keys[0])["key"], Value::BulkString(expect.into()), "{line}");
        }
    }
}

#[tokio::test]
async fn hotgate_answers_are_whole_in_both_versions() {
    let frame = sale().await;
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        assert!(fields(&answer(&frame, "STATS", version)).contains_key("status"));
        for line in ["TOP", "HELP"] {
            let Value::Array(lines) = answer(&frame, line, version) else { panic!("{line}") };
            assert!(
                lines.len() > 8 && lines.iter().all(|line| matches!(line, Value::SimpleString(_))),
                "{lines:?}"
            );
        }
    }
}
