//! `INFO commandstats`, `latencystats` and `errorstats`, `LATENCY HISTOGRAM` and `/api/commands`: what passed through the gateway, in the
//! shapes of Redis, and as a Redis would have counted it.

use std::collections::BTreeMap;

use crate::support::text::elements;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

/// The lines of a section.
fn section(client: &mut Client, name: &str) -> BTreeMap<String, String> {
    let text = client.text(&format!("INFO {name}"));
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
}

/// The numbers of a line, by name.
fn numbers(line: &str) -> BTreeMap<&str, f64> {
    let pairs = line.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name, value.parse().unwrap())).collect()
}

/// What may be compared of `cmdstat` lines: not the times.
fn counts(client: &mut Client) -> BTreeMap<String, [u64; 3]> {
    let lines = section(client, "commandstats");
    let of = |line: &str| ["calls", "rejected_calls", "failed_calls"].map(|name| numbers(line)[name] as u64);
    lines.iter().map(|(command, line)| (command.clone(), of(line))).collect()
}

/// Requests of every kind: those that go well, fail, or are refused before they run; in a transaction or not.
const SCRIPT: [&str; 25] = [
    "SET a 1",
    "SET a 2",
    "GET a",
    "GET none",
    "GET",
    "GET a b",
    "LPUSH a 1",
    "SET t text",
    "INCR t",
    "INCR n",
    "MGET a t n",
    "CLIENT SETNAME app",
    "CLIENT GETNAME",
    "NOSUCH a b",
    "CONFIG NOSUCH",
    "PING",
    "RPUSH list 1",
    "BLPOP list 1",
    "MULTI",
    "SET in 1",
    "LPUSH in 1",
    "EXEC",
    "MULTI",
    "GET a",
    "DISCARD",
];

#[test]
fn commands_are_counted_as_a_redis_counts_them() {
    let (alone, server) = (Server::start(), Server::start());
    let gateway = Gateway::before_server(&server);
    let (mut direct, mut client) = (alone.client(), gateway.client());
    for line in SCRIPT {
        assert_eq!(client.ask(line), direct.ask(line), "{line}");
    }
    let script = ["EVAL", "return redis.error_reply('MYERR of a script')", "0"];
    assert_eq!(client.call(&script), direct.call(&script));
    let (mine, mut theirs) = (counts(&mut client), counts(&mut direct));
    // Asked while the server started.
    theirs.remove("cmdstat_config|get");
    assert_eq!(mine, theirs);
    assert_eq!(section(&mut client, "errorstats"), section(&mut direct, "errorstats"));
    // Each line has the fields of Redis's, in its order and with as many decimals.
    let form = |line: &str| {
        let digits_gone: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
        let decimals = line.split(',').map(|pair| {
            let value = pair.rsplit('=').next().unwrap();
            value.split_once('.').map_or(0, |(_, digits)| digits.len())
        });
        (digits_gone, decimals.collect::<Vec<_>>())
    };
    let (mine, theirs) = (section(&mut client, "commandstats"), section(&mut direct, "commandstats"));
    for (command, line) in &mine {
        assert_eq!(form(line), form(&theirs[command]), "{command}");
    }
    let (mine, theirs) = (section(&mut client, "latencystats"), section(&mut direct, "latencystats"));
    for timed in ["get", "set", "lpush", "mget", "incr", "eval"] {
        let line = &mine[&format!("latency_percentiles_usec_{timed}")];
        assert_eq!(form(line), form(&theirs[&format!("latency_percentiles_usec_{timed}")]), "{timed}");
        assert!(numbers(line)["p50"] > 0.0 && numbers(line)["p50"] <= numbers(line)["p99.9"], "{line}");
    }
    assert!(mine.keys().all(|line| theirs.contains_key(line)), "{mine:?}");
}

/// The bounds that Redis can tell: whole powers of two of nanoseconds, as far as its histogram tells them apart.
fn is_bound_of_redis(us: u64) -> bool {
    (10..40).any(|bits| ((1u64 << bits) + (1 << (bits - 7)) - 1) / 1000 == us)
}

