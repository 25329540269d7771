//! A server that holds commands back is not a lost server: a script that does not end can be ended, and whoever comes
//! meanwhile gets Redis's own `BUSY`; while writes are paused, reads go on and writes are answered when the pause ends,
//! however late.

use std::time::{Duration, Instant};

use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, Server, Version, wait_until};

/// Far below the time for which commands are held here.
const UPSTREAM: &str = "[upstream]\nrequest_timeout = '1500ms'\nunavailable_wait = '300ms'\n";

const ENDLESS: &str = "EVAL \"while true do end\" 0";

/// A server that calls a script busy soon.
fn busy_soon() -> [&'static str; 2] {
    ["--lua-time-limit", "150"]
}

fn is_busy(address: std::net::SocketAddr) -> bool {
    Client::connect(address).ask("PING").starts_with("-BUSY ")
}

/// Before 7.0 a server has neither functions nor scripts that say that they only read.
fn has(server: &mut Client, command: &str) -> bool {
    server.ask(&format!("COMMAND INFO {command}")).contains(command)
}

/// Longer than any time limit of the gateway here.
fn outlast_the_limits(mut meanwhile: impl FnMut()) {
    let began = Instant::now();
    wait_until("the time limits are over", || {
        meanwhile();
        began.elapsed() > Duration::from_secs(4)
    });
}

#[test]
fn a_script_that_does_not_end_can_be_ended_and_others_are_told() {
    let server = Server::with(&busy_soon());
    let gateway = Gateway::before(&server).config(UPSTREAM).start();
    let mut ready = gateway.client();
    ready.check("MSET busy:k v busy:counter 1", "+OK");
    ready.check("EVAL \"return 1\" 0", ":1");
    let has_eval_ro = has(&mut server.client(), "eval_ro");
    for ended_by_gateway in [true, false] {
        let (mut script, mut read, mut behind) = (gateway.client(), gateway.client(), gateway.client());
        script.send_line(ENDLESS);
        read.send_line(if has_eval_ro { "EVAL_RO \"return 4\" 0" } else { "EVAL \"return 4\" 0" });
        behind.send_line("EVAL \"return 5\" 0");
        wait_until("the script is called busy", || is_busy(server.address()));
        let mut other = gateway.speaking(Version::Resp3);
        outlast_the_limits(|| {
            for line in ["GET busy:k", "INCR busy:counter", "DBSIZE", "MGET busy:k x"] {
                other.check(line, "-BUSY ...");
                ready.check(line, "-BUSY ...");
            }
        });
        for line in ["SET busy:k w", "GET busy:k", "FLUSHALL", "EVAL \"return 2\" 0", "MGET busy:k"] {
            gateway.client().check(line, "-BUSY ...");
            ready.check(line, "-BUSY ...");
        }
        let mut transaction = gateway.client();
        transaction.check("MULTI", "+OK");
        transaction.check("INCR busy:counter", "+QUEUED");
        let reply = transaction.ask("EXEC");
        assert!(reply.starts_with('-') && reply.contains("BUSY"), "{reply}");
        let direct = server.client().ask("SELECT 3");
        gateway.client().check("SELECT 3", &direct);
        match ended_by_gateway {
            true => gateway.client().check("SCRIPT KILL", "+OK"),
            false => server.client().check("SCRIPT KILL", "+OK"),
        }
        script.expect(ENDLESS, "-ERR ...");
        // What may have run before or behind the endless one says so; it is not told that it did not run.
        for (client, ran) in [(&mut read, ":4"), (&mut behind, ":5")] {
            let reply = one_line(&client.reply());
            assert!(reply == ran || reply.starts_with("-BUSY "), "{reply}");
        }
        gateway.client().check("SCRIPT KILL", "-NOTBUSY ...");
        script.check("GET busy:k", "$1 v");
        ready.check("GET busy:counter", "$1 1");
        ready.check("EVAL \"return 3\" 0", ":3");
    }
    assert!(!gateway.log().contains("lost a connection"), "{}", gateway.log());
}

