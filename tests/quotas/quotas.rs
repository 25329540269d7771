//! Quotas as clients, operators and Redis see them, with the real program before a real server.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::support::figures::{all_calls, calls, quota_figure};
use crate::support::text::{one_line, request};
use crate::support::{Client, Gateway, Server, seed, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Script calls that Redis has run.
fn script_calls(server: &Server) -> u64 {
    let scripts = all_calls(&mut server.client()).into_iter().filter(|(name, _)| name.starts_with("eval"));
    scripts.map(|(_, calls)| calls).sum()
}

const GATEWAYS: usize = 2;
const CONNECTIONS: usize = 50;
const LIMIT: i64 = 5000;

#[test]
fn nothing_is_sold_twice_and_nothing_is_left() {
    let seed = seed();
    let server = Server::start();
    let config = format!("[[quota]]\nmatch = 'sku:*'\nlimit = {LIMIT}\nrecheck = '5ms'\n");
    let gateways: Vec<Gateway> = (0..GATEWAYS).map(|_| Gateway::of_two_workers(&server, &config)).collect();
    let net = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (net, gateway) = (&net, &gateways[connection % GATEWAYS]);
            let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(connection as u64));
            scope.spawn(move || {
                let mut client = gateway.client();
                let mut held = 0;
                for _ in 0..100 {
                    let release = held > 0 && rng.random_ratio(1, 4);
                    let delta: i64 =
                        if release { -rng.random_range(1..=held) } else { rng.random_range(1..=5) };
                    let reply = client.ask(&format!("INCRBY sku:1 {delta}"));
                    if let Some(value) = reply.strip_prefix(':') {
                        assert!(value.parse::<i64>().unwrap() <= LIMIT, "seed {seed}: oversold to {value}");
                        held += delta;
                        net.fetch_add(delta, Ordering::SeqCst);
                    } else {
                        assert!(reply.starts_with("-QUOTA limit of 5000 reached for 'sku:1'"), "{reply}");
                    }
                }
            });
        }
    });
    let mut direct = server.client();
    assert_eq!(direct.text("GET sku:1"), net.load(Ordering::SeqCst).to_string(), "seed {seed}");
    // What is left goes one by one: to the last unit, and not one beyond. Room that the other gateway made may be seen late.
    let mut clients: Vec<Client> = gateways.iter().map(Gateway::client).collect();
    wait_until("the last unit is sold", || {
        for client in &mut clients {
            if client.ask("INCR sku:1").starts_with(':') {
                net.fetch_add(1, Ordering::SeqCst);
            }
        }
        net.load(Ordering::SeqCst) == LIMIT
    });
    for client in &mut clients {
        client.check("INCR sku:1", "-QUOTA limit of 5000 reached for 'sku:1'");
    }
    assert_eq!(direct.text("GET sku:1"), LIMIT.to_string(), "seed {seed}");
}

/// The default of `recheck`.
const RECHECK: Duration = Duration::from_millis(50);

#[test]
fn a_sold_out_counter_costs_redis_one_question_per_recheck() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 2\n");
    let mut client = gateway.client();
    client.check("INCRBY sku:1 2", ":2");
    client.check("INCR sku:1", "-QUOTA limit of 2 reached for 'sku:1'");
    let (before, started) = (script_calls(&server), Instant::now());
    let mut refused = 0;
    // For as long as several questions take, whatever the machine's speed.
    while started.elapsed() < 5 * RECHECK {
        let pipeline = "*2\r\n$4\r\nINCR\r\n$5\r\nsku:1\r\n".repeat(500);
        client.send(pipeline.as_bytes());
        for _ in 0..500 {
            assert!(client.reply().starts_with(b"-QUOTA limit of 2"));
            refused += 1;
        }
    }
    let (calls, elapsed) = (script_calls(&server) - before, started.elapsed());
    // One in each recheck that lies within this time, and one in that at each end: 20 a second, of the 40 that a process may send.
    let calls_max = elapsed.as_millis() / RECHECK.as_millis() + 2;
    assert!(u128::from(calls) <= calls_max, "{calls} questions in {elapsed:?} for {refused} refusals");
    wait_until("every question is counted", || quota_figure(&mut client, "rechecks") >= calls);
}

