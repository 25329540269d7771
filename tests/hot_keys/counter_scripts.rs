//! A script that the configuration names as a counter folds while its key is folded, as exactly as increments do. One that is named
//! wrongly, or that the gateway's user may not fold, goes as it came, and the log says so once.

use crate::support::figures::calls;
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

const LIMITER: &str = "local c = redis.call('INCR', KEYS[1]) if c == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return c";
const FOLDED: &str = "[[rule]]\nmatch = '*'\nmode = 'combine'\n";
const CLIENTS: usize = 8;
const PIPELINE: usize = 8;

fn declared(sha1: &str) -> String {
    format!("{FOLDED}[[counter_script]]\nsha1 = '{sha1}'\nexpire_argument = 1\n")
}

fn load(client: &mut Client, body: &str) -> String {
    client.send(&[b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n", &bulk(body)[..]].concat());
    one_line(&client.reply()).split(' ').nth(1).unwrap().to_owned()
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Many clients send the line at once, in pipelines. Returns all replies.
fn rush(clients: &mut [Client], line: &str) -> Vec<String> {
    let burst = request(line).repeat(PIPELINE);
    clients.iter_mut().for_each(|client| client.send(&burst));
    let replies = |client: &mut Client| (0..PIPELINE).map(|_| one_line(&client.reply())).collect::<Vec<_>>();
    clients.iter_mut().flat_map(replies).collect()
}

/// All replies are numbers, together from behind `counted` on without gaps.
fn count(clients: &mut [Client], line: &str, counted: &mut i64) {
    let replies = rush(clients, line);
    let number = |reply: &String| reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse::<i64>();
    let mut values: Vec<i64> = replies.iter().map(|reply| number(reply).unwrap()).collect();
    values.sort_unstable();
    assert!(values.iter().copied().eq(*counted + 1..=*counted + values.len() as i64), "{values:?}");
    *counted += values.len() as i64;
}

fn unfolded(client: &mut Client) -> bool {
    client.list("HOTGATE HOTKEYS").iter().any(|word| word == "evalsha")
}

#[test]
fn calls_of_a_limiter_fold_and_each_has_its_own_count() {
    for workers in ["1", "2"] {
        let server = Server::start();
        let sha1 = load(&mut server.client(), LIMITER);
        let gateway = Gateway::before(&server).config(&declared(&sha1)).flag("--workers", workers).start();
        let speak = |place: usize| gateway.speaking(BOTH_VERSIONS[place % 2]);
        let mut clients: Vec<Client> = (0..CLIENTS).map(speak).collect();
        let line = format!("EVALSHA {sha1} 1 hot 1000");
        let mut counted = 0;
        let mut direct = server.client();
        wait_until("calls are folded", || {
            count(&mut clients, &line, &mut counted);
            calls(&mut direct, "eval") > 0
        });
        for _ in 0..10 {
            count(&mut clients, &line, &mut counted);
        }
        direct.check("GET hot", &format!("${} {counted}", counted.to_string().len()));
        let left: i64 = direct.ask("TTL hot").trim_start_matches(':').parse().unwrap();
        assert!((900..=1000).contains(&left), "{left}");
        // A value that scripts may differ on goes to the script itself, and so does the end of the key.
        for (prepare, from) in [("DEL hot", 0), ("SET hot 0 EX 1000", 0), ("SET hot -20", -20)] {
            direct.ask(prepare);
            counted = from;
            count(&mut clients, &line, &mut counted);
        }
        direct.check("SET hot abc", "+OK");
        let replies = rush(&mut clients, &line);
        assert!(replies.iter().all(|reply| reply.starts_with("-ERR value is not an integer")), "{replies:?}");
    }
}

#[test]
fn a_script_that_does_something_else_goes_as_it_came_and_the_log_says_so_once() {
    let server = Server::start();
    let sha1 = load(&mut server.client(), "redis.call('INCR', KEYS[1]) return 'counted'");
    let gateway = Gateway::before(&server).config(&declared(&sha1)).start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    let mut watcher = gateway.client();
    let mut counted = 0;
    let mut key = 0;
    wait_until("the log says that the declaration is wrong", || {
        // Each key is tried by itself, and each worker has its own.
        key = (key + 1) % 16;
        let replies = rush(&mut clients, &format!("EVALSHA {sha1} 1 hot{key} 1000"));
        assert!(replies.iter().all(|reply| reply == "$7 counted"), "{replies:?}");
        counted += replies.len();
        gateway.log().contains("does not do what its [[counter_script]] says")
    });
    wait_until("HOTKEYS says that it does not fold", || {
        let replies = rush(&mut clients, &format!("EVALSHA {sha1} 1 hot0 1000"));
        counted += replies.len();
        unfolded(&mut watcher)
    });
    assert_eq!(calls(&mut server.client(), "incr"), counted as u64);
    assert_eq!(calls(&mut server.client(), "eval"), 0);
    let warnings = gateway.log().lines().filter(|line| line.contains("[[counter_script]]")).count();
    assert_eq!(warnings, 1, "{}", gateway.log());
}

#[test]
fn who_may_not_fold_it_may_still_call_it() {
    let server = Server::start();
    let sha1 = load(&mut server.client(), LIMITER);
    for rights in [
        "+evalsha +incr +expire",
        "+evalsha +incr +expire +get +pttl",
        "+evalsha +incr +expire +get +pttl +eval",
    ] {
        server.client().check("DEL hot", ":...");
        server.client().check(&format!("ACL SETUSER gate reset on >secret ~* +info {rights}"), "+OK");
        let config = format!("[upstream]\nuser = 'gate'\npassword = 'secret'\n{}", declared(&sha1));
        let gateway = Gateway::before(&server).config(&config).start();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
        let mut counted = 0;
        for _ in 0..10 {
            count(&mut clients, &format!("EVALSHA {sha1} 1 hot 1000"), &mut counted);
        }
        let warnings = gateway.log().lines().filter(|line| line.contains("+eval +evalsha")).count();
        assert_eq!(warnings, 1, "{rights}: {}", gateway.log());
    }
}

#[test]
fn a_node_that_lost_the_script_gets_it_again() {
    let cluster = Cluster::start();
    let body = LIMITER;
    let sha1 = load(&mut cluster.client(0), body);
    let gateway = Gateway::before(&cluster).config(&declared(&sha1)).start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    assert_eq!(load(&mut clients[0], body), sha1);
    let mut counted = 0;
    for round in 0..6 {
        count(&mut clients, &format!("EVALSHA {sha1} 1 hot 1000"), &mut counted);
        let mut master = cluster.client(cluster.master_of("hot"));
        master.check("SCRIPT FLUSH", "+OK");
        if round % 2 == 1 {
            // What is not folded meets a node without the script.
            master.check("DEL hot", ":1");
            master.check("SET hot 0", "+OK");
            counted = 0;
        }
    }
}
