//! A user who may use keys of its own only tries to reach another's by every command of the table: alone, in a transaction, on folded keys
//! and on copies. Nothing is read, changed or heard.

use std::collections::BTreeMap;

use hotgate::command::{Class, CommandTable};

use crate::support::client::Client;
use crate::support::{Gateway, Server};

const RULES: &str = "~app:* &app:* +@all -@admin -@dangerous +keys +restore +migrate +sort +sort_ro +info";
const SECRET: &str = "topsecret";
const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";

/// Requests for each command that names keys. `S L T Z H X G N` stand for others' keys of these types: string, list, set, sorted set, hash, stream, places,
/// number; `A` is the user's own. Several requests are parted by `;`.
const KEYED: &[(&str, &str)] = &[
    ("copy", "S A;A S"),
    ("del", "S;A S"),
    ("dump", "S"),
    ("exists", "S;A S"),
    ("expire", "S 9"),
    ("expireat", "S 9"),
    ("expiretime", "S"),
    ("move", "S 1"),
    ("object|encoding", "S"),
    ("object|freq", "S"),
    ("object|idletime", "S"),
    ("object|refcount", "S"),
    ("persist", "S"),
    ("pexpire", "S 9"),
    ("pexpireat", "S 9"),
    ("pexpiretime", "S"),
    ("pttl", "S"),
    ("rename", "S A;A S"),
    ("renamenx", "S A;A S"),
    ("restore", "S 0 x REPLACE"),
    ("sort", "L ALPHA;A STORE S;A BY S*;A BY nosort GET S*;A GET # STORE S"),
    ("sort_ro", "L;A BY S*"),
    ("touch", "S;A S"),
    ("ttl", "S"),
    ("type", "S"),
    ("unlink", "S;A S"),
    ("reserve.add", "S u"),
    ("reserve.cancel", "S u"),
    ("reserve.check", "S u"),
    ("reserve.confirm", "S u"),
    ("reserve.info", "S"),
    ("reserve.list", "S"),
    ("reserve.mcheck", "S u"),
    ("bzmpop", "0 1 Z MIN;0 2 A Z MIN"),
    ("bzpopmax", "Z 0;A Z 0"),
    ("bzpopmin", "Z 0"),
    ("zadd", "Z 1 m"),
    ("zcard", "Z"),
    ("zcount", "Z 0 9"),
    ("zdiff", "1 Z;2 A Z"),
    ("zdiffstore", "A 1 Z;Z 1 A"),
    ("zincrby", "Z 1 m"),
    ("zinter", "1 Z;2 A Z"),
    ("zintercard", "1 Z"),
    ("zinterstore", "A 1 Z;Z 1 A"),
    ("zlexcount", "Z - +"),
    ("zmpop", "1 Z MIN;2 A Z MIN"),
    ("zmscore", "Z m"),
    ("zpopmax", "Z"),
    ("zpopmin", "Z"),
    ("zrandmember", "Z"),
    ("zrange", "Z 0 9"),
    ("zrangebylex", "Z - +"),
    ("zrangebyscore", "Z 0 9"),
    ("zrangestore", "A Z 0 9;Z A 0 9"),
    ("zrank", "Z m"),
    ("zrem", "Z m"),
    ("zremrangebylex", "Z - +"),
    ("zremrangebyrank", "Z 0 9"),
    ("zremrangebyscore", "Z 0 9"),
    ("zrevrange", "Z 0 9"),
    ("zrevrangebylex", "Z + -"),
    ("zrevrangebyscore", "Z 9 0"),
    ("zrevrank", "Z m"),
    ("zscan", "Z 0"),
    ("zscore", "Z m"),
    ("zunion", "1 Z;2 A Z"),
    ("zunionstore", "A 1 Z;Z 1 A"),
    ("geoadd", "G 1 1 m"),
    ("geodist", "G m m"),
    ("geohash", "G m"),
    ("geopos", "G m"),
    ("georadius", "G 1 1 9 km;A 1 1 9 km STORE Z;A 1 1 9 km STOREDIST Z"),
    ("georadius_ro", "G 1 1 9 km"),
    ("georadiusbymember", "G m 9 km;A m 9 km STORE Z"),
    ("georadiusbymember_ro", "G m 9 km"),
    ("geosearch", "G FROMMEMBER m BYRADIUS 9 km"),
    ("geosearchstore", "A G FROMMEMBER m BYRADIUS 9 km;G A FROMMEMBER m BYRADIUS 9 km"),
    ("memory|usage", "S"),
    ("append", "S x"),
    ("decr", "N"),
    ("decrby", "N 1"),
    ("delex", "S"),
    ("digest", "S"),
    ("get", "S"),
    ("getdel", "S"),
    ("getex", "S"),
    ("getrange", "S 0 9"),
    ("getset", "S x"),
    ("incr", "N"),
    ("incrby", "N 1"),
    ("incrbyfloat", "N 1"),
    ("increx", "N"),
    ("lcs", "S S;A S"),
    ("mget", "S;A S"),
    ("mset", "S x;A x S x"),
    ("msetex", "1 S x"),
    ("msetnx", "S x;A x S x"),
    ("psetex", "S 9 x"),
    ("set", "S x;S x GET"),
    ("setex", "S 9 x"),
    ("setnx", "S x"),
    ("setrange", "S 0 x"),
    ("strlen", "S"),
    ("substr", "S 0 9"),
    ("bitcount", "S"),
    ("bitfield", "S GET u8 0;S SET u8 0 1"),
    ("bitfield_ro", "S GET u8 0"),
    ("bitop", "AND A S;AND S A"),
    ("bitpos", "S 1"),
    ("getbit", "S 1"),
    ("setbit", "S 1 1"),
    ("pfadd", "S x"),
    ("pfcount", "S;A S"),
    ("pfmerge", "A S;S A"),
    ("watch", "S;A S"),
    ("blmove", "L A LEFT LEFT 0;A L LEFT LEFT 0"),
    ("blmpop", "0 1 L LEFT;0 2 A L LEFT"),
    ("blpop", "L 0;A L 0"),
    ("brpop", "L 0"),
    ("brpoplpush", "L A 0;A L 0"),
    ("lindex", "L 0"),
    ("linsert", "L BEFORE m x"),
    ("llen", "L"),
    ("lmove", "L A LEFT LEFT;A L LEFT LEFT"),
    ("lmpop", "1 L LEFT;2 A L LEFT"),
    ("lpop", "L"),
    ("lpos", "L m"),
    ("lpush", "L x"),
    ("lpushx", "L x"),
    ("lrange", "L 0 9"),
    ("lrem", "L 0 m"),
    ("lset", "L 0 x"),
    ("ltrim", "L 0 0"),
    ("rpop", "L"),
    ("rpoplpush", "L A;A L"),
    ("rpush", "L x"),
    ("rpushx", "L x"),
    ("sadd", "T x"),
    ("scard", "T"),
    ("sdiff", "T;A T"),
    ("sdiffstore", "A T;T A"),
    ("sinter", "T;A T"),
    ("sintercard", "1 T"),
    ("sinterstore", "A T;T A"),
    ("sismember", "T m"),
    ("smembers", "T"),
    ("smismember", "T m"),
    ("smove", "T A m;A T m"),
    ("spop", "T"),
    ("srandmember", "T"),
    ("srem", "T m"),
    ("sscan", "T 0"),
    ("sunion", "T;A T"),
    ("sunionstore", "A T;T A"),
    ("hdel", "H f"),
    ("hexists", "H f"),
    ("hexpire", "H 9 FIELDS 1 f"),
    ("hexpireat", "H 9 FIELDS 1 f"),
    ("hexpiretime", "H FIELDS 1 f"),
    ("hget", "H f"),
    ("hgetall", "H"),
    ("hgetdel", "H FIELDS 1 f"),
    ("hgetex", "H FIELDS 1 f"),
    ("hincrby", "H n 1"),
    ("hincrbyfloat", "H n 1"),
    ("hkeys", "H"),
    ("hlen", "H"),
    ("hmget", "H f"),
    ("hmset", "H f x"),
    ("hpersist", "H FIELDS 1 f"),
    ("hpexpire", "H 9 FIELDS 1 f"),
    ("hpexpireat", "H 9 FIELDS 1 f"),
    ("hpexpiretime", "H FIELDS 1 f"),
    ("hpttl", "H FIELDS 1 f"),
    ("hrandfield", "H"),
    ("hscan", "H 0"),
    ("hset", "H f x"),
    ("hsetex", "H FIELDS 1 f x"),
    ("hsetnx", "H f x"),
    ("hstrlen", "H f"),
    ("httl", "H FIELDS 1 f"),
    ("hvals", "H"),
    ("xack", "X g 1-1"),
    ("xackdel", "X g IDS 1 1-1"),
    ("xadd", "X * f x"),
    ("xautoclaim", "X g c 0 0"),
    ("xclaim", "X g c 0 1-1"),
    ("xdel", "X 1-1"),
    ("xdelex", "X IDS 1 1-1"),
    ("xgroup|create", "X g2 0"),
    ("xgroup|createconsumer", "X g c"),
    ("xgroup|delconsumer", "X g c"),
    ("xgroup|destroy", "X g"),
    ("xgroup|setid", "X g 0"),
    ("xinfo|consumers", "X g"),
    ("xinfo|groups", "X"),
    ("xinfo|stream", "X;X FULL"),
    ("xlen", "X"),
    ("xpending", "X g"),
    ("xrange", "X - +"),
    ("xread", "STREAMS X 0;BLOCK 0 STREAMS X 0;STREAMS A X 0 0"),
    ("xreadgroup", "GROUP g c STREAMS X >"),
    ("xrevrange", "X + -"),
    ("xsetid", "X 9-9"),
    ("xtrim", "X MAXLEN 0"),
];