/// `SCRIPT KILL` and `FUNCTION KILL` reach the node that is busy, from a pipeline as well.
#[test]
fn a_script_is_ended_on_whichever_node_of_a_cluster_it_runs() {
    let cluster = Cluster::with(&busy_soon());
    let gateway = Gateway::before(&cluster).config(UPSTREAM).start();
    let library = "#!lua name=endless\nredis.register_function('endless', function() while true do end end)";
    for (key, kill) in [("{a}", "SCRIPT KILL"), ("{b}", "SCRIPT KILL"), ("{a}", "FUNCTION KILL")] {
        let node = cluster.master_of(key);
        if kill == "FUNCTION KILL" && !has(&mut cluster.client(node), "fcall") {
            continue;
        }
        let mut script = gateway.client();
        if kill == "FUNCTION KILL" {
            cluster.client(node).call(&["FUNCTION", "LOAD", "REPLACE", library]);
            script.send_line(&format!("FCALL endless 1 {key}"));
        } else {
            script.send_line(&format!("EVAL \"while true do end\" 1 {key}"));
        }
        let mut direct = cluster.client(node);
        wait_until("the script is called busy", || direct.ask("PING").starts_with("-BUSY "));
        gateway.client().check(&format!("INCR {key}"), "-BUSY ...");
        let mut killer = gateway.client();
        killer.send_line(&format!("GET {key}"));
        killer.send_line(kill);
        // The end of the script does not wait for what is before it.
        let reply = one_line(&killer.reply());
        assert!(reply == "$-1" || reply.starts_with("-BUSY "), "{reply}");
        killer.expect(kill, "+OK");
        script.expect("the script", "-ERR ...");
        gateway.client().check(kill, "-NOTBUSY ...");
        gateway.client().check(&format!("EXISTS {key}"), ":0");
    }
}

/// Of all nodes' words the client gets that of the node which is busy: why its script can't be ended, and what it is.
#[test]
fn of_a_cluster_the_busy_node_says_why_a_script_goes_on() {
    let cluster = Cluster::with(&busy_soon());
    let gateway = Gateway::before(&cluster).config(UPSTREAM).start();
    let lasts = "local now = function() local time = redis.call('time') return time[1] + time[2] / 1000000 end \
                 local ends = now() + 3 redis.call('set', KEYS[1], 1) while now() < ends do end return 7";
    let script = format!("EVAL \"{lasts}\" 1");
    let library = "#!lua name=endless\nredis.register_function('endless', function() while true do end end)";
    for key in ["{a}", "{b}"] {
        let node = cluster.master_of(key);
        let mut direct = cluster.client(node);
        let mut running = gateway.client();
        running.send_line(&format!("{script} {key}"));
        wait_until("the script is called busy", || direct.ask("PING").starts_with("-BUSY "));
        gateway.client().check("SCRIPT KILL", "-UNKILLABLE ...");
        running.expect("the script", ":7");
        gateway.client().check("SCRIPT KILL", "-NOTBUSY ...");
        if !has(&mut cluster.client(node), "fcall") {
            continue;
        }
        cluster.client(node).call(&["FUNCTION", "LOAD", "REPLACE", library]);
        running.send_line(&format!("FCALL endless 1 {key}"));
        wait_until("the function is called busy", || direct.ask("PING").starts_with("-BUSY "));
        gateway.client().check("SCRIPT KILL", "-BUSY ...");
        for version in [Version::Resp2, Version::Resp3] {
            let stats = gateway.speaking(version).ask("FUNCTION STATS");
            assert!(stats.contains("endless") && stats.contains("duration_ms"), "{stats}");
        }
        gateway.client().check("FUNCTION KILL", "+OK");
        running.expect("the function", "-ERR ...");
    }
}

/// Pauses `kind` of commands at the server, longer than any test takes.
fn pause(server: &mut Client, kind: &str) {
    server.check(&format!("CLIENT PAUSE 600000 {kind}"), "+OK");
}

fn held(server: &mut Client) -> usize {
    let list = server.text("CLIENT LIST");
    // One that sent `MULTI` has `flags=xb`.
    let is_held = |line: &&str| line.split(' ').any(|it| it.starts_with("flags=") && it.contains('b'));
    list.lines().filter(is_held).count()
}

