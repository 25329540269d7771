//! `INFO`, `CONFIG GET` and `DBSIZE` tell what is true of the servers behind the gateway: beside each answer stands that of
//! the server itself, or the sum of all masters'.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::text::elements;
use crate::support::{self, BOTH_VERSIONS, Client, Cluster, Gateway, Server, shared, wait_until};

/// The fields of an INFO text by section, read as exporters do.
fn sections(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.to_owned();
            let new = sections.insert(section.clone(), BTreeMap::new()).is_none();
            assert!(new, "{section} is there twice: {text}");
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line}"));
        let fields = sections.get_mut(&section).expect("a section comes first");
        let old = fields.insert(field.to_owned(), value.to_owned());
        assert!(old.is_none() || field == "module", "{field} is there twice: {text}");
    }
    sections
}

fn info(client: &mut Client, section: &str) -> BTreeMap<String, String> {
    let line = format!("INFO {section}");
    sections(&client.text(&line)).into_values().next().unwrap_or_default()
}

/// `CONFIG GET` as pairs.
fn config(client: &mut Client, patterns: &str) -> BTreeMap<String, String> {
    let words = client.list(&format!("CONFIG GET {patterns}"));
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// What the gateway says for itself.
const OWNED: [&str; 21] = [
    "maxclients",
    "timeout",
    "tcp-keepalive",
    "proto-max-bulk-len",
    "client-query-buffer-limit",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "commandlog-execution-slower-than",
    "commandlog-request-larger-than",
    "commandlog-reply-larger-than",
    "commandlog-slow-execution-max-len",
    "commandlog-large-request-max-len",
    "commandlog-large-reply-max-len",
    "bind",
    "port",
    "unixsocket",
    "unixsocketperm",
    "tcp-backlog",
    "cluster-enabled",
    "replicaof",
    "slaveof",
];

#[test]
fn config_get_is_the_servers_where_the_gateway_does_not_own_it() {
    let server = Server::with(&["--databases", "9", "--notify-keyspace-events", "KEA"]);
    let gateway = Gateway::before_server(&server);
    let mut direct = server.client();
    direct.check("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru", "+OK");
    for version in BOTH_VERSIONS {
        let mut through = gateway.speaking(version);
        let mut plain = Client::speaking(server.address(), version);
        for patterns in [
            "databases",
            "DataBases",
            "notify-keyspace-events",
            "maxmemory*",
            "maxmemory maxmemory-policy databases",
            "save appendonly",
            "hash-max-*-entries slowlog-* nosuch",
            "nosuch",
            "no*such",
            "key-load-delay",
            "[ab]ppend*",
        ] {
            let line = format!("CONFIG GET {patterns}");
            let (mine, theirs) = (through.call_line(&line), plain.call_line(&line));
            assert_eq!(mine[0], theirs[0], "{line}: a map or an array");
            assert_eq!(config(&mut through, patterns), config(&mut plain, patterns), "{line}");
        }
        through.check("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command");
        let all = config(&mut through, "*");
        let theirs = config(&mut plain, "*");
        for (name, value) in all.iter().filter(|(name, _)| !OWNED.contains(&name.as_str())) {
            assert_eq!(theirs.get(name), Some(value), "{name}");
        }
        assert_eq!(all["port"], gateway.address.port().to_string());
        assert_eq!((all["cluster-enabled"].as_str(), all["timeout"].as_str()), ("no", "0"));
        let hidden: BTreeSet<&str> =
            theirs.keys().map(String::as_str).filter(|name| !all.contains_key(*name)).collect();
        assert!(hidden.contains("masterauth") && !hidden.contains("requirepass"), "{hidden:?}");
        assert_eq!(config(&mut through, "port databases").len(), 2);
    }
}

#[test]
fn what_the_gateway_is_towards_the_server_stays_with_it() {
    let server = Server::with(&["--requirepass", "inner"]);
    let config_file = "[upstream]\npassword = 'inner'\n[auth]\npassword = 'outer'\n";
    let gateway = Gateway::before(&server).config(config_file).start();
    let mut client = gateway.client();
    client.check("CONFIG GET databases", "-NOAUTH ...");
    client.check("AUTH outer", "+OK");
    for patterns in ["*", "requirepass", "REQUIREPASS masterauth", "*pass*", "databases"] {
        let shown = config(&mut client, patterns);
        assert!(!shown.values().any(|value| value == "inner" || value == "outer"), "{patterns}: {shown:?}");
    }
    assert_eq!(config(&mut client, "databases")["databases"], "16");
    let address = server.address().to_string();
    wait_until("the figures know the server", || client.text("INFO upstreams").contains(&address));
    let text = client.text("INFO everything");
    let (before, upstreams) = text.split_once("# Upstreams").unwrap();
    assert!(!before.contains(&address) && upstreams.contains(&address), "for operators only: {text}");
}

#[test]
fn a_server_that_refuses_config_leaves_what_the_gateway_owns() {
    let server = Server::with(&["--rename-command", "CONFIG", ""]);
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("CONFIG GET databases", "-ERR unknown command 'CONFIG'...");
    assert_eq!(config(&mut client, "databases maxclients"), [("maxclients".into(), "10000".into())].into());
    assert!(config(&mut client, "*").contains_key("port"));
}

/// The fields of the data, which one server says and the gateway repeats; those that move by themselves left out.
const OF_THE_DATA: [(&str, &[&str]); 5] = [
    (
        "memory",
        &["maxmemory", "maxmemory_human", "maxmemory_policy", "mem_allocator", "number_of_cached_scripts"],
    ),
    ("persistence", &["loading", "aof_enabled", "rdb_changes_since_last_save", "rdb_last_bgsave_status"]),
    ("stats", &["keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys", "pubsub_channels"]),
    (
        "replication",
        &["role", "connected_slaves", "master_replid", "master_repl_offset", "repl_backlog_size"],
    ),
    ("errorstats", &["errorstat_WRONGTYPE"]),
];

#[test]
fn info_of_one_server_is_that_servers_where_it_concerns_the_data() {
    let server = Server::with(&["--maxmemory", "64mb", "--maxmemory-policy", "volatile-lfu"]);
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("SET a 1 EX 1000", "+OK");
    client.check("SET b 1", "+OK");
    client.check("GET a", "$1 1");
    client.check("GET nothing", "$-1");
    client.check("LPUSH a 1", "-WRONGTYPE ...");
    client.check("SELECT 3", "+OK");
    client.check("SET c 1", "+OK");
    let mut direct = server.client();
    for (section, fields) in OF_THE_DATA {
        let (mine, theirs) = (info(&mut client, section), info(&mut direct, section));
        for field in fields {
            assert_eq!(mine.get(*field), theirs.get(*field), "{section} {field}");
        }
    }
    let keyspace = info(&mut client, "keyspace");
    assert!(keyspace["db0"].starts_with("keys=2,expires=1,avg_ttl="), "{keyspace:?}");
    assert!(keyspace["db3"].starts_with("keys=1,expires=0,"), "{keyspace:?}");
    let calls = info(&mut client, "commandstats");
    assert!(calls["cmdstat_set"].starts_with("calls=3,usec="), "{calls:?}");
    assert!(calls["cmdstat_lpush"].ends_with("failed_calls=1"), "{calls:?}");
    assert!(info(&mut client, "latencystats").contains_key("latency_percentiles_usec_get"));
    // What is told is as new as what was answered before.
    for keys in 3..8 {
        client.check(&format!("SET more:{keys} 1"), "+OK");
        let text = info(&mut client, "keyspace")["db3"].clone();
        assert!(text.starts_with(&format!("keys={},", keys - 1)), "{text}");
    }
}

#[test]
fn info_has_the_sections_that_are_asked_for_as_redis_has() {
    let (server, gateway) = shared::single(module_path!());
    let own = ["Hotgate", "Hotkeys", "Upstreams", "Quotas", "Sales"];
    for wanted in [
        "",
        "default",
        "all",
        "everything",
        "ALL",
        "server",
        "SERVER clients",
        "commandstats",
        "keyspace memory",
        "nosuch",
        "nosuch cpu",
        "modules",
        "default commandstats",
        "latencystats errorstats",
        "replication cluster",
    ] {
        let line = format!("INFO {wanted}");
        let mine = sections(&gateway.client().text(&line));
        let theirs = sections(&server.client().text(&line));
        let mine: Vec<&String> = mine.keys().filter(|name| !own.contains(&name.as_str())).collect();
        // `all` is everything but what modules add, and Redis leaves the headline out there.
        let theirs: Vec<&String> = theirs.keys().collect();
        let modules = &"Modules".to_string();
        let without =
            |names: Vec<&String>| names.into_iter().filter(|name| *name != modules).cloned().collect();
        let (mine, theirs): (Vec<String>, Vec<String>) = (without(mine), without(theirs));
        assert_eq!(mine, theirs, "{line}");
    }
    for version in BOTH_VERSIONS {
        let (mut mine, mut theirs) = (gateway.speaking(version), Client::speaking(server.address(), version));
        let (mine, theirs) = (mine.call_line("INFO nosuch"), theirs.call_line("INFO nosuch"));
        assert_eq!(mine, theirs, "nothing is told of a section that there is not");
    }
}

#[test]
fn connected_clients_counts_at_once() {
    let (server, _) = shared::single(module_path!());
    let gateway = Gateway::before_server(server);
    let mut first = gateway.client();
    let mut others = Vec::new();
    for connected in 1..10 {
        assert_eq!(info(&mut first, "clients")["connected_clients"], connected.to_string());
        let mut other = gateway.client();
        other.check("PING", "+PONG");
        others.push(other);
    }
}

#[test]
fn info_of_a_cluster_is_the_sum_of_its_masters() {
    let cluster = Cluster::with(&["--maxmemory", "32mb"]);
    let gateway = Gateway::before_cluster(&cluster);
    let mut client = gateway.client();
    for key in 0..100 {
        client.check(&format!("SET key:{key} 1"), "+OK");
        client.check(&format!("GET key:{key}"), "$1 1");
    }
    for key in 0..10 {
        client.check(&format!("EXPIRE key:{key} 1000"), ":1");
    }
    client.check("DBSIZE", ":100");
    client.check("GET key:1", "$1 1");
    assert!(info(&mut client, "keyspace")["db0"].starts_with("keys=100,expires=10,avg_ttl="));
    assert!(info(&mut client, "commandstats")["cmdstat_set"].starts_with("calls=100,"));
    assert_eq!(info(&mut client, "stats")["keyspace_hits"], "101");
    let memory = info(&mut client, "memory");
    assert_eq!((memory["maxmemory"].as_str(), memory["maxmemory_human"].as_str()), ("100663296", "96.00M"));
    assert_eq!(memory["maxmemory_policy"], "noeviction");
    let used: u64 = memory["used_memory"].parse().unwrap();
    let mut of_masters = 0;
    for master in cluster.masters() {
        of_masters += info(&mut cluster.client(master), "memory")["used_memory"].parse::<u64>().unwrap();
    }
    assert!(used > of_masters / 2 && used < of_masters * 2, "{used} of {of_masters}");
    let replication = info(&mut client, "replication");
    assert_eq!((replication["role"].as_str(), replication["connected_slaves"].as_str()), ("master", "3"));
    assert!(!replication.contains_key("slave0"), "{replication:?}");
    assert_eq!(info(&mut client, "cluster")["cluster_enabled"], "1");
    assert_eq!(config(&mut client, "maxmemory cluster-enabled").len(), 2);
    assert_eq!(config(&mut client, "cluster-enabled")["cluster-enabled"], "yes");
}

#[test]
fn a_server_that_does_not_answer_holds_up_no_answer() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    server.pause();
    let started = Instant::now();
    for _ in 0..20 {
        let info = sections(&client.text("INFO"));
        assert!(info["Keyspace"].is_empty(), "nothing is made up: {info:?}");
        assert!(!info["Memory"].contains_key("used_memory"), "nothing is made up: {info:?}");
        assert_eq!(info["Server"]["hotgate_masters_without_answer"], "1");
        assert_eq!(info["Clients"]["connected_clients"], "1");
        assert!(client.ask("CONFIG GET databases").starts_with("-ERR hotgate: no server answered"));
    }
    // Far more than it takes, and far less than twenty times the patience with one server.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    server.resume();
    wait_until("the server is asked again", || info(&mut client, "keyspace").contains_key("db0"));
}

