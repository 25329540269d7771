//! The gateway needs no rights that its clients' own commands don't need: with whatever user it logs in, a hot key is refused what
//! it would be refused cold, and nothing else. Modes that need more say so at the start.

use crate::support::figures::calls;
use crate::support::text::{one_line, request};
use crate::support::{Client, Gateway, Server, wait_until};

/// Every key is folded from its first operation on.
const FOLDED: &str = "[[rule]]\nmatch = \"*\"\nmode = \"combine\"\n";
const CLIENTS: usize = 6;
const PIPELINE: usize = 8;

/// A gateway that logs in as a user with these rights and no others.
fn gateway_as(server: &Server, rights: &str, config: &str) -> Gateway {
    allow(server, rights);
    Gateway::before(&server).config(&format!("{}{config}", login())).start()
}

fn login() -> &'static str {
    "[upstream]\nuser = \"gate\"\npassword = \"secret\"\n"
}

fn allow(server: &Server, rights: &str) {
    server.client().check(&format!("ACL SETUSER gate reset on >secret +info {rights}"), "+OK");
}

/// Many clients send the line at once, in pipelines. Returns all replies, so that each client's are one behind the other.
fn rush(clients: &mut [Client], line: &str) -> Vec<String> {
    let burst = request(line).repeat(PIPELINE);
    clients.iter_mut().for_each(|client| client.send(&burst));
    let replies = |client: &mut Client| (0..PIPELINE).map(|_| one_line(&client.reply())).collect::<Vec<_>>();
    clients.iter_mut().flat_map(replies).collect()
}

fn clients(gateway: &Gateway) -> Vec<Client> {
    (0..CLIENTS).map(|_| gateway.client()).collect()
}

/// All replies are numbers, together from `first` on without gaps.
fn assert_gapless(replies: &[String], first: i64) {
    let number = |reply: &String| reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse::<i64>();
    let mut values: Vec<i64> = replies.iter().map(|reply| number(reply).unwrap()).collect();
    values.sort_unstable();
    assert!(values.iter().copied().eq(first..first + values.len() as i64), "{values:?}");
}

fn assert_refused(replies: &[String], command: &str) {
    for reply in replies {
        assert!(reply.starts_with("-NOPERM") && reply.contains(command), "{reply}");
    }
}

#[test]
fn increments_go_as_they_came_where_the_fold_is_not_permitted() {
    for rights in
        ["~* +incr +get", "~app:* +incr +get", "~* +@all -incrby", "~app:* +@all -@scripting -incrby"]
    {
        let server = Server::start();
        let gateway = gateway_as(&server, rights, FOLDED);
        let mut clients = clients(&gateway);
        let mut counted = 0;
        for _ in 0..20 {
            let replies = rush(&mut clients, "INCR app:hot");
            assert_gapless(&replies, counted + 1);
            counted += replies.len() as i64;
            let read = format!("${} {counted}", counted.to_string().len());
            assert!(rush(&mut clients, "GET app:hot").iter().all(|reply| *reply == read), "{rights}");
        }
        assert_eq!(calls(&mut server.client(), "incrby"), 0);
        let warnings = gateway.log().lines().filter(|line| line.contains("+incrby")).count();
        assert_eq!(warnings, 1, "{rights}: {}", gateway.log());
    }
}

#[test]
fn increments_are_folded_without_scripts_and_on_some_keys_only() {
    for rights in ["~app:* +@all", "~* +@all -@scripting", "~app:* +incr +incrby"] {
        let server = Server::start();
        let gateway = gateway_as(&server, rights, FOLDED);
        let mut clients = clients(&gateway);
        let mut counted = 0;
        wait_until("increments are folded", || {
            let replies = rush(&mut clients, "INCR app:hot");
            assert_gapless(&replies, counted + 1);
            counted += replies.len() as i64;
            calls(&mut server.client(), "incrby") > 0
        });
        if rights.starts_with("~app:") {
            assert_refused(&rush(&mut clients, "INCR other"), "key");
        }
        assert!(!gateway.log().contains("+incrby"), "{}", gateway.log());
    }
}