#[test]
fn while_writes_are_paused_reads_go_on_and_writes_are_answered_at_the_end() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(UPSTREAM).start();
    gateway.client().check("MSET paused:k v paused:counter 1", "+OK");
    let mut direct = server.client();
    for round in 0..2 {
        pause(&mut direct, "WRITE");
        let mut writers: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
        for writer in &mut writers {
            writer.send_line("INCR paused:counter");
        }
        let mut own = gateway.client();
        own.send_line("SET paused:own 1");
        own.send_line("GET paused:own");
        let mut transaction = gateway.client();
        for line in ["MULTI", "INCR paused:counter", "EXEC"] {
            transaction.send_line(line);
        }
        let mut watched = gateway.client();
        for line in ["WATCH paused:k", "MULTI", "INCR paused:counter", "EXEC"] {
            watched.send_line(line);
        }
        wait_until("writes are held", || held(&mut direct) > 1);
        let mut readers = [gateway.client(), gateway.speaking(Version::Resp3), gateway.client()];
        readers[2].check("SELECT 2", "+OK");
        outlast_the_limits(|| {
            let [plain, resp3, database] = &mut readers;
            plain.check("GET paused:k", "$1 v");
            plain.check("MGET paused:k paused:k", "*2 $1 v $1 v");
            resp3.check("STRLEN paused:k", ":1");
            database.check("EXISTS paused:k", ":0");
            let mut new = gateway.client();
            new.send_line("GET paused:k");
            new.send_line("DBSIZE");
            new.expect("GET", "$1 v");
            new.expect("DBSIZE", ":...");
        });
        // A write that follows reads waits, and does not hold up the reads of others.
        let [plain, resp3, _] = &mut readers;
        for line in ["GET paused:k", "APPEND paused:k w", "GET paused:k"] {
            plain.send_line(line);
        }
        plain.expect("GET", "$1 v");
        outlast_the_limits(|| {
            resp3.check("GET paused:k", "$1 v");
            gateway.client().check("GET paused:k", "$1 v");
        });
        let mut tail = gateway.client();
        tail.send_line("PFCOUNT paused:log");
        tail.send_line("GET paused:k");
        direct.check("CLIENT UNPAUSE", "+OK");
        plain.expect("APPEND", ":2");
        plain.expect("GET", "$2 vw");
        own.expect("SET", "+OK");
        own.expect("GET", "$1 1");
        tail.expect("PFCOUNT", ":0");
        tail.reply();
        let mut counts: Vec<String> = writers.iter_mut().map(|writer| one_line(&writer.reply())).collect();
        for client in [&mut transaction, &mut watched] {
            while let Ok(reply) = client.try_reply() {
                let reply = one_line(&reply);
                if let Some(count) = reply.strip_prefix("*1 ") {
                    counts.push(count.to_string());
                }
                if reply.starts_with('*') {
                    break;
                }
            }
        }
        counts.sort();
        let first = 2 + 8 * round;
        // The watched key was appended to, before or after.
        let mut expected: Vec<String> = (first..first + 8).map(|count| format!(":{count}")).collect();
        expected.sort();
        assert_eq!(counts, expected, "each write took effect once");
        direct.check("SET paused:k v", "+OK");
    }
    assert!(!gateway.log().contains("lost a connection"), "{}", gateway.log());
}

/// A connection that was made while a script kept the server busy is held in a pause as any other.
#[test]
fn what_waits_on_a_connection_made_while_a_script_ran_is_not_given_up() {
    let server = Server::with(&busy_soon());
    let gateway = Gateway::before(&server).config(UPSTREAM).start();
    let mut script = gateway.client();
    script.send_line(ENDLESS);
    wait_until("the script is called busy", || is_busy(server.address()));
    let mut writers = [Version::Resp2, Version::Resp3].map(|version| gateway.speaking(version));
    for writer in &mut writers {
        writer.check("SET made k", "-BUSY ...");
    }
    gateway.client().check("SCRIPT KILL", "+OK");
    script.expect("the script", "-ERR ...");
    let mut direct = server.client();
    pause(&mut direct, "WRITE");
    writers.iter_mut().for_each(|writer| writer.send_line("INCR made:counter"));
    outlast_the_limits(|| ());
    direct.check("CLIENT UNPAUSE", "+OK");
    let mut replies = writers.each_mut().map(|writer| one_line(&writer.reply()));
    replies.sort();
    assert_eq!(replies, [":1", ":2"]);
}

