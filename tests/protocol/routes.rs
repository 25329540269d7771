//! Keys live in several clusters, and clients see one: single keys, many keys, transactions, scripts, scans, sessions.
//!
//! Three targets: the server of `[upstream]`, a Redis Cluster called `wide`, and two servers, `left` and `right`, that share tenants.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_for, wait_until};

/// The servers, and a gateway before them.
pub struct Clusters {
    pub default: Server,
    pub wide: Cluster,
    pub left: Server,
    pub right: Server,
    pub gateway: Gateway,
}

impl Clusters {
    pub fn start(more: &str) -> Clusters {
        let (default, wide) = (Server::start(), Cluster::start());
        let (left, right) = (Server::start(), Server::start());
        let config = format!("{}{more}", config(&wide.seeds(), &left.seed(), &right.seed()));
        let gateway = Gateway::before(&default).config(&config).flag("--workers", "2").start();
        let clusters = Clusters { default, wide, left, right, gateway };
        clusters.wait_until_known();
        clusters
    }

    /// Until every cluster has said what it is.
    fn wait_until_known(&self) {
        let mut client = self.gateway.client();
        for key in ["plain", "w:1", "t:0:x", "t:1:x", "t:2:x", "t:3:x"] {
            wait_until("every cluster is known", || client.ask(&format!("EXISTS {key}")).starts_with(':'));
        }
    }

    /// The names of the places where a key is.
    pub fn where_is(&self, key: &str) -> Vec<&'static str> {
        let exists = |mut client: Client| client.integer(&format!("EXISTS {key}")) == 1;
        let in_wide = exists(self.wide.client(self.wide.master_of(key)));
        let found = [
            (exists(self.default.client()), "default"),
            (in_wide, "wide"),
            (exists(self.left.client()), "left"),
            (exists(self.right.client()), "right"),
        ];
        found.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect()
    }
}

