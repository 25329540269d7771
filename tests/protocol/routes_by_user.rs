//! A route may be one of a user's alone: the same name is then another key for that user, in another cluster, whatever its session does.

use serde_json::Value;

use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, Version, wait_until};

/// Three servers: `default`, one of the user `eve`, and one of the keys `u:*` of the user `bob`.
struct Users {
    default: Server,
    eves: Server,
    bobs: Server,
    gateway: Gateway,
}

fn clusters(eves: &Server, bobs: &Server) -> String {
    let mut toml = String::new();
    for (name, server) in [("eves", eves), ("bobs", bobs)] {
        toml += &format!("[[cluster]]\nname = {name:?}\nservers = [{:?}]\n", server.seed());
    }
    toml
}

const ROUTES: &str = "[[route]]\nuser = \"eve\"\nclusters = [\"eves\"]\n\
    [[route]]\nuser = \"bob\"\nmatch = \"u:*\"\nclusters = [\"bobs\"]\n";

impl Users {
    fn start(more: &str) -> Users {
        let (default, eves, bobs) = (Server::start(), Server::start(), Server::start());
        let config = format!("{}{ROUTES}{more}", clusters(&eves, &bobs));
        let gateway = Gateway::before(&default).config(&config).flag("--workers", "2").start();
        let users = Users { default, eves, bobs, gateway };
        let mut operator = users.gateway.client();
        for user in ["eve", "bob"] {
            operator.check(&format!("ACL SETUSER {user} on >p ~* &* +@all"), "+OK");
        }
        for user in ["default", "eve", "bob"] {
            let mut client = users.as_user(user, Version::Resp2);
            wait_until("every cluster is known", || client.ask("EXISTS u:x").starts_with(':'));
        }
        users
    }

    fn as_user(&self, user: &str, version: Version) -> Client {
        let mut client = self.gateway.speaking(version);
        if user != "default" {
            client.check(&format!("AUTH {user} p"), "+OK");
        }
        client
    }

    /// What each server has under a name, `default`'s first.
    fn values(&self, key: &str) -> [String; 3] {
        [&self.default, &self.eves, &self.bobs].map(|server| server.client().ask(&format!("GET {key}")))
    }
}

/// `$-1`, or `_` in RESP3.
fn is_null(reply: &str) -> bool {
    reply == "$-1" || reply == "_"
}

#[test]
fn one_name_is_another_key_for_another_user() {
    let users = Users::start("");
    for version in BOTH_VERSIONS {
        let of = |user: &str| users.as_user(user, version);
        for (user, key, place) in [
            ("default", "plain", 0),
            ("eve", "plain", 1),
            ("bob", "plain", 0),
            ("default", "u:1", 0),
            ("eve", "u:1", 1),
            ("bob", "u:1", 2),
        ] {
            users.gateway.client().check("DEL plain u:1", ":...");
            of("eve").check("DEL plain u:1", ":...");
            of("bob").check("DEL plain u:1", ":...");
            of(user).check(&format!("SET {key} {user}"), "+OK");
            let values = users.values(key);
            for (at, value) in values.iter().enumerate() {
                assert_eq!(!is_null(value), at == place, "{user} {key}: {values:?}");
            }
            of(user).check(&format!("GET {key}"), &format!("${} {user}", user.len()));
        }
    }
}

/// A connection that becomes another user's: pipelined, with `HELLO`, and back by `RESET`.
#[test]
fn a_log_in_holds_from_the_next_request_on() {
    let users = Users::start("");
    let mut client = users.gateway.client();
    client.send(b"SET k d\r\nAUTH eve p\r\nSET k e\r\nGET k\r\nHELLO 2 AUTH bob p\r\nSET u:k b\r\nGET k\r\nRESET\r\nGET u:k\r\n");
    for expected in ["+OK", "+OK", "+OK", "$1 e", "*14 ...", "+OK", "$1 d", "+RESET", "$-1"] {
        client.expect("", expected);
    }
    assert_eq!(users.values("k").map(|value| value.replace("$1 ", "")), ["d", "e", "$-1"]);
    assert_eq!(users.values("u:k").map(|value| value.replace("$1 ", "")), ["$-1", "$-1", "b"]);
    // A log-in that fails changes nothing.
    client.check("AUTH eve wrong", "-WRONGPASS ...");
    client.check("GET k", "$1 d");
}