/// Commands with keys that the user may not run at all, or that nobody may through the gateway.
const DENIED_AS_SUCH: &[&str] = &[
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
    "migrate",
    "restore-asking",
    "pfdebug",
    "reserve.open",
    "reserve.close",
    "reserve.reopen",
    "reserve.move",
    "reserve.drop",
];

/// Commands with channels that look for a slot as keys do.
const CHANNELED: &[&str] = &["spublish", "ssubscribe", "sunsubscribe"];

const OTHERS: &[(char, &str, &str)] = &[
    ('S', "other:s", "SET other:s topsecret"),
    ('L', "other:l", "RPUSH other:l topsecret m"),
    ('T', "other:t", "SADD other:t topsecret m"),
    ('Z', "other:z", "ZADD other:z 1 topsecret 2 m"),
    ('H', "other:h", "HSET other:h f topsecret n 1"),
    ('X', "other:x", "XADD other:x 1-1 f topsecret"),
    ('G', "other:g", "GEOADD other:g 1 1 topsecret 1 1 m"),
    ('N', "other:n", "SET other:n 7770777"),
];

fn fill(template: &str) -> String {
    let word = |word: &str| {
        let (name, rest) = word.split_at(1.min(word.len()));
        let known = OTHERS.iter().find(|(letter, ..)| name.starts_with(*letter));
        match (known, name) {
            (Some((_, key, _)), _) if rest.is_empty() || rest == "*" => format!("{key}{rest}"),
            (_, "A") if rest.is_empty() => "app:k".to_owned(),
            _ => word.to_owned(),
        }
    };
    template.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Every request of the table, with the command's name.
fn requests() -> impl Iterator<Item = (&'static str, String)> {
    KEYED.iter().flat_map(|(name, templates)| {
        templates
            .split(';')
            .map(move |template| (*name, format!("{} {}", name.replace('|', " "), fill(template))))
    })
}

fn contents(server: &Server) -> BTreeMap<&'static str, String> {
    let mut client = server.client();
    let all = OTHERS.iter().map(|(_, key, _)| (*key, client.ask(&format!("DUMP {key}"))));
    all.collect()
}

