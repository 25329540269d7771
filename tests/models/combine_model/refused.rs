//! Folds that Redis refuses: who would have been refused alike is told at once, and nothing goes twice for longer than once in some
//! seconds.

use hotgate::combine::{Again, KeyQueue, Op, Verb};
use hotgate::resp::RespVersion::Resp2;

use super::harness::Caller;
use super::machine::{INTERVAL_NS, PLAIN, UP, answers, filled, said, sent, told};

/// Longer than a refusal is remembered.
const FORGOTTEN_NS: u64 = 11_000_000_000;

fn push(queue: &mut KeyQueue<Caller>, ops: &[Op]) {
    for (number, op) in ops.iter().enumerate() {
        queue.push(*op, (number as u32).into(), Resp2);
    }
}

#[test]
fn writes_are_told_at_once_and_reads_read_what_is_there() {
    let check = |[write, read]: [Op; 2], error: &str, [fold, one_read]: [&str; 2]| {
        let mixed = [write, read, write, read];
        let mut queue = filled(&mixed);
        assert_eq!(sent(&mut queue, 0, &PLAIN).1, fold);
        let refusal = format!("{error}\r\n");
        let refused = told(&[(0, error), (2, error)]);
        assert_eq!(answers(&mut queue, &[&refusal]), (refused, Some(Again::OneByOne)), "{error}");
        assert_eq!(sent(&mut queue, 0, &PLAIN).1, one_read);
        assert_eq!(answers(&mut queue, &["$1\r\nx\r\n"]), (told(&[(1, "$1\r\nx"), (3, "$1\r\nx")]), None));
        // From now on the two are apart, and nothing goes a second time.
        for now_ns in [INTERVAL_NS, 2 * INTERVAL_NS, FORGOTTEN_NS] {
            push(&mut queue, &mixed);
            assert_eq!(sent(&mut queue, now_ns, &PLAIN).1, format!("{fold}; {one_read}"));
            let (told, again) = answers(&mut queue, &[&refusal, "$1\r\nx\r\n"]);
            assert_eq!((told.len(), again), (4, None), "{told:?}");
            assert!(told.iter().all(|(number, text)| (number % 2 == 0) == (*text == refusal)), "{told:?}");
        }
        push(&mut queue, &mixed);
        assert_eq!(sent(&mut queue, FORGOTTEN_NS + INTERVAL_NS, &PLAIN).1, fold, "it is tried again");
    };
    let string = [UP, Op::Get];
    let field = [Op::HashIncrement { field: b"f", delta: 1 }, Op::HashGet { field: b"f" }];
    check(string, "-ERR value is not an integer or out of range", ["INCRBY k 2", "GET k"]);
    check(string, "-OOM command not allowed", ["INCRBY k 2", "GET k"]);
    check(string, "-READONLY You can't write", ["INCRBY k 2", "GET k"]);
    check(field, "-ERR hash value is not an integer", ["HINCRBY k f 2", "HGET k f"]);
    check([Op::Set(b"v"), Op::Get], "-MISCONF no", ["SET k v", "GET k"]);
}

#[test]
fn a_wrong_type_is_everybodys_answer() {
    let mut queue = filled(&[UP, Op::Get, UP]);
    sent(&mut queue, 0, &PLAIN);
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let all = told(&[(0, wrong), (1, wrong), (2, wrong)]);
    assert_eq!(answers(&mut queue, &[&format!("{wrong}\r\n")]), (all, None));
}

#[test]
fn what_overflows_together_goes_as_it_came_from_then_on() {
    let overflow = "-ERR increment or decrement would overflow\r\n";
    let mut queue = filled(&[]);
    let mut come = |now_ns, expect: &str, replies: &[&str]| {
        (0..2).for_each(|number| queue.push(UP, said(Verb::Incr, number), Resp2));
        assert_eq!(sent(&mut queue, now_ns, &PLAIN).1, expect);
        let (_, again) = answers(&mut queue, replies);
        if again.is_some() {
            assert_eq!(sent(&mut queue, now_ns, &PLAIN).1, "INCR k; INCR k");
            answers(&mut queue, &[":7\r\n", overflow]);
        }
        again
    };
    assert_eq!(come(0, "INCRBY k 2", &[overflow]), Some(Again::OneByOne));
    assert_eq!(come(INTERVAL_NS, "INCR k; INCR k", &[overflow, overflow]), None);
    assert_eq!(come(FORGOTTEN_NS, "INCRBY k 2", &[":9\r\n"]), None);
}
