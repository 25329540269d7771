//! A connection breaks behind a flush: each member of a write is told that its outcome is unknown, as it would be cold, and is never
//! repeated. Each member of a read is answered, as it would be cold, also where it was folded into a write.

use crate::support::figures::all_calls;
use crate::support::relay::Relay;
use crate::support::text::{one_line, request};
use crate::support::{Client, Gateway, wait_until};

const RULES: &str = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
const OPERATIONS: usize = 6;

/// Commands of this test's clients, and what they are folded into.
const COUNTED: [&str; 16] = [
    "incr", "incrby", "hincrby", "set", "expire", "hset", "rpush", "sadd", "exec", "get", "ttl", "hgetall",
    "hget", "lrange", "hsetnx", "pfadd",
];

fn counted(direct: &mut Client) -> u64 {
    let calls = all_calls(direct);
    COUNTED.iter().filter_map(|name| calls.get(*name)).sum()
}

/// What a client is told whose lines, in turns and all at once, are in one flush that is executed and whose replies are lost.
fn lose(relay: &Relay, gateway: &Gateway, direct: &mut Client, lines: &[&[&str]]) -> Vec<(String, String)> {
    let turns: Vec<&[&str]> = lines.iter().copied().cycle().take(OPERATIONS).collect();
    let bytes = |turns: &[&[&str]]| -> Vec<u8> {
        turns.iter().flat_map(|lines| lines.iter().flat_map(|line| request(line))).collect()
    };
    let told = |client: &mut Client, lines: &[&str]| {
        (1..lines.len()).for_each(|_| drop(client.reply()));
        one_line(&client.reply())
    };
    let mut client = gateway.client();
    // What the server permits is known.
    for lines in &turns {
        client.send(&bytes(&[lines]));
        told(&mut client, lines);
    }
    let executed = counted(direct);
    relay.hold_replies(true);
    client.send(&bytes(&turns));
    wait_until("the flush is executed", || counted(direct) > executed);
    relay.cut();
    relay.hold_replies(false);
    turns.iter().map(|lines| (lines.join("; "), told(&mut client, lines))).collect()
}

#[test]
fn writes_are_unknown_and_reads_are_answered() {
    let (server, relay, gateway) = Relay::between(&format!("{RULES}[upstream]\nunavailable_wait = '30s'\n"));
    let mut direct = server.client();
    let mut round = |lines: &[&[&str]]| {
        let all = lose(&relay, &gateway, &mut direct, lines);
        for (line, told) in &all {
            let is_read = ["GET", "TTL", "HGET", "LRANGE"].iter().any(|read| line.starts_with(read));
            let is_unknown = told.starts_with("-ERR hotgate: outcome unknown");
            assert!(
                is_unknown != is_read && (is_unknown || !told.starts_with('-')),
                "{lines:?}: {line}: {told}"
            );
        }
    };
    round(&[&["INCR hot:k"]]);
    round(&[&["INCR hot:k"], &["GET hot:k"]]);
    round(&[&["GET hot:k"]]);
    round(&[&["TTL hot:k"], &["INCR hot:k"]]);
    round(&[&["EXPIRE hot:k 1000"]]);
    round(&[&["SET hot:s v"], &["GET hot:s"]]);
    round(&[&["SET hot:s v EX 1000"]]);
    round(&[&["SET hot:n v NX"]]);
    round(&[&["HINCRBY hot:h f 1"], &["HGET hot:h f"]]);
    round(&[&["HSET hot:h g 1"], &["HGETALL hot:h"]]);
    round(&[&["HSETNX hot:h g 1"]]);
    round(&[&["RPUSH hot:l a"], &["LRANGE hot:l 0 0"]]);
    round(&[&["SADD hot:m a"]]);
    round(&[&["PFADD hot:p a"]]);
    // Nothing was repeated: each ran once to be tried and once to be lost.
    assert_eq!(server.client().text("GET hot:k"), (12 + 6 + 6).to_string());
}