#[test]
fn a_histogram_of_latencies_has_the_shape_of_redis() {
    let (alone, server) = (Server::start(), Server::start());
    let gateway = Gateway::before_server(&server);
    for version in BOTH_VERSIONS {
        let mut direct = Client::speaking(alone.address(), version);
        let mut client = gateway.speaking(version);
        for _ in 0..50 {
            assert_eq!(client.ask("SET a 1"), direct.ask("SET a 1"));
        }
        for line in ["LATENCY HISTOGRAM nosuch", "LATENCY HISTOGRAM getdel nosuch"] {
            assert_eq!(client.call_line(line), direct.call_line(line), "{line}");
        }
        let (mine, theirs) =
            (client.call_line("LATENCY HISTOGRAM SET"), direct.call_line("LATENCY HISTOGRAM set"));
        // Up to the number of bounds they are the same bytes: the name, and the calls.
        let head = |reply: &[u8]| {
            let at = reply.windows(14).position(|bytes| bytes == b"histogram_usec").expect("a histogram");
            String::from_utf8_lossy(&reply[..at + 14]).into_owned()
        };
        assert_eq!(head(&mine), head(&theirs));
        for reply in [&mine, &theirs] {
            let found = elements(reply);
            let (bounds, calls) = (&found[4..], found[2].parse::<u64>().unwrap());
            let pairs: Vec<[u64; 2]> = bounds
                .chunks_exact(2)
                .map(|pair| [pair[0].parse().unwrap(), pair[1].parse().unwrap()])
                .collect();
            assert!(pairs.iter().all(|[bound, _]| is_bound_of_redis(*bound)), "{found:?}");
            assert!(pairs.is_sorted_by(|one, next| one[0] < next[0] && one[1] < next[1]), "{found:?}");
            assert_eq!(pairs.last().map(|[_, running]| *running), Some(calls), "{found:?}");
        }
        let all = elements(&client.call_line("LATENCY HISTOGRAM"));
        assert!(all.iter().any(|name| name == "set"), "{all:?}");
    }
}

/// What Redis shows begins anew, here as at the servers; what only grows does not.
#[test]
fn resetstat_empties_what_redis_shows_and_no_counter_of_metrics() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("ACL SETUSER root reset on >pw ~* &* +@all", "+OK");
    client.check("AUTH root pw", "+OK");
    client.check("SET a 1", "+OK");
    client.check("INCR nosuch x", "-ERR ...");
    assert_eq!(counts(&mut client)["cmdstat_set"], [1, 0, 0]);
    client.check("LATENCY RESET", ":0");
    assert_eq!(counts(&mut client)["cmdstat_set"], [1, 0, 0], "the list of events is another thing");
    client.check("CONFIG RESETSTAT", "+OK");
    let left = counts(&mut client);
    assert!(!left.contains_key("cmdstat_set"), "{left:?}");
    assert!(section(&mut client, "errorstats").is_empty());
    assert_eq!(elements(&client.call_line("LATENCY HISTOGRAM set")), Vec::<String>::new());
    client.check("SET a 2", "+OK");
    assert_eq!(counts(&mut client)["cmdstat_set"], [1, 0, 0]);
    wait_until("the counter has both", || {
        gateway.get("/metrics").1.contains("hotgate_command_calls_total{command=\"set\"} 2\n")
    });
    assert!(server.client().text("INFO commandstats").contains("cmdstat_set:calls=1,"));
}

/// The rows of `/api/commands`.
fn api(gateway: &Gateway, by: &str) -> Vec<serde_json::Value> {
    let (status, body) = gateway.get(&format!("/api/commands{by}"));
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body.as_object().unwrap().values().find_map(|rows| rows.as_array().cloned()).unwrap()
}

fn row<'a>(rows: &'a [serde_json::Value], command: &str) -> Option<&'a serde_json::Value> {
    rows.iter().find(|row| row["command"] == command)
}

#[test]
fn a_command_to_several_nodes_is_one_call_and_each_node_has_its_part() {
    let cluster = Cluster::start();
    let gateway = Gateway::of_two_workers(&cluster, "");
    let (mut one, mut other) = (gateway.client(), gateway.client());
    for round in 0..30 {
        let client = if round % 2 == 0 { &mut one } else { &mut other };
        client.check(&format!("SET key:{round} 1"), "+OK");
    }
    one.ask("MGET key:0 key:1 key:2 key:3 key:4 key:5 key:6 key:7");
    // Whichever worker is asked, it knows of what all have answered.
    assert_eq!(counts(&mut one)["cmdstat_set"], [30, 0, 0]);
    assert_eq!(counts(&mut other)["cmdstat_mget"], [1, 0, 0]);
    let sum = |command: &str| {
        let rows = api(&gateway, "?by=node");
        let calls =
            rows.iter().filter(|row| row["command"] == command).map(|row| row["calls"].as_u64().unwrap());
        calls.collect::<Vec<_>>()
    };
    wait_until("the nodes' figures add up", || sum("set").iter().sum::<u64>() == 30);
    assert_eq!(sum("set").len(), 3);
    assert_eq!((sum("mget").len(), sum("mget").iter().sum::<u64>()), (3, 8), "one part for each slot");
    let rows = api(&gateway, "");
    let set = row(&rows, "set").unwrap();
    assert_eq!((&set["calls"], &set["failed"]), (&30.into(), &0.into()));
    assert_eq!(gateway.get("/api/commands?by=nonsense").0, 400);
    let metrics = gateway.get("/metrics").1;
    assert!(metrics.contains("hotgate_command_duration_seconds_count{command=\"set\"} 30\n"), "{metrics}");
}