#[test]
fn a_limit_is_changed_while_the_gateway_runs() {
    let server = Server::start();
    let quotas = "[[quota]]\nmatch = 'sku:{*}:reserved'\nlimit_key = 'sku:{$1}:limit'\nrecheck = '5ms'\n\
                  [[quota]]\nmatch = 'fix:*'\nlimit = 1\nrecheck = '5ms'\n\
                  [[quota]]\nmatch = 'far:*'\nlimit_key = 'farlimit'\nrecheck = '5ms'\n";
    let gateway = Gateway::of_two_workers(&server, quotas);
    let (mut client, mut direct) = (gateway.client(), server.client());
    wait_until("the polled limit key is announced", || gateway.log().contains("is polled every"));

    client.check("INCR sku:{1}:reserved", "-QUOTA cannot be applied for 'sku:{1}:reserved'...");
    direct.check("SET sku:{1}:limit 1", "+OK");
    wait_until("the limit is there", || client.ask("INCR sku:{1}:reserved") == ":1");
    client.check("INCR sku:{1}:reserved", "-QUOTA limit of 1 reached...");
    direct.check("SET sku:{1}:limit 2", "+OK");
    wait_until("the limit is raised", || client.ask("INCR sku:{1}:reserved") == ":2");

    client.check("INCR fix:1", ":1");
    client.check("INCR fix:1", "-QUOTA limit of 1 reached...");
    client.check("HOTGATE QUOTA SET fix:1 LIMIT 2", "+limit 2");
    wait_until("the operator's limit holds", || client.ask("INCR fix:1") == ":2");
    client.check("HOTGATE QUOTA RESET fix:1", "+...");
    client.check("INCR fix:1", "-QUOTA limit of...");

    // They wait until it is known what the limit is, and all learn the same.
    client.send(&request("INCR far:1").repeat(3));
    let missing = "-QUOTA cannot be applied for 'far:1': limit key 'farlimit' does not exist";
    (0..3).for_each(|_| assert_eq!(one_line(&client.reply()), missing));
    client.check("INCR far:1", missing);
    direct.check("SET farlimit 1", "+OK");
    wait_until("the far limit is read", || client.ask("INCR far:1") == ":1");
    client.check("INCR far:1", "-QUOTA limit of 1 reached...");
    direct.check("SET farlimit 2", "+OK");
    wait_until("the far limit is raised", || client.ask("INCR far:1") == ":2");
    direct.check("SET farlimit nonsense", "+OK");
    wait_until("the fault is told", || client.ask("INCR far:1").contains("'farlimit' is not an integer"));
    assert_eq!(direct.text("GET far:1"), "2");
}

