//! Replies nested thousands deep, which a script can make, break nothing on either side of the gateway.

use crate::support::{self, BOTH_VERSIONS, Version, shared};

fn script(depth: usize) -> String {
    format!("EVAL \"local t = 1; for i = 1, {depth} do t = {{t}} end; return t\" 1 nested")
}

#[test]
fn a_deeply_nested_reply_passes_as_it_is() {
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        for version in BOTH_VERSIONS {
            // Redis itself cuts a script's reply off where its own stack would not hold it.
            let (server, _) = shared::single(module_path!());
            for depth in [10, 127, 128, 129, 1_000, 5_000, 7_900] {
                let mut direct = support::Client::speaking(server.address(), version);
                let mut client = gateway.speaking(version);
                direct.send_line(&script(depth));
                direct.send_line("ECHO end");
                let expected = until_end(&mut direct);
                client.send_line(&script(depth));
                client.send_line("ECHO end");
                assert_eq!(client.bytes(expected.len()), expected, "depth {depth}");
                client.check("PING", "+PONG");
            }
        }
    }
}

/// Everything up to the reply of `ECHO end`. The parser of the tests recurses, so it is not asked where a reply ends.
fn until_end(client: &mut support::Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"$3\r\nend\r\n") {
        bytes.extend(client.bytes(1));
    }
    bytes
}

#[test]
fn a_deeply_nested_reply_in_a_transaction_passes_as_it_is() {
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        let mut client = gateway.speaking(Version::Resp2);
        client.check("MULTI", "+OK");
        client.check(&script(3_000), "+QUEUED");
        client.send_line("EXEC");
        client.send_line("ECHO end");
        let reply = until_end(&mut client);
        assert!(reply.starts_with(b"*1\r\n*1\r\n*1\r\n"));
        client.check("PING", "+PONG");
    }
}

/// Requests are never nested: an array inside one is a protocol error, not a recursion.
#[test]
fn a_nested_request_is_refused() {
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        let mut client = gateway.client();
        let _ = client.try_send(&b"*1\r\n".repeat(100_000));
        client.finish_sending();
        assert_eq!(client.rest(), b"-ERR Protocol error: expected '$', got '*'\r\n");
        gateway.client().check("PING", "+PONG");
    }
}