#[test]
fn a_transaction_runs_where_its_keys_were_when_they_were_queued() {
    let users = Users::start("");
    for version in BOTH_VERSIONS {
        let mut client = users.as_user("eve", version);
        client.check("DEL k", ":...");
        client.check("MULTI", "+OK");
        client.check("INCR k", "+QUEUED");
        client.check("AUTH bob p", "+QUEUED");
        client.check("INCR k", "+QUEUED");
        client.check("EXEC", "*3 :1 +OK :2");
        assert_eq!(users.eves.client().ask("GET k"), "$1 2");
        // From now on it is bob, whose k is in default.
        assert!(is_null(&client.ask("GET k")));
        // What is watched as one user can't be executed with keys of another cluster.
        client.check("AUTH eve p", "+OK");
        client.check("WATCH k", "+OK");
        client.check("AUTH bob p", "+OK");
        client.check("MULTI", "+OK");
        client.check(
            "INCR k",
            "-CROSSSLOT hotgate: the commands of a transaction have to run in one cluster...",
        );
        client.check("EXEC", "-EXECABORT ...");
        client.check("MULTI", "+OK");
        client.check("PUBLISH c x", "+QUEUED");
        client.check("INCR u:k", "-CROSSSLOT ...");
        client.check("DISCARD", "+OK");
    }
}

#[test]
fn sessions_live_in_the_cluster_of_their_user() {
    let users = Users::start("");
    let mut eve = users.as_user("eve", Version::Resp3);
    let (mut pusher, mut other) = (users.as_user("eve", Version::Resp2), users.gateway.client());
    eve.send_line("BLPOP queue 0");
    let blocked = || users.eves.client().text("INFO clients").contains("blocked_clients:1");
    wait_until("somebody blocks", blocked);
    other.check("LPUSH queue wrong", ":1");
    pusher.check("LPUSH queue job", ":1");
    eve.expect("BLPOP", "*2 $5 queue $3 job");
    eve.check("CLIENT TRACKING ON", "+OK");
    eve.check("SET k 1", "+OK");
    eve.check("GET k", "$1 1");
    pusher.check("SET k 2", "+OK");
    eve.expect("", ">2 $10 invalidate *1 $1 k");
    eve.check("EVAL return(redis.call('incr',KEYS[1])) 1 k", ":3");
    eve.check("MGET k none", "*2 $1 3 _");
    assert!(is_null(&other.ask("GET k")));
}

/// A shard channel lives where a key of its name would live, for who subscribed.
#[test]
fn shard_channels_are_those_of_the_user_who_subscribed_first() {
    let users = Users::start("");
    let mut eve = users.as_user("eve", Version::Resp3);
    let [mut hers, mut others] = ["eve", "default"].map(|user| users.as_user(user, Version::Resp2));
    eve.check("SSUBSCRIBE c", ">3 $10 ssubscribe $1 c :1");
    others.check("SPUBLISH c wrong", ":0");
    hers.check("SPUBLISH c 1", ":1");
    eve.expect("", ">3 $8 smessage $1 c $1 1");
    // It stays hers, and so does what is added to it.
    eve.check("AUTH bob p", "+OK");
    eve.check("SSUBSCRIBE d", ">3 $10 ssubscribe $1 d :2");
    hers.check("SPUBLISH d 2", ":1");
    eve.expect("", ">3 $8 smessage $1 d $1 2");
    eve.check("SUNSUBSCRIBE c", ">3 $12 sunsubscribe $1 c :1");
    eve.check("SUNSUBSCRIBE d", ">3 $12 sunsubscribe $1 d :0");
    hers.check("SPUBLISH c 3", ":0");
    // With nothing left of it, the next one is bob's.
    eve.check("SSUBSCRIBE c", ">3 $10 ssubscribe $1 c :1");
    others.check("SPUBLISH c 4", ":1");
    eve.expect("", ">3 $8 smessage $1 c $1 4");
}

/// Whoever has routes of its own sees its own clusters alone, and removes nobody else's keys.
#[test]
fn what_is_asked_of_all_keys_is_asked_of_the_clusters_of_the_user() {
    let users = Users::start("");
    for version in BOTH_VERSIONS {
        let [mut eve, mut bob, mut other] =
            ["eve", "bob", "default"].map(|user| users.as_user(user, version));
        other.check("FLUSHALL", "+OK");
        other.check("MSET a 1 u:a 1", "+OK");
        eve.check("MSET e 1 u:e 1", "+OK");
        bob.check("MSET b 1 u:b 1", "+OK");
        let sorted = |client: &mut Client, line: &str| {
            let mut all = client.list(line);
            all.sort();
            all
        };
        assert_eq!(sorted(&mut eve, "KEYS *"), ["e", "u:e"]);
        assert_eq!(sorted(&mut bob, "KEYS *"), ["a", "b", "u:a", "u:b"]);
        assert_eq!(sorted(&mut other, "KEYS *"), ["a", "b", "e", "u:a", "u:b", "u:e"]);
        eve.check("DBSIZE", ":2");
        bob.check("DBSIZE", ":4");
        assert!(["e", "u:e"].contains(&eve.text("RANDOMKEY").as_str()));
        assert_eq!(sorted(&mut eve, "SCAN 0 COUNT 100"), ["0", "e", "u:e"]);
        eve.check("WAIT 0 10", ":0");
        eve.check("FLUSHALL", "+OK");
        other.check("DBSIZE", ":4");
        bob.check("FLUSHDB", "+OK");
        other.check("DBSIZE", ":0");
    }
}