#[test]
fn writes_fold_with_the_rights_of_the_writes_alone() {
    let server = Server::start();
    let gateway = gateway_as(&server, "~* +incr +expire +set +hset +rpush +sadd", FOLDED);
    let mut clients = clients(&gateway);
    let lines = [
        "EXPIRE hot 1000",
        "EXPIRE hot 1000 NX",
        "SET text v EX 1000",
        "SET lock v NX",
        "HSET hash f 1 g 2",
        "RPUSH list a",
        "SADD set a",
    ];
    let mut counted = 0;
    for _ in 0..5 {
        let replies = rush(&mut clients, "INCR hot");
        assert_gapless(&replies, counted + 1);
        counted += replies.len() as i64;
        for line in lines {
            let replies = rush(&mut clients, line);
            assert!(replies.iter().all(|reply| !reply.starts_with('-')), "{line}: {replies:?}");
        }
        assert_refused(&rush(&mut clients, "PEXPIRE hot 1000"), "pexpire");
    }
}

/// Commands that fold, each with a line of its own. The keys are of one type each.
const FORMS: [&str; 31] = [
    "INCR n",
    "DECR n",
    "INCRBY n 5",
    "DECRBY n 2",
    "GET n",
    "TTL n",
    "EXPIRE n 1000",
    "PEXPIRE n 900000 XX",
    "EXPIREAT n 3000000000",
    "PERSIST n",
    "SET text v",
    "SETEX text 1000 v",
    "PSETEX text 1000000 v",
    "SETNX lock v",
    "HINCRBY hash f 1",
    "HGET hash f",
    "HSET hash g 1",
    "HMSET hash g 1",
    "HSETNX hash h 1",
    "HDEL hash h",
    "HGETALL hash",
    "SADD set a",
    "SREM set a",
    "ZADD sorted 1 a",
    "ZREM sorted a",
    "PFADD sketch a",
    "LPUSH list a",
    "RPUSH list a",
    "LPUSHX list a",
    "RPUSHX list a",
    "STRLEN text",
];

/// What an increment of these adds.
const ADDS: [(&str, i64); 4] = [("INCR n", 1), ("DECR n", -1), ("INCRBY n 5", 5), ("DECRBY n 2", -2)];

/// Whatever else is folded together with it, in one flush or one command.
#[test]
fn a_user_who_lacks_one_form_is_refused_that_one_alone() {
    let server = Server::start();
    let gateway = gateway_as(&server, "~* +@all", FOLDED);
    let mut clients = clients(&gateway);
    for lacking in FORMS.map(|line| line.split(' ').next().unwrap()) {
        allow(&server, &format!("~* +@all -{lacking}"));
        // The key is the first argument.
        let named = |line: &str| line.replacen(' ', &format!(" {lacking}:"), 1);
        let burst: Vec<u8> = FORMS.iter().flat_map(|line| request(&named(line))).collect();
        let mut total = 0;
        for _ in 0..3 {
            clients.iter_mut().for_each(|client| client.send(&burst.repeat(2)));
            let replies = clients.iter_mut().flat_map(|client| {
                FORMS.iter().chain(&FORMS).map(|line| (one_line(&client.reply()), line)).collect::<Vec<_>>()
            });
            for (reply, line) in replies {
                let is_lacking = line.starts_with(&format!("{lacking} "));
                assert_eq!(reply.starts_with("-NOPERM"), is_lacking, "without {lacking}, {line}: {reply}");
                assert!(is_lacking || !reply.starts_with('-'), "without {lacking}, {line}: {reply}");
                let adds = ADDS.iter().filter(|(counting, _)| counting == line && !is_lacking);
                total += adds.map(|(_, delta)| delta).sum::<i64>();
            }
        }
        assert_eq!(server.client().text(&format!("GET {lacking}:n")), total.to_string(), "without {lacking}");
    }
}

#[test]
fn what_is_refused_cold_is_refused_hot() {
    let server = Server::start();
    let gateway = gateway_as(&server, "~* +@all -incr -decrby -hget", FOLDED);
    let mut clients = clients(&gateway);
    for _ in 0..10 {
        assert_refused(&rush(&mut clients, "INCR hot"), "incr");
        assert_refused(&rush(&mut clients, "DECRBY hot 2"), "decrby");
        assert!(rush(&mut clients, "INCRBY hot 2").iter().all(|reply| reply.starts_with(':')));
        assert!(rush(&mut clients, "DECR hot").iter().all(|reply| reply.starts_with(':')));
        assert!(rush(&mut clients, "HINCRBY hash f 1").iter().all(|reply| reply.starts_with(':')));
        assert_refused(&rush(&mut clients, "HGET hash f"), "hget");
    }
    assert_eq!(server.client().text("GET hot"), (10 * CLIENTS * PIPELINE).to_string());
}

