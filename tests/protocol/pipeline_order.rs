//! Replies leave in the order of the requests on that connection, whatever each of them does: slow, failing, local to the
//! gateway, spread over nodes, on a connection of its own, or cut into pieces by the network.

use std::io::Write;

use crate::support::text::{encode, one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Version, shared};

/// A script that keeps its node busy for a while: the replies of the others must wait for it.
const SLOW: &str = "EVAL \"local n = 0; for i = 1, 3000000 do n = n + 1 end; return 'slow'\" 1";

/// Members of every kind, slow and failing ones between, with what each must reply.
fn mixed(round: usize) -> Vec<(String, String)> {
    let own = |line: &str, reply: &str| (line.to_string(), reply.to_string());
    let key = format!("order:{round}");
    vec![
        (format!("SET {key} {round}"), "+OK".into()),
        (format!("{SLOW} {key}"), "$4 slow".into()),
        own("PING", "+PONG"),
        (
            format!("LPUSH {key} x"),
            "-WRONGTYPE Operation against a key holding the wrong kind of value".into(),
        ),
        (format!("ECHO {key}"), format!("${} {key}", key.len())),
        own("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
        (
            format!("MGET {key} order:none {key}:b"),
            format!("*3 ${} {round} $-1 $-1", round.to_string().len()),
        ),
        (format!("BLPOP {key}:list 0.05"), "*-1".into()),
        (format!("INCR {key}"), format!(":{}", round + 1)),
        own("GET", "-ERR wrong number of arguments for 'get' command"),
        own("MULTI", "+OK"),
        (format!("INCR {key}"), "+QUEUED".into()),
        (format!("GET {key}"), "+QUEUED".into()),
        own("EXEC", &format!("*2 :{} ${} {}", round + 2, (round + 2).to_string().len(), round + 2)),
        (format!("MSET {key} 1 {key}:b 2 {key}:c 3"), "+OK".into()),
        (format!("{SLOW} {key}:b"), "$4 slow".into()),
        (format!("EXISTS {key} {key}:b {key}:c order:none"), ":3".into()),
        own("RENAME order:none {order:none}b", "-ERR no such key"),
        (format!("DEL {key} {key}:b {key}:c"), ":3".into()),
        own("CLIENT GETNAME", "$-1"),
        own("SHUTDOWN", "-ERR hotgate: ..."),
    ]
}

fn expect_all(client: &mut Client, members: &[(String, String)]) {
    for (line, reply) in members {
        let reply = if client.version() == Version::Resp3 {
            reply.replace("$-1", "_").replace("*-1", "_")
        } else {
            reply.clone()
        };
        client.expect(line, &reply);
    }
}

fn check_mixed(gateway: &Gateway) {
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let members: Vec<(String, String)> = (0..5).flat_map(mixed).collect();
        let bytes: Vec<u8> = members.iter().flat_map(|(line, _)| request(line)).collect();
        client.send(&bytes);
        expect_all(&mut client, &members);
    }
}

#[test]
fn slow_and_failing_members_keep_their_places_before_one_server() {
    check_mixed(&shared::single(module_path!()).1);
}

#[test]
fn slow_and_failing_members_keep_their_places_before_a_cluster() {
    check_mixed(&shared::cluster(module_path!()).1);
}

/// Cuts a pipeline in two at every byte. Between the pieces the client waits for the replies of what was whole in the first,
/// so the gateway has certainly seen the cut.
fn check_split(gateway: &Gateway) {
    let members: [(&str, &str); 6] = [
        ("SET split:k \"a\\r\\nb\"", "+OK"),
        ("MGET split:k split:none", "*2 $4 a b $-1"),
        ("ECHO \"\"", "$0 "),
        ("OBJECT NOSUCH split:k", "-ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP."),
        ("STRLEN split:k", ":4"),
        ("GET split:k", "$4 a b"),
    ];
    let requests: Vec<Vec<u8>> = members.iter().map(|(line, _)| request(line)).collect();
    let bytes = requests.concat();
    let mut client = gateway.client();
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]);
        let mut end = 0;
        let mut answered = 0;
        for request in &requests {
            end += request.len();
            if end <= cut {
                let (line, reply) = members[answered];
                client.expect(line, reply);
                answered += 1;
            }
        }
        client.send(&bytes[cut..]);
        for (line, reply) in &members[answered..] {
            client.expect(&format!("{line} (cut at {cut})"), reply);
        }
    }
    for byte in &bytes {
        client.send(&[*byte]);
    }
    for (line, reply) in members {
        client.expect(line, reply);
    }
}

#[test]
fn a_request_may_be_cut_at_any_byte_before_one_server() {
    check_split(&shared::single(module_path!()).1);
}

#[test]
fn a_request_may_be_cut_at_any_byte_before_a_cluster() {
    check_split(&shared::cluster(module_path!()).1);
}

#[test]
fn an_inline_request_may_be_cut_at_any_byte() {
    let mut client = shared::single(module_path!()).1.client();
    for request in ["ECHO \"in \\x41 line\"\r\n", "ECHO 'in A line'\n"] {
        for cut in 1..request.len() {
            client.send(&request.as_bytes()[..cut]);
            client.send(&request.as_bytes()[cut..]);
            client.expect(request, "$9 in A line");
        }
    }
}

/// A pipeline deeper than every bound on what is in flight: the gateway stops reading for a while, and nothing is lost.
fn check_depth(gateway: &Gateway) {
    const DEPTH: usize = 100_000;
    let mut client = gateway.client();
    client.check("DEL deep", ":...");
    let mut writer = client.stream();
    let sender = std::thread::spawn(move || {
        for number in 0..DEPTH {
            let key = format!("deep:{}", number % 50);
            let bytes = match number % 4 {
                0 => encode(&["INCR", "deep"]),
                1 => encode(&["ECHO", &number.to_string()]),
                2 => encode(&["SET", &key, &number.to_string()]),
                _ => encode(&["GET", &format!("deep:{}", (number - 1) % 50)]),
            };
            writer.write_all(&bytes).unwrap();
        }
    });
    for number in 0..DEPTH {
        let bulk = |number: usize| format!("${} {number}", number.to_string().len());
        let expected = match number % 4 {
            0 => format!(":{}", number / 4 + 1),
            1 => bulk(number),
            2 => "+OK".to_string(),
            _ => bulk(number - 1),
        };
        assert_eq!(one_line(&client.reply()), expected, "member {number}");
    }
    sender.join().unwrap();
}

#[test]
fn a_deep_pipeline_is_answered_whole_and_in_order_before_one_server() {
    check_depth(&shared::single(module_path!()).1);
}

#[test]
fn a_deep_pipeline_is_answered_whole_and_in_order_before_a_cluster() {
    check_depth(&shared::cluster(module_path!()).1);
}

/// What a client sent before it closed its side is still answered.
#[test]
fn a_half_closed_connection_gets_all_its_replies() {
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        let mut client = gateway.client();
        let lines: Vec<String> = (0..100).map(|number| format!("SET half:{number} v")).collect();
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
        client.send(&bytes);
        client.finish_sending();
        assert_eq!(one_line(&client.rest()), "+OK ".repeat(100).trim_end());
    }
}
