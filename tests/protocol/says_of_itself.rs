//! What `COMMAND` says of commands and `CLIENT` of clients is what Redis says: each question goes to the server too.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::text::{elements, one_line};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, Version, shared, wait_until};

/// A reply as the map or array it is, taken apart one level deep.
fn items(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = reply;
    let line = |bytes: &[u8]| bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    let header = line(rest);
    let count: usize = std::str::from_utf8(&rest[1..header - 2]).unwrap().parse().unwrap();
    let count = if rest[0] == b'%' { count * 2 } else { count };
    rest = &rest[header..];
    let mut items = Vec::new();
    for _ in 0..count {
        let length = whole(rest);
        items.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    items
}

/// The length of the reply at the beginning.
fn whole(bytes: &[u8]) -> usize {
    let header = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    let count =
        || std::str::from_utf8(&bytes[1..header - 2]).unwrap().parse::<i64>().unwrap().max(0) as usize;
    match bytes[0] {
        b'$' | b'=' if bytes[1] != b'-' => header + count() + 2,
        b'*' | b'~' | b'>' | b'%' => {
            let parts = if bytes[0] == b'%' { 2 * count() } else { count() };
            (0..parts).fold(header, |length, _| length + whole(&bytes[length..]))
        }
        _ => header,
    }
}

/// A reply taken off the wire part by part: the decoder of [`Client`] knows no sets of maps.
fn raw(client: &mut Client, line: &str) -> Vec<u8> {
    client.send_line(line);
    part(client)
}

fn part(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        bytes.extend(client.bytes(1));
    }
    let count = || std::str::from_utf8(&bytes[1..bytes.len() - 2]).unwrap().parse::<i64>().unwrap();
    match bytes[0] {
        b'$' | b'=' if bytes[1] != b'-' => {
            let payload = client.bytes(count() as usize + 2);
            bytes.extend(payload);
        }
        b'*' | b'~' | b'%' => {
            let parts = count().max(0) * if bytes[0] == b'%' { 2 } else { 1 };
            (0..parts).for_each(|_| bytes.extend(part(client)));
        }
        _ => {}
    }
    bytes
}

/// What is said of each command by its name, subcommands in the order of their names, since theirs hangs on a hash.
fn by_name(reply: &[u8]) -> BTreeMap<String, String> {
    let items = items(reply);
    let text = |bytes: &[u8]| elements(bytes)[0].clone();
    items.chunks_exact(2).map(|pair| (text(&pair[0]), sorted(&pair[1]))).collect()
}

/// A reply with what hangs on a hash in a fixed order: the pairs of maps of subcommands.
fn sorted(docs: &[u8]) -> String {
    let mut fields = Vec::new();
    for pair in items(docs).chunks_exact(2) {
        let value = match elements(&pair[0])[0].as_str() {
            "subcommands" => format!("{:?}", by_name(&pair[1])),
            _ => one_line(&pair[1]),
        };
        fields.push(format!("{} {value}", one_line(&pair[0])));
    }
    format!("{} {}", docs[0] as char, fields.join(" "))
}

#[test]
fn command_docs_are_the_servers() {
    let (server, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for line in [
            "COMMAND DOCS get",
            "COMMAND DOCS GET set zadd georadius xadd nosuch get",
            "COMMAND DOCS config|get",
            "COMMAND DOCS nosuch",
            "COMMAND DOCS migrate sort bitfield restore",
        ] {
            let (mine, theirs) = (raw(&mut through, line), raw(&mut direct, line));
            assert_eq!(one_line(&mine), one_line(&theirs), "{version:?} {line}");
        }
        let mine = by_name(&raw(&mut through, "COMMAND DOCS"));
        let theirs = by_name(&raw(&mut direct, "COMMAND DOCS"));
        for (name, docs) in &theirs {
            assert_eq!(mine.get(name), Some(docs), "{version:?} {name}");
        }
        assert!(theirs["set"].contains("complexity") && theirs["set"].contains("arguments"));
        assert!(mine.contains_key("hotgate"));
        assert!(one_line(&raw(&mut through, "COMMAND DOCS hotgate")).contains("summary"));
    }
}

#[test]
fn command_docs_tell_what_is_known_here_while_no_server_answers() {
    let mut server = Server::start();
    let gateway = Gateway::before_server(&server);
    server.kill();
    let docs = gateway.client().ask("COMMAND DOCS get hotgate");
    assert!(docs.starts_with("*4 $3 get *6 $7 summary ") && docs.contains("hotgate"), "{docs}");
}

