//! `CLIENT TRACKING` through the gateway is that of Redis: in RESP2 and RESP3, with and without `REDIRECT`, in broadcast mode, with
//! `OPTIN`, `OPTOUT` and `NOLOOP`; before one server and a cluster, wherever in the gateway the clients are.
//!
//! Scripts run against a plain Redis and through the gateway, and what every client gets is compared. Ids of clients differ, so
//! they are given by name: `<a>` is the id of client `a`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::support::text::one_line;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, wait_until};

/// Clients of several workers, so that some redirect to one of another worker.
const WORKERS: &str = "[gateway]\nworkers = 3\n";

fn plain() -> &'static Server {
    static PLAIN: OnceLock<Server> = OnceLock::new();
    PLAIN.get_or_init(Server::start)
}

fn single() -> &'static (Server, Gateway) {
    static SINGLE: OnceLock<(Server, Gateway)> = OnceLock::new();
    SINGLE.get_or_init(|| {
        let server = Server::start();
        let gateway = Gateway::before(&server).config(WORKERS).start();
        (server, gateway)
    })
}

fn cluster() -> &'static (Cluster, Gateway) {
    static CLUSTER: OnceLock<(Cluster, Gateway)> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start();
        let gateway = Gateway::before(&cluster).config(WORKERS).start();
        (cluster, gateway)
    })
}

/// The clients of a script by name. `2` after a name is one that speaks RESP2, `3` one that speaks RESP3.
struct Cast {
    address: SocketAddr,
    clients: BTreeMap<String, (Client, String)>,
    /// Ids of those that have gone.
    gone: Vec<(String, String)>,
}

