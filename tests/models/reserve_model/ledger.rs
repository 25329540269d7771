//! The ledger of a sale: entries without a gap, each with what the holding is behind it; what its reader says; a sale that is given back from what
//! was read.

use std::collections::BTreeMap;

use hotgate::reserve::{
    LedgerStatus, OpenTerms, RestoredRow, encode_drop, encode_ledger, encode_restore_begin,
    encode_restore_end, encode_restore_rows, open_result,
};
use hotgate::resp::{bulk_payload, elements, encode};

use super::desk::Desk;
use crate::support::Server;
use crate::support::text::one_line;

/// The entries of a sale's ledger: their ids, and their fields by name.
fn entries(desk: &mut Desk) -> Vec<(String, BTreeMap<String, String>)> {
    let key = String::from_utf8(desk.key()).unwrap().replacen(":sale:", ":sale.ledger:", 1);
    let reply = desk.call(|_, out| encode::command(out, &[b"XRANGE", key.as_bytes(), b"-", b"+"]));
    let text = |word: &[u8]| String::from_utf8(bulk_payload(word).unwrap().to_vec()).unwrap();
    let entry = |entry: &[u8]| {
        let mut parts = elements(entry).unwrap();
        let id = text(parts.next().unwrap());
        let words: Vec<String> = elements(parts.next().unwrap()).unwrap().map(text).collect();
        (id, words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    };
    elements(&reply).unwrap().map(entry).collect()
}

fn status(desk: &mut Desk, read: Option<(i64, i64, i64)>) -> LedgerStatus {
    let key = desk.key();
    let reply = desk.call(|with_body, out| encode_ledger(&key, read, with_body, out));
    LedgerStatus::parse(&reply).unwrap_or_else(|| panic!("{}", one_line(&reply))).unwrap()
}

#[test]
fn entries_are_numbered_and_say_what_the_holding_is() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g1");
    desk.check("OPEN LIMIT 10 PERUSER 3 HOLD 500000", "+OK");
    desk.starts("ADD ann COUNT 2", "*4 $4 held");
    desk.starts("CONFIRM ann", "*4 $9 confirmed");
    desk.starts("ADD ann IDMP x", "*4 $4 held");
    desk.starts("ADD bob", "*4 $4 held");
    desk.starts("CANCEL ann COUNT 2", "*4 $9 confirmed");
    desk.starts("CANCEL bob", "*4 $9 cancelled");
    desk.check("CLOSE", "+OK");
    let entries = entries(&mut desk);
    let ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["1-0", "2-0", "3-0", "4-0", "5-0", "6-0", "7-0", "8-0"]);
    let told: Vec<String> = entries
        .iter()
        .map(|(_, entry)| {
            let has: Vec<&str> = entry["has"].split(' ').take(2).collect();
            format!(
                "{} {} {} {} has {}",
                entry["event"],
                entry["seq"],
                entry["user"],
                entry["state"],
                has.join(" ")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "terms 0  open has 3 0",
            "add 1 ann held has 0 2",
            "confirm 1 ann confirmed has 2 0",
            "add 1 ann held has 2 1",
            "add 2 bob held has 0 1",
            "cancel 1 ann confirmed has 1 0",
            "cancel 2 bob cancelled has 0 0",
            "terms 0  closed has 3 0",
        ]
    );
}

#[test]
fn what_was_read_goes_and_what_was_not_stays() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g1");
    desk.check("OPEN LIMIT 9999", "+OK");
    for user in 0..400 {
        desk.starts(&format!("ADD {user}"), "*4 ");
    }
    let before = status(&mut desk, None);
    assert_eq!((before.last, before.read, before.first, before.is_on, before.seq), (401, 0, 1, true, 400));
    let after = status(&mut desk, Some((before.opened_ms, 350, 0)));
    assert_eq!((after.last, after.read), (401, 350));
    let ids: Vec<String> = entries(&mut desk).into_iter().map(|(id, _)| id).collect();
    assert!(ids.len() < 400 && ids.contains(&"350-0".to_owned()), "the last that was read stays: {ids:?}");
    // Of another sale of this name, or from a time that Redis has lost: nothing is trimmed for it.
    assert_eq!(status(&mut desk, Some((before.opened_ms - 1, 401, 0))).read, 350);
    assert_eq!(status(&mut desk, Some((before.opened_ms, 402, 0))).read, 350);
    assert_eq!(status(&mut desk, Some((before.opened_ms, 100, 0))).read, 350);
}