/// Requests that are folded, and pipelined ones that share their times, are counted one by one.
#[test]
fn folded_and_pipelined_requests_are_calls_like_any_other() {
    let server = Server::start();
    let rules =
        "[[rule]]\nmatch = \"hot:*\"\nmode = \"combine\"\n[[quota]]\nmatch = \"stock:*\"\nlimit = 3\n";
    let gateway = Gateway::of_two_workers(&server, rules);
    let mut client = gateway.client();
    let pipeline = |client: &mut Client, line: &str, count: usize| {
        client.send(&crate::support::text::request(line).repeat(count));
        (0..count).for_each(|_| _ = client.reply());
    };
    pipeline(&mut client, "INCR hot:k", 300);
    pipeline(&mut client, "GET app:k", 300);
    pipeline(&mut client, "INCR stock:k", 5);
    for _ in 0..4 {
        client.check("MULTI", "+OK");
        client.check("INCRBY hot:t 1", "+QUEUED");
        client.check("EXPIRE hot:t 100", "+QUEUED");
        client.ask("EXEC");
    }
    let counts = counts(&mut client);
    assert_eq!((counts["cmdstat_incr"], counts["cmdstat_get"]), ([303, 2, 0], [300, 0, 0]));
    for command in ["multi", "exec", "incrby", "expire"] {
        assert_eq!(counts[&format!("cmdstat_{command}")], [4, 0, 0], "{command}");
    }
    let lines = section(&mut client, "latencystats");
    assert!(lines.contains_key("latency_percentiles_usec_incr"), "{lines:?}");
}

/// Names that no table has share a row, and words of errors have a bound.
#[test]
fn what_clients_make_up_makes_nothing_grow() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    for number in 0..300 {
        client.check(&format!("NOSUCH{number} a"), "-ERR unknown command...");
        let script = format!("return redis.error_reply('E{number} x')");
        client.call(&["EVAL", &script, "0"]);
    }
    let counts = counts(&mut client);
    assert!(!counts.contains_key("cmdstat_unknown"), "Redis has no line for them");
    assert_eq!(counts["cmdstat_eval"], [300, 0, 300]);
    let errors = section(&mut client, "errorstats");
    assert_eq!(errors.len(), 129, "{errors:?}");
    assert_eq!(
        (errors["errorstat_ERR"].as_str(), errors["errorstat_other"].as_str()),
        ("count=300", "count=173")
    );
    wait_until("metrics have them", || {
        let metrics = gateway.get("/metrics").1;
        metrics.contains("hotgate_command_rejected_total{command=\"unknown\"} 300\n")
            && metrics.contains("hotgate_error_replies_total{code=\"other\"} 173\n")
    });
}

#[test]
fn tenants_and_clusters_have_their_commands() {
    let (one, two) = (Server::start(), Server::start());
    let config = format!(
        "[[cluster]]\nname = \"big\"\nservers = [\"{}\"]\n[[route]]\nmatch = \"big:*\"\nclusters = [\"big\"]\n\
         [[tenant]]\nname = \"seven\"\nmatch = \"big:7:*\"\n",
        two.address()
    );
    let gateway = Gateway::before(&one).config(&config).start();
    let mut client = gateway.client();
    for _ in 0..6 {
        client.check("SET big:7:k 1", "+OK");
        client.check("GET app:k", "$-1");
    }
    let calls = |by: &str, of: &str, command: &str| {
        let rows = api(&gateway, by);
        let found = rows.iter().find(|row| row["of"] == of && row["command"] == command);
        found.map_or(0, |row| row["calls"].as_u64().unwrap())
    };
    wait_until("the tenant's and the clusters' commands are told", || {
        calls("?by=tenant", "seven", "set") == 6 && calls("?by=cluster", "default", "get") == 6
    });
    assert_eq!(calls("?by=cluster", "big", "set"), 6);
    assert_eq!(calls("?by=cluster", "big", "get") + calls("?by=tenant", "seven", "get"), 0);
    let metrics = gateway.get("/metrics").1;
    for line in [
        "hotgate_tenant_commands_total{tenant=\"seven\",command=\"set\"} 6\n",
        "hotgate_cluster_commands_total{cluster=\"big\",command=\"set\"} 6\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
}