/// Each client sends all of it in one go, so that it is folded with what the others send.
#[test]
fn commands_of_one_batch_are_refused_each_by_itself() {
    let check = |rights: &str, refused: &[&str]| {
        let server = Server::start();
        let gateway = gateway_as(&server, rights, FOLDED);
        let mut clients = clients(&gateway);
        let lines = ["SET hot 5", "GET hot", "INCR hot", "GET hot", "INCRBY hot 3", "DECR hot", "GET hot"];
        let batch: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
        for _ in 0..20 {
            clients.iter_mut().for_each(|client| client.send(&batch));
            for client in &mut clients {
                for line in lines {
                    let reply = one_line(&client.reply());
                    let command = line.split(' ').next().unwrap();
                    let denied = reply.starts_with("-NOPERM");
                    assert_eq!(denied, refused.contains(&command), "{rights}: {line}: {reply}");
                    assert!(denied || !reply.starts_with('-'), "{rights}: {line}: {reply}");
                }
            }
        }
    };
    check("~* +get", &["SET", "INCR", "INCRBY", "DECR"]);
    check("~* +@all -get", &["GET"]);
    check("~* +incr +get", &["SET", "INCRBY", "DECR"]);
    check("~* +set +incrby", &["GET", "INCR", "DECR"]);
    check("%R~* +@all", &["SET", "INCR", "INCRBY", "DECR"]);
    check("%W~* +@all", &["GET", "INCR", "INCRBY", "DECR"]);
}

/// A right that is taken away, or given, while the key is hot.
#[test]
fn a_change_of_rights_shows_at_a_hot_key() {
    let server = Server::start();
    let gateway = gateway_as(&server, "~* +@all", FOLDED);
    let mut clients = clients(&gateway);
    assert_gapless(&rush(&mut clients, "INCR hot"), 1);
    allow(&server, "~* +@all -incr");
    wait_until("increments are refused", || {
        rush(&mut clients, "INCR hot").iter().all(|reply| reply.starts_with("-NOPERM"))
    });
    allow(&server, "~* +@all");
    let mut before = None;
    wait_until("they are taken again, and folded", || {
        let taken = rush(&mut clients, "INCR hot").iter().all(|reply| reply.starts_with(':'));
        let folds = calls(&mut server.client(), "incrby");
        taken && folds > *before.get_or_insert(folds)
    });
}

const WRITE_BEHIND: &str = "[[rule]]\nmatch = \"stock:*\"\nmode = \"write-behind\"\n";
const QUOTA: &str = "[[quota]]\nmatch = \"stock:*\"\nlimit = 1000000\n";
const WINDOW: &str = "[[quota]]\nmatch = \"stock:*\"\nlimit = 1000000\nwindow = \"1h\"\n";
const ONCE: &str = "[[rule]]\nmatch = \"stock:*\"\nmode = \"combine\"\nexactly_once = true\n";

/// The least users that `docs/modes.md` names.
const LEAST_USERS: [(&str, &str); 4] = [
    (WRITE_BEHIND, "~stock:* ~{???}hotgate:* +eval +evalsha +get +incrby +set"),
    (QUOTA, "~stock:* ~{???}hotgate:* +eval +evalsha +get +incrby +hmget +smembers +sadd +srem"),
    (
        WINDOW,
        "~stock:* ~{???}hotgate:* +eval +evalsha +get +incrby +hmget +smembers +sadd +srem +pttl +pexpire +del",
    ),
    (ONCE, "~stock:* ~{???}hotgate:* +eval +evalsha +get +incrby +set"),
];

