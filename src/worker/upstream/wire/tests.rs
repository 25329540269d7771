use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;
use crate::resp::{ReplyScan, ReplyScanner};
use crate::worker::pending::{Hook, Pending};
use model::Model;

#[path = "model.rs"]
mod model;

/// `HOTGATE_SEED=n` runs one story again.
#[test]
fn an_arbitrary_peer_gets_no_wrong_answer_through() {
    let run = |seed: u64| {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut script = vec![0; random.random_range(0..400)];
        random.fill_bytes(&mut script);
        let story = std::panic::AssertUnwindSafe(|| Model::default().run(&script));
        assert!(std::panic::catch_unwind(story).is_ok(), "run it again with HOTGATE_SEED={seed}");
    };
    match std::env::var("HOTGATE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => run(seed),
        None => (0..20_000).for_each(|_| run(rand::random())),
    }
}

#[test]
fn one_by_one_a_request_is_written_when_the_one_before_it_is_answered() {
    let mut wire = Wire::one_by_one();
    let name = |wire: &Wire| wire.single_slice().map(<[u8]>::to_vec);
    for round in 0..2 {
        wire.push(Pending::swallowed(0), &[b"fir", b"st"]);
        wire.push(Pending::swallowed(0), &[b"second"]);
        wire.push_large(Pending::swallowed(0), Bytes::from_static(b"third"));
        wire.push(Pending::swallowed(0), &[b"fourth"]);
        for request in [&b"first"[..], b"second", b"third"] {
            assert!(wire.has_unwritten());
            assert_eq!(name(&wire).as_deref(), Some(request), "round {round}");
            wire.advance_written(2);
            assert_eq!(name(&wire).as_deref(), Some(&request[2..]));
            wire.advance_written(request.len() - 2);
            assert!(!wire.has_unwritten(), "what is behind waits");
            if request == b"third" {
                break;
            }
            assert_eq!(wire.turn(b"+OK\r\n"), Ok(Turn::Deliver));
            wire.pop();
        }
        // After a break only the one that was asked can have run, and so it is on the next connection.
        let written: Vec<bool> = wire.take_unanswered().into_iter().map(|request| request.written).collect();
        assert_eq!(written, [true, false]);
    }
}

#[test]
fn the_oldest_requests_are_shown_with_their_bytes() {
    let mut wire = Wire::default();
    wire.push(Pending::swallowed(1), &[b"ask", b"first"]);
    wire.push_large(Pending::swallowed(2), Bytes::from_static(b"large"));
    wire.push(Pending::swallowed(3), &[b"third"]);
    wire.push(Pending::swallowed(4), &[b"fourth"]);
    let shown = |wire: &Wire| -> Vec<(u64, Vec<u8>)> {
        wire.oldest().map(|(pending, bytes)| (pending.received_ns, bytes.to_vec())).collect()
    };
    let expect = [(1, b"askfirst".to_vec()), (3, b"third".to_vec()), (4, b"fourth".to_vec())];
    assert_eq!(shown(&wire), expect);
    wire.advance_written(3);
    wire.pop();
    assert_eq!(shown(&wire), expect[1..]);
}

#[test]
fn a_request_is_answered_with_the_time_when_it_began_to_be_written() {
    let mut wire = Wire::default();
    let push = |wire: &mut Wire, name: &[u8]| {
        // It waited here since 1.
        wire.push(Pending::swallowed(1), &[name]);
    };
    let answered = |wire: &mut Wire| {
        assert_eq!(wire.turn(b"+OK\r\n"), Ok(Turn::Deliver));
        wire.pop().unwrap().sent_ns
    };
    for round in 0..2 {
        ["a1", "a2"].iter().for_each(|name| push(&mut wire, name.as_bytes()));
        wire.begin_batch(10);
        // The socket takes a part, and the rest later: the node does not read.
        wire.advance_written(3);
        wire.begin_batch(15);
        push(&mut wire, b"b1");
        wire.begin_batch(20);
        wire.advance_written(3);
        assert_eq!(answered(&mut wire), 10, "round {round}");
        push(&mut wire, b"c1");
        wire.begin_batch(30);
        wire.advance_written(2);
        assert_eq!([(); 3].map(|()| answered(&mut wire)), [10, 20, 30], "round {round}");
        wire.give_back();
    }
    let mut wire = Wire::one_by_one();
    ["d1", "d2"].iter().for_each(|name| push(&mut wire, name.as_bytes()));
    wire.begin_batch(10);
    wire.advance_written(2);
    assert_eq!(answered(&mut wire), 10);
    wire.begin_batch(20);
    wire.advance_written(2);
    assert_eq!(answered(&mut wire), 20);
}

