//! The example of docs/routes.md, step by step, with its own commands: a tenant gets a cluster of its own and loses nothing.

use std::process::Command;

use crate::support::{Client, Gateway, Server, wait_until};

const PAGE: &str = include_str!("../../docs/routes.md");

/// The text of the example.
fn example() -> &'static str {
    let start =
        PAGE.find("## Example: a tenant gets a cluster of its own").expect("the page has its example");
    &PAGE[start..]
}

/// The first block in it of this language, without its indentation.
fn block(language: &str) -> String {
    let fence = format!("```{language}\n");
    let block = example().split_once(fence.as_str()).expect("the example has such a block").1;
    let block = block.split_once("```").unwrap().0;
    block.lines().map(str::trim_start).collect::<Vec<_>>().join("\n") + "\n"
}

/// A command of the page, with the addresses of this test for those of the page.
fn run(command: &str, from: &Server, to: &Server) -> String {
    let [from, to] = [from, to].map(|server| server.seed().rsplit_once(':').unwrap().1.to_owned());
    let here = command
        .replace("-h 10.0.2.1", &format!("-h 127.0.0.1 -p {from}"))
        .replace("MIGRATE 10.0.1.1 6379", &format!("MIGRATE 127.0.0.1 {to}"));
    assert!(!here.contains("10.0."), "every address is replaced: {here}");
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &here]).output().unwrap();
    assert!(output.status.success(), "{here}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every key of the tenant with its value.
fn contents(server: &Server) -> Vec<(String, String)> {
    let mut client = server.client();
    let mut keys = client.list("KEYS t:8421:*");
    keys.sort();
    keys.into_iter()
        .map(|key| (client.ask(&format!("GET {key}")), key))
        .map(|(value, key)| (key, value))
        .collect()
}

const QUOTAS: &str = "[[quota]]\nmatch = \"t:*:sold\"\nlimit = 100\n[[quota]]\nmatch = \"t:*:per-day\"\nlimit = 5\nwindow = \"1h\"\n";

fn cluster(name: &str, server: &Server) -> String {
    format!("[[cluster]]\nname = {name:?}\nservers = [{:?}]\n", server.seed())
}

/// The tenant's own client at a gateway.
fn tenant(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.check("AUTH shop-8421 p", "+OK");
    client
}

#[test]
fn a_tenant_moves_to_a_cluster_of_its_own_and_loses_nothing() {
    let (default, a, big) = (Server::start(), Server::start(), Server::start());
    let rest = "[[route]]\nmatch = \"t:*:*\"\nclusters = [\"a\"]\n";
    let before = format!("{QUOTAS}{}", cluster("a", &a));
    let start = |config: &str| {
        let gateway = Gateway::before(&default).config(config).start();
        gateway.client().check("ACL SETUSER shop-8421 on >p ~* &* +@all", "+OK");
        gateway
    };
    let all = || [start(&format!("{before}{rest}")), start(&format!("{before}{rest}"))];
    let gateways = all();
    let mut writer = tenant(&gateways[0]);
    wait_until("its cluster serves", || writer.ask("SET t:8421:cart 0") == "+OK");
    for number in 0..40 {
        writer.check(&format!("SET t:8421:item:{number} {number}"), "+OK");
        writer.check(&format!("SET t:7:item:{number} other"), "+OK");
    }
    (0..7).for_each(|_| drop(writer.ask("INCR t:8421:sold")));
    (0..5).for_each(|_| drop(writer.ask("INCR t:8421:per-day")));
    writer.check("INCR t:8421:per-day", "-QUOTA ...");
    writer.check("HOTGATE QUOTA SET t:8421:sold LIMIT 8", "+...");

    // 1. The cluster, without a route, and the gateways anew.
    drop(gateways);
    let with_big = format!("{before}{}", cluster("big", &big));
    let gateways = [start(&format!("{with_big}{rest}")), start(&format!("{with_big}{rest}"))];
    for gateway in &gateways {
        wait_until("no cluster is away", || !gateway.get("/readyz").1.contains("clusters_away"));
    }
    // 2. Its writers stop, here at every gateway.
    assert!(example().contains("`ACL SETUSER shop-8421 off`"));
    let mut writer = tenant(&gateways[0]);
    writer.check("INCR t:8421:sold", ":8");
    gateways.iter().for_each(|gateway| gateway.client().check("ACL SETUSER shop-8421 off", "+OK"));
    let mut log_in = gateways[1].client();
    log_in.check("AUTH shop-8421 p", "-WRONGPASS ...");
    let mut reader = gateways[1].client();
    reader.check("GET t:8421:item:7", "$1 7");
    // 3. Its keys are copied, and what is kept beside them.
    let copy = block("");
    run(&copy, &a, &big);
    assert!(example().contains("`{???}hotgate:*:t:8421:*`"));
    run(&copy.replace("'t:8421:*'", "'{???}hotgate:*:t:8421:*'"), &a, &big);
    // 4. Compared.
    let count = "redis-cli --scan --pattern 't:8421:*' | wc -l";
    assert!(example().contains(count));
    let count = |server: &Server| {
        let port = server.seed().rsplit_once(':').unwrap().1.to_owned();
        run(&count.replace("redis-cli", &format!("redis-cli -p {port}")), &a, &big)
    };
    assert_eq!(count(&a), count(&big));
    assert_eq!(contents(&a), contents(&big));
    assert_eq!(contents(&big).len(), 43);
    // 5. The route, before all others, at every gateway.
    let moved = format!("{with_big}{}{rest}", block("text"));
    for gateway in &gateways {
        gateway.reload(&moved);
        let mut client = gateway.client();
        wait_until("the route is in force", || {
            client.ask("HOTGATE ROUTE GET t:8421:cart").contains("$3 big")
        });
        // 6. A key is read there.
        client.check("GET t:8421:item:7", "$1 7");
    }
    gateways.iter().for_each(|gateway| gateway.client().check("ACL SETUSER shop-8421 on", "+OK"));
    let mut writer = tenant(&gateways[1]);
    writer.check("INCR t:8421:sold", "-QUOTA ...");
    writer.check("INCR t:8421:per-day", "-QUOTA ...");
    writer.check("SET t:8421:item:7 new", "+OK");
    // 7. The route moves nothing any more, and the old keys go.
    let settled = moved.replace("force = true\n", "");
    for gateway in &gateways {
        gateway.reload(&settled);
        wait_until("it is taken", || gateway.log().matches("configuration reloaded").count() == 2);
        assert!(!gateway.log().contains("configuration not reloaded"), "{}", gateway.log());
    }
    let mut old = a.client();
    old.list("KEYS t:8421:*").iter().for_each(|key| old.check(&format!("UNLINK {key}"), ":1"));
    for gateway in &gateways {
        let mut client = gateway.client();
        client.check("GET t:8421:item:7", "$3 new");
        client.check("GET t:7:item:7", "$5 other");
    }
    // It was there all the time, and nothing of it elsewhere.
    assert!(contents(&a).is_empty() && contents(&default).is_empty());
    assert_eq!(contents(&big).len(), 43);
}
