//! Every class of command works in front of one Redis, in both versions of the protocol.
//!
//! The tables give replies on one line (see `support::text::one_line`). That whole replies are Redis's own bytes is the
//! promise of `equal_to_redis.rs`; here each class is gone through once by name.

use crate::support::{self, BOTH_VERSIONS, Version, shared};

/// Runs `cases` in order on one connection, once for each version, with the database empty before each run.
fn check(database: u8, cases: &[(&str, &str)]) {
    let cases: Vec<(&str, &str, &str)> = cases.iter().map(|&(line, reply)| (line, reply, reply)).collect();
    check_by_version(database, &cases);
}

/// Like [`check`] where RESP2 and RESP3 differ: line, RESP2 reply, RESP3 reply.
fn check_by_version(database: u8, cases: &[(&str, &str, &str)]) {
    let (_, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check(&format!("SELECT {database}"), "+OK");
        client.check("FLUSHDB", "+OK");
        for (line, resp2, resp3) in cases {
            client.check(line, if version == Version::Resp2 { resp2 } else { resp3 });
        }
    }
}

#[test]
fn commands_of_one_key_are_forwarded() {
    check_by_version(
        1,
        &[
            ("SET k v", "+OK", "+OK"),
            ("GET k", "$1 v", "$1 v"),
            ("GET missing", "$-1", "_"),
            ("SET k w NX", "$-1", "_"),
            ("SET k \"\"", "+OK", "+OK"),
            ("GET k", "$0 ", "$0 "),
            ("INCRBY n 41", ":41", ":41"),
            ("INCR n", ":42", ":42"),
            ("INCRBYFLOAT n 0.5", "$4 42.5", "$4 42.5"),
            ("HSET h f 1 g 2", ":2", ":2"),
            ("HGETALL h", "*4 $1 f $1 1 $1 g $1 2", "%2 $1 f $1 1 $1 g $1 2"),
            ("SADD s 1 2", ":2", ":2"),
            ("SMEMBERS s", "*2 $1 1 $1 2", "~2 $1 1 $1 2"),
            ("ZADD z 1.5 a", ":1", ":1"),
            ("ZSCORE z a", "$3 1.5", ",1.5"),
            ("ZRANGE z 0 -1 WITHSCORES", "*2 $1 a $3 1.5", "*1 *2 $1 a ,1.5"),
            ("LPUSH l a b", ":2", ":2"),
            ("LRANGE l 0 -1", "*2 $1 b $1 a", "*2 $1 b $1 a"),
            ("LPOP missing 2", "*-1", "_"),
            ("XADD x 1-1 f v", "$3 1-1", "$3 1-1"),
            ("XRANGE x - +", "*1 *2 $3 1-1 *2 $1 f $1 v", "*1 *2 $3 1-1 *2 $1 f $1 v"),
            (
                "XREAD STREAMS x 0",
                "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 f $1 v",
                "%1 $1 x *1 *2 $3 1-1 *2 $1 f $1 v",
            ),
            ("OBJECT ENCODING n", "$6 embstr", "$6 embstr"),
            ("SET \"\\x00\\xff\\r\\n\" \"\\x00\"", "+OK", "+OK"),
            ("GET \"\\x00\\xff\\r\\n\"", "$1 \\x00", "$1 \\x00"),
            ("EXPIRE k 1000", ":1", ":1"),
            ("SETEX volatile 1000 v", "+OK", "+OK"),
            ("PERSIST volatile", ":1", ":1"),
            ("TTL volatile", ":-1", ":-1"),
            ("TYPE z", "+zset", "+zset"),
        ],
    );
}

#[test]
fn commands_of_several_keys_are_forwarded() {
    check_by_version(
        2,
        &[
            ("MSET a 1 b 2", "+OK", "+OK"),
            ("MGET a b c", "*3 $1 1 $1 2 $-1", "*3 $1 1 $1 2 _"),
            ("EXISTS a b c a", ":3", ":3"),
            ("RENAME a c", "+OK", "+OK"),
            ("TOUCH a b c", ":2", ":2"),
            ("MSETNX c 1 d 2", ":0", ":0"),
            ("SADD s1 1 2", ":2", ":2"),
            ("SADD s2 2 3", ":2", ":2"),
            ("SINTER s1 s2", "*1 $1 2", "~1 $1 2"),
            ("SDIFFSTORE s3 s1 s2", ":1", ":1"),
            ("ZUNIONSTORE z 2 s1 s2", ":3", ":3"),
            ("SINTERCARD 2 s1 s2", ":1", ":1"),
            ("COPY b e", ":1", ":1"),
            ("UNLINK b e", ":2", ":2"),
            ("DEL b c s1 s2 s3 z", ":5", ":5"),
        ],
    );
}

