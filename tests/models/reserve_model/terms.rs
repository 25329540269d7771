//! What each term of a sale does, one by one, and each refusal.

use super::desk::Desk;
use crate::support::{Server, wait_until};

fn desk(server: &Server) -> Desk {
    Desk::new(server.client(), "{8421}:mask", "g1")
}

#[test]
fn a_place_is_taken_found_again_and_given_back() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.starts("ADD ann", "-NOSKU");
    desk.check("OPEN LIMIT 3 PERUSER 2", "+OK");
    desk.check("ADD ann", "*4 $9 confirmed :1 :2 :0");
    desk.check("ADD ann", "*4 $9 confirmed :1 :2 :0");
    desk.check("ADD bob COUNT 2", "*4 $9 confirmed :2 :0 :0");
    desk.starts("ADD cyd", "-SOLDOUT no place");
    desk.check("ADD ann", "*4 $9 confirmed :1 :0 :0");
    desk.check("CANCEL bob COUNT 1", "*4 $9 confirmed :2 :1 :0");
    desk.starts("ADD cyd COUNT 2", "-SOLDOUT fewer places are left than COUNT asks for: 1");
    desk.check("CHECK bob", "*4 $9 confirmed :2 :1 :0");
    desk.check("CANCEL bob", "*4 $9 cancelled :2 :0 :0");
    desk.check("CANCEL bob", "*-1");
    desk.check("CHECK bob", "*-1");
    desk.starts("CONFIRM bob", "-NOTHELD");
    desk.check("CONFIRM ann", "*4 $9 confirmed :1 :1 :0");
    desk.check("ADD bob", "*4 $9 confirmed :3 :1 :0");
}

#[test]
fn a_flush_sent_again_is_told_what_it_did() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 10 PERUSER 5", "+OK");
    desk.check("ADD ann COUNT 3", "*4 $9 confirmed :1 :7 :0");
    let cancel = |desk: &mut Desk, sequence| {
        let op = hotgate::reserve::ReserveOp {
            count: Some(1),
            ..super::desk::op(hotgate::reserve::OpKind::Cancel, "ann")
        };
        super::desk::words(&desk.send(std::slice::from_ref(&op), sequence), &[op]).remove(0)
    };
    for _ in 0..3 {
        assert_eq!(cancel(&mut desk, 100), "*4 $9 confirmed :1 :2 :0");
    }
    assert_eq!(cancel(&mut desk, 101), "*4 $9 confirmed :1 :1 :0");
    assert!(cancel(&mut desk, 100).starts_with("-STALE"), "a late one changes nothing");
    desk.check("CHECK ann", "*4 $9 confirmed :1 :1 :0");
}

#[test]
fn what_is_held_comes_back_when_its_time_is_over() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 2 HOLD 60000", "+OK");
    desk.starts("ADD ann", "*4 $4 held :1 :1 :1");
    desk.check("CONFIRM ann", "*4 $9 confirmed :1 :1 :0");
    desk.check("OPEN LIMIT 2 HOLD 30", "+OK");
    desk.starts("ADD bob", "*4 $4 held :2 :0 :1");
    wait_until("the place of who did not confirm is given to another", || {
        desk.ask("ADD cyd").starts_with("*4 $4 held :3 :0 :1")
    });
    desk.check("CHECK ann", "*4 $9 confirmed :1 :1 :0");
    wait_until("a check sees that it is over", || desk.ask("CHECK cyd") == "*-1");
    desk.starts("CONFIRM cyd", "-NOTHELD");
}

#[test]
fn an_id_gives_once_and_there_are_32() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 100 PERUSER 40", "+OK");
    desk.check("ADD ann COUNT 2 IDMP a", "*4 $9 confirmed :1 :98 :0");
    desk.check("ADD ann COUNT 2 IDMP a", "*4 $9 confirmed :1 :98 :0");
    desk.check("ADD ann COUNT 3 IDMP b", "*4 $9 confirmed :1 :95 :0");
    desk.check("CHECK ann", "*4 $9 confirmed :1 :5 :0");
    desk.check("ADD ann COUNT 3", "*4 $9 confirmed :1 :95 :0");
    desk.check("CANCEL ann", "*4 $9 cancelled :1 :0 :0");
    desk.check("ADD ann IDMP a", "*4 $5 ended :1 :100 :0");
    desk.check("CHECK ann", "*-1");
    for id in 3..=32 {
        desk.starts(&format!("ADD ann IDMP id{id}"), "*4 $9 confirmed :2");
    }
    desk.starts("ADD ann IDMP id33", "-PERUSER this user has used 32 IDMP ids");
    desk.starts("ADD ann IDMP id32", "*4 $9 confirmed :2 :70");
    desk.check("CHECK ann", "*4 $9 confirmed :2 :30 :0");
    desk.starts("ADD ann COUNT 11 IDMP x", "-PERUSER this user has used 32");
    desk.starts("ADD bob COUNT 41", "-PERUSER this user may have 40 places");
}

