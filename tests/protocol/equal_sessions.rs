//! What Redis says of sessions, byte for byte: generated sequences of transactions with watches and changes by another client, of
//! commands about the connection and of questions about commands, outside of `MULTI` and inside, go to a plain Redis and through
//! hotgate, and every reply is compared.
//!
//! Not compared, because two runs against the same Redis differ as well: ids, times, what speaks of the process. What a command
//! to all nodes sees inside a transaction before a cluster, since it is done behind what Redis runs, is left out too.
//!
//! A failure prints the seed; `HOTGATE_SEED=n` runs the same sequence again.

use crate::support::generator::{Generator, Keys};
use crate::support::secured::Secured;
use crate::support::text::{shown, words};
use crate::support::{self, BOTH_VERSIONS, Client, Cluster, Gateway, Server};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const ROUNDS: usize = 250;

/// Hashes stay in the encoding that keeps the order of insertion, whatever the size of their values.
const SMALL_ENCODINGS: &[&str] = &["--hash-max-ziplist-value", "1000000"];

type Arguments = Vec<Vec<u8>>;

/// About the connection, right and wrong.
const CONNECTION: &[&str] = &[
    "CLIENT SETNAME one",
    "CLIENT SETNAME \"\"",
    "CLIENT SETNAME \"a b\"",
    "CLIENT SETNAME a b",
    "CLIENT GETNAME",
    "CLIENT GETNAME x",
    "CLIENT",
    "CLIENT NOSUCH",
    "CLIENT ID x",
    "CLIENT KILL",
    "CLIENT KILL nobody:1",
    "CLIENT KILL TYPE wrong",
    "CLIENT KILL TYPE replica",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID -1",
    "CLIENT KILL ID x",
    "CLIENT KILL ID 99999999",
    "CLIENT KILL FOO bar",
    "CLIENT KILL ADDR nobody:1",
    "CLIENT KILL LADDR nobody:1",
    "CLIENT KILL USER nosuch",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL ID 99999999 SKIPME",
    "CLIENT LIST TYPE wrong",
    "CLIENT LIST TYPE",
    "CLIENT LIST ID",
    "CLIENT LIST ID x",
    "CLIENT LIST ID 99999999",
    "CLIENT LIST FOO",
    "CLIENT LIST TYPE replica",
    "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK 99999999",
    "CLIENT UNBLOCK 99999999 MAYBE",
    "CLIENT REPLY maybe",
    "CLIENT NO-EVICT maybe",
    "CLIENT NO-EVICT on",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "CLIENT CACHING maybe",
    "CLIENT CACHING yes",
    "CLIENT TRACKING maybe",
    "CLIENT TRACKING off",
    "CLIENT TRACKING on PREFIX",
    "CLIENT TRACKING on PREFIX a",
    "CLIENT TRACKING on OPTIN OPTOUT",
    "CLIENT TRACKING on BCAST OPTIN",
    "CLIENT TRACKING on REDIRECT 99999999",
    "AUTH",
    "AUTH x y",
    "AUTH default y",
    "AUTH a b c",
    "AUTH x",
    "ACL WHOAMI",
    "HELLO 9",
    "HELLO x",
    "HELLO 3 AUTH",
    "HELLO 2 FOO",
    "HELLO 2 SETNAME",
    "HELLO 3 SETNAME \"a b\"",
    "HELLO 3 AUTH x y",
    "PING",
    "PING a b",
    "ECHO",
    "UNWATCH",
    "UNWATCH x",
    "DISCARD x",
    "EXEC x",
    "MULTI x",
    "WATCH",
    "SUBSCRIBE",
    "MONITOR x",
    "WAIT x 0",
    "QUIT_",
    "SELECT",
    "RESET x",
];

/// What only one server has.
const OF_ONE_SERVER: &[&str] =
    &["SELECT 1", "SELECT 0", "SELECT 9999", "SELECT x", "SELECT -1", "SELECT 1 2", "CONFIG GET", "WAIT 0 0"];