#[test]
fn what_is_behind_a_refused_request_was_not_written() {
    let mut wire = Wire::default();
    wire.push(Pending::swallowed(0), &[b"first"]);
    wire.push(Pending::swallowed(0), &[b"second"]);
    assert_eq!(wire.turn(b"-ERR Protocol error\r\n"), Err(OutOfTurn::Unasked));
    wire.advance_written(3);
    assert_eq!(wire.turn(b"+OK\r\n"), Err(OutOfTurn::Early));
    assert_eq!(wire.turn(b"-ERR Protocol error\r\n"), Ok(Turn::Refuse));
    wire.pop();
    wire.push(Pending::swallowed(0), &[b"third"]);
    assert!(!wire.has_unwritten(), "nothing more is written");
    let unanswered: Vec<_> =
        wire.take_unanswered().into_iter().map(|request| (request.bytes, request.written)).collect();
    assert_eq!(unanswered, [(Bytes::from("second"), false), (Bytes::from("third"), false)]);
}

fn drain(wire: &mut Wire, step: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while wire.has_unwritten() {
        let mut slices = Vec::new();
        wire.slices(&mut slices);
        let flat: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let count = step.min(flat.len());
        written.extend_from_slice(&flat[..count]);
        wire.advance_written(count);
    }
    written
}

#[test]
fn bytes_are_written_in_the_order_of_the_requests() {
    let large = Bytes::from(vec![b'x'; 100]);
    for step in [1, 3, 7, 1000] {
        let mut wire = Wire::default();
        wire.push(Pending::swallowed(0), &[b"one"]);
        wire.push_large(Pending::swallowed(0), large.clone());
        wire.push(Pending::swallowed(0), &[b"two", b"three"]);
        let expected = [&b"one"[..], &large[..], b"twothree"].concat();
        assert_eq!(drain(&mut wire, step), expected, "in steps of {step}");
        assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(Bytes::from("one")));
        assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(large.clone()));
        assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes), Some(Bytes::from("twothree")));
        assert_eq!((wire.inflight(), wire.inflight_bytes()), (0, 0));
    }
}

#[test]
fn a_request_of_which_one_byte_was_not_written_counts_as_unwritten() {
    let mut wire = Wire::default();
    wire.push(Pending::swallowed(0), &[b"first"]);
    wire.push(Pending::swallowed(0), &[b"second"]);
    wire.advance_written(10);
    let written: Vec<bool> = wire.take_unanswered().iter().map(|request| request.written).collect();
    assert_eq!(written, [true, false]);
}

#[test]
fn the_log_stays_bounded_while_requests_overlap_without_end() {
    let mut wire = Wire::default();
    let request = [b'r'; 100];
    wire.push(Pending::swallowed(0), &[&request]);
    for _ in 0..100_000 {
        wire.push(Pending::swallowed(0), &[&request]);
        wire.advance_written(wire.unwritten_bytes);
        wire.pop();
    }
    assert!(wire.log.capacity() <= 4 * LOG_COMPACT_BYTES_MIN, "the log grew to {}", wire.log.capacity());
    assert_eq!(wire.pop_with_bytes().map(|(_, bytes)| bytes.len()), Some(100));
}