fn array(servers: &str) -> String {
    let quoted: Vec<String> = servers.split(',').map(|server| format!("{server:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

pub fn config(wide: &str, left: &str, right: &str) -> String {
    let mut toml = String::new();
    for (name, servers) in [("wide", wide), ("left", left), ("right", right)] {
        toml += &format!("[[cluster]]\nname = {name:?}\nservers = {}\n", array(servers));
    }
    toml + "[[route]]\nmatch = \"w:*\"\nclusters = [\"wide\"]\n\
            [[route]]\nmatch = \"t:*:*\"\nclusters = [\"left\", \"right\"]\nby = \"$1\"\n"
}

fn shared() -> &'static Clusters {
    static SHARED: OnceLock<Clusters> = OnceLock::new();
    SHARED.get_or_init(|| Clusters::start(""))
}

/// One tenant in `left` and one in `right`.
fn tenants() -> (u32, u32) {
    let clusters = shared();
    let mut client = clusters.gateway.client();
    let mut of = |wanted: &str| {
        let found = (0..100).find(|tenant| {
            client.check(&format!("SET t:{tenant}:probe 1"), "+OK");
            clusters.where_is(&format!("t:{tenant}:probe")) == [wanted]
        });
        found.unwrap()
    };
    (of("left"), of("right"))
}

#[test]
fn every_key_lives_in_the_cluster_of_its_route_and_nowhere_else() {
    let clusters = shared();
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        let mut seen = BTreeSet::new();
        for number in 0..30 {
            for key in [format!("own:{number}"), format!("w:own{number}"), format!("t:{number}:own")] {
                client.check(&format!("SET {key} {number}"), "+OK");
                client.check(&format!("INCR {key}"), &format!(":{}", number + 1));
                let places = clusters.where_is(&key);
                assert_eq!(places.len(), 1, "{key} is in {places:?}");
                match &key[..2] {
                    "w:" => assert_eq!(places, ["wide"], "{key}"),
                    "t:" => assert!(["left", "right"].contains(&places[0]), "{key} is in {places:?}"),
                    _ => assert_eq!(places, ["default"], "{key}"),
                }
                seen.insert(places[0]);
            }
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
    let (left, right) = tenants();
    let mut client = clusters.gateway.client();
    for (tenant, name) in [(left, "left"), (right, "right")] {
        for key in [format!("t:{tenant}:a"), format!("t:{tenant}:b:c")] {
            client.check(&format!("SET {key} 1"), "+OK");
            assert_eq!(clusters.where_is(&key), [name], "{key}");
        }
    }
}

#[test]
fn commands_of_many_keys_are_answered_in_the_order_of_the_keys() {
    let (left, right) = tenants();
    let clusters = shared();
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        let keys = format!("many:a w:many{{1}} t:{left}:many w:many{{2}} t:{right}:many many:b");
        client.check(&format!("DEL {keys}"), ":...");
        let pairs: Vec<String> = keys.split(' ').enumerate().map(|(at, key)| format!("{key} {at}")).collect();
        client.check(&format!("MSET {}", pairs.join(" ")), "+OK");
        client.check(&format!("MGET {keys}"), "*6 $1 0 $1 1 $1 2 $1 3 $1 4 $1 5");
        client.check(&format!("EXISTS {keys} many:none"), ":6");
        client.check(&format!("TOUCH {keys}"), ":6");
        client.check(&format!("UNLINK many:a w:many{{1}} t:{left}:many"), ":3");
        client.check(&format!("DEL {keys}"), ":3");
    }
}

#[test]
fn what_would_touch_two_clusters_is_refused_and_says_so() {
    let (left, right) = tenants();
    let clusters = shared();
    let mut client = clusters.gateway.client();
    client.check(&format!("MSET cross:a 1 w:cross 1 t:{left}:cross 1 t:{right}:cross 1"), "+OK");
    for line in [
        format!("RENAME cross:a t:{left}:moved"),
        format!("COPY t:{left}:cross t:{right}:copy"),
        format!("SORT cross:list STORE t:{left}:sorted"),
        format!("SUNIONSTORE w:x cross:a t:{left}:x"),
        format!("BLPOP cross:list t:{right}:list 1"),
        format!("WATCH cross:a t:{left}:cross"),
        "EVAL return 2 cross:a w:cross".to_owned(),
        "MSETNX cross:a 1 w:cross 1".to_owned(),
    ] {
        client.check(&line, "-CROSSSLOT hotgate: the keys of this command live in ...");
    }
    let told = client.ask(&format!("RENAME cross:a t:{left}:moved"));
    assert!(told.contains("2 clusters (default, left)"), "{told}");
    client.check("SORT cross:list BY w:weight_*", "-ERR hotgate: 'sort' is not passed on: ...");
    client.check("SORT cross:list BY cross:weight_*", "*0");
    client.check("SWAPDB 0 1", "-ERR hotgate: 'swapdb' is not passed on: ...");
    client.check("RENAME cross:a cross:b", "+OK");
    assert_eq!(clusters.where_is("cross:b"), ["default"]);
}

#[test]
fn transactions_and_watches_stay_in_one_cluster() {
    let (left, right) = tenants();
    let clusters = shared();
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        for key in
            ["multi".to_owned(), "w:multi".to_owned(), format!("t:{left}:multi"), format!("t:{right}:multi")]
        {
            client.check(&format!("DEL {key}"), ":...");
            client.check("MULTI", "+OK");
            client.check(&format!("INCR {key}"), "+QUEUED");
            client.check(&format!("INCR {key}"), "+QUEUED");
            client.check("EXEC", "*2 :1 :2");
            assert_eq!(clusters.where_is(&key).len(), 1, "{key}");
            // Somebody else changes what is watched.
            client.check(&format!("WATCH {key}"), "+OK");
            clusters.gateway.client().check(&format!("INCR {key}"), ":3");
            client.check("MULTI", "+OK");
            client.check(&format!("INCR {key}"), "+QUEUED");
            let null = client.ask("EXEC");
            assert!(null == "*-1" || null == "_", "{key}: {null}");
        }
        for second in ["INCR multi".to_owned(), format!("INCR t:{right}:multi"), "PUBLISH news x".to_owned()]
        {
            client.check("MULTI", "+OK");
            client.check(&format!("INCR t:{left}:multi"), "+QUEUED");
            client.check(
                &second,
                "-CROSSSLOT hotgate: the commands of a transaction have to run in one cluster...",
            );
            client.check("EXEC", "-EXECABORT ...");
        }
        client.check("MULTI", "+OK");
        client.check("PUBLISH news x", "+QUEUED");
        client.check(&format!("INCR t:{left}:multi"), "-CROSSSLOT hotgate: ...");
        client.check("EXEC", "-EXECABORT ...");
        client.check(&format!("WATCH t:{left}:multi"), "+OK");
        client.check(&format!("WATCH t:{right}:multi"), "-CROSSSLOT ...");
        client.check("UNWATCH", "+OK");
        client.check("MULTI", "+OK");
        client.check("INCR multi", "+QUEUED");
        client.check("PUBLISH news x", "+QUEUED");
        client.check("EXEC", "*2 :4 :0");
        client.check("DEL multi", ":1");
    }
}

#[test]
fn scripts_run_where_their_keys_are() {
    let (left, right) = tenants();
    let clusters = shared();
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        let body = "return redis.call('incr', KEYS[1])";
        let sha = String::from_utf8(client.call(&["SCRIPT", "LOAD", body])).unwrap();
        let sha = sha.split("\r\n").nth(1).unwrap().to_owned();
        for key in ["script".to_owned(), "w:script".to_owned(), format!("t:{left}:s"), format!("t:{right}:s")]
        {
            client.check(&format!("DEL {key}"), ":...");
            client.check(&format!("EVALSHA {sha} 1 {key}"), ":1");
            client.check(&format!("GET {key}"), "$1 1");
            assert_eq!(clusters.where_is(&key).len(), 1);
        }
        client.check(&format!("SCRIPT EXISTS {sha}"), "*1 :1");
    }
}