fn setting() -> (Server, Gateway, Client) {
    let server = Server::start();
    for (_, _, make) in OTHERS {
        server.client().ask(make);
    }
    server.client().check("XGROUP CREATE other:x g 0", "+OK");
    let gateway = Gateway::before(&server)
        .config(
            "[[rule]]\nmatch = \"other:n\"\nmode = \"combine\"\n[[rule]]\nmatch = \"other:s\"\nread = { ttl = \"10s\" }\n\
             [[quota]]\nmatch = \"other:limited\"\nlimit = 9\n",
        )
        .start();
    let mut admin = gateway.client();
    admin.check(&format!("ACL SETUSER app reset on >pw {RULES}"), "+OK");
    // The counter is folded, and the string is kept as a copy.
    for _ in 0..50 {
        admin.check("INCRBY other:n 0", ":7770777");
        admin.check("GET other:s", "$9 topsecret");
    }
    let mut client = gateway.client();
    client.check("AUTH app pw", "+OK");
    (server, gateway, client)
}

#[test]
fn the_table_of_this_test_has_every_command_with_keys() {
    for (_, command) in CommandTable::builtin().iter() {
        let name = &*command.name;
        let is_known = KEYED.iter().any(|(known, _)| *known == name)
            || DENIED_AS_SUCH.contains(&name)
            || CHANNELED.contains(&name);
        assert_eq!(is_known, command.has_keys() || CHANNELED.contains(&name), "{name}");
    }
}