#[test]
fn command_is_the_servers_with_tips() {
    let (server, gateway) = shared::single(module_path!());
    wait_until("the server's own table is known", || {
        gateway.client().ask("COMMAND INFO dbsize").contains("request_policy:all_shards")
    });
    let names = server.client().list("COMMAND LIST");
    assert!(names.len() > 360);
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for name in &names {
            let line = format!("COMMAND INFO {name}");
            // The order of subcommands hangs on a hash, and some have been added to those of 7.0.
            let without_subcommands = |client: &mut Client| {
                let command = items(&raw(client, &line)).remove(0);
                items(&command)[..9].concat()
            };
            let (mine, theirs) = (without_subcommands(&mut through), without_subcommands(&mut direct));
            assert_eq!(one_line(&mine), one_line(&theirs), "{version:?} {line}");
        }
        let (mine, theirs) = (raw(&mut through, "COMMAND INFO get"), raw(&mut direct, "COMMAND INFO get"));
        assert_eq!(one_line(&mine), one_line(&theirs));
    }
}

/// What a later version brought, and the server has not, is nothing that clients should count on.
#[test]
fn clients_are_told_of_no_command_that_the_server_lacks() {
    let (server, gateway) = shared::single(module_path!());
    wait_until("the server's own table is known", || {
        gateway.client().ask("COMMAND INFO dbsize").contains("request_policy:all_shards")
    });
    let (mut through, mut direct) = (gateway.client(), server.client());
    let own = ["hotgate", "hotkeys"];
    let names = |client: &mut Client, line: &str| -> BTreeSet<String> {
        let names = client.list(line).into_iter();
        // The gateway answers these itself, whatever the server's version.
        let is_own = |name: &String| {
            ["hotgate", "hotkeys", "reserve.", "client|", "cluster|"].iter().any(|own| name.starts_with(own))
        };
        names.filter(|name| !is_own(name)).collect()
    };
    assert_eq!(names(&mut through, "COMMAND LIST"), names(&mut direct, "COMMAND LIST"));
    let sales = through.list("COMMAND LIST FILTERBY PATTERN reserve.*").len();
    let count = direct.integer("COMMAND COUNT") + (own.len() + sales) as i64;
    assert_eq!(through.integer("COMMAND COUNT"), count);
    for line in ["COMMAND INFO hexpire increx", "COMMAND GETKEYS hexpire a 1", "COMMAND DOCS hexpire"] {
        assert_eq!(through.ask(line), direct.ask(line), "{line}");
    }
}

/// A client that sent a command to every node, as such a tip says, would count what the gateway has summed up as often as
/// there are nodes.
#[test]
fn where_clients_see_a_cluster_no_tip_sends_them_to_all_nodes() {
    let (_, gateway) = shared::cluster(module_path!());
    wait_until("the servers' own table is known", || {
        gateway.client().ask("COMMAND INFO keys").contains("nondeterministic_output_order")
    });
    assert!(!gateway.client().ask("COMMAND").contains("_policy:"));
}