#[test]
fn a_ledger_that_must_be_read_refuses_until_it_is() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g1");
    desk.check("OPEN LIMIT 9999", "+OK");
    let opened = status(&mut desk, None).opened_ms;
    status(&mut desk, Some((opened, 1, 3)));
    for user in ["ann", "bob", "cyd"] {
        desk.starts(&format!("ADD {user}"), "*4 ");
    }
    desk.starts("ADD dan", "-LEDGERFULL 3 entries of the ledger were not read");
    desk.starts("ADD ann", "*4 $9 confirmed :1 ");
    desk.starts("CANCEL ann", "*4 $9 cancelled");
    desk.starts("ADD dan", "-LEDGERFULL 3 ");
    desk.check("CLOSE", "+OK");
    let key = desk.key();
    let drop_step =
        |desk: &mut Desk| one_line(&desk.call(|with_body, out| encode_drop(&key, 50, with_body, out)));
    assert_eq!(drop_step(&mut desk), "$9 -UNREAD 5");
    desk.check("REOPEN", "+OK");
    status(&mut desk, Some((opened, 7, 3)));
    desk.starts("ADD dan", "*4 ");
    desk.check("OPEN LIMIT 9999 LEDGER OFF", "+OK");
    desk.check("CLOSE", "+OK");
    assert_eq!(drop_step(&mut desk), "$1 0");
}

#[test]
fn a_sale_is_given_back_as_it_was() {
    let server = Server::start();
    let mut desk = Desk::new(server.client(), "mask", "g1");
    desk.check("OPEN LIMIT 9999 PERUSER 2 HOLD 500000", "+OK");
    for user in 0..700 {
        desk.starts(&format!("ADD {user}"), "*4 ");
        // A page is empty, and the last in line has gone.
        if (100..400).contains(&user) || user == 699 {
            desk.starts(&format!("CANCEL {user}"), "*4 $9 cancelled");
        } else if user % 2 == 0 {
            desk.starts(&format!("CONFIRM {user}"), "*4 $9 confirmed");
        }
    }
    let (was, rows) = (status(&mut desk, None), desk.rows(0, 100, ""));
    let settled = desk.settle();
    let mut restored: BTreeMap<i64, RestoredRow> = BTreeMap::new();
    for (_, entry) in entries(&mut desk).iter().filter(|(_, entry)| entry["seq"] != "0") {
        let has: Vec<i64> = entry["has"].split(' ').map(|number| number.parse().unwrap()).collect();
        let seq = entry["seq"].parse().unwrap();
        let user = entry["user"].clone().into_bytes();
        let [confirmed, held, expires_ms, since_ms] = has[..] else { panic!("{entry:?}") };
        restored.insert(seq, RestoredRow { seq, user, confirmed, held, expires_ms, since_ms });
    }
    let restored: Vec<RestoredRow> =
        restored.into_values().filter(|row| row.confirmed + row.held > 0).collect();
    let key = desk.key();
    let terms =
        OpenTerms { limit: Some(9999), per_user: Some(2), hold_ms: Some(500_000), ..OpenTerms::default() };
    let begin = |desk: &mut Desk| {
        let of = (was.opened_ms, was.last);
        let reply = desk.call(|with_body, out| encode_restore_begin(&key, of, &terms, with_body, out));
        open_result(&reply).unwrap_or_else(|| panic!("{}", one_line(&reply))).is_ok()
    };
    assert!(!begin(&mut desk), "the sale is there");
    desk.client().check("FLUSHALL", "+OK");
    assert!(begin(&mut desk));
    desk.starts("ADD new", "-CLOSED");
    // It breaks off, and begins again; steps come twice.
    for step in 0..2 {
        assert!(begin(&mut desk));
        for rows in restored.chunks(90).take(3 + step * 100) {
            let reply = desk.call(|with_body, out| encode_restore_rows(&key, rows, with_body, out));
            assert_eq!(open_result(&reply), Some(Ok(())), "{}", one_line(&reply));
        }
    }
    for _ in 0..2 {
        let reply =
            desk.call(|with_body, out| encode_restore_end(&key, (false, true), was.seq, with_body, out));
        assert_eq!(open_result(&reply), Some(Ok(())), "{}", one_line(&reply));
    }
    assert!(!begin(&mut desk), "it is there again");
    assert_eq!(desk.rows(0, 100, ""), rows);
    let now = desk.settle();
    assert_eq!((now.taken, now.held, now.confirmed), (settled.taken, settled.held, settled.confirmed));
    let is = status(&mut desk, None);
    assert_eq!((is.opened_ms, is.last, is.read, is.seq), (was.opened_ms, was.last, was.last, was.seq));
    desk.starts("ADD new", &format!("*4 $4 held :{} ", was.seq + 1));
    assert_eq!(entries(&mut desk)[0].0, format!("{}-0", was.last + 1));
}
