//! What a sale does at the bounds of what it keeps: entries of its ledger, gateways whose last flush it remembers.

use bytes::BytesMut;
use hotgate::reserve::{OpKind, ReserveCall, Script};
use hotgate::resp::{bulk_payload, elements};

use super::desk::{Desk, op, words};
use crate::support::Server;

#[test]
fn a_full_ledger_refuses_what_would_be_one_more() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g1");
    desk.check("OPEN LIMIT 10", "+OK");
    // The same script with a smaller bound: ten million entries would take a test too long.
    let script = Script::Reserve.source().replace("LEDGER_MAX = 10000000", "LEDGER_MAX = 3");
    assert_ne!(script, Script::Reserve.source());
    let key = String::from_utf8(desk.key()).unwrap();
    let mut sequence = 0;
    let mut run = |desk: &mut Desk, kind: OpKind, user: &str| {
        sequence += 1;
        let (ops, mut bytes) = ([op(kind, user)], BytesMut::new());
        let (gateway, sequence) = (b"g1", Some(sequence));
        ReserveCall { sale_key: key.as_bytes(), gateway, sequence, with_body: true }
            .encode(ops.iter(), &mut bytes);
        let mut call: Vec<&[u8]> = elements(&bytes).into_iter().flatten().filter_map(bulk_payload).collect();
        call[1] = script.as_bytes();
        words(&desk.client().call(&call), &ops).remove(0)
    };
    assert_eq!(run(&mut desk, OpKind::Add, "ann"), "*4 $9 confirmed :1 :9 :0");
    assert_eq!(run(&mut desk, OpKind::Add, "bob"), "*4 $9 confirmed :2 :8 :0");
    let refusal = run(&mut desk, OpKind::Add, "cyd");
    assert!(refusal.starts_with("-LEDGERFULL 3 entries of the ledger were not read"), "{refusal}");
    assert_eq!(run(&mut desk, OpKind::Add, "bob"), "*4 $9 confirmed :2 :8 :0");
    assert_eq!(run(&mut desk, OpKind::Cancel, "bob"), "*4 $9 cancelled :2 :0 :0");
    assert_eq!(desk.ledger().len(), 4, "a place that comes back is written all the same");
    let ledger = key.replacen(":sale:", ":sale.ledger:", 1);
    desk.client().check(&format!("XTRIM {ledger} MAXLEN 0"), ":4");
    assert_eq!(run(&mut desk, OpKind::Add, "cyd"), "*4 $9 confirmed :3 :8 :0");
}

#[test]
fn what_gateways_left_long_ago_is_forgotten() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g0");
    desk.check("OPEN LIMIT 1000", "+OK");
    let key = String::from_utf8(desk.key()).unwrap();
    desk.starts("ADD user0", "*4 ");
    // As a gateway left it that ended in 1970.
    desk.client().check(&format!("HSET {key} once.old \"5 1000 results\""), ":1");
    for gateway in 1..70 {
        desk.gateway = format!("g{gateway}");
        desk.starts(&format!("ADD user{gateway}"), "*4 $9 confirmed");
    }
    assert_eq!(desk.client().integer(&format!("HEXISTS {key} once.old")), 0);
    assert_eq!(desk.client().integer(&format!("HEXISTS {key} once.g0")), 1, "it may still be sent again");
    assert_eq!(desk.settle().taken, 70);
}