#[test]
fn the_keys_of_every_form_are_found_as_by_the_server() {
    let (server, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for request in [
            "MIGRATE h 1 \"\" 0 1 KEYS k1 k2",
            "MIGRATE h 1 \"\" 0 1 COPY REPLACE KEYS k1",
            "MIGRATE h 1 \"\" 0 1 AUTH KEYS KEYS k1",
            "MIGRATE h 1 \"\" 0 1 AUTH2 KEYS x keys k1 k2 k3",
            "MIGRATE h 1 \"\" 0 1 KEYS",
            "MIGRATE h 1 \"\" 0 1",
            "MIGRATE h 1 k 0 1",
            "MIGRATE h 1 k 0 1 COPY AUTH KEYS",
            "MIGRATE h 1 k 0 1 KEYS k1",
            "SORT l BY store GET x STORE d",
            "GEORADIUS k 1 1 1 m STORE d STOREDIST e",
            "EVAL s 0",
            "EVAL s 5 a",
            "XREAD COUNT 1 STREAMS a b 1 2",
            "SPUBLISH c m",
            "OBJECT ENCODING a",
            "SET a b GET",
            "NOSUCH a",
            "CONFIG GET a",
            "ZMPOP 0 a MIN",
        ] {
            for subcommand in ["GETKEYS", "GETKEYSANDFLAGS"] {
                let line = format!("COMMAND {subcommand} {request}");
                assert_eq!(through.ask(&line), direct.ask(&line), "{version:?} {line}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_question_about_clients_is_told_as_by_the_server() {
    let (server, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for line in [
            "CLIENT",
            "CLIENT NOSUCH",
            "CLIENT ID x",
            "CLIENT KILL",
            "CLIENT KILL TYPE wrong",
            "CLIENT KILL TYPE WRONG ID 99999",
            "CLIENT KILL ID 0 TYPE wrong",
            "CLIENT KILL ID 0 TYPE",
            "CLIENT KILL ID 1 TYPE",
            "CLIENT KILL ID x ID",
            "CLIENT KILL ID -1 SKIPME no",
            "CLIENT KILL ID 99999999999999999999 SKIPME no",
            "CLIENT KILL ID 9999999 SKIPME yes",
            "CLIENT KILL SKIPME maybe ID 1",
            "CLIENT KILL USER nosuch ID 9999999",
            "CLIENT KILL USER default ID 9999999",
            "CLIENT KILL ADDR 127.0.0.1:1",
            "CLIENT KILL ADDR 127.0.0.1:1 LADDR 127.0.0.1:1",
            "CLIENT KILL 127.0.0.1:1",
            "CLIENT KILL nosuch 1",
            "CLIENT KILL TYPE master",
            "CLIENT KILL TYPE replica",
            "CLIENT KILL TYPE SLAVE",
            "CLIENT LIST TYPE wrong",
            "CLIENT LIST TYPE",
            "CLIENT LIST TYPE normal x",
            "CLIENT LIST TYPE master",
            "CLIENT LIST ID",
            "CLIENT LIST ID x",
            "CLIENT LIST ID -1",
            "CLIENT LIST ID 9999999",
            "CLIENT LIST ID 9999999 x",
            "CLIENT LIST ID 99999999999999999999",
            "CLIENT LIST nosuch",
            "CLIENT UNBLOCK x",
            "CLIENT UNBLOCK -1",
            "CLIENT UNBLOCK 9999999",
            "CLIENT UNBLOCK 9999999 wrong",
            "CLIENT UNBLOCK 9999999 ERROR",
            "CLIENT UNBLOCK 9999999 error x",
            "CLIENT UNBLOCK 99999999999999999999",
            "CLIENT NO-EVICT wrong",
            "CLIENT REPLY wrong",
            "CLIENT SETNAME \"a b\"",
            "CLIENT SETNAME a x",
        ] {
            assert_eq!(through.ask(line), direct.ask(line), "{version:?} {line}");
        }
    }
}

/// The fields of a line of `CLIENT LIST`.
fn fields(line: &str) -> BTreeMap<String, String> {
    let pairs = line.trim_end().split(' ').filter_map(|field| field.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_client_is_described_as_the_server_would() {
    let (server, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for client in [&mut through, &mut direct] {
            for line in ["SELECT 5", "CLIENT SETNAME me"] {
                client.check(line, "+OK");
            }
        }
        let (mine, theirs) = (fields(&through.text("CLIENT INFO")), fields(&direct.text("CLIENT INFO")));
        let missing: Vec<&String> = theirs.keys().filter(|name| !mine.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for field in ["name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user", "redir", "resp"] {
            assert_eq!(mine[field], theirs[field], "{version:?} {field}");
        }
        // In the list of another client, in every state.
        let (mut look_through, mut look_direct) = (gateway.client(), server.client());
        let (own, theirs) = (through.integer("CLIENT ID"), direct.integer("CLIENT ID"));
        for lines in [
            &["SELECT 7"][..],
            &["SELECT 0", "MULTI", "SET a 1", "SET b 1"],
            &["DISCARD", "SUBSCRIBE c", "PSUBSCRIBE p*"],
        ] {
            for line in lines {
                through.ask(line);
                direct.ask(line);
            }
            let mine = fields(&look_through.text(&format!("CLIENT LIST ID {own}")));
            let theirs = fields(&look_direct.text(&format!("CLIENT LIST ID {theirs}")));
            for field in ["name", "flags", "db", "sub", "psub", "multi", "cmd", "user", "resp"] {
                assert_eq!(mine[field], theirs[field], "{version:?} {lines:?} {field}");
            }
        }
    }
}

/// After a restart of the server, what clients of both versions see is the same: their commands wait for it and succeed.
#[test]
fn a_restart_is_the_same_for_clients_of_both_versions() {
    let mut server = Server::start();
    let gateway = Gateway::before(&server).config("[upstream]\nunavailable_wait = '30s'\n").start();
    let mut clients = [Version::Resp2, Version::Resp3].map(|version| gateway.speaking(version));
    for round in 0..3 {
        for client in &mut clients {
            client.check("SET a 1", "+OK");
            client.check("HSET h f v", if round == 0 { ":..." } else { ":1" });
            client.check("DEL h", ":1");
        }
        server.kill();
        for client in &mut clients {
            client.send_line("GET a");
            client.send_line("SET a 2");
        }
        server.restart();
        for client in &mut clients {
            let nothing = if client.version() == Version::Resp3 { "_" } else { "$-1" };
            let first = one_line(&client.reply());
            assert!(first == nothing || first == "$1 2", "{:?}: {first}", client.version());
            client.expect("SET a 2", "+OK");
        }
    }
}
