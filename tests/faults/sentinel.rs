//! A master that Sentinels name is followed through failovers, under load: a gateway becomes well by itself, answers with what the new master
//! has, and never goes back to a server that is no master any more.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::certificates::tls_port;
use crate::support::secured::Secured;
use crate::support::sentinels::{MASTER, Sentinel, Watched};
use crate::support::{Client, Gateway, Server, free_port, wait_for, wait_until};

/// Clients that write, each key once, and what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Load {
    fn start(gateway: &Gateway) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..4).map(|writer| {
            let (stop, address) = (Arc::clone(&stop), gateway.address);
            std::thread::spawn(move || {
                let (mut acknowledged, mut client) = (BTreeSet::new(), Client::connect(address));
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("key:{writer}:{number}");
                    let sent = client.try_send(format!("SET {key} {number}\r\n").as_bytes());
                    match sent.and_then(|()| client.try_reply()) {
                        Ok(reply) if reply == b"+OK\r\n" => drop(acknowledged.insert(key)),
                        Ok(reply) => assert!(reply.starts_with(b"-"), "{}", String::from_utf8_lossy(&reply)),
                        Err(_) => client = Client::connect(address),
                    }
                }
                acknowledged
            })
        });
        Load { writers: writers.collect(), stop }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    }
}

/// What is acknowledged is at the server on which this key is found.
fn is_written_to(gateway: &Gateway, watched: &Watched, server: usize) -> bool {
    let mut client = gateway.client();
    let value = format!("{:x}", rand::random::<u64>());
    client.ask(&format!("SET mark {value}")) == "+OK"
        && watched.servers[server].client().ask("GET mark") == format!("${} {value}", value.len())
}

/// Waits for the failover from the first server, and for the gateway to have followed it.
fn follow(gateway: &Gateway, watched: &Watched) -> usize {
    let promoted =
        wait_for("another server is promoted", || watched.settled_master().filter(|server| *server != 0));
    wait_until("the gateway writes there", || is_written_to(gateway, watched, promoted));
    promoted
}

/// Sentinels close the connections of who they make a replica.
fn is_replica(server: &Server) -> bool {
    let Ok(mut client) = Client::try_connect(server.address()) else { return false };
    let asked = client.try_send(b"INFO replication\r\n").and_then(|()| client.try_reply());
    asked.is_ok_and(|reply| String::from_utf8_lossy(&reply).contains("role:slave"))
}

/// Nothing is told that an operator would have to do something about. Asked too often, the admin side says nothing.
fn is_well(gateway: &Gateway) -> bool {
    let (code, text) = gateway.get("/api/stats");
    code == 200 && (text.contains("\"level\":\"ok\"") || text.contains("\"level\":\"notice\""))
}

/// Through the gateway every key is what it is at the master.
fn check_equal(gateway: &Gateway, watched: &Watched, master: usize, keys: &BTreeSet<String>) {
    let (mut client, mut direct) = (gateway.client(), watched.servers[master].client());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for some in keys.chunks(500) {
        let line = format!("MGET {}", some.join(" "));
        assert_eq!(client.call_line(&line), direct.call_line(&line));
    }
}

#[test]
fn a_killed_master_is_followed_to_the_one_that_is_promoted() {
    let mut watched = Watched::start(2, &[], "");
    watched.wait_until_whole("");
    let gateway = Gateway::by_file(&watched.config()).start();
    let load = Load::start(&gateway);
    wait_until("it writes", || watched.servers[0].client().integer("DBSIZE") > 500);
    watched.servers[0].kill();
    let promoted = follow(&gateway, &watched);
    let after = Load::start(&gateway);
    wait_until("it is well again", || is_well(&gateway));
    // The former master comes back, takes itself for a master at first, and is made a replica.
    watched.servers[0].restart();
    wait_until("it is a replica", || is_replica(&watched.servers[0]));
    let (acknowledged, since) = (load.end(), after.end());
    assert!(is_written_to(&gateway, &watched, promoted));
    check_equal(&gateway, &watched, promoted, &acknowledged);
    // Nothing was acknowledged since that is not at the new master.
    check_equal(&gateway, &watched, promoted, &since);
    let mut client = gateway.client();
    let line =
        format!("EXISTS {}", since.iter().take(1000).map(String::as_str).collect::<Vec<_>>().join(" "));
    assert_eq!(client.integer(&line) as usize, since.len().min(1000));
}

#[test]
fn a_master_that_hangs_is_left_and_not_gone_back_to() {
    let watched = Watched::start(1, &[], "");
    watched.wait_until_whole("");
    let gateway = Gateway::by_file(&watched.config()).start();
    let load = Load::start(&gateway);
    wait_until("it writes", || watched.servers[0].client().integer("DBSIZE") > 500);
    watched.servers[0].pause();
    let promoted = follow(&gateway, &watched);
    // For a moment it takes itself for the master still.
    watched.servers[0].resume();
    wait_until("it is a replica", || is_replica(&watched.servers[0]));
    let acknowledged = load.end();
    check_equal(&gateway, &watched, promoted, &acknowledged);
    assert!(is_written_to(&gateway, &watched, promoted));
}