/// A pause of everything is a long silence, not a loss: also for those who come meanwhile and need a new connection.
#[test]
fn while_everything_is_paused_all_wait_for_its_end() {
    let server = Server::start();
    let config = format!("{UPSTREAM}connect_timeout = '1s'\n");
    let gateway = Gateway::before(&server).config(&config).start();
    gateway.client().check("SET paused:k v", "+OK");
    let mut direct = server.client();
    // Nobody can end it before its time.
    direct.check("CLIENT PAUSE 5000 ALL", "+OK");
    let mut clients = [gateway.client(), gateway.client(), gateway.speaking(Version::Resp3)];
    let lines = ["GET paused:k", "INCR paused:counter", "GET paused:k"];
    for (client, line) in clients.iter_mut().zip(lines) {
        client.send_line(line);
    }
    for (client, reply) in clients.iter_mut().zip(["$1 v", ":1", "$1 v"]) {
        client.expect("what was paused", reply);
    }
    direct.check("GET paused:counter", "$1 1");
}

/// What is held up is told from what is lost: a server that hangs in the midst of a pause is given up.
#[test]
fn a_server_that_hangs_while_writes_are_paused_is_given_up() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(UPSTREAM).start();
    gateway.client().check("SET paused:k v", "+OK");
    let mut direct = server.client();
    pause(&mut direct, "WRITE");
    let mut writer = gateway.client();
    writer.send_line("SET paused:k w");
    wait_until("the write is held", || held(&mut direct) == 1);
    outlast_the_limits(|| gateway.client().check("GET paused:k", "$1 v"));
    server.pause();
    writer.expect("SET", "-ERR hotgate: ...");
    gateway.client().check("GET paused:k", "-ERR hotgate: ...");
    server.resume();
    direct.check("CLIENT UNPAUSE", "+OK");
    wait_until("the server answers", || gateway.client().ask("SET paused:k x") == "+OK");
}

/// A counter that is combined fares as any other: its held increments hold up nobody who reads it.
#[test]
fn a_combined_counter_is_held_as_any_other() {
    let server = Server::with(&busy_soon());
    let rule = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
    let gateway = Gateway::before(&server).config(&format!("{UPSTREAM}{rule}")).start();
    gateway.client().check("INCRBY hot:counter 41", ":41");
    let mut direct = server.client();
    pause(&mut direct, "WRITE");
    let mut writers: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    writers.iter_mut().for_each(|writer| writer.send_line("INCR hot:counter"));
    wait_until("an increment is held", || held(&mut direct) > 0);
    // Those that come before the gateway knows may be behind an increment in its queue.
    let mut readers: Vec<Client> = Vec::new();
    outlast_the_limits(|| {
        let mut reader = gateway.client();
        reader.send_line("GET hot:counter");
        readers.push(reader);
    });
    readers.last_mut().unwrap().expect("GET", "$2 41");
    assert!(held(&mut direct) > 0, "writes are still paused");
    direct.check("CLIENT UNPAUSE", "+OK");
    let mut counts: Vec<String> = writers.iter_mut().map(|writer| one_line(&writer.reply())).collect();
    counts.sort();
    assert_eq!(counts, [":42", ":43", ":44", ":45"]);

    let mut script = gateway.client();
    script.send_line(ENDLESS);
    wait_until("the script is called busy", || is_busy(server.address()));
    for line in ["INCR hot:counter", "GET hot:counter", "INCR hot:other"] {
        gateway.client().check(line, "-BUSY ...");
    }
    gateway.client().check("SCRIPT KILL", "+OK");
    script.expect(ENDLESS, "-ERR ...");
    gateway.client().check("INCR hot:counter", ":46");
}
