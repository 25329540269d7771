//! What only some servers have passes as well: slots that move as a whole, fields that expire, conditional `SET` and `DEL`.
//! `HOTGATE_TEST_SERVER` names the server; a test whose commands it has not says so and ends.

use crate::support::load::{Acknowledged, Load};
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

/// Whether the server knows a command, given with what it is called with.
fn knows(server: &mut Client, line: &str) -> bool {
    let reply = server.ask(line);
    let unknown = ["unknown command", "unknown subcommand", "syntax error", "Unknown subcommand"];
    let known = !unknown.iter().any(|text| reply.contains(text));
    if !known {
        println!("skipped: the server does not know {line}: {reply}");
    }
    known
}

/// Each family by its first line, which tells whether the server has it.
const FAMILIES: &[&[&str]] = &[
    &[
        "SET {K} v IFEQ nothing",
        "SET {K} v",
        "SET {K} w IFEQ v",
        "SET {K} x IFEQ v",
        "SET {K} x IFEQ w GET",
        "GET {K}",
    ],
    &["DELIFEQ {K} v", "SET {K} v", "DELIFEQ {K} w", "DELIFEQ {K} v", "EXISTS {K}"],
    &[
        "HEXPIRE {K} 1000 FIELDS 1 f",
        "HSET {K} f 1 g 2",
        "HEXPIRE {K} 1000 FIELDS 2 f none",
        "HINCRBY {K} f 1",
        "HPERSIST {K} FIELDS 1 f",
        "HEXPIREAT {K} 33177117420 FIELDS 1 g",
        "HEXPIRETIME {K} FIELDS 2 f g",
        "HPEXPIRE {K} 1000000 NX FIELDS 1 g",
        "HGET {K} g",
        "HEXPIRE {K} 0 FIELDS 1 g",
        "HGETALL {K}",
    ],
    &[
        "HGETEX {K} PERSIST FIELDS 1 f",
        "HSETEX {K} FNX EX 1000 FIELDS 1 f 7",
        "HGETEX {K} PERSIST FIELDS 1 f",
    ],
    &["HGETDEL {K} FIELDS 1 f", "HSET {K} f 1", "HGETDEL {K} FIELDS 1 f", "EXISTS {K}"],
    &["MSETEX 1 {K} v EX 1000", "GET {K}"],
];

/// The replies are the server's own, for a key that is combined as for any other.
#[test]
fn commands_of_other_servers_are_answered_as_by_them() {
    let (server, plain) = (Server::start(), Server::start());
    let rule = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
    let gateway = Gateway::before(&server).config(rule).start();
    let mut direct = plain.client();
    for family in FAMILIES {
        if !knows(&mut direct, &family[0].replace("{K}", "known")) {
            continue;
        }
        for (key, version) in [("cold:k", BOTH_VERSIONS[0]), ("hot:k", BOTH_VERSIONS[1])] {
            let mut through = gateway.speaking(version);
            let mut direct = Client::speaking(plain.address(), version);
            for line in *family {
                let line = line.replace("{K}", key);
                let expected = direct.ask(&line);
                through.check(&line, &expected);
            }
            direct.check("FLUSHALL", "+OK");
            through.check("FLUSHALL", "+OK");
        }
    }
}

/// What looks into one server is for that server.
#[test]
fn the_log_of_commands_is_asked_of_a_server() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    if knows(&mut server.client(), "COMMANDLOG LEN slow") {
        gateway.client().check("COMMANDLOG RESET slow", "+OK");
        assert!(gateway.client().integer("COMMANDLOG LEN slow") >= 0);
    }
    // The gateway's own: the server may have one, or none.
    gateway.client().check("HOTKEYS GET", "*0");
}

/// Redis Cluster moves keys one by one; Valkey 9 moves a slot whole, and gives it away in one step.
#[test]
fn slots_that_move_as_a_whole_lose_nothing() {
    let cluster = Cluster::start();
    let from = cluster.master_of("{moving}");
    if !knows(&mut cluster.client(from), "CLUSTER GETSLOTMIGRATIONS") {
        return;
    }
    let config = "[upstream]\nunavailable_wait = '30s'\nrequest_timeout = '60s'\nredirects_max = 64\n\
                  [[rule]]\nmatch = '{moving}:hot:*'\nmode = 'combine'\n";
    let gateway = Gateway::before(&cluster).config(config).start();
    let load = Load::start(&gateway, 4, 50, Acknowledged::Kept, |client, index| match index % 5 {
        0 => format!("still:{client}:{index}"),
        1 => format!("{{moving}}:hot:{client}:{index}"),
        _ => format!("{{moving}}:{client}:{index}"),
    });
    for _ in 0..3 {
        load.wait_for_replies(1_000);
        let from = cluster.master_of("{moving}");
        let to = cluster.masters().into_iter().find(|&node| node != from).unwrap();
        let mut source = cluster.client(from);
        let slot = source.integer("CLUSTER KEYSLOT {moving}");
        let target = cluster.client(to).text("CLUSTER MYID");
        source.check(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {target}"), "+OK");
        wait_until("the slot has moved", || cluster.client(to).ask("EXISTS {moving}") == ":0");
    }
    load.wait_for_replies(1_000);
    assert_eq!(load.finish(), Vec::<String>::new(), "a migration is no reason for an error");
}
