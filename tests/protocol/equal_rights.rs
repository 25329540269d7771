//! Rules hold as at Redis: users with random rules send random commands through the gateway and, as users of the same rules, straight to a
//! server. Each verdict and its text are the same, or the gateway's is a stricter one that docs/access.md lists; what is allowed has the same
//! effect and the same reply.
//!
//! First come commands whose replies two servers give alike, alone and in transactions, compared byte for byte: so a command that was
//! denied and had an effect shows later. Then every command of the table with random arguments, of which only verdicts are compared. What
//! would end a server or this test's connection is sent only where Redis's own `ACL DRYRUN` says that it is denied.
//!
//! A failure prints the seed; `HOTGATE_SEED=n` runs the same again.

use hotgate::command::{Command, CommandTable};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::generator::{Generator, Keys};
use crate::support::text::shown;
use crate::support::{self, BOTH_VERSIONS, Client, Gateway, Server, Version};

/// Sets of rules for each version of the protocol.
const ROUNDS: usize = 8;

/// Compared byte for byte under one set of rules.
const COMMANDS: usize = 120;

/// Hashes stay in the encoding that keeps the order of insertion. What the server refuses to everybody is refused before it looks at rules.
const OPTIONS: &[&str] = &[
    "--hash-max-ziplist-value",
    "1000000",
    "--enable-debug-command",
    "yes",
    "--enable-module-command",
    "yes",
];

/// Keys of the generator begin with the letter of their type and end in a digit, or in bytes that are no text; channels begin with `f`.
const RULES: &[&str] = &[
    "~*",
    "~s*",
    "~n*",
    "~?1",
    "~l*",
    "~*0",
    "%R~*",
    "%W~*",
    "%R~l*",
    "%W~z*",
    "%RW~h*",
    "%W~s*",
    "%R~t*",
    "resetkeys",
    "&*",
    "&f*",
    "&f1",
    "resetchannels",
    "+@all",
    "-@all",
    "+@read",
    "-@write",
    "+@write",
    "+@string",
    "-@string",
    "+@hash",
    "-@sortedset",
    "+@list",
    "-@set",
    "+@keyspace",
    "+@scripting",
    "+@pubsub",
    "+@fast",
    "-@slow",
    "-@dangerous",
    "+@admin",
    "+@connection",
    "+@transaction",
    "+@blocking",
    "+get",
    "-get",
    "+set",
    "-mset",
    "+mget",
    "+incr",
    "-del",
    "+eval",
    "+sort",
    "+client",
    "-client|setname",
    "+object|encoding",
    "-object|help",
    "+config|get",
    "+xgroup|create",
    "+select|1",
    "+function",
    "-function|list",
    "(+@all ~z* ~x*)",
    "(+get %R~s*)",
    "(+@write %W~b* &f*)",
    "(+copy ~*)",
    "(+@read %R~*)",
];

/// Beginnings that allow enough for something to happen.
const BEGINNINGS: &[&[&str]] = &[
    &[],
    &["+@all"],
    &["+@all", "~*"],
    &["+@all", "~*", "&*"],
    &["+@all", "%R~*", "%W~s*", "%W~l*"],
    &["+@read", "+@write", "~s*", "~l*", "~z*"],
];

/// What ends a server, a connection or the rules of this test, what keeps a connection for itself, or waits.
const ONLY_WHERE_DENIED: &[&str] = &[
    "shutdown",
    "debug",
    "failover",
    "replicaof",
    "slaveof",
    "sync",
    "psync",
    "replconf",
    "monitor",
    "quit",
    "reset",
    "auth",
    "hello",
    "client|kill",
    "client|pause",
    "client|reply",
    "client|tracking",
    "client|unblock",
    "config|set",
    "config|rewrite",
    "module|load",
    "module|loadex",
    "module|unload",
    "acl|setuser",
    "acl|deluser",
    "acl|load",
    "acl|save",
    "save",
    "bgsave",
    "bgrewriteaof",
    "migrate",
    "wait",
    "waitaof",
    "multi",
    "exec",
    "discard",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "select",
    "swapdb",
    "move",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "xread",
    "xreadgroup",
    "cluster|reset",
    "cluster|failover",
    "script|debug",
    "script|kill",
    "function|kill",
    "asking",
    // Their replies in RESP3 are more than the client of these tests reads.
    "command",
    "command|docs",
    "command|info",
];