#[test]
fn the_least_user_is_enough_for_its_mode() {
    let page = include_str!("../../docs/modes.md");
    for (config, rights) in LEAST_USERS {
        let mut words = rights.split(' ').filter(|word| word.starts_with('+'));
        assert!(words.all(|word| page.contains(word)), "docs/modes.md names: {rights}");
        let server = Server::start();
        let gateway = gateway_as(&server, rights, config);
        let mut clients = clients(&gateway);
        let mut counted = 0;
        for _ in 0..5 {
            let replies = rush(&mut clients, "INCR stock:1");
            assert_gapless(&replies, counted + 1);
            counted += replies.len() as i64;
        }
        let mut direct = server.client();
        wait_until("all is in Redis", || stored(&mut direct) == counted.to_string());
        assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
    }
}

/// Each right of a least user is needed: without it the start is refused, with the line that grants it.
#[test]
fn a_mode_that_lacks_a_right_is_refused_at_the_start() {
    let server = Server::start();
    for (config, rights) in LEAST_USERS {
        for lacking in rights.split(' ') {
            let others: Vec<&str> = rights.split(' ').filter(|right| *right != lacking).collect();
            allow(&server, &others.join(" "));
            let said = refused_start(&server, config);
            assert!(
                said.contains("ACL SETUSER gate") && said.contains(lacking),
                "{config}: {lacking}: {said}"
            );
            let granted = said.split("ACL SETUSER gate ").nth(1).unwrap().split(';').next().unwrap();
            assert_eq!(granted, lacking, "nothing else");
        }
    }
    // Who may ask is answered by ACL DRYRUN, and no command is tried.
    allow(&server, "~* +@all -evalsha");
    server.client().check("CONFIG RESETSTAT", "+OK");
    assert!(refused_start(&server, QUOTA).contains("ACL SETUSER gate +evalsha;"));
    assert_eq!(calls(&mut server.client(), "incrby"), 0);
}

/// The counter as Redis has it; empty while there is none.
fn stored(direct: &mut Client) -> String {
    direct.send(&request("GET stock:1"));
    one_line(&direct.reply()).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// What a gateway says that does not start.
fn refused_start(server: &Server, config: &str) -> String {
    let address = server.address();
    let whole = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{}servers = [\"{address}\"]\n{config}",
        login()
    );
    let (code, said) = Gateway::by_file(&whole).refused();
    assert_eq!(code, Some(1), "{said}");
    said
}

#[test]
fn a_reload_that_lacks_a_right_changes_nothing() {
    let server = Server::start();
    let gateway = gateway_as(&server, "~stock:* +incr +incrby", "");
    gateway.reload(&format!("{}{QUOTA}", login()));
    wait_until("the reload is refused", || gateway.log().contains("configuration not reloaded"));
    assert!(gateway.log().contains("ACL SETUSER gate +eval +evalsha +get +hmget"), "{}", gateway.log());
    gateway.client().check("INCR stock:1", ":1");
}

/// A right that is taken away later: what was acknowledged stays, nothing more is acknowledged, and all goes on with the right.
#[test]
fn write_behind_acknowledges_nothing_that_it_may_not_flush() {
    let (_, rights) = LEAST_USERS[0];
    let server = Server::start();
    let gateway = gateway_as(&server, rights, WRITE_BEHIND);
    let mut clients = clients(&gateway);
    let mut acknowledged = rush(&mut clients, "INCR stock:1").len();
    allow(&server, &rights.replace(" +evalsha", ""));
    wait_until("increments are refused", || {
        let replies = rush(&mut clients, "INCR stock:1");
        acknowledged += replies.iter().filter(|reply| reply.starts_with(':')).count();
        replies.iter().all(|reply| reply.starts_with("-ERR hotgate: Redis does not let"))
    });
    let missing = "lacks rights for write-behind of stock:*: ACL SETUSER gate +evalsha";
    wait_until("the log names the right", || gateway.log().contains(missing));
    wait_until("so does the status line", || gateway.get("/api/stats").1.contains(missing));
    assert!(gateway.get("/metrics").1.contains("hotgate_upstream_missing_rights 1"));
    allow(&server, rights);
    let mut direct = server.client();
    wait_until("all that was acknowledged is in Redis", || stored(&mut direct) == acknowledged.to_string());
    wait_until("increments are taken again", || {
        rush(&mut clients, "INCR stock:1").iter().all(|reply| reply.starts_with(':'))
    });
}