#[test]
fn no_command_reaches_anothers_key_alone_or_in_a_transaction() {
    let (server, gateway, mut client) = setting();
    let before = contents(&server);
    for (_, line) in requests() {
        client.check(&line, NO_KEY);
        client.check("MULTI", "+OK");
        client.check(&line, NO_KEY);
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    }
    for name in DENIED_AS_SUCH {
        let said = client.ask(&format!("{} x 1 other:s 0 0 0 0", name.replace('|', " ")));
        assert!(said.starts_with("-NOPERM") || said.starts_with("-ERR"), "{name}: {said}");
        assert!(!said.contains(SECRET), "{name}: {said}");
    }
    assert_eq!(contents(&server), before, "nothing was changed");
    // The user can use its own, and others theirs: what is denied is denied because of the key.
    client.check("SET app:k v", "+OK");
    gateway.client().check("GET other:s", "$9 topsecret");
}

/// The same requests are right: who may do everything gets no error about their form.
#[test]
fn the_requests_of_this_test_are_well_formed() {
    let (server, gateway, _) = setting();
    let mut admin = gateway.client();
    let knows = |name: &str, server: &mut Client| server.ask(&format!("COMMAND INFO {name}")).len() > 20;
    let mut own = server.client();
    for (name, line) in requests() {
        let waits =
            name.starts_with('b') && !name.starts_with("bit") || line.contains("BLOCK") || name == "watch";
        if waits || name.starts_with("reserve") || !knows(name, &mut own) {
            continue;
        }
        let said = admin.ask(&line);
        let malformed = ["syntax error", "wrong number", "unknown"].iter().any(|word| said.contains(word));
        assert!(!malformed, "{line}: {said}");
    }
}

#[test]
fn no_command_without_keys_tells_what_is_in_anothers_key() {
    let (server, _gateway, mut client) = setting();
    let before = contents(&server);
    let table = CommandTable::builtin();
    let without = table.iter().filter(|(_, command)| !command.has_keys() && !command.is_container());
    for (_, command) in without {
        let name = &*command.name;
        // These end the connection, silence it, or wait.
        let ends = [
            "quit",
            "reset",
            "client|reply",
            "auth",
            "hello",
            "client|kill",
            "wait",
            "waitaof",
            "select",
            "multi",
            "exec",
        ];
        if ends.contains(&name) || CHANNELED.contains(&name) || matches!(command.class, Class::Session(_)) {
            continue;
        }
        for arguments in ["", " other:s", " other:s other:s", " 0 other:s", " GET other:s", " x other:s 0 0"]
        {
            let line = format!("{}{arguments}", name.replace('|', " "));
            let said = client.ask(&line);
            assert!(!said.contains(SECRET) && !said.contains("7770777"), "{line}: {said}");
        }
    }
    for line in [
        "MONITOR",
        "HOTGATE HOTKEYS",
        "HOTGATE TOP",
        "HOTGATE STATS",
        "HOTGATE QUOTAS",
        "HOTKEYS GET",
        "SLOWLOG GET",
        "ACL LIST",
        "DEBUG OBJECT other:s",
    ] {
        assert!(client.ask(line).starts_with("-NOPERM"), "{line}: {}", client.ask(line));
    }
    client.check("RESERVE.SKUS", NO_KEY);
    let hot = client.text("INFO hotkeys") + &client.text("INFO quotas");
    assert!(!hot.contains("other:"), "{hot}");
    for line in ["HOTGATE QUOTAS GET other:limited", "HOTGATE QUOTA GET other:limited"] {
        client.check(line, NO_KEY);
    }
    assert_eq!(contents(&server), before, "nothing was changed");
}

#[test]
fn nothing_of_anothers_is_heard() {
    let (server, gateway, mut client) = setting();
    server.client().check("CONFIG SET notify-keyspace-events KEA", "+OK");
    for line in [
        "SUBSCRIBE __keyspace@0__:other:s",
        "SUBSCRIBE __keyevent@0__:set",
        "PSUBSCRIBE *",
        "PSUBSCRIBE __key*",
        "SSUBSCRIBE other:ch",
        "SUBSCRIBE app:ch other:ch",
        "PUBLISH other:ch v",
        "SPUBLISH other:ch v",
        "SUBSCRIBE __hotkey_notify__",
    ] {
        client.check(line, NO_CHANNEL);
    }
    // Tracking in RESP3: what it may not read is not tracked for it.
    let mut tracked = gateway.client();
    tracked.hello3("HELLO 3 AUTH app pw");
    tracked.check("CLIENT TRACKING ON", "+OK");
    tracked.check("GET other:s", NO_KEY);
    gateway.client().check("SET other:s other", "+OK");
    tracked.check("PING", "+PONG");
    client.check("PING", "+PONG");
}
