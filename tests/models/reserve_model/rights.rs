//! The least rights at Redis: with them everything goes, and without one of those that write a sale is not opened, so none breaks off in the middle of a flush.

use hotgate::reserve::{
    COMMANDS, Departure, KEY_PATTERN, encode_drop, encode_move_out, open_result, steps_left,
};

use super::desk::Desk;
use crate::support::{Client, Server, wait_until};

/// A client with these commands on the keys of sales, and no other right.
fn client_with(server: &Server, commands: &[&str]) -> Client {
    let allowed: String = commands.iter().map(|name| format!(" +{name}")).collect();
    server.client().check(&format!("ACL SETUSER sale reset on >secret {KEY_PATTERN}{allowed}"), "+OK");
    let mut client = server.client();
    client.send(b"*3\r\n$4\r\nAUTH\r\n$4\r\nsale\r\n$6\r\nsecret\r\n");
    assert_eq!(client.reply(), b"+OK\r\n");
    client
}

#[test]
fn the_listed_rights_are_enough() {
    let server = Server::start();
    let mut desk = Desk::new(client_with(&server, &COMMANDS), "spring", "g1");
    let mut next = Desk::new(client_with(&server, &COMMANDS), "autumn", "g1");
    desk.check("OPEN LIMIT 500 PERUSER 2 HOLD 30", "+OK");
    next.check("OPEN LIMIT 500", "+OK");
    desk.starts("ADD ann IDMP x", "*4 $4 held");
    wait_until("the hold is over", || desk.settle().taken == 0);
    desk.check("OPEN LIMIT 500 HOLD 0", "+OK");
    for user in 0..120 {
        desk.starts(&format!("ADD user{user} IDMP x"), "*4 $9 confirmed");
    }
    desk.starts("CONFIRM user1", "*4 ");
    desk.starts("CANCEL user1", "*4 ");
    desk.starts("INFO", "*");
    assert_eq!(desk.rows(0, 50, "").len(), 119);
    desk.check("CLOSE", "+OK");
    let (from, to) = (desk.key(), next.key());
    loop {
        let reply = desk.call(|with_body, out| encode_move_out(&from, b"autumn", 64, 500, with_body, out));
        let rows = Departure::parse(&reply).unwrap().unwrap();
        if rows.is_last() {
            break;
        }
        let reply = next.call(|with_body, out| rows.encode_move_in(&to, b"spring", with_body, out));
        assert_eq!(open_result(&reply), Some(Ok(())));
        desk.call(|with_body, out| rows.encode_move_done(&from, with_body, out));
    }
    assert_eq!(next.rows(0, 50, "").len(), 119);
    while steps_left(&desk.call(|with_body, out| encode_drop(&from, 50, with_body, out))) != Some(Ok(0)) {}
    desk.starts("CHECK user2", "-NOSKU");
}

#[test]
fn a_sale_is_not_opened_without_a_right_that_it_will_need_to_write() {
    let server = Server::start();
    for missing in ["unlink", "hset", "hdel", "zadd", "zrem", "rpush", "ltrim", "xadd"] {
        let rights: Vec<&str> = COMMANDS.into_iter().filter(|name| *name != missing).collect();
        let mut desk = Desk::new(client_with(&server, &rights), "spring", "g1");
        let reply = desk.ask("OPEN LIMIT 5");
        assert!(reply.starts_with('-') && reply != "-NOSKU", "{missing}: {reply}");
        assert!(server.client().list("KEYS *").is_empty(), "without {missing} it is half open");
    }
}