/// One user at both places, and at the server behind the gateway as well.
struct Askers {
    plain: Client,
    through: Client,
    /// Where a command has its effect that the gateway denies and Redis does not.
    behind: Client,
    /// Who may do everything, at the server that is asked directly.
    admin: Client,
}

/// What one command was answered at both places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdicts {
    Same,
    /// The gateway denies what Redis does not.
    Stricter,
}

fn is_denied(reply: &[u8]) -> bool {
    const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of: NOPERM";
    reply.starts_with(b"-NOPERM") || reply.starts_with(ABORTED)
}

/// A denial as Redis words it from 7.2 on, as the gateway does.
fn in_later_words(reply: &[u8]) -> Vec<u8> {
    const WORDS: [(&str, &str); 3] = [
        ("this user has no permissions to run", "User tried has no permissions to run"),
        (
            "this user has no permissions to access one of the keys used as arguments",
            "No permissions to access a key",
        ),
        (
            "this user has no permissions to access one of the channels used as arguments",
            "No permissions to access a channel",
        ),
    ];
    match std::str::from_utf8(reply) {
        Ok(text) if is_denied(reply) => {
            WORDS.iter().fold(text.to_owned(), |text, (older, later)| text.replace(older, later)).into_bytes()
        }
        _ => reply.to_vec(),
    }
}

impl Askers {
    /// Sends a command both ways and holds the replies against each other. `exact`: what is allowed is answered alike.
    fn judge(&mut self, command: &[Vec<u8>], exact: bool, context: &str) -> Verdicts {
        let (expected, found) = (in_later_words(&self.plain.call(command)), self.through.call(command));
        let line: Vec<String> = command.iter().map(|argument| shown(argument)).collect();
        let (line, replies) = (line.join(" "), [&found, &expected].map(|reply| shown(reply)));
        let context = || format!("{context}: {line}\n  hotgate {}\n  redis   {}", replies[0], replies[1]);
        let is_same = found == expected;
        match (is_denied(&expected), is_denied(&found)) {
            (true, false) => panic!("Redis denies this: {}", context()),
            (false, false) => assert!(is_same || !exact, "{}", context()),
            (is_denied, true) if !is_same => {
                assert!(
                    self.is_listed(command),
                    "not among the stricter ones of docs/access.md: {}",
                    context()
                );
                if !is_denied {
                    return Verdicts::Stricter;
                }
            }
            _ => {}
        }
        Verdicts::Same
    }

    /// What docs/access.md lists under "Stricter than Redis".
    fn is_listed(&mut self, command: &[Vec<u8>]) -> bool {
        let name = command[0].to_ascii_lowercase();
        let has = |word: &[u8]| command.iter().skip(2).any(|argument| argument.eq_ignore_ascii_case(word));
        let runs_code = [b"eval".as_slice(), b"fcall"].iter().any(|known| name.starts_with(known));
        let follows_patterns = name.starts_with(b"sort") && (has(b"by") || has(b"get"));
        let logs = [b"slowlog".as_slice(), b"commandlog"].contains(&&name[..])
            && command.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"get"));
        runs_code || follows_patterns || logs || !self.tells_keys(command)
    }

    /// Whether Redis finds keys in the arguments of a command.
    fn tells_keys(&mut self, command: &[Vec<u8>]) -> bool {
        let mut words = vec![b"COMMAND".to_vec(), b"GETKEYS".to_vec()];
        words.extend_from_slice(command);
        !self.admin.call(&words).starts_with(b"-ERR Invalid arguments")
    }

    /// What Redis itself would decide.
    fn verdict(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> =
            ["ACL", "DRYRUN", "tried"].map(|word| word.as_bytes().to_vec()).to_vec();
        words.extend_from_slice(command);
        self.admin.call(&words)
    }
}

/// A command, or a transaction.
fn check_alike(askers: &mut Askers, commands: &[Vec<Vec<u8>>], context: &str) {
    let mut stricter = false;
    for command in commands {
        if stricter && command[0] == b"EXEC" {
            let (_, found) = (askers.plain.call(command), askers.through.call(command));
            assert!(found.starts_with(b"-EXECABORT"), "{context}: {}", shown(&found));
            continue;
        }
        stricter |= askers.judge(command, true, context) == Verdicts::Stricter;
    }
    if stricter {
        commands.iter().for_each(|command| drop(askers.behind.call(command)));
    }
}