/// Questions about commands.
const ABOUT_COMMANDS: &[&str] = &[
    "COMMAND COUNT x",
    "COMMAND NOSUCH",
    "COMMAND GETKEYS",
    "COMMAND GETKEYS NOSUCH",
    "COMMAND GETKEYS PING",
    "COMMAND GETKEYS GET",
    "COMMAND GETKEYS MIGRATE h 1 \"\" 0 10 KEYS a b",
    "COMMAND GETKEYS MIGRATE h 1 k 0 10",
    "COMMAND GETKEYS MIGRATE h 1 \"\" 0 10 COPY KEYS \"\" b",
    "COMMAND GETKEYS EVAL x 0",
    "COMMAND GETKEYS EVAL x 2 \"\" b",
    "COMMAND GETKEYS SORT \"\" STORE \"\"",
    "COMMAND GETKEYS XREAD STREAMS \"\" b 0 0",
    "COMMAND GETKEYS GEORADIUS a 1 2 3 m STORE \"\" STOREDIST \"\"",
    "COMMAND GETKEYS ZUNIONSTORE \"\" 2 a \"\"",
    "COMMAND GETKEYS MSET \"\" 1 b 2",
    "COMMAND GETKEYS BITOP AND \"\" a \"\"",
];

/// What differs by chance, or, before a cluster, by when it is done.
const DONE_BEHIND: &[&str] = &["DBSIZE", "SCRIPT", "FUNCTION", "PUBSUB", "PUBLISH"];

struct Sessions {
    random: SmallRng,
    data: Generator,
    single: bool,
}

impl Sessions {
    fn new(seed: u64, single: bool) -> Sessions {
        let keys = if single { Keys::Anywhere } else { Keys::OneSlot };
        Sessions { random: SmallRng::seed_from_u64(!seed), data: Generator::new(seed, keys), single }
    }

    fn key(&mut self) -> Vec<u8> {
        let kind = *b"snblthzgpx".choose(&mut self.random).unwrap() as char;
        let tag = if self.single { "" } else { "{tag}" };
        format!("{tag}{kind}{}", self.random.random_range(0..3)).into_bytes()
    }

    fn of(&mut self, templates: &[&str]) -> Arguments {
        words(templates.choose(&mut self.random).unwrap())
    }

    fn data(&mut self, in_transaction: bool) -> Arguments {
        loop {
            let command = self.data.command();
            let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
            if self.single || !in_transaction || !DONE_BEHIND.contains(&&*name) {
                return command;
            }
        }
    }

    /// Asks for the keys of a command some of whose arguments are empty.
    fn keys_of_anything(&mut self) -> Arguments {
        let mut command = self.data.command();
        for argument in command.iter_mut().skip(1) {
            if self.random.random_bool(0.15) {
                argument.clear();
            }
        }
        [words("COMMAND GETKEYS"), command].concat()
    }

    fn any(&mut self, in_transaction: bool) -> Arguments {
        match self.random.random_range(0..100) {
            0..45 => self.data(in_transaction),
            45..55 => self.keys_of_anything(),
            55..60 => self.of(ABOUT_COMMANDS),
            60..68 if self.single => self.of(OF_ONE_SERVER),
            _ => self.of(CONNECTION),
        }
    }

    /// One round: who says what. Client 1 is the other one, which changes what client 0 watches.
    fn round(&mut self) -> Vec<(usize, Arguments)> {
        let mut steps = Vec::new();
        let mut watched = Vec::new();
        for _ in 0..self.random.random_range(0..3) {
            let key = self.key();
            watched.push(key.clone());
            steps.push((0, vec![b"WATCH".to_vec(), key]));
        }
        for _ in 0..self.random.random_range(0..3) {
            let step = self.any(false);
            steps.push((0, step));
        }
        self.interfere(&watched, &mut steps);
        steps.push((0, words("MULTI")));
        for _ in 0..self.random.random_range(0..6) {
            let step = self.any(true);
            steps.push((0, step));
        }
        self.interfere(&watched, &mut steps);
        let end = if self.random.random_bool(0.85) { "EXEC" } else { "DISCARD" };
        steps.push((0, words(end)));
        steps
    }