#[test]
fn a_cluster_that_is_away_is_away_for_its_users_alone() {
    let mut users = Users::start("[upstream]\nunavailable_wait = \"200ms\"\n");
    let mut eve = users.as_user("eve", Version::Resp2);
    eve.check("SET k e", "+OK");
    users.default.kill();
    users.bobs.kill();
    // Everything about her keys goes on, also what is about all of them.
    for (line, expected) in [("GET k", "$1 e"), ("DBSIZE", ":1"), ("KEYS *", "*1 $1 k"), ("WAIT 0 10", ":0")]
    {
        eve.check(line, expected);
    }
    eve.check("MULTI", "+OK");
    eve.check("INCR n", "+QUEUED");
    eve.check("EXEC", "*1 :1");
}

#[test]
fn hot_keys_quotas_and_copies_tell_the_clusters_apart() {
    let users = Users::start(
        "[[rule]]\nmatch = \"hot\"\nmode = \"combine\"\n[[rule]]\nmatch = \"copied\"\nread = \"tracked\"\n\
         [[quota]]\nmatch = \"sold\"\nlimit = 3\n",
    );
    let [mut eve, mut bob] = ["eve", "bob"].map(|user| users.as_user(user, Version::Resp2));
    for number in 1..=20 {
        eve.check("INCR hot", &format!(":{number}"));
        bob.check("INCR hot", &format!(":{number}"));
    }
    for number in 1..=3 {
        eve.check("INCR sold", &format!(":{number}"));
    }
    eve.check("INCR sold", "-QUOTA ...");
    bob.check("INCR sold", ":1");
    for number in 0..10 {
        eve.check(&format!("SET copied e{number}"), "+OK");
        bob.check(&format!("SET copied b{number}"), "+OK");
        for _ in 0..3 {
            eve.check("GET copied", &format!("$2 e{number}"));
            bob.check("GET copied", &format!("$2 b{number}"));
        }
    }
    // Who looks after sales knows no user.
    eve.check(
        "RESERVE.CHECK sku u",
        "-ERR hotgate: 'reserve.check' is not passed on: a route of its user's own has ...",
    );
}

#[test]
fn an_operator_is_told_where_a_key_lives_for_whom() {
    let users = Users::start("");
    let mut eve = users.as_user("eve", Version::Resp3);
    let place = |client: &mut Client, line: &str, cluster: &str, user: &str| {
        let told = client.ask(line);
        assert!(told.contains(&format!("$7 cluster ${} {cluster} ", cluster.len())), "{line}: {told}");
        assert!(told.ends_with(&format!("$4 user {user}")), "{line}: {told}");
    };
    place(&mut eve, "HOTGATE ROUTE GET u:x", "eves", "$3 eve");
    place(&mut eve, "HOTGATE ROUTE GET u:x USER bob", "bobs", "$3 bob");
    place(&mut eve, "HOTGATE ROUTE GET u:x USER default", "default", "_");
    let told = eve.ask("HOTGATE ROUTE LIST");
    assert!(told.starts_with("*2 ") && told.contains("$4 user $3 eve") && told.contains("$3 u:*"), "{told}");
    let told: Value = serde_json::from_str(&users.gateway.get("/api/routes").1).unwrap();
    assert_eq!((&told["routes"][1]["user"], &told["routes"][1]["match"]), (&"bob".into(), &"u:*".into()));
}

#[test]
fn a_reload_that_moves_keys_of_a_user_is_refused_unless_it_is_meant() {
    let users = Users::start("");
    let mut eve = users.as_user("eve", Version::Resp2);
    eve.check("SET k e", "+OK");
    let base = clusters(&users.eves, &users.bobs);
    let reload = |routes: &str| users.gateway.reload(&format!("{base}{routes}"));
    let says = |text: &str| wait_until(text, || users.gateway.log().contains(text));
    reload("[[route]]\nuser = \"eve\"\nclusters = [\"bobs\"]\n");
    says(
        "keys of the user \"eve\" that match \"*\" live in eves and would be looked for in bobs; move them first",
    );
    says(
        "keys of the user \"bob\" that match \"u:*\" live in bobs and would be looked for in default, for their route is gone",
    );
    eve.check("GET k", "$1 e");
    // Meant: connections that are there already follow.
    reload(&format!(
        "[[route]]\nuser = \"eve\"\nclusters = [\"default\"]\nforce = true\n{}",
        &ROUTES[ROUTES.find("[[route]]\nuser = \"bob\"").unwrap()..]
    ));
    wait_until("her keys are looked for elsewhere", || is_null(&eve.ask("GET k")));
    eve.check("SET k now", "+OK");
    assert_eq!(users.values("k"), ["$3 now", "$1 e", "$-1"]);
}