/// A command of the table with arguments that often are keys.
fn any_command(command: &Command, random: &mut SmallRng) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = command.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let least = usize::from(command.arity.unsigned_abs());
    // These are answered once for each channel.
    let answers_often = command.name.ends_with("unsubscribe");
    let count = if command.arity < 0 && !answers_often { least + random.random_range(0..4) } else { least };
    let names = [
        "s0", "n1", "l0", "t1", "z0", "h1", "x0", "g1", "1", "2", "0", "f1", "STORE", "KEYS", "STREAMS",
        "BY", "GET", "LEFT",
    ];
    while words.len() < count {
        words.push(names.choose(random).unwrap().as_bytes().to_vec());
    }
    words
}

fn rules(random: &mut SmallRng) -> Vec<&'static str> {
    let mut rules = BEGINNINGS.choose(random).unwrap().to_vec();
    for _ in 0..random.random_range(0..8) {
        rules.push(RULES.choose(random).unwrap());
    }
    // A pattern beside all of them is an error.
    let all = rules.iter().rposition(|rule| matches!(*rule, "~*"));
    if let Some(all) = all {
        let mut place = 0;
        rules.retain(|rule| {
            place += 1;
            place - 1 == all || !(rule.starts_with('~') || rule.starts_with('%'))
        });
    }
    if rules.contains(&"&*") {
        rules.retain(|rule| !rule.starts_with("&f"));
    }
    rules
}

fn log_in(mut client: Client, version: Version) -> Client {
    match version {
        Version::Resp2 => client.check("AUTH tried pw", "+OK"),
        Version::Resp3 => drop(client.hello3("HELLO 3 AUTH tried pw")),
    }
    client
}

#[test]
fn random_rules_on_random_commands_are_those_of_redis_or_stricter_ones_that_are_listed() {
    let [plain, behind] = [Server::with(OPTIONS), Server::with(OPTIONS)];
    let gateway = Gateway::before_server(&behind);
    let table = CommandTable::builtin();
    let seed = support::seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut denied, mut allowed) = (0, 0);
    for round in 0..ROUNDS * BOTH_VERSIONS.len() {
        let version = BOTH_VERSIONS[round % BOTH_VERSIONS.len()];
        let rules = rules(&mut random);
        let context = format!("seed {seed}, round {round}, {version:?}, {rules:?}");
        let mut askers = {
            let mut admins = [plain.client(), behind.client(), gateway.client()];
            for admin in &mut admins {
                let said = admin.ask(&format!("ACL SETUSER tried reset on >pw {}", rules.join(" ")));
                assert_eq!(said, "+OK", "{context}");
            }
            for admin in &mut admins[..2] {
                admin.check("FLUSHALL", "+OK");
                admin.check("FUNCTION FLUSH", "+OK");
            }
            let [admin, ..] = admins;
            let [plain, behind, through] = [plain.client(), behind.client(), gateway.client()];
            Askers {
                plain: log_in(plain, version),
                through: log_in(through, version),
                behind: log_in(behind, version),
                admin,
            }
        };
        let mut generator = Generator::new(random.random(), Keys::Anywhere);
        for _ in 0..COMMANDS {
            match random.random_bool(0.1) {
                true => {
                    let word = |word: &str| vec![word.as_bytes().to_vec()];
                    let queued = (0..random.random_range(1..4)).map(|_| generator.command());
                    let whole: Vec<_> =
                        [word("MULTI")].into_iter().chain(queued).chain([word("EXEC")]).collect();
                    check_alike(&mut askers, &whole, &context);
                }
                false => check_alike(&mut askers, &[generator.command()], &context),
            }
        }
        for (_, command) in table.iter().filter(|(_, command)| !command.is_container()) {
            let words = any_command(command, &mut random);
            let verdict = askers.verdict(&words);
            let is_allowed = verdict.starts_with(b"+OK");
            // The server does not know the gateway's own commands, nor those of later versions.
            let is_unknown = verdict.starts_with(b"-ERR");
            if is_unknown || is_allowed && ONLY_WHERE_DENIED.contains(&&*command.name) {
                continue;
            }
            askers.judge(&words, false, &context);
            if is_allowed { allowed += 1 } else { denied += 1 }
        }
    }
    assert!(denied > 500 && allowed > 500, "{denied} denied, {allowed} allowed");
}
