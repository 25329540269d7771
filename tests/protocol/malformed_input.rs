//! Malformed input gets the error that Redis gives, the error reaches the client, and the connection then has the fate it
//! has with Redis. The same bytes go to a real Redis in the same test.

use crate::support::text::shown;
use crate::support::{self, Client, Gateway, shared};

/// What follows the input under test on its connection.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// A `PING`, which shows whether the connection lives on.
    Ping,
    /// Bytes that nobody will read: a server that closes with them unread sends a reset, which would eat its reply.
    Flood,
}

/// Everything that the server says until it closes, and whether it lived to answer the `PING`.
fn fate(mut client: Client, input: &[u8], then: Then) -> (Vec<u8>, bool) {
    let mut bytes = input.to_vec();
    match then {
        Then::Nothing => {}
        Then::Ping => bytes.extend_from_slice(b"\r\n*2\r\n$4\r\nPING\r\n$5\r\nalive\r\n"),
        Then::Flood => bytes.resize(bytes.len() + 300_000, b'x'),
    }
    // The other side may close before it has got all of it.
    let _ = client.try_send(&bytes);
    client.finish_sending();
    let said = client.rest();
    let lived = said.ends_with(b"$5\r\nalive\r\n");
    (said, lived)
}

/// What Redis says to each input is what the gateway must say.
const INPUTS: &[&[u8]] = &[
    b"*1\r\n:3\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$-2\r\nPING\r\n",
    b"*1\r\n$4x\r\nPING\r\n",
    b"*1\r\n$99999999999\r\n",
    b"*1\r\n$536870913\r\n",
    b"*2\r\n$3\r\nGET\r\n$0x1\r\n",
    b"*2\r\n$3\r\nGET\r\n+k\r\n",
    b"*2\r\n$3\r\nGET\r\n k\r\n",
    b"*x\r\n",
    b"*1x\r\n",
    b"*99999999999\r\n",
    b"*2147483648\r\n",
    b"*9223372036854775808\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"* 1\r\n$4\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"SET k \"unbalanced\r\n",
    b"SET k 'unbalanced\r\n",
    b"SET k \"a\"b\r\n",
    b"\"\r\n",
];

/// These are well-formed, if odd: nothing is said, or an ordinary reply, and the connection lives.
const HARMLESS: &[&[u8]] = &[
    b"*0\r\n",
    b"*-1\r\n",
    b"*-2147483648\r\n",
    b"\r\n\r\n\n",
    b"   \r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$0\r\n\r\n$0\r\n\r\n",
    b"PING\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"\"\" x\r\n",
];

fn check(gateway: &Gateway, inputs: &[&[u8]], followers: &[Then]) {
    let (server, _) = shared::single(module_path!());
    for input in inputs {
        let (expected, lived_with_redis) = fate(server.client(), input, Then::Ping);
        for &then in followers {
            let (said, lived) = fate(gateway.client(), input, then);
            assert_eq!(shown(&said), shown(&expected), "{} then {then:?}", shown(input));
            assert_eq!(lived, lived_with_redis, "{} then {then:?}", shown(input));
        }
    }
}

#[test]
fn protocol_errors_read_like_redis_s_and_reach_the_client_before_the_close() {
    check(&shared::single(module_path!()).1, INPUTS, &[Then::Ping, Then::Flood]);
    check(&shared::cluster(module_path!()).1, INPUTS, &[Then::Ping, Then::Flood]);
}

#[test]
fn what_is_merely_odd_does_no_harm() {
    check(&shared::single(module_path!()).1, HARMLESS, &[Then::Ping]);
    check(&shared::cluster(module_path!()).1, HARMLESS, &[Then::Ping]);
}

/// What was asked before the malformed bytes is answered first.
#[test]
fn requests_before_the_error_are_answered() {
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        let mut client = gateway.client();
        client.send(b"*3\r\n$3\r\nSET\r\n$8\r\nbefore:k\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$8\r\nbefore:k\r\n*1\r\n:1\r\nPING\r\n");
        let said = shown(&client.rest());
        assert_eq!(said, r"+OK\r\n$1\r\nv\r\n-ERR Protocol error: expected \'$\', got \':\'\r\n");
    }
}