#[test]
fn a_pause_refuses_everything_at_every_gateway_and_is_logged() {
    let server = Server::start();
    let config = "[[quota]]\nmatch = 'sku:*'\nlimit = 100\nrecheck = '5ms'\n";
    let gateways = [Gateway::of_two_workers(&server, config), Gateway::of_two_workers(&server, config)];
    let mut clients = gateways.each_ref().map(Gateway::client);
    clients[0].check("INCR sku:1", ":1");
    clients[1].check("INCR sku:1", ":2");
    clients[0].check("HOTGATE QUOTA PAUSE sku:1", "+paused");
    for client in &mut clients {
        client.check("INCR sku:1", "-QUOTA...");
        client.check("DECR sku:1", "-QUOTA...");
        client.check("GET sku:1", "$1 2");
    }
    wait_until("the log says who", || {
        gateways[0].log().contains("paused") && gateways[0].log().contains("127.0.0.1:")
    });
    // Paused, a gateway asks once per recheck; so the first question after the change is answered, and opens it.
    let calls = script_calls(&server);
    clients[1].check("HOTGATE QUOTA RESUME sku:1", "+resumed");
    for (client, expected) in clients.iter_mut().zip([":3", ":4"]) {
        wait_until("the pause is over", || client.ask("INCR sku:1") == expected);
    }
    assert_eq!(script_calls(&server) - calls, 2, "one question of each gateway");
    clients[0].check("HOTGATE QUOTA PAUSE sku:1", "+paused");
    for client in &mut clients {
        client.check("INCR sku:1", "-QUOTA paused by an operator for 'sku:1'");
    }
    // An operator may put the counter right meanwhile, as the help says.
    let help = clients[0].list("HOTGATE QUOTA HELP").join(" ");
    assert!(help.contains("Refuse INCR, INCRBY, DECR and DECRBY of a counter"), "{help}");
    clients[0].check("DEL sku:1", ":1");
    clients[0].check("INCR sku:1", "-QUOTA paused by an operator for 'sku:1'");
    clients[0].check("HOTGATE QUOTA PAUSE other", "-ERR hotgate: no quota holds 'other'");
    clients[0].check("HOTGATE QUOTA SET sku:1 LIMIT x", "-ERR limit is not an integer...");
    clients[0].check("HOTGATE QUOTA SET sku:1 LIMIT 4503599627370497", "-ERR...");
}

#[test]
fn stock_is_not_counted_below_its_floor() {
    let server = Server::start();
    let gateway =
        Gateway::of_two_workers(&server, "[[quota]]\nmatch = 'stock:*'\nfloor = 0\nrecheck = '5ms'\n");
    let mut client = gateway.client();
    client.check("SET stock:1 3", "+OK");
    client.check("DECRBY stock:1 2", ":1");
    client.check("DECRBY stock:1 2", "-QUOTA...");
    client.check("DECR stock:1", ":0");
    client.check("DECR stock:1", "-QUOTA...");
    client.check("INCR stock:1", ":1");
    client.check("DECR stock:1", ":0");
}

#[test]
fn a_window_holds_for_its_time() {
    let server = Server::start();
    let quotas = "[[quota]]\nmatch = 'rate:*'\nlimit = 2\nwindow = '10m'\n\
                  [[quota]]\nmatch = 'fast:*'\nlimit = 2\nwindow = '20ms'\nrecheck = '1ms'\n";
    let gateway = Gateway::of_two_workers(&server, quotas);
    let mut client = gateway.client();
    client.check("INCRBY rate:1 2", ":2");
    client.check("DECR rate:1", ":1");
    client.check("INCR rate:1", "-QUOTA...");
    wait_until("window follows window", || {
        client.ask("INCR fast:1");
        server.client().integer("INCRBY fast:1 0") > 6
    });
    let keys = server.client().list("KEYS *window*");
    assert!(keys.iter().all(|key| server.client().integer(&format!("PTTL {key}")) != -1), "{keys:?} expire");
}