#[test]
fn a_switch_that_an_operator_asks_for_is_heard_of_at_once() {
    let watched = Watched::start(1, &[], "");
    watched.wait_until_whole("");
    // Neither the timer nor a failing request makes it look.
    let config = watched.config() + "topology_refresh = \"1h\"\n";
    let gateway = Gateway::by_file(&config).start();
    let mut subscriber = gateway.client();
    subscriber.check("PING", "+PONG");
    wait_until("the switch is made", || {
        watched.sentinels[0].client().ask(&format!("SENTINEL FAILOVER {MASTER}")) == "+OK"
    });
    wait_until("the gateway knows", || {
        let (_, nodes) = gateway.get("/api/nodes");
        let nodes: serde_json::Value = serde_json::from_str(&nodes).unwrap();
        let promoted = watched.servers[1].address().to_string();
        nodes.to_string().contains(&promoted) && is_written_to(&gateway, &watched, 1)
    });
    wait_until("the Sentinels are done", || watched.settled_master() == Some(1));
}

#[test]
fn reads_go_to_replicas_where_that_is_wanted() {
    let watched = Watched::start(2, &[], "");
    watched.wait_until_whole("");
    let config = watched.config() + "read_from = \"replica\"\n";
    let gateway = Gateway::by_file(&config).start();
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    wait_until("a replica has it", || client.ask("GET k") == "$1 v");
    let reads =
        |server: usize| watched.servers[server].client().text("INFO commandstats").contains("cmdstat_get:");
    assert!(!reads(0) && (reads(1) || reads(2)));
}

/// What a Sentinel says that was cut off before any failover: the master at this port, in the first epoch.
fn outdated_sentinel(master: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let port = master.to_string();
    let words = |words: &[&str]| {
        let bulk: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{bulk}", words.len())
    };
    let state = words(&["name", MASTER, "ip", "127.0.0.1", "port", &port, "config-epoch", "0"]);
    let place = words(&["127.0.0.1", &port]);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let (state, place) = (state.clone(), place.clone());
            std::thread::spawn(move || {
                let mut asked = [0; 512];
                while let Ok(count @ 1..) = socket.read(&mut asked) {
                    let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
                    let reply = match asked {
                        asked if asked.contains("GET-MASTER-ADDR") => &place,
                        asked if asked.contains("\r\nMASTER\r\n") => &state,
                        _ => continue,
                    };
                    let Ok(()) = socket.write_all(reply.as_bytes()) else { return };
                }
            });
        }
    });
    address
}

#[test]
fn sentinels_may_be_down_and_one_that_was_cut_off_is_not_believed() {
    let mut watched = Watched::start(1, &[], "");
    watched.wait_until_whole("");
    let outdated = outdated_sentinel(watched.servers[0].port());
    let config = watched.config().replacen("servers = [", &format!("servers = [\"{outdated}\", "), 1);
    watched.sentinels[0].kill();
    let gateway = Gateway::by_file(&config).start();
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    watched.sentinels[0].restart();
    watched.servers[0].kill();
    let promoted = follow(&gateway, &watched);
    // The one that is outdated is the only one left, and what it names works and takes writes.
    watched.sentinels.iter_mut().for_each(Sentinel::kill);
    watched.servers[0].restart();
    for _ in 0..3 {
        watched.servers[promoted].client().check("CLIENT KILL TYPE normal SKIPME yes", ":...");
        wait_until("it is written to", || is_written_to(&gateway, &watched, promoted));
        watched.servers[0].client().check("GET mark", "$-1");
    }
    wait_until("it is said", || gateway.log().contains("from before a failover"));
}

#[test]
fn sentinels_of_a_further_cluster_and_their_servers_are_reached_with_tls() {
    let secured = Secured::new();
    let options = ["--tls-replication", "yes"];
    let servers = [Server::secured(secured, &options), Server::secured(secured, &options)];
    let [master, replica] = [&servers[0], &servers[1]].map(|server| tls_port(server.port()));
    servers[1].client().check(&format!("REPLICAOF 127.0.0.1 {master}"), "+OK");
    // They speak TLS beside their plain ports, and nothing else with the servers and each other.
    let tls_ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let sentinels: Vec<Sentinel> = tls_ports
        .iter()
        .map(|port| {
            let (pair, ca) = (&secured.pair, secured.authority.ca());
            let more = format!(
                "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\n\
                 tls-replication yes",
                pair.cert.display(),
                pair.key.display(),
                ca.display()
            );
            Sentinel::start(master, 2, &more)
        })
        .collect();
    let plain = Server::start();
    let addresses: Vec<String> = tls_ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let config = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[upstream]\nservers = [\"{}\"]\n\
         [[cluster]]\nname = \"watched\"\nservers = [{}]\nkind = \"sentinel\"\nmaster = \"{MASTER}\"\ntls = true\n\
         ca_file = {:?}\n[[route]]\nmatch = \"watched:*\"\nclusters = [\"watched\"]\n",
        plain.address(),
        addresses.join(", "),
        secured.authority.ca(),
    );
    let gateway = Gateway::by_file(&config).start();
    let mut client = gateway.client();
    wait_until("the master is found", || client.ask("SET watched:a 1") == "+OK");
    servers[0].client().check("GET watched:a", "$1 1");
    client.check("SET b 2", "+OK");
    plain.client().check("GET b", "$1 2");
    // The replica is promoted, and followed.
    wait_until("a Sentinel can hold a failover", || {
        sentinels[0].client().ask(&format!("SENTINEL FAILOVER {MASTER}")) == "+OK"
    });
    wait_until("the Sentinels name the other", || {
        sentinels[0].master().is_some_and(|(port, _)| port == replica)
    });
    wait_until("writes go there", || {
        client.ask("SET watched:a 3") == "+OK" && servers[1].client().ask("GET watched:a") == "$1 3"
    });
    client.check("GET b", "$1 2");
}
