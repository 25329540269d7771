use super::*;
use redis_protocol::resp2::decode::decode;

const ASKED: Asked<'_> = Asked { host: "asked", tls: false };

/// Writes RESP2 from a short notation, so that the cases read like redis-cli's output: a JSON value whose strings are
/// bulk strings, numbers integers, and null null.
fn frame(notation: &str) -> OwnedFrame {
    fn convert(value: &serde_json::Value) -> OwnedFrame {
        match value {
            serde_json::Value::Null => OwnedFrame::Null,
            serde_json::Value::Number(number) => OwnedFrame::Integer(number.as_i64().unwrap()),
            serde_json::Value::String(text) => OwnedFrame::BulkString(text.clone().into_bytes()),
            serde_json::Value::Array(elements) => OwnedFrame::Array(elements.iter().map(convert).collect()),
            other => panic!("no RESP2: {other}"),
        }
    }
    convert(&serde_json::from_str(notation).unwrap())
}

/// A view as text: `id@host:port slots [replicas]`, a failed node with `!`.
fn show(view: &ClusterView) -> Vec<String> {
    let node =
        |node: &NodeView| format!("{}@{}{}", node.id, node.address, if node.healthy { "" } else { "!" });
    let shard = |shard: &ShardView| {
        let ranges: Vec<String> = shard.ranges.iter().map(|(start, end)| format!("{start}-{end}")).collect();
        let replicas: Vec<String> = shard.replicas.iter().map(node).collect();
        format!("{} {} [{}]", node(&shard.master), ranges.join(","), replicas.join(" "))
    };
    view.shards.iter().map(shard).collect()
}

fn node(id: &str, endpoint: &str, port: i64, role: &str, health: &str) -> String {
    format!(
        r#"["id","{id}","port",{port},"ip","10.0.0.9","endpoint",{endpoint},"role","{role}","replication-offset",0,"health","{health}","later-field",["x"]]"#
    )
}