#[test]
fn only_holders_of_the_booking_may_purchase() {
    let server = Server::start();
    let mut booking = Desk::new(server.client(), "{8421}:booking", "g1");
    let mut purchase = Desk::new(server.client(), "{8421}:purchase", "g1");
    let open = "OPEN LIMIT 10 PERUSER 3 HOLDERSOF {8421}:booking";
    purchase.starts(open, "-NOSKU there is no sale '{8421}:booking'");
    booking.check("OPEN LIMIT 10 PERUSER 3", "+OK");
    purchase.check(open, "+OK");
    booking.starts("ADD ann COUNT 2", "*4 ");
    purchase.starts("ADD bob", "-NOTHOLDER only who holds a place in '{8421}:booking'");
    purchase.starts("ADD ann COUNT 3", "-PERUSER this user may have 2 places");
    purchase.check("ADD ann COUNT 2", "*4 $9 confirmed :1 :8 :0");
    purchase.starts("ADD ann IDMP x", "-PERUSER this user may have 2 places");
    booking.check("OPEN LIMIT 10 HOLD 20", "+OK");
    booking.starts("ADD bob", "*4 $4 held");
    wait_until("the booking is over", || booking.ask("CHECK bob") == "*-1");
    purchase.starts("ADD bob", "-NOTHOLDER");
    purchase.check("OPEN LIMIT 10", "+OK");
    purchase.starts("ADD bob", "-NOTHOLDER");
}

#[test]
fn a_sale_is_open_between_its_start_and_its_end_and_while_it_is_not_closed() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 10 START 49999999999999", "+OK");
    desk.check("ADD ann", "-NOTOPEN this sale opens at unix-ms 49999999999999");
    desk.check("OPEN LIMIT 10 START 0", "+OK");
    desk.starts("ADD ann", "*4 $9 confirmed");
    desk.check("CLOSE", "+OK");
    desk.starts("ADD bob", "-CLOSED");
    desk.starts("ADD ann", "*4 $9 confirmed :1 :9");
    desk.check("REOPEN", "+OK");
    desk.starts("ADD bob", "*4 $9 confirmed :2");
    desk.check("OPEN LIMIT 10 START 1 END 2", "+OK");
    desk.starts("ADD cyd", "-CLOSED");
    desk.check("CANCEL bob", "*4 $9 cancelled :2 :0 :0");
    desk.check("OPEN LIMIT 0", "-ERR LIMIT is below the 1 places that are taken");
    desk.check("OPEN LIMIT 1 END 0", "+OK");
    desk.starts("ADD cyd", "-SOLDOUT");
}

#[test]
fn a_ledger_that_is_off_is_not_written() {
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 10", "+OK");
    desk.starts("ADD ann", "*4 ");
    desk.starts("CANCEL ann", "*4 ");
    let names: Vec<String> = desk.ledger().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["terms", "add", "cancel"]);
    desk.check("OPEN LIMIT 10 LEDGER OFF", "+OK");
    desk.starts("ADD bob", "*4 ");
    assert_eq!(desk.ledger().len(), 4, "that it ends is the last entry");
    desk.check("OPEN LIMIT 10 LEDGER ON", "+OK");
    desk.starts("CANCEL bob", "*4 ");
    assert_eq!(desk.ledger().len(), 6);
}

#[test]
fn the_bucket_of_a_user_tells_who_holds_nothing() {
    use hotgate::reserve::{FlushResults, OpKind, OpResult, bucket_of};
    let server = Server::start();
    let mut desk = desk(&server);
    desk.check("OPEN LIMIT 5000", "+OK");
    for first in (0..600).step_by(60) {
        let ops: Vec<_> =
            (first..first + 60).map(|user| super::desk::op(OpKind::Add, &format!("user{user}"))).collect();
        desk.flush(&ops);
    }
    for user in ["stranger", "user17", "x"] {
        let op = super::desk::op(OpKind::Bucket, user);
        let reply = desk.send(std::slice::from_ref(&op), 0);
        let Some(OpResult::Bucket { buckets, users }) = FlushResults::parse(&reply, 1).unwrap().next() else {
            panic!("no bucket")
        };
        assert!(buckets > 8, "{buckets}");
        let bucket = |user: &[u8]| bucket_of(user, buckets as u32);
        let mut found: Vec<String> = users
            .map(|name| String::from_utf8(hotgate::resp::bulk_payload(name).unwrap().to_vec()).unwrap())
            .collect();
        found.sort();
        let mut expect: Vec<String> = (0..600)
            .map(|user| format!("user{user}"))
            .filter(|name| bucket(name.as_bytes()) == bucket(user.as_bytes()))
            .collect();
        expect.sort();
        assert_eq!(found, expect);
    }
}
