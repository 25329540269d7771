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