fn shard(slots: &str, nodes: &[String]) -> String {
    format!(r#"["slots",{slots},"nodes",[{}]]"#, nodes.join(","))
}

fn check_shards(shards: &[String], expect: Result<&[&str], ViewError>) {
    let got = parse_shards(&frame(&format!("[{}]", shards.join(","))), ASKED);
    let expect = expect.map(|lines| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
    assert_eq!(got.as_ref().map(show).map_err(Clone::clone), expect, "{shards:?}");
}

fn check_slots(reply: &str, expect: Result<&[&str], ViewError>) {
    let expect = expect.map(|lines| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
    assert_eq!(parse_slots(&frame(reply), ASKED).as_ref().map(show).map_err(Clone::clone), expect, "{reply}");
}

#[test]
fn a_node_is_reached_at_the_port_for_the_way_it_is_asked() {
    let nodes = |ports: &str| {
        let node =
            format!(r#"["id","a",{ports},"ip","10.0.0.9","endpoint","a","role","master","health","online"]"#);
        frame(&format!("[{}]", shard("[0,16383]", &[node])))
    };
    let (both, plain) = (nodes(r#""port",7000,"tls-port",7100"#), nodes(r#""port",7000"#));
    for (tls, reply, expect) in
        [(false, &both, 7000), (true, &both, 7100), (false, &plain, 7000), (true, &plain, 0)]
    {
        let view = parse_shards(reply, Asked { host: "asked", tls }).unwrap();
        assert_eq!(
            view.shards.first().map(|shard| shard.master.address.port),
            Some(expect).filter(|port| *port > 0)
        );
    }
}

#[test]
fn shards_are_read() {
    check_shards(&[], Ok(&[]));
    check_shards(
        &[
            shard(
                "[0,99,200,16383]",
                &[node("b", r#""h1""#, 1, "replica", "loading"), node("a", r#""h0""#, 1, "master", "online")],
            ),
            shard("[]", &[node("c", r#""h2""#, 1, "master", "online")]),
        ],
        Ok(&["a@h0:1 0-99,200-16383 [b@h1:1]", "c@h2:1  []"]),
    );
    // Before and after a failover in Redis 7.0.
    let failed = node("a", r#""h0""#, 1, "master", "fail");
    check_shards(
        &[shard("[0,99]", &[failed.clone(), node("b", r#""h1""#, 1, "replica", "online")])],
        Ok(&["a@h0:1! 0-99 [b@h1:1]"]),
    );
    check_shards(
        &[
            shard("[]", std::slice::from_ref(&failed)),
            shard("[0,99]", &[node("b", r#""h1""#, 1, "master", "online")]),
        ],
        Ok(&["b@h1:1 0-99 []"]),
    );
    // In 7.2 both are in one shard.
    let both = [failed, node("b", r#""h1""#, 1, "master", "online")];
    check_shards(&[shard("[0,99]", &both)], Err(ViewError::AmbiguousMaster));
    check_shards(&[shard("[]", &both)], Ok(&["b@h1:1  []"]));
    check_shards(&[shard("[0,99]", &[])], Err(ViewError::AmbiguousMaster));
    check_shards(&[shard("[]", &[])], Ok(&[]));
}

#[test]
fn hosts_that_are_not_announced_are_filled_in() {
    let check = |endpoint: &str, expect: &str| {
        check_shards(&[shard("[0,9]", &[node("a", endpoint, 7, "master", "online")])], Ok(&[expect]));
    };
    check("null", "a@asked:7 0-9 []");
    check(r#""""#, "a@asked:7 0-9 []");
    check(r#""?""#, "a@10.0.0.9:7 0-9 []");
    check(r#""redis-0.redis""#, "a@redis-0.redis:7 0-9 []");
    check(r#""2001:db8::1""#, "a@[2001:db8::1]:7 0-9 []");
    check_slots(r#"[[0,9,["?",7,"a",["ip","10.0.0.9"]]]]"#, Ok(&["a@10.0.0.9:7 0-9 []"]));
    check_slots(r#"[[0,9,["?",7,"a",[]]]]"#, Ok(&["a@asked:7 0-9 []"]));
    check_slots(r#"[[0,9,[null,7,"a"]]]"#, Ok(&["a@asked:7 0-9 []"]));
}

#[test]
fn slots_are_read() {
    check_slots("[]", Ok(&[]));
    check_slots(
        r#"[[0,99,["h0",1,"a"],["h1",1,"b"]],[100,199,["h2",1,"c"]],[200,16383,["h0",1,"a"],["h1",1,"b"]]]"#,
        Ok(&["a@h0:1 0-99,200-16383 [b@h1:1]", "c@h2:1 100-199 []"]),
    );
    // Redis 3.0 gives no ids.
    check_slots(r#"[[0,99,["h0",1]],[100,100,["h1",1]]]"#, Ok(&["@h0:1 0-99 []", "@h1:1 100-100 []"]));
}

#[test]
fn hostile_replies_are_refused() {
    let malformed = ViewError::Malformed;
    let range = malformed("a range of slots, 0 to 16383, ascending");
    let one = |slots: &str, port: i64| vec![shard(slots, &[node("a", r#""h""#, port, "master", "online")])];
    check_shards(&one("[0]", 1), Err(malformed("an even number of slots")));
    check_shards(&one("[5,4]", 1), Err(range.clone()));
    check_shards(&one("[0,16384]", 1), Err(range.clone()));
    check_shards(&one("[-1,4]", 1), Err(malformed("a slot, 0 to 16383")));
    check_shards(&one("[0,9223372036854775807]", 1), Err(malformed("a slot, 0 to 16383")));
    check_shards(&one(r#"["0","1"]"#, 1), Err(malformed("a slot, 0 to 16383")));
    check_shards(&one("[0,9,9,12]", 1), Err(ViewError::Overlap(9)));
    check_shards(&one("[0,9]", -1), Err(malformed("a port, 0 to 65535")));
    check_shards(&one("[0,9]", 65536), Err(malformed("a port, 0 to 65535")));
    check_shards(&one("[0,9]", 0), Ok(&[]));
    check_shards(&[r#"["slots",[0,9],"nodes"]"#.to_owned()], Err(malformed("a shard as a map")));
    check_shards(&[r#"["slots",[0,9]]"#.to_owned()], Err(malformed("nodes")));
    check_shards(&["7".to_owned()], Err(malformed("a shard as a map")));
    check_shards(
        &[shard("[0,9]", &[node("a", r#""h h""#, 1, "master", "online")])],
        Err(malformed("a host name or an IP address")),
    );
    check_shards(
        &[shard("[0,9]", &[node(&"a".repeat(65), r#""h""#, 1, "master", "online")])],
        Err(malformed("a node id")),
    );

    check_slots("7", Err(malformed("an array of slot ranges")));
    check_slots("[[0,1]]", Err(malformed("a master in each slot range")));
    check_slots("[[0]]", Err(malformed("a slot range with its nodes")));
    check_slots(r#"[[0,1,["h"]]]"#, Err(malformed("a node with host and port")));
    check_slots(r#"[[0,1,["h",1,"a",["ip"]]]]"#, Err(malformed("a node's further names")));
    check_slots(r#"[[0,100,["h",1,"a"]],[100,200,["i",1,"b"]]]"#, Err(ViewError::Overlap(100)));
    assert_eq!(parse_slots(&OwnedFrame::Null, ASKED), Err(malformed("an array of slot ranges")));
}

proptest::proptest! {
    /// Whatever RESP2 a server sends, the parsers return.
    #[test]
    fn no_reply_makes_the_parsers_fail_otherwise(bytes in r"(\*[0-4]\r\n|:-?[0-9]{1,5}\r\n|\$5\r\nslots\r\n|\$5\r\nnodes\r\n|\$-1\r\n){1,40}") {
        if let Ok(Some((frame, _))) = decode(bytes.as_bytes()) {
            let _ = parse_shards(&frame, ASKED);
            let _ = parse_slots(&frame, ASKED);
        }
    }
}