#[test]
fn errors_are_redis_s_own() {
    check(
        3,
        &[
            ("SET s text", "+OK"),
            ("INCR s", "-ERR value is not an integer or out of range"),
            ("LPUSH s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("GET a b", "-ERR wrong number of arguments for 'get' command"),
            ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
            ("OBJECT NOSUCH a", "-ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP."),
            ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
            ("SET s v PX 0", "-ERR invalid expire time in 'set' command"),
            ("SET s v XX NX", "-ERR syntax error"),
            ("EVAL \"return redis.call('nosuch')\" 0", "-ERR Unknown ..."),
            (
                "EVALSHA 0000000000000000000000000000000000000000 0",
                "-NOSCRIPT No matching script. Please use EVAL.",
            ),
        ],
    );
}

#[test]
fn scripts_and_functions_run() {
    check(
        4,
        &[
            ("EVAL \"return redis.call('SET', KEYS[1], ARGV[1])\" 1 k v", "+OK"),
            ("EVAL \"return {1, 'two', false, {3}}\" 0", "*4 :1 $3 two ..."),
            ("EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 k", "$1 v"),
        ],
    );
    let (_, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let sha = client.text("SCRIPT LOAD \"return redis.call('INCR', KEYS[1])\"");
        client.check("DEL counted", ":...");
        client.check(&format!("EVALSHA {sha} 1 counted"), ":1");
        client.check(&format!("SCRIPT EXISTS {sha} {}", "0".repeat(40)), "*2 :1 :0");
        let library = "#!lua name=tests\\nredis.register_function('answer', function() return 42 end)";
        client.check(&format!("FUNCTION LOAD REPLACE \"{library}\""), "$5 tests");
        client.check("FCALL answer 0", ":42");
        client.check("FUNCTION DELETE tests", "+OK");
    }
}

#[test]
fn whole_keyspace_commands_answer_for_the_database_selected() {
    check(
        5,
        &[
            ("DBSIZE", ":0"),
            ("SET only v", "+OK"),
            ("DBSIZE", ":1"),
            ("KEYS *", "*1 $4 only"),
            ("SCAN 0", "*2 $1 0 *1 $4 only"),
            ("RANDOMKEY", "$4 only"),
            ("WAIT 0 1", ":0"),
            ("FLUSHDB", "+OK"),
            ("DBSIZE", ":0"),
        ],
    );
}

#[test]
fn local_commands_answer() {
    let (_, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let null = if version == Version::Resp2 { "$-1" } else { "_" };
        client.check("PING", "+PONG");
        client.check("PING again", "$5 again");
        client.check("ECHO \"\\x00\"", "$1 \\x00");
        client.check("CLIENT GETNAME", null);
        client.check("CLIENT SETNAME tester", "+OK");
        client.check("CLIENT GETNAME", "$6 tester");
        client.check("CLIENT SETINFO LIB-NAME tests", "+OK");
        client.check("CLIENT NO-EVICT ON", "+OK");
        client.check("CLIENT NO-TOUCH OFF", "+OK");
        let id = client.integer("CLIENT ID");
        let info = client.text("CLIENT INFO");
        assert!(info.contains(&format!("id={id} ")) && info.contains("name=tester"), "{info}");
        let list = client.text("CLIENT LIST");
        assert!(list.lines().any(|line| line.contains("name=tester")), "{list}");
        assert!(client.integer("COMMAND COUNT") > 200);
        client.check("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b");
        client.check("COMMAND INFO nosuch", &format!("*1 {null}"));
        let info = client.text("INFO");
        for line in [
            "# Server",
            "redis_version:",
            "# Clients",
            "# Memory",
            "loading:0",
            "# Replication",
            "# Keyspace",
        ] {
            assert!(info.contains(line), "INFO lacks {line}: {info}");
        }
        client.check(
            "CONFIG GET save",
            if version == Version::Resp2 { "*2 $4 save $..." } else { "%1 $4 save $..." },
        );
        assert_eq!(client.list("TIME").len(), 2);
        client.check("RESET", "+RESET");
        client.read_as(Version::Resp2);
        client.check("CLIENT GETNAME", "$-1");
        client.check("QUIT", "+OK");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn hello_changes_the_version_and_tells_about_the_server() {
    let (_, gateway) = shared::single(module_path!());
    let mut client = gateway.client();
    client.check("HELLO", "*14 $6 server $5 redis $7 version ...");
    client.check("HELLO 9", "-NOPROTO unsupported protocol version");
    client.check("HELLO two", "-ERR Protocol version is not an integer or out of range");
    client.check("HELLO 2 SETNAME named", "*14 ...");
    client.check("CLIENT GETNAME", "$5 named");
    let fields = support::text::elements(&client.hello3("HELLO 3"));
    assert_eq!(fields[fields.iter().position(|field| field == "proto").unwrap() + 1], "3");
    client.check("GET missing-after-hello", "_");
    client.send_line("HELLO 2");
    client.read_as(Version::Resp2);
    client.expect("HELLO 2", "*14 ...");
    client.check("GET missing-after-hello", "$-1");
}

#[test]
fn inline_commands_are_understood() {
    let (_, gateway) = shared::single(module_path!());
    let mut client = gateway.client();
    for (inline, reply) in [
        ("PING\r\n", "+PONG"),
        ("  SET   inline:k \"a b\"  \r\n", "+OK"),
        ("get inline:k\n", "$3 a b"),
        ("SET inline:k '\\x41'\r\n", "+OK"),
        ("GET inline:k\r\n", "$4 \\\\x41"),
        ("\r\n\r\nPING\r\n", "+PONG"),
    ] {
        client.send(inline.as_bytes());
        client.expect(inline, reply);
    }
}

#[test]
fn what_would_break_the_gateway_or_its_server_is_refused_and_the_connection_lives_on() {
    let (_, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for line in [
            "SHUTDOWN NOSAVE",
            "REPLICAOF 127.0.0.1 1",
            "SLAVEOF NO ONE",
            "DEBUG SLEEP 0",
            "MIGRATE 127.0.0.1 1 k 0 1",
            "SYNC",
            "PSYNC ? -1",
            "REPLCONF listening-port 1",
        ] {
            client.check(line, "-ERR hotgate: ...");
        }
        client.check("PING", "+PONG");
    }
}

#[test]
fn names_of_commands_may_have_any_case() {
    check(6, &[("sEt k v", "+OK"), ("gEt k", "$1 v"), ("object enCODing k", "$6 embstr"), ("pInG", "+PONG")]);
}