#[test]
fn an_inline_request_without_end_is_too_big() {
    let (server, gateway) = shared::single(module_path!());
    let input = vec![b'a'; 70_000];
    let (expected, _) = fate(server.client(), &input, Then::Nothing);
    assert!(expected.starts_with(b"-ERR Protocol error: too big inline request"), "{}", shown(&expected));
    for then in [Then::Nothing, Then::Flood] {
        assert_eq!(shown(&fate(gateway.client(), &input, then).0), shown(&expected));
    }
}

/// Before authentication Redis allows only small requests, lest anyone fill its memory.
#[test]
fn before_authentication_only_small_requests_are_read() {
    let (server, _) = shared::single(module_path!());
    let locked = support::Server::with(&["--requirepass", "secret"]);
    let gateway = Gateway::before(&server).config("[auth]\npassword = \"secret\"\n").start();
    let inputs: [&[u8]; 3] = [b"*11\r\n", b"*2\r\n$3\r\nGET\r\n$16385\r\n", b"*x\r\n"];
    for input in inputs {
        let (expected, _) = fate(locked.client(), input, Then::Ping);
        assert_eq!(shown(&fate(gateway.client(), input, Then::Ping).0), shown(&expected), "{}", shown(input));
    }
}

/// A client that leaves in the middle of a request, or sends noise, harms nobody.
#[test]
fn noise_harms_nobody_else() {
    let gateway = &shared::single(module_path!()).1;
    let mut witness = gateway.client();
    for seed in 0..100u64 {
        let mut random = <rand::rngs::SmallRng as rand::SeedableRng>::seed_from_u64(seed);
        let mut noise = vec![0; 2_000];
        rand::RngCore::fill_bytes(&mut random, &mut noise);
        let mut client = gateway.client();
        let _ = client.try_send(&noise);
        let mut client = gateway.client();
        client.send(&b"*3\r\n$3\r\nSET\r\n$5\r\nnoise\r\n$10\r\nabc"[..20 + (seed as usize % 13)]);
        drop(client);
        witness.check("PING", "+PONG");
    }
    witness.check("EXISTS noise", ":0");
}

/// A browser that is made to send HTTP to Redis gets nothing, and what follows is not run: Redis closes at once.
#[test]
fn http_closes_the_connection() {
    let (server, gateway) = shared::single(module_path!());
    let locked = support::Server::with(&["--requirepass", "secret"]);
    let asking = Gateway::before(&server).config("[auth]\npassword = \"secret\"\n").start();
    let inputs: [&[u8]; 6] = [
        b"POST / HTTP/1.1\r\n",
        b"Host: 127.0.0.1:6379\r\n",
        b"host:\r\n",
        b"*1\r\n$4\r\npOsT\r\n",
        b"*3\r\n$5\r\nHOST:\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*2\r\n$4\r\nPOST\r\n$0\r\n\r\n",
    ];
    let cluster = &shared::cluster(module_path!()).1;
    for input in inputs {
        for mut client in
            [server.client(), locked.client(), gateway.client(), asking.client(), cluster.client()]
        {
            client.send(input);
            assert_eq!(shown(&client.rest()), "", "{}", shown(input));
        }
        for mut client in [server.client(), gateway.client()] {
            client.check("MULTI", "+OK");
            client.check("SET http:k v", "+QUEUED");
            client.send(input);
            assert_eq!(shown(&client.rest()), "", "{}", shown(input));
        }
    }
    for mut client in [server.client(), gateway.client()] {
        client.check("GET host:", "$-1");
        client.check("EXISTS http:k", ":0");
        client.check("ECHO POST", "$4 POST");
    }
    assert!(gateway.log().contains("somebody sends HTTP"), "{}", gateway.log());
}