    fn interfere(&mut self, watched: &[Vec<u8>], steps: &mut Vec<(usize, Arguments)>) {
        if self.random.random_bool(0.3)
            && let Some(key) = watched.choose(&mut self.random)
        {
            steps.push((1, vec![b"SET".to_vec(), key.clone(), b"1".to_vec()]));
            steps.push((1, vec![b"DEL".to_vec(), key.clone()]));
        }
        if self.random.random_bool(0.3) {
            let step = self.data(false);
            steps.push((1, step));
        }
    }
}

/// A difference that is meant: refused by name, with what to do instead.
fn is_not_passed_on(reply: &[u8]) -> bool {
    reply.starts_with(b"-ERR hotgate: ") && String::from_utf8_lossy(reply).contains("is not passed on")
}

/// `between` is done before each round.
fn compare(plain: &Server, gateway: &Gateway, single: bool, mut between: impl FnMut(&mut SmallRng)) {
    for version in BOTH_VERSIONS {
        let seed = support::seed();
        let clients = |address| -> [Client; 2] { [(); 2].map(|()| Client::speaking(address, version)) };
        let (mut to_redis, mut to_hotgate) = (clients(plain.address()), clients(gateway.address));
        for client in [&mut to_redis[0], &mut to_hotgate[0]] {
            client.check("FLUSHALL", "+OK");
        }
        let mut sessions = Sessions::new(seed, single);
        let mut past: Vec<String> = Vec::new();
        for round in 0..ROUNDS {
            between(&mut sessions.random);
            for (who, command) in sessions.round() {
                let line: Vec<String> = command.iter().map(|argument| shown(argument)).collect();
                past.push(format!("{who}: {}", line.join(" ")));
                let recent = past[past.len().saturating_sub(12)..].join("\n    ");
                let context = format!("seed {seed}, {version:?}, round {round}:\n    {recent}");
                let expected = reply(&mut to_redis[who], &command, "plain Redis", &context);
                let got = reply(&mut to_hotgate[who], &command, "hotgate", &context);
                assert!(
                    got == expected || is_not_passed_on(&got),
                    "{context}\n  hotgate {}\n  redis   {}",
                    shown(&got),
                    shown(&expected)
                );
            }
        }
    }
}

fn reply(client: &mut Client, command: &Arguments, whose: &str, context: &str) -> Vec<u8> {
    client.send(&support::text::encode(command));
    client.try_reply().unwrap_or_else(|error| panic!("{whose}: {error}; {context}"))
}

#[test]
fn in_front_of_one_server() {
    let (plain, behind) = (Server::with(SMALL_ENCODINGS), Server::with(SMALL_ENCODINGS));
    compare(&plain, &Gateway::before_server(&behind), true, |_| {});
}

#[test]
fn over_tls_in_front_of_one_server() {
    let secured = Secured::new();
    let (plain, behind) = (Server::with(SMALL_ENCODINGS), Server::secured(secured, SMALL_ENCODINGS));
    compare(&plain, &Gateway::before(&behind).secured(secured).start(), true, |_| {});
}

#[test]
fn in_front_of_a_cluster() {
    let plain = Server::with(SMALL_ENCODINGS);
    let cluster = Cluster::with(SMALL_ENCODINGS);
    compare(&plain, &Gateway::before_cluster(&cluster), false, |_| {});
}

/// Every key is folded, and then none is, while sessions are under way.
#[test]
fn while_folding_is_switched_at_random() {
    let (plain, behind) = (Server::with(SMALL_ENCODINGS), Server::with(SMALL_ENCODINGS));
    let gateway = Gateway::before(&behind).config("[gateway]\nworkers = 2\n").start();
    let mut folds = false;
    compare(&plain, &gateway, true, |random| {
        if random.random_bool(0.2) {
            folds = !folds;
            let rule = if folds { "[[rule]]\nmatch = '*'\nmode = 'combine'\n" } else { "" };
            gateway.reload(&format!("[gateway]\nworkers = 2\n{rule}"));
        }
    });
}