/// Whole-keyspace commands have servers of their own, since others' keys would count.
#[test]
fn commands_on_the_whole_keyspace_go_to_all_clusters() {
    let clusters = Clusters::start("");
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        client.check("FLUSHALL", "+OK");
        client.check("DBSIZE", ":0");
        let none = client.ask("RANDOMKEY");
        assert!(none == "$-1" || none == "_", "{none}");
        let mut all = BTreeSet::new();
        for number in 0..60 {
            for key in [format!("all:{number}"), format!("w:all{number}"), format!("t:{number}:all")] {
                client.check(&format!("SET {key} 1"), "+OK");
                all.insert(key);
            }
        }
        client.check("DBSIZE", ":180");
        assert_eq!(client.list("KEYS *").into_iter().collect::<BTreeSet<_>>(), all);
        let random = client.text("RANDOMKEY");
        assert!(all.contains(&random), "{random}");
        for count in [1, 7, 1000] {
            let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
            loop {
                let mut page = client.list(&format!("SCAN {cursor} COUNT {count}"));
                cursor = page.remove(0);
                found.extend(page);
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all, "COUNT {count}");
        }
        client.check("SCAN 1023", "-ERR invalid cursor");
        client.check("WAIT 0 10", ":0");
        client.check("FLUSHDB", "+OK");
        for mut server in [clusters.default.client(), clusters.left.client(), clusters.right.client()] {
            server.check("DBSIZE", ":0");
        }
    }
}

#[test]
fn databases_are_those_of_servers_and_a_redis_cluster_has_none() {
    let (left, _) = tenants();
    let clusters = shared();
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        client.check("SELECT 3", "+OK");
        for key in ["database".to_owned(), format!("t:{left}:database")] {
            client.check(&format!("DEL {key}"), ":...");
            client.check(&format!("INCR {key}"), ":1");
        }
        let refusal = "-ERR hotgate: 'incr' is not passed on: a key of it lives in a Redis Cluster...";
        client.check("INCR w:database", refusal);
        client.check("MGET database w:database", "-ERR hotgate: 'mget' is not passed on: ...");
        client.check("MULTI", "+OK");
        client.check("INCR w:database", refusal);
        client.check("EXEC", "-EXECABORT ...");
        client.check("FLUSHALL", "-ERR hotgate: this command goes to all clusters...");
        assert!(client.list("KEYS *").contains(&format!("t:{left}:database")));
        let mut page = client.list("SCAN 0 COUNT 1000");
        while page[0] != "0" && !page.contains(&format!("t:{left}:database")) {
            page = client.list(&format!("SCAN {} COUNT 1000", page[0]));
        }
        assert!(page.contains(&format!("t:{left}:database")), "{page:?}");
        client.check("SELECT 0", "+OK");
        client.check("INCR w:database", ":...");
        client.check("MULTI", "+OK");
        client.check("SELECT 3", "+QUEUED");
        client.check("INCR w:database", refusal);
        client.check("EXEC", "-EXECABORT ...");
        let mut direct = clusters.left.client();
        direct.check("SELECT 3", "+OK");
        direct.check(&format!("GET t:{left}:database"), "$1 1");
    }
}

