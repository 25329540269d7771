//! `SLOWLOG` and `COMMANDLOG`: what stood out among the requests of the gateway, in the shapes of Redis and Valkey.

use crate::support::{Gateway, Server, wait_until};

/// A gateway that logs all but the fastest requests, and what is longer than 1000 bytes.
const ALL: &str = "slowlog.slower_than = \"1us\"\nslowlog.request_larger_than = 1000\nslowlog.reply_larger_than = 1000\n\
    slowlog.entries_max = 20\n";

#[test]
fn a_slow_request_has_an_entry_of_the_shape_that_redis_gives_it() {
    let server = Server::start();
    let mut direct = server.client();
    direct.check("CONFIG SET slowlog-log-slower-than 0", "+OK");
    let gateway = Gateway::before(&server).config(ALL).start();
    let mut client = gateway.client();
    client.check("CLIENT SETNAME app", "+OK");
    client.check("SET app:k value", "+OK");
    let theirs = direct.list("SLOWLOG GET 1");
    let ours = client.list("SLOWLOG GET 1");
    assert_eq!(ours.len(), theirs.len(), "{ours:?}, at Redis {theirs:?}");
    assert!(ours.ends_with(&["app".to_owned()]), "{ours:?}");
    for word in ["SET", "app:k", "value"] {
        assert!(ours.iter().any(|part| part == word), "{ours:?}");
    }
    assert!(client.integer("SLOWLOG LEN") >= 1);
    for line in ["SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 1 2", "SLOWLOG HELP", "SLOWLOG NO"] {
        // Valkey has corrected that word.
        let theirs = direct.ask(line).replace("+    Print this", "+    Prints this");
        assert_eq!(client.ask(line), theirs, "{line}");
    }
    // What tools show beside it is what it goes by.
    client.check("CONFIG GET slowlog-*", "*4 $23 slowlog-log-slower-than $1 1 $15 slowlog-max-len $2 20");
    client.check("CONFIG SET slowlog-log-slower-than 0", "-ERR...");
    let lists = client.list("CONFIG GET commandlog-*");
    for (name, value) in [
        ("commandlog-execution-slower-than", "1"),
        ("commandlog-request-larger-than", "1000"),
        ("commandlog-large-reply-max-len", "20"),
    ] {
        assert!(lists.windows(2).any(|pair| pair == [name, value]), "{name}: {lists:?}");
    }
    assert_eq!(lists.len(), 12);
    client.check("SLOWLOG RESET", "+OK");
    assert!(client.integer("SLOWLOG LEN") <= 1, "what came after it");
}

#[test]
fn sizes_stand_out() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(ALL).start();
    let mut client = gateway.client();
    let long = "v".repeat(2000);
    client.check(&format!("SET app:k {long}"), "+OK");
    client.ask("GET app:k");
    let requests = client.list("COMMANDLOG GET -1 large-request");
    assert!(requests.iter().any(|part| part.ends_with("... (1872 more bytes)")), "{requests:?}");
    let replies = client.list("COMMANDLOG GET -1 LARGE-REPLY");
    assert!(
        replies.iter().any(|part| part == "GET") && !replies.iter().any(|part| part == "SET"),
        "{replies:?}"
    );
    client.check(
        "COMMANDLOG GET 1 quick",
        "-ERR type should be one of the following: slow, large-request, large-reply",
    );
    client.check("COMMANDLOG RESET large-reply", "+OK");
    client.check("COMMANDLOG LEN large-reply", ":0");
    client.check("COMMANDLOG LEN large-request", ":1");
}

/// Each entry names the cluster, also where the request was folded.
#[test]
fn an_entry_names_the_cluster_that_it_was_for() {
    let (server, big) = (Server::start(), Server::start());
    let more = format!(
        "[[rule]]\nmatch = \"*hot\"\nmode = \"combine\"\n[[cluster]]\nname = \"big\"\nservers = [{:?}]\n\
         [[route]]\nmatch = \"b:*\"\nclusters = [\"big\"]\n",
        big.seed()
    );
    let gateway = Gateway::before(&server).config(&format!("{ALL}{more}")).start();
    let mut client = gateway.client();
    for line in ["SET a 1", "SET b:a 1", "INCRBY hot 5", "INCRBY b:hot 5"] {
        wait_until("every cluster is known", || !client.ask(line).starts_with('-'));
    }
    let requests = |key: &str| {
        let told: serde_json::Value = serde_json::from_str(&gateway.get("/api/slowlog").1).unwrap();
        let all = told["requests"].as_array().unwrap().clone();
        let found = all.into_iter().find(|request| request["arguments"][1] == key);
        found.unwrap_or_else(|| panic!("no {key} in {told}"))["cluster"].clone()
    };
    let told = client.ask("HOTGATE SLOWLOG SLOW 1000");
    for (key, cluster) in [("a", "default"), ("b:a", "big"), ("hot", "default"), ("b:hot", "big")] {
        assert_eq!(requests(key), cluster, "{key}");
        assert!(told.contains(&format!("$7 cluster ${} {cluster}", cluster.len())), "{told}");
    }
    assert!(told.contains("$11 upstream_us :") && told.contains("b:hot"), "{told}");
    assert!(client.ask("HOTGATE SLOWLOG LARGE-REPLY 1") == "*0");
}