impl Cast {
    fn client(&mut self, name: &str) -> &mut (Client, String) {
        let address = self.address;
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let version = if name.ends_with('3') { Version::Resp3 } else { Version::Resp2 };
            let mut client = Client::speaking(address, version);
            let id = client.integer("CLIENT ID").to_string();
            (client, id)
        })
    }

    /// A line with the ids of clients in place of their names, or the other way round.
    fn with_ids(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        while let Some((before, rest)) = line.split_once('<') {
            let (name, after) = rest.split_once('>').unwrap();
            let id = self.client(name).1.clone();
            line = format!("{before}{id}{after}");
        }
        line
    }

    /// A reply that tells of a redirection, with names in place of ids.
    fn with_names(&self, reply: String) -> String {
        if !["CLIENT GETREDIR", "redirect", "tracking-redir-broken"].iter().any(|word| reply.contains(word)) {
            return reply;
        }
        let known = self.clients.iter().map(|(name, (_, id))| (name, id));
        let known: Vec<_> = known.chain(self.gone.iter().map(|(name, id)| (name, id))).collect();
        let named = |word: &str| {
            let id = word.strip_prefix(':')?;
            known.iter().find(|(_, known)| *known == id).map(|(name, _)| name.to_string())
        };
        reply
            .split(' ')
            .map(|word| named(word).unwrap_or_else(|| word.to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What the clients of a script see. `name: line` sends and reads one reply, `name:` reads one, `name gone` closes, and
/// `name silent` makes sure that nothing more has come.
fn seen(address: SocketAddr, script: &[&str]) -> Vec<String> {
    let mut cast = Cast { address, clients: BTreeMap::new(), gone: Vec::new() };
    let mut seen = Vec::new();
    let mut sweeper = Client::connect(address);
    for word in script.iter().flat_map(|step| step.split(' ')) {
        if ["own:", "to:", "{own}"].iter().any(|prefix| word.starts_with(prefix)) {
            sweeper.check(&format!("DEL {word}"), ":...");
        }
    }
    for step in script {
        let (name, line) = step.split_once(':').or_else(|| step.split_once(' ')).unwrap();
        let line = cast.with_ids(line.trim());
        if line == "gone" {
            let (client, id) = cast.clients.remove(name).unwrap();
            drop(client);
            cast.gone.push((name.to_owned(), id.clone()));
            let (other, _) = cast.client("watchman2");
            wait_until("the client is gone", || !other.text(&format!("CLIENT LIST ID {id}")).contains("id="));
            continue;
        }
        let (client, _) = cast.client(name);
        if line == "silent" {
            client.send_line("ECHO silent");
        } else if !line.is_empty() {
            client.send_line(&line);
        }
        let reply = client.try_reply().unwrap_or_else(|error| panic!("{step} of {script:?}: {error}"));
        let reply = cast.with_names(format!("{step} -> {}", one_line(&reply)));
        seen.push(reply);
    }
    seen
}

fn check(scripts: &[&[&str]]) {
    let mut differences = Vec::new();
    for (address, place) in [(single().1.address, "single"), (cluster().1.address, "cluster")] {
        for script in scripts {
            let (got, expected) = (seen(address, script), seen(plain().address(), script));
            if got != expected {
                differences.push(format!("{place}\n  hotgate {got:#?}\n  redis   {expected:#?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn options_are_judged_as_by_redis() {
    let mut script: Vec<String> = Vec::new();
    for options in [
        "on redirect",
        "on redirect x",
        "on redirect 0",
        "on redirect -5",
        "on redirect 99999999",
        "on redirect <t2> redirect <t2>",
        "on redirect 99999999 foo",
        "on redirect <t2> foo",
        "on prefix a",
        "on bcast prefix a prefix ab",
        "on bcast prefix b prefix a",
        "on bcast prefix ab",
        "on bcast prefix c",
        "on bcast noloop",
        "on optin",
        "on",
        "off",
        "on optin",
        "on optout",
        "on optin noloop",
        "off foo",
        "off bcast optin",
        "on optin optout",
        "on optin bcast",
        "maybe",
        "on redirect <t2>",
        "on redirect <a3>",
        "on",
        "off prefix",
        "on optout redirect <t2>",
        "off",
        "on bcast redirect <t2> noloop",
        "off",
    ] {
        script.push(format!("a3: CLIENT TRACKING {options}"));
        script.push("a3: CLIENT TRACKINGINFO".into());
        script.push("a3: CLIENT GETREDIR".into());
        script.push(format!("a2: CLIENT TRACKING {options}"));
        script.push("a2: CLIENT TRACKINGINFO".into());
        script.push("a2: CLIENT CACHING YES".into());
        script.push("a2: CLIENT CACHING no".into());
        script.push("a2: CLIENT CACHING x".into());
        script.push("a2: CLIENT TRACKINGINFO".into());
    }
    // Whoever goes on tracking over other connections is told to drop its cache, which Redis need not say.
    let lines: Vec<&str> = script.iter().map(String::as_str).filter(|line| line.contains("a2")).collect();
    check(&[&lines]);
}

#[test]
fn changes_are_told_to_the_client_itself() {
    check(&[
        &[
            "a3: CLIENT TRACKING ON",
            "a3: GET own:k",
            "b2: SET own:k 1",
            "a3:",
            "b2: SET own:k 2",
            "a3 silent",
            "a3: MGET own:k own:l",
            "b2: SET own:l 1",
            "a3:",
            "b2: DEL own:k",
            "a3:",
        ],
        &[
            "a3: CLIENT TRACKING ON NOLOOP",
            "a3: GET own:k",
            "a3: SET own:k 1",
            "a3 silent",
            "a3: GET own:k",
            "b2: INCR own:k",
            "a3:",
        ],
        &[
            "a3: CLIENT TRACKING ON OPTIN",
            "a3: GET own:k",
            "b2: SET own:k 1",
            "a3 silent",
            "a3: CLIENT CACHING YES",
            "a3: MGET own:k own:l",
            "a3: GET own:m",
            "b2: SET own:m 1",
            "b2: SET own:l 1",
            "a3:",
            "b2: SET own:k 1",
            "a3:",
            "a3: CLIENT CACHING YES",
            "a3: PING",
            "a3: GET own:k",
            "b2: SET own:k 1",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON OPTIN",
            "a3: CLIENT CACHING YES",
            "a3: MULTI",
            "a3: GET {own}k",
            "a3: GET {own}l",
            "a3: EXEC",
            "b2: SET {own}l 1",
            "a3:",
            "b2: SET {own}k 1",
            "a3:",
        ],
        &[
            "a3: CLIENT TRACKING ON OPTOUT",
            "a3: CLIENT CACHING NO",
            "a3: GET own:k",
            "a3: GET own:l",
            "b2: SET own:k 1",
            "b2: SET own:l 1",
            "a3:",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON",
            "a3: WATCH {own}k",
            "a3: MULTI",
            "a3: GET {own}k",
            "a3: EXEC",
            "b2: SET {own}k 1",
            "a3:",
            "a3: LPOP {own}list",
            "b2: RPUSH {own}list v",
            "a3: BLPOP {own}list 0",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON",
            "a3: XREAD BLOCK 1 STREAMS {own}x 0",
            "b2: XADD {own}x 1-1 f v",
            "a3:",
            "b2: DEL {own}x",
        ],
        &[
            "a3: CLIENT TRACKING ON BCAST PREFIX own:a PREFIX own:b",
            "b2: SET own:a1 1",
            "a3:",
            "b2: SET own:b1 1",
            "a3:",
            "b2: SET own:c1 1",
            "a3: SET own:a2 1",
            "a3:",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON BCAST PREFIX own:a NOLOOP",
            "a3: SET own:a1 1",
            "b2: SET own:a1 1",
            "a3:",
            "a3: CLIENT TRACKING ON BCAST PREFIX own:d",
            "b2: SET own:d1 1",
            "a3:",
            "a3: CLIENT TRACKING OFF",
            "b2: SET own:a1 1",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON",
            "a3: GET own:k",
            "a3: CLIENT TRACKING OFF",
            "b2: SET own:k 1",
            "a3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON",
            "a3: GET own:k",
            "a3: CLIENT TRACKING ON NOLOOP",
            "b2: SET own:k 1",
            "a3:",
        ],
        &[
            "a2: CLIENT TRACKING ON",
            "a2: GET own:k",
            "b2: SET own:k 1",
            "a2 silent",
            "a2: CLIENT TRACKINGINFO",
        ],
    ]);
}

#[test]
fn changes_are_told_to_the_client_that_is_named() {
    let mut scripts: Vec<Vec<String>> = Vec::new();
    // Three of each, so that some are clients of another worker.
    for source in ["a2", "a3"] {
        for target in ["t2", "t3", "u2", "u3", "v2", "v3"] {
            let (mark, listens) = if target.ends_with('3') { ("3", false) } else { ("2", true) };
            let mut script =
                vec![format!("{target}: PING"), format!("{source}: CLIENT TRACKING ON REDIRECT <{target}>")];
            script.push(format!("{source}: CLIENT GETREDIR"));
            if listens {
                script.push(format!("{target}: SUBSCRIBE __redis__:invalidate"));
            }
            script.extend([
                format!("{source}: MGET to:k to:l"),
                "b2: SET to:k 1".into(),
                format!("{target}:"),
                "b2: SET to:l 1".into(),
                format!("{target}:"),
                format!("{source} silent"),
                format!("{source}: TRACKED{mark}"),
                format!("{target} gone"),
                format!("{source}: GET to:k"),
                "b2: SET to:k 2".into(),
            ]);
            if source == "a3" {
                script.push(format!("{source}:"));
            }
            scripts.push(script);
        }
    }
    let scripts: Vec<Vec<&str>> =
        scripts.iter().map(|script| script.iter().map(String::as_str).collect()).collect();
    let scripts: Vec<&[&str]> = scripts.iter().map(Vec::as_slice).collect();
    check(&scripts);
    check(&[
        &[
            "t2: SUBSCRIBE __redis__:invalidate",
            "a2: CLIENT TRACKING ON BCAST PREFIX to:p REDIRECT <t2> NOLOOP",
            "b2: SET to:p1 1",
            "t2:",
            "a2: SET to:p1 1",
            "b2: SET to:q1 1",
            "b2: SET to:p2 1",
            "t2:",
        ],
        &[
            "t3: PING",
            "a2: CLIENT TRACKING ON REDIRECT <t3>",
            "a2: GET to:k",
            "a2: CLIENT TRACKING ON REDIRECT <t3> OPTIN",
            "a2: GET to:l",
            "b2: SET to:l 1",
            "b2: SET to:k 1",
            "t3:",
            "t3 silent",
        ],
        &[
            "a3: CLIENT TRACKING ON REDIRECT <a3>",
            "a3: GET to:k",
            "b2: SET to:k 1",
            "a3:",
            "a3: CLIENT TRACKINGINFO",
        ],
        &[
            "t3: PING",
            "u3: PING",
            "a3: CLIENT TRACKING ON REDIRECT <t3>",
            "a3: GET to:k",
            "a3: CLIENT TRACKING ON REDIRECT <u3>",
            "b2: SET to:k 1",
            "u3:",
            "t3 silent",
        ],
    ]);
}

/// `FLUSHALL` says that everything may have changed, once for each node.
#[test]
fn a_flush_is_told() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(WORKERS).start();
    for script in [
        &["a3: CLIENT TRACKING ON", "a3: GET k", "b2: FLUSHALL", "a3:"][..],
        &[
            "t2: SUBSCRIBE __redis__:invalidate",
            "a2: CLIENT TRACKING ON REDIRECT <t2>",
            "a2: GET k",
            "b2: FLUSHALL",
            "t2:",
        ],
        &["t3: PING", "a3: CLIENT TRACKING ON REDIRECT <t3>", "a3: GET k", "b2: FLUSHALL", "t3:"],
    ] {
        assert_eq!(seen(gateway.address, script), seen(plain().address(), script));
    }
}

/// Nothing that was read may be kept when the connection is lost on which its changes would have been told; and what is read
/// after that is tracked again, in broadcast mode without anything being asked.
#[test]
fn a_lost_connection_empties_the_cache() {
    let mut server = Server::start();
    let gateway = Gateway::before(&server).config(WORKERS).start();
    let mut target = gateway.speaking(Version::Resp3);
    let id = target.integer("CLIENT ID");
    let [mut own, mut redirecting, mut listener] = [(); 3].map(|()| gateway.speaking(Version::Resp3));
    own.check("CLIENT TRACKING ON", "+OK");
    redirecting.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK");
    listener.check("CLIENT TRACKING ON BCAST", "+OK");
    own.check("GET k", "_");
    redirecting.check("GET k", "_");
    server.restart();
    own.expect("an invalidation", ">2 $10 invalidate _");
    listener.expect("an invalidation", ">2 $10 invalidate _");
    target.expect("an invalidation", ">2 $10 invalidate _");
    // It says so once more when it listens again, since nobody has listened in between.
    listener.expect("an invalidation", ">2 $10 invalidate _");
    own.check("GET k", "_");
    redirecting.check("GET k", "_");
    server.client().check("SET k 1", "+OK");
    own.expect("an invalidation", ">2 $10 invalidate *1 $1 k");
    listener.expect("an invalidation", ">2 $10 invalidate *1 $1 k");
    target.expect("an invalidation", ">2 $10 invalidate *1 $1 k");
}

/// The clients of the gateway are the ones that `REDIRECT` names, and `CLIENT LIST` shows what they do.
#[test]
fn client_list_shows_who_redirects() {
    let gateway = &single().1;
    let (mut target, mut source) = (gateway.client(), gateway.client());
    let id = target.integer("CLIENT ID");
    source.check(&format!("CLIENT TRACKING ON BCAST PREFIX list: REDIRECT {id}"), "+OK");
    let line = source.text("CLIENT INFO");
    assert!(line.contains(" flags=tB ") && line.contains(&format!(" redir={id} ")), "{line}");
    source.check("CLIENT TRACKING OFF", "+OK");
    assert!(source.text("CLIENT INFO").contains(" redir=-1 "));
}

/// Clients track in a transaction as Redis lets them; what they read in it may not be kept unseen.
#[test]
fn tracking_begins_inside_a_transaction() {
    for version in BOTH_VERSIONS {
        for gateway in [&single().1, &cluster().1] {
            let mut client = gateway.speaking(version);
            for (line, reply) in [
                ("MULTI", "+OK"),
                ("GET {inside}k", "+QUEUED"),
                ("CLIENT TRACKING ON", "+QUEUED"),
                ("CLIENT GETREDIR", "+QUEUED"),
                ("EXEC", if version == Version::Resp2 { "*3 $-1 +OK :0" } else { "*3 _ +OK :0" }),
            ] {
                client.check(line, reply);
            }
            if version == Version::Resp3 {
                client.expect("an invalidation", ">2 $10 invalidate _");
                client.check("GET {inside}k", "_");
                gateway.client().check("SET {inside}k 1", "+OK");
                client.expect("an invalidation", ">2 $10 invalidate *1 $9 {inside}k");
                gateway.client().check("DEL {inside}k", ":1");
            }
        }
    }
}