#[test]
fn a_storm_of_info_does_not_reach_the_server() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let calls = |direct: &mut Client| {
        let stats = info(direct, "commandstats");
        stats.get("cmdstat_info").map_or(0, |line| {
            line.strip_prefix("calls=").unwrap().split(',').next().unwrap().parse::<u64>().unwrap()
        })
    };
    let (mut client, mut direct) = (gateway.client(), server.client());
    let before = calls(&mut direct);
    let started = Instant::now();
    for _ in 0..50 {
        client.send(&support::text::request("INFO").repeat(20));
        (0..20).for_each(|_| assert_eq!(client.reply()[0], b'$'));
    }
    // Fifty at once and fifty in each second; the topology is looked at now and then, and the count itself is one.
    let allowed = 80 + 60 * started.elapsed().as_millis() as u64 / 1000;
    let asked = calls(&mut direct) - before;
    assert!(asked <= allowed, "{asked} questions for 1000 INFO in {:?}", started.elapsed());
}

/// What an exporter reads, by the names of its metrics.
fn exported(client: &mut Client) -> BTreeMap<String, String> {
    let info = sections(&client.text("INFO ALL"));
    let mut metrics = BTreeMap::new();
    let databases: u64 = elements(&client.call_line("CONFIG GET databases"))[1].parse().unwrap();
    for database in 0..databases {
        let line = info["Keyspace"].get(&format!("db{database}"));
        let keys = line.map_or("0", |line| line.split(['=', ',']).nth(1).unwrap());
        metrics.insert(format!("db_keys{{db=\"db{database}\"}}"), keys.to_owned());
    }
    for (command, line) in &info["Commandstats"] {
        let calls = line.strip_prefix("calls=").unwrap().split(',').next().unwrap();
        metrics.insert(format!("commands_total{{{command}}}"), calls.to_owned());
    }
    for field in ["maxmemory", "maxmemory_policy"] {
        metrics.insert(format!("memory_{field}"), info["Memory"][field].clone());
    }
    let config = config(client, "maxmemory");
    metrics.insert("config_maxmemory".into(), config["maxmemory"].clone());
    for line in ["LATENCY LATEST", "LATENCY HISTOGRAM set incr", "MODULE LIST"] {
        let reply = support::text::one_line(&client.call_line(line));
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        // Times differ.
        let shown = if line.contains("HISTOGRAM") { reply.split(" $14").next().unwrap() } else { &reply };
        metrics.insert(line.to_owned(), shown.to_owned());
    }
    // What asking itself counts.
    metrics.retain(|name, _| !["info", "hello", "ping", "|"].iter().any(|own| name.contains(own)));
    metrics
}

#[test]
fn an_exporter_shows_through_the_gateway_what_it_shows_of_the_server() {
    let server = Server::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    for line in ["SET a 1", "INCR n", "LPUSH l 1 2 3", "SELECT 2", "SET b 1"] {
        assert!(!client.ask(line).starts_with('-'));
    }
    let without_gateway = |metrics: BTreeMap<String, String>| -> BTreeMap<String, String> {
        // The gateway's own questions, by which it knows its server and the sales there.
        let asked = ["cmdstat_command", "cmdstat_zrangebylex", "cmdstat_exists", "cmdstat_select"];
        let own = |name: &str| asked.iter().any(|each| name.contains(each));
        metrics.into_iter().filter(|(name, _)| !own(name)).collect()
    };
    assert_eq!(without_gateway(exported(&mut client)), without_gateway(exported(&mut server.client())));
}