/// A transaction is one entry; what was folded has one like any other; what blocks has none.
#[test]
fn whatever_way_a_request_went_it_is_logged_once() {
    let server = Server::start();
    let rule = "[[rule]]\nmatch = \"hot:*\"\nmode = \"combine\"\n";
    let gateway = Gateway::before(&server).config(&format!("{ALL}{rule}")).start();
    let mut client = gateway.client();
    client.check("INCRBY hot:k 5", ":5");
    client.check("MULTI", "+OK");
    client.check("SET app:a 1", "+QUEUED");
    client.check("GET app:a", "+QUEUED");
    client.ask("EXEC");
    client.ask("BLPOP app:list 0.01");
    let entries = client.list("SLOWLOG GET -1");
    let has = |word: &str| entries.iter().filter(|part| *part == word).count();
    assert_eq!((has("incrby"), has("hot:k")), (1, 1), "{entries:?}");
    assert_eq!((has("MULTI"), has("SET app:a 1"), has("EXEC")), (1, 1, 1), "{entries:?}");
    assert_eq!(has("BLPOP"), 0, "{entries:?}");
}

/// Redis stands still for a while: every request is slow, and the list has as many as it may.
#[test]
fn a_flood_of_slow_requests_is_counted_and_a_few_are_kept() {
    let server = Server::start();
    let config = "slowlog.slower_than = \"1us\"\nslowlog.entries_max = 5\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut client = gateway.client();
    for _ in 0..100 {
        client.check("PING", "+PONG");
        client.ask("GET app:k");
    }
    assert_eq!(client.integer("SLOWLOG LEN"), 5);
    wait_until("all are counted", || {
        let metrics = gateway.get("/metrics").1;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("hotgate_requests_standing_out_total{kind=\"slow\"}"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).is_some_and(|count| count >= 100.0)
    });
}

/// A Valkey that knows `COMMANDLOG` says what the shapes are, where one is had: `HOTGATE_TEST_SERVER` names it.
#[test]
fn each_list_has_the_shape_that_valkey_gives_it() {
    // Not the one behind the gateway, whose own questions would be logged.
    let (alone, server) = (Server::start(), Server::start());
    let mut direct = alone.client();
    if direct.ask("COMMANDLOG LEN SLOW").starts_with('-') {
        eprintln!("this server has no COMMANDLOG, so nothing is compared");
        return;
    }
    let limits = "slower-than 0 commandlog-request-larger-than 1000 commandlog-reply-larger-than 1000";
    direct.check(&format!("CONFIG SET commandlog-execution-{limits}"), "+OK");
    let gateway = Gateway::before(&server).config(ALL).start();
    let mut client = gateway.client();
    for client in [&mut client, &mut direct] {
        client.check("CLIENT SETNAME app", "+OK");
        client.check(&format!("SET app:k {}", "v".repeat(2000)), "+OK");
        client.ask("GET app:k");
    }
    for kind in ["SLOW", "LARGE-REQUEST", "LARGE-REPLY"] {
        let line = format!("COMMANDLOG GET 1 {kind}");
        let (mine, theirs) = (client.list(&line), direct.list(&line));
        assert_eq!(mine.len(), theirs.len(), "{kind}: {mine:?}, at Valkey {theirs:?}");
        assert_eq!(mine.last(), theirs.last(), "{kind}");
        if kind != "SLOW" {
            // The arguments, cut alike.
            assert_eq!(mine[3..mine.len() - 2], theirs[3..theirs.len() - 2], "{kind}");
        }
    }
    for line in ["COMMANDLOG GET -2 SLOW", "COMMANDLOG GET x SLOW", "COMMANDLOG GET 1 NO", "COMMANDLOG HELP"]
    {
        assert_eq!(client.ask(line), direct.ask(line), "{line}");
    }
    let (mine, theirs) = (client.list("CONFIG GET commandlog-*"), direct.list("CONFIG GET commandlog-*"));
    let names = |found: &[String]| {
        let mut names: Vec<String> = found.iter().step_by(2).cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(&mine), names(&theirs));
}

/// An operation on a sale whose home is another worker names its SKU all the same.
#[test]
fn an_operation_on_a_sale_names_it_at_whichever_worker_it_came() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "slowlog.slower_than = \"1us\"\n");
    let mut client = gateway.client();
    for number in 0..8 {
        assert!(!client.ask(&format!("RESERVE.OPEN sku:{number} LIMIT 5")).starts_with('-'));
        assert!(!client.ask(&format!("RESERVE.ADD sku:{number} anna")).starts_with('-'));
    }
    let entries = client.list("SLOWLOG GET -1");
    let named = (0..8).filter(|number| {
        let sku = format!("sku:{number}");
        entries.windows(2).any(|pair| pair[0].eq_ignore_ascii_case("reserve.add") && pair[1] == sku)
    });
    assert_eq!(named.count(), 8, "{entries:?}");
}