#[test]
fn blocking_and_messages_reach_every_cluster() {
    let (left, right) = tenants();
    let clusters = shared();
    let mut client = clusters.gateway.client();
    for key in
        ["queue".to_owned(), "w:queue".to_owned(), format!("t:{left}:queue"), format!("t:{right}:queue")]
    {
        client.send_line(&format!("BLPOP {key} 0"));
        let mut pusher = clusters.gateway.client();
        wait_until("somebody blocks", || clusters.blocked() == 1);
        pusher.check(&format!("LPUSH {key} job"), ":1");
        client.expect("BLPOP", &format!("*2 ${} {key} $3 job", key.len()));
    }
    let mut subscriber = clusters.gateway.client();
    subscriber.check("SUBSCRIBE news w:news", "*3 $9 subscribe $4 news :1");
    subscriber.expect("", "*3 $9 subscribe $6 w:news :2");
    client.check("PUBLISH news 1", ":1");
    subscriber.expect("", "*3 $7 message $4 news $1 1");
    client.check("PUBLISH w:news 2", ":1");
    subscriber.expect("", "*3 $7 message $6 w:news $1 2");
    for channel in ["sharded".to_owned(), "w:sharded".to_owned(), format!("t:{right}:sharded")] {
        let mut subscriber = clusters.gateway.client();
        subscriber.check(&format!("SSUBSCRIBE {channel}"), "*3 $10 ssubscribe ...");
        client.check(&format!("SPUBLISH {channel} x"), ":1");
        subscriber.expect("", &format!("*3 $8 smessage ${} {channel} $1 x", channel.len()));
    }
    client.check(&format!("SSUBSCRIBE sharded t:{left}:sharded"), "-CROSSSLOT ...");
}

impl Clusters {
    /// Clients that wait at some server.
    fn blocked(&self) -> usize {
        let mut servers = vec![self.default.client(), self.left.client(), self.right.client()];
        servers.extend(self.wide.masters().into_iter().map(|master| self.wide.client(master)));
        let of = |client: &mut Client| {
            let info = client.text("INFO clients");
            let line =
                info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().to_owned();
            line.trim().parse::<usize>().unwrap()
        };
        servers.iter_mut().map(of).sum()
    }
}

#[test]
fn events_and_invalidations_come_from_every_cluster() {
    let (left, _) = tenants();
    let clusters = shared();
    let mut servers = vec![clusters.default.client(), clusters.left.client(), clusters.right.client()];
    servers.extend(clusters.wide.masters().into_iter().map(|master| clusters.wide.client(master)));
    servers.iter_mut().for_each(|server| server.check("CONFIG SET notify-keyspace-events KEA", "+OK"));
    let mut subscriber = clusters.gateway.client();
    subscriber.check("SUBSCRIBE __keyevent@0__:persist", "*3 $9 subscribe ...");
    let mut writer = clusters.gateway.client();
    let keys = ["event".to_owned(), "w:event1".to_owned(), "w:event2".to_owned(), format!("t:{left}:event")];
    for key in &keys {
        writer.check(&format!("SET {key} 1 EX 1000"), "+OK");
        writer.check(&format!("PERSIST {key}"), ":1");
        subscriber.expect(key, &format!("*3 $7 message $22 __keyevent@0__:persist ${} {key}", key.len()));
    }
    let mut tracker = clusters.gateway.speaking(crate::support::Version::Resp3);
    for mode in ["", " BCAST"] {
        tracker.check(&format!("CLIENT TRACKING ON{mode}"), "+OK");
        for key in &keys {
            if mode.is_empty() {
                tracker.check(&format!("GET {key}"), "$1 1");
            }
            writer.check(&format!("SET {key} 1"), "+OK");
            tracker.expect(key, &format!(">2 $10 invalidate *1 ${} {key}", key.len()));
        }
        tracker.check("CLIENT TRACKING OFF", "+OK");
    }
}