#[test]
fn shadow_mode_refuses_nobody_and_counts() {
    let server = Server::start();
    let gateway =
        Gateway::of_two_workers(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 1\nenforce = false\n");
    let mut client = gateway.client();
    for value in 1..=5 {
        client.check("INCR sku:1", &format!(":{value}"));
    }
    client.check("SET sku:1 7", "+OK");
    wait_until("what would have been refused is counted", || {
        let list = client.list("HOTGATE QUOTA LIST");
        list.iter().position(|word| word == "would_refuse").is_some_and(|at| list[at + 1] == "4")
    });
}

/// A figure of the quota with this pattern.
fn figure_of(client: &mut Client, pattern: &str, name: &str) -> Option<u64> {
    let list = client.list("HOTGATE QUOTA LIST");
    let quota = list.iter().position(|word| word == pattern)?;
    let at = quota + list[quota..].iter().position(|word| word == name)?;
    list[at + 1].parse().ok()
}

#[test]
fn shadow_mode_beside_an_enforced_quota_is_judged_on_what_that_grants() {
    let server = Server::start();
    let quotas = "[[quota]]\nmatch = 'sku:*'\nlimit = 3\nenforce = false\n\
                  [[quota]]\nmatch = '*:1'\nlimit = 6\n\
                  [[quota]]\nmatch = 'r:*'\nlimit = 2\nwindow = '1d'\nenforce = false\n\
                  [[quota]]\nmatch = '*:2'\nlimit = 4\nwindow = '1d'\n\
                  [[quota]]\nmatch = 'broken:*'\nlimit_key = 'limits'\nenforce = false\n\
                  [[quota]]\nmatch = '*:3'\nlimit = 1\n";
    let gateway = Gateway::of_two_workers(&server, quotas);
    let mut client = gateway.client();
    for value in 1..=6 {
        client.check("INCR sku:1", &format!(":{value}"));
    }
    client.check("INCR sku:1", "-QUOTA limit of 6 reached for 'sku:1'");
    client.check("DECRBY sku:1 4", ":2");
    client.check("INCR sku:1", ":3");
    client.check("INCR sku:1", ":4");
    wait_until("the lower limit is judged", || figure_of(&mut client, "sku:*", "would_refuse") == Some(4));
    assert_eq!(figure_of(&mut client, "*:1", "would_refuse"), Some(0));
    // Both count in the window's one key.
    for value in 1..=4 {
        client.check("INCR r:2", &format!(":{value}"));
    }
    client.check("INCR r:2", "-QUOTA limit of 4 per 86400s reached for 'r:2'");
    wait_until("the lower rate is judged", || {
        figure_of(&mut client, "r:* per 86400s", "would_refuse") == Some(2)
    });
    // A shadow limit that can't be read refuses nobody.
    wait_until("the limits have been looked for", || client.ask("INCR broken:3") == ":1");
    client.check("INCR broken:3", "-QUOTA limit of 1 reached for 'broken:3'");
}

#[test]
fn a_limit_that_cannot_be_read_holds_up_only_what_it_refuses() {
    let server = Server::start();
    let mut direct = server.client();
    direct.check("ACL SETUSER gw on >x ~shadow:* ~beside:* ~held:* ~*hotgate* &* +@all", "+OK");
    direct.check("SET limits 100", "+OK");
    let config = "[upstream]\nuser = 'gw'\npassword = 'x'\nunavailable_wait = '500ms'\n\
                  [[quota]]\nmatch = '[sb]*:*'\nlimit_key = 'limits'\nenforce = false\nrecheck = '5ms'\n\
                  [[quota]]\nmatch = 'beside:*'\nlimit = 2\n\
                  [[quota]]\nmatch = 'held:*'\nlimit_key = 'limits'\nrecheck = '5ms'\n";
    let gateway = Gateway::of_two_workers(&server, config);
    let mut client = gateway.client();
    client.check("INCR shadow:1", ":1");
    client.check("GET shadow:1", "$1 1");
    client.check("INCRBY beside:1 2", ":2");
    client.check("INCR beside:1", "-QUOTA limit of 2 reached for 'beside:1'");
    direct.check("SET held:1 7", "+OK");
    client.check("GET held:1", "$1 7");
    for _ in 0..3 {
        client.check("INCR held:1", "-QUOTA cannot be checked for 'held:1'...");
        client.check("GET held:1", "$1 7");
    }
    direct.check("ACL SETUSER gw ~limits", "+OK");
    wait_until("the limit is read", || client.ask("INCR held:1") == ":8");
}

#[test]
fn only_increments_take_a_place_among_the_counters() {
    let server = Server::start();
    let config = "[admission]\nkeys_max = 4\n[[rule]]\nmatch = 'ruled:*'\nmode = 'combine'\n\
                  [[quota]]\nmatch = 'sku:*'\nlimit = 100\n[[quota]]\nmatch = 'stock:*'\nfloor = 0\n";
    let gateway = Gateway::of_two_workers(&server, config);
    let mut client = gateway.client();
    for number in 0..8 {
        client.check(&format!("INCR ruled:{number}"), ":1");
        client.check(&format!("GET sku:{number}"), "$-1");
        client.check(&format!("SET sku:{number} 1"), "-QUOTA SET is refused...");
        client.check(&format!("INCRBY sku:{number} x"), "-ERR value is not an integer or out of range");
        client.check(&format!("DEL sku:{number}"), ":0");
        client.check(&format!("SET stock:{number} 9"), "+OK");
    }
    for number in 0..4 {
        client.check(&format!("DECR stock:{number}"), ":8");
    }
    client.check("DECR stock:4", "-QUOTA admission.keys_max = 4 counters are in use already...");
    client.check("GET stock:4", "$1 9");
}

#[test]
fn a_polled_limit_is_not_remembered_when_nobody_polls_it() {
    let server = Server::start();
    let mut direct = server.client();
    let (seen, none) = ("[[quota]]\nmatch = 'seen'\nlimit = 0\n", "[gateway]\nworkers = 1\n");
    let polled = format!("{none}[[quota]]\nmatch = 'p:*'\nlimit_key = 'limits'\nrecheck = '1ms'\n{seen}");
    let gateway = Gateway::before(&server).config(&polled).start();
    let mut client = gateway.client();
    direct.check("SET limits 100", "+OK");
    wait_until("the limit is read", || client.ask("INCR p:1") == ":1");
    gateway.reload(none);
    wait_until("the quotas are gone", || client.ask("INCR seen").starts_with(':'));
    let mut reads = (0, 0);
    wait_until("the limit is not polled any more", || {
        let now = calls(&mut direct, "get");
        reads = if reads.0 == now { (now, reads.1 + 1) } else { (now, 0) };
        reads.1 == 50
    });
    direct.check("SET limits 5", "+OK");
    gateway.reload(&polled);
    wait_until("the quotas are back", || client.ask("INCR seen").starts_with("-QUOTA"));
    client.check("INCRBY p:2 50", "-QUOTA limit of 5 reached for 'p:2'");
}

#[test]
fn a_client_sees_the_room_that_it_made_itself() {
    let server = Server::start();
    let config = "[[quota]]\nmatch = 'stock:*'\nfloor = 0\nrecheck = '1m'\n\
                  [[quota]]\nmatch = 'sku:*'\nlimit = 2\nrecheck = '1m'\n";
    let gateway = Gateway::of_two_workers(&server, config);
    // Some keys have their home at the worker of the client, others elsewhere; some the client's worker does not know.
    for number in 0..16 {
        let (stock, sku) = (format!("stock:{number}"), format!("sku:{number}"));
        let (mut other, mut client) = (gateway.client(), gateway.client());
        other.check(&format!("DECR {stock}"), &format!("-QUOTA floor of 0 reached for '{stock}'"));
        other.check(&format!("INCRBY {sku} 2"), ":2");
        other.check(&format!("INCR {sku}"), &format!("-QUOTA limit of 2 reached for '{sku}'"));
        for fill in ["SET {} 1", "MSET {} 1", "GETSET {} 1", "SETEX {} 1000 1"] {
            let reply = client.ask(&fill.replace("{}", &stock));
            assert!(!reply.starts_with('-'), "{fill}: {reply}");
            client.check(&format!("DECR {stock}"), ":0");
            client.check(&format!("DECR {stock}"), &format!("-QUOTA floor of 0 reached for '{stock}'"));
        }
        client.send(format!("SET {stock} 5\r\nDECR {stock}\r\nDECR {stock}\r\n").as_bytes());
        assert_eq!(client.reply(), b"+OK\r\n");
        assert_eq!((client.reply(), client.reply()), (b":4\r\n".to_vec(), b":3\r\n".to_vec()), "{stock}");
        for remove in ["DEL {}", "UNLINK {} {}:x", "GETDEL {}"] {
            let reply = client.ask(&remove.replace("{}", &sku));
            assert!(!reply.starts_with('-'), "{remove}: {reply}");
            client.check(&format!("INCRBY {sku} 2"), ":2");
            client.check(&format!("INCR {sku}"), &format!("-QUOTA limit of 2 reached for '{sku}'"));
        }
        client.check("MULTI", "+OK");
        client.check(&format!("DEL {sku}"), "+QUEUED");
        client.check("EXEC", "*1 :1");
        client.check(&format!("INCR {sku}"), ":1");
    }
}

#[test]
fn no_other_command_passes_by_a_quota() {
    let server = Server::start();
    let gateway =
        Gateway::of_two_workers(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 3\nrecheck = '5ms'\n");
    let mut client = gateway.client();
    client.check("INCR sku:1", ":1");
    for line in [
        "SET sku:1 1000",
        "APPEND sku:1 0",
        "INCRBYFLOAT sku:1 1",
        "HINCRBY sku:1 f 1",
        "MSET a 1 sku:1 1000",
        "RENAME a sku:1",
        "EVAL \"return redis.call('incrby', KEYS[1], 100)\" 1 sku:1",
        "BLPOP sku:1 1",
    ] {
        client.check(line, "-QUOTA...");
    }
    client.check("MULTI", "+OK");
    client.check("GET sku:1", "+QUEUED");
    client.check("INCRBY sku:1 100", "-QUOTA INCRBY is refused for 'sku:1' within MULTI...");
    client.check("EXEC", "-EXECABORT...");
    client.check("SELECT 1", "+OK");
    client.check("INCR sku:1", "-QUOTA...");
    client.check("SELECT 0", "+OK");
    client.check("GET sku:1", "$1 1");
    client.check("EXPIRE sku:1 1000", ":1");
    client.check("MGET sku:1 a", "*2 $1 1 $-1");
    client.check("DEL sku:1", ":1");
    client.check("INCR sku:1", ":1");
}

#[test]
fn bad_input_gets_a_clear_error_and_changes_nothing() {
    let server = Server::start();
    let gateway =
        Gateway::of_two_workers(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 10\nrecheck = '5ms'\n");
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCR sku:1", ":1");
    for (line, expected) in [
        ("INCRBY sku:1 x", "-ERR value is not an integer or out of range"),
        ("INCRBY sku:1 99999999999999999999", "-ERR value is not an integer or out of range"),
        ("INCRBY sku:1 9223372036854775807", "-QUOTA..."),
        ("DECRBY sku:1 9223372036854775807", "-QUOTA..."),
        ("INCRBY sku:1", "-ERR wrong number of arguments..."),
    ] {
        client.check(line, expected);
        assert_eq!(direct.text("GET sku:1"), "1", "{line}");
    }
    direct.check("RPUSH sku:list a", ":1");
    client.check("INCR sku:list", "-...");
    direct.check("SET sku:text abc", "+OK");
    client.check("INCR sku:text", "-...");
    assert_eq!(direct.text("GET sku:text"), "abc");
}

#[test]
fn a_window_ends_though_the_clock_of_redis_was_set_back() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(
        &server,
        "[[quota]]\nmatch = 'k'\nlimit = 2\nwindow = '1m'\nrecheck = '5ms'\n",
    );
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCR k", ":1");
    client.check("INCR k", ":2");
    client.check("INCR k", "-QUOTA limit of 2 per 60s reached...");
    // As it stands when the clock is an hour behind, here or at a replica that is master now.
    let window = direct.list("KEYS *hotgate:window:*").remove(0);
    direct.check(&format!("PEXPIRE {window} 3660000"), ":1");
    wait_until("a new window begins", || client.ask("INCR k") == ":3");
    assert!((1..=60_000).contains(&direct.integer(&format!("PTTL {window}"))));
    client.check("INCR k", ":4");
    client.check("INCR k", "-QUOTA limit of 2 per 60s reached...");
}
