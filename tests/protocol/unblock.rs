//! `CLIENT UNBLOCK` ends the command that it was meant for, and never that of whoever uses the connection next.

use crate::support::{Client, Gateway, Server, wait_for};

/// The id of the one connection that waits at the server.
fn blocked(direct: &mut Client) -> String {
    wait_for("a connection waits", || {
        let list = direct.text("CLIENT LIST");
        let line = list.lines().find(|line| line.contains(" flags=b "))?.to_owned();
        line.split(' ').find_map(|field| field.strip_prefix("id=").map(str::to_owned))
    })
}

#[test]
fn the_connection_that_was_unblocked_serves_nobody_else() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 1\n").start();
    let (mut direct, mut other) = (server.client(), gateway.client());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client();
        let id = client.integer("CLIENT ID");
        client.send_line("BLPOP nothing 0");
        seen.push(blocked(&mut direct));
        other.check(&format!("CLIENT UNBLOCK {id}"), ":1");
        assert_eq!(client.reply(), b"*-1\r\n");
        // It goes on by itself.
        client.check("RPUSH list 1", ":1");
        client.check("BLPOP list 0", "*2 $4 list $1 1");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
}