#[test]
fn one_name_is_another_key_in_every_cluster() {
    let hot = "[combine]\n[[rule]]\nmatch = \"*hot\"\nmode = \"combine\"\n[[quota]]\nmatch = \"t:*:sold\"\nlimit = 10\n";
    let clusters = Clusters::start(hot);
    let mut client = clusters.gateway.client();
    // It lies in two servers, and the gateway goes to the one of its route only.
    clusters.default.client().check("SET w:hot 100", "+OK");
    for number in 1..=50 {
        client.check("INCR w:hot", &format!(":{number}"));
        client.check("INCR plain:hot", &format!(":{number}"));
    }
    clusters.default.client().check("GET w:hot", "$3 100");
    for tenant in 0..8 {
        for number in 1..=10 {
            client.check(&format!("INCR t:{tenant}:sold"), &format!(":{number}"));
        }
        client.check(&format!("INCR t:{tenant}:sold"), "-QUOTA ...");
    }
    client.check("HOTGATE QUOTA SET t:3:sold LIMIT 12", "+...");
    client.check("INCR t:3:sold", ":11");
    let places = clusters.where_is("t:3:sold");
    assert_eq!(places.len(), 1);
    // What the gateway keeps of a counter is beside it.
    let beside = match places[0] {
        "left" => clusters.left.client().list("KEYS *hotgate:*"),
        _ => clusters.right.client().list("KEYS *hotgate:*"),
    };
    assert!(beside.iter().any(|key| key.ends_with("t:3:sold")), "{beside:?}");
}

#[test]
fn a_gateway_of_several_clusters_starts_while_some_are_away_and_says_which() {
    let (default, left) = (Server::start(), Server::start());
    let mut right = Server::start();
    let nobody = format!("127.0.0.1:{}", crate::support::free_port());
    right.kill();
    let config = config(&nobody, &left.seed(), &right.seed())
        + "[upstream]\nunavailable_wait = \"200ms\"\nbackoff_max = \"50ms\"\n";
    let gateway = Gateway::before(&default).config(&config).start();
    let mut client = gateway.client();
    client.check("SET plain 1", "+OK");
    let tell = |gateway: &Gateway| gateway.get("/readyz");
    let (status, body) = wait_for("both are found to be away", || {
        let (status, body) = tell(&gateway);
        (body.contains("cluster wide: ") && body.contains("cluster right: ")).then_some((status, body))
    });
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(&nobody) && !body.contains("cluster left") && !body.contains("cluster default"),
        "{body}"
    );
    client.check("GET plain", "$1 1");
    client.check("SET w:x 1", "-ERR hotgate: ...");
    assert_eq!(gateway.get("/api/stats").1.matches("Keys of one cluster can't be served").count(), 2);
    right.restart();
    let answers =
        |client: &mut Client| (0..20).all(|tenant| client.ask(&format!("SET t:{tenant}:x 1")) == "+OK");
    wait_until("a cluster that came is used", || answers(&mut client));
    wait_until("it is not away any more", || !tell(&gateway).1.contains("cluster right"));
}

#[test]
fn a_reload_that_moves_keys_is_refused_unless_it_is_meant() {
    let clusters = Clusters::start("");
    let base = config(&clusters.wide.seeds(), &clusters.left.seed(), &clusters.right.seed());
    let mut client = clusters.gateway.client();
    client.check("SET big:1 here", "+OK");
    let route = "[[route]]\nmatch = \"big:*\"\nclusters = [\"left\"]\n";
    clusters.gateway.reload(&format!("{base}{route}"));
    let refused = "keys that match \\\"big:*\\\" live in default and would be looked for in left";
    wait_until("the reload is refused", || clusters.gateway.log().contains("would be looked for in left"));
    assert!(clusters.gateway.log().contains("set force = true"), "{refused}");
    client.check("GET big:1", "$4 here");
    clusters.gateway.reload(&format!("{base}{route}force = true\n"));
    wait_until("the route holds", || client.ask("GET big:1") == "$-1");
    client.check("SET big:1 there", "+OK");
    clusters.left.client().check("GET big:1", "$5 there");
    // What is only a restart's.
    let one_more = "[[cluster]]\nname = \"more\"\nservers = [\"127.0.0.1:1\"]\n";
    clusters.gateway.reload(&format!("{base}{one_more}{route}force = true\n"));
    wait_until("it waits for a restart", || {
        clusters.gateway.log().contains("changed in the file, but only a restart takes it")
    });
    client.check("GET big:1", "$5 there");
    clusters.gateway.reload(&format!(
        "{base}{one_more}{route}force = true\n{}",
        route.replace("left", "more").replace("big", "huge")
    ));
    wait_until("a route to it is refused", || clusters.gateway.log().contains("\"more\" is no cluster"));
}
