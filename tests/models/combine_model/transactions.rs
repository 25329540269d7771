//! The queue by itself where transactions fold: what goes when, and what each is told when it goes wrong.

use hotgate::{
    combine::{Again, KeyQueue},
    resp::RespVersion::{Resp2, Resp3},
};

use super::harness::{Caller, NONE, transaction, with_op};
use super::machine::{INTERVAL_NS, ONCE, PLAIN, answers, collect, filled, sent, told};

const LIMITER: &str = "INCR k; EXPIRE k 9";

fn push(queue: &mut KeyQueue<Caller>, line: &str, number: u32) {
    push_as(queue, line, number.into());
}

fn push_as(queue: &mut KeyQueue<Caller>, line: &str, caller: Caller) {
    let lines: Vec<Vec<&[u8]>> =
        line.split("; ").map(|line| line.split(' ').map(str::as_bytes).collect()).collect();
    with_op(&transaction(&lines), |op| queue.push(op, caller, Resp2));
}

/// A queue that has seen one transaction of this kind, and in which as many wait.
fn tried(line: &str, reply: &str, waiting: u32) -> KeyQueue<Caller> {
    let mut queue = filled(&[]);
    push(&mut queue, line, 1000);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &[reply]);
    (0..waiting).for_each(|number| push(&mut queue, line, number));
    queue
}

#[test]
fn the_first_of_a_kind_goes_as_it_came_and_then_all_are_one() {
    let mut queue = filled(&[]);
    (0..50).for_each(|number| push(&mut queue, LIMITER, number));
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "MULTI; INCR k; EXPIRE k 9; EXEC");
    assert_eq!(answers(&mut queue, &["*2\r\n:8\r\n:1\r\n"]).0, [(0, "*2\r\n:8\r\n:1\r\n".to_owned())]);
    let (flush, wire) = sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!((flush.operations, &*wire), (49, "MULTI; INCRBY k 49; EXPIRE k 9; EXEC"));
    let (all, again) = answers(&mut queue, &["*2\r\n:57\r\n:1\r\n"]);
    let expect: Vec<_> = (1..50).map(|number| (number, format!("*2\r\n:{}\r\n:1\r\n", 8 + number))).collect();
    assert_eq!((all, again), (expect, None));
}

#[test]
fn members_that_differ_beyond_a_number_share_a_flush_and_no_transaction() {
    let mut queue = tried("INCRBY k 1; EXPIRE k 9", "*2\r\n:1\r\n:1\r\n", 0);
    for (number, line) in ["INCRBY k 5; EXPIRE k 9", "INCRBY k -7; EXPIRE k 9", "INCRBY k 1; EXPIRE k 8"]
        .into_iter()
        .enumerate()
    {
        push(&mut queue, line, number as u32);
    }
    assert_eq!(
        sent(&mut queue, INTERVAL_NS, &PLAIN).1,
        "MULTI; INCRBY k -2; EXPIRE k 9; EXEC; MULTI; INCRBY k 1; EXPIRE k 8; EXEC"
    );
    let told = answers(&mut queue, &["*2\r\n:-1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"]).0;
    let replies: Vec<&str> = told.iter().map(|(_, reply)| &**reply).collect();
    assert_eq!(replies, ["*2\r\n:6\r\n:1\r\n", "*2\r\n:-1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"]);
}

#[test]
fn a_counter_near_the_end_of_its_range_is_not_folded_and_nobody_waits_for_it() {
    let near = "*2\r\n:9223372036854775800\r\n:1\r\n";
    for refused in [near, "*2\r\n-WRONGTYPE x\r\n:1\r\n", "-NOPERM x\r\n"] {
        let mut queue = tried(LIMITER, refused, 3);
        let all = ["MULTI; INCR k; EXPIRE k 9; EXEC"; 3].join("; ");
        assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, all, "{refused}");
        answers(&mut queue, &["*2\r\n:1\r\n:1\r\n"; 3]);
        (0..3).for_each(|number| push(&mut queue, LIMITER, number));
        assert_eq!(sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1, "MULTI; INCRBY k 3; EXPIRE k 9; EXEC");
    }
    let mut queue = tried("HINCRBY k f 4611686018427387904", "*1\r\n:9\r\n", 2);
    assert_eq!(
        sent(&mut queue, INTERVAL_NS, &PLAIN).1,
        ["MULTI; HINCRBY k f 4611686018427387904; EXEC"; 2].join("; ")
    );
}

#[test]
fn who_may_say_incr_and_not_incrby_goes_as_it_came() {
    let mut queue = tried(LIMITER, "*2\r\n:1\r\n:1\r\n", 2);
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "MULTI; INCRBY k 2; EXPIRE k 9; EXEC");
    let refused = "-EXECABORT Transaction discarded because of: NOPERM this user may not\r\n";
    assert_eq!(answers(&mut queue, &[refused]), (vec![], Some(Again::OneByOne)));
    let all = "MULTI; INCR k; EXPIRE k 9; EXEC; MULTI; INCR k; EXPIRE k 9; EXEC";
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, all);
    answers(&mut queue, &["*2\r\n:2\r\n:1\r\n", "*2\r\n:3\r\n:1\r\n"]);
    (0..2).for_each(|number| push(&mut queue, LIMITER, number));
    assert_eq!(sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1, all, "and is not tried again");
}

#[test]
fn what_is_refused_lost_or_elsewhere_is_so_for_all() {
    let oom = "-EXECABORT Transaction discarded because of: OOM command not allowed\r\n";
    let mut queue = tried(LIMITER, "*2\r\n:1\r\n:1\r\n", 2);
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &[oom]).0, told(&[(0, oom.trim()), (1, oom.trim())]));
    (0..2).for_each(|number| push(&mut queue, LIMITER, number));
    sent(&mut queue, 2 * INTERVAL_NS, &PLAIN);
    let all = ["*2\r\n:1\r\n:1\r\n", "-MOVED 1 a:1\r\n"];
    assert_eq!(answers(&mut queue, &all).1, Some(Again::Elsewhere { reply: 1 }), "as they came: the second");
    assert_eq!(sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1, "MULTI; INCR k; EXPIRE k 9; EXEC");
    answers(&mut queue, &all[..1]);
    (0..2).for_each(|number| push(&mut queue, LIMITER, number));
    sent(&mut queue, 3 * INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &["-ASK 1 a:1\r\n"]), (vec![], Some(Again::Elsewhere { reply: 0 })));
    assert_eq!(sent(&mut queue, 3 * INTERVAL_NS, &PLAIN).1, "MULTI; INCRBY k 2; EXPIRE k 9; EXEC");
    let mut unknown = Vec::new();
    queue.lost(1, &NONE, 0, collect(&mut unknown));
    assert!(
        unknown.len() == 2 && unknown.iter().all(|(_, text)| text.contains("outcome unknown")),
        "{unknown:?}"
    );
    assert!(queue.is_empty());
    (0..2).for_each(|number| push(&mut queue, LIMITER, number));
    sent(&mut queue, 4 * INTERVAL_NS, &PLAIN);
    queue.lost(1, &NONE, 2, |_, _| panic!("nothing was written"));
    assert!(!queue.is_empty());
}

#[test]
fn under_tokens_each_goes_by_itself() {
    let mut queue = filled(&[]);
    (0..2).for_each(|number| push(&mut queue, LIMITER, number));
    assert_eq!(sent(&mut queue, 0, &ONCE).1, "MULTI; INCR k; EXPIRE k 9; EXEC");
}

#[test]
fn whose_time_is_over_leaves_and_the_others_wait_on() {
    let mut queue = tried("DECRBY k 3; TTL k", "*2\r\n:1\r\n:-1\r\n", 3);
    let mut over = Vec::new();
    queue.abandon_waiting("ERR over", |caller| caller.number == 1, collect(&mut over));
    assert_eq!(over, told(&[(1, "-ERR over")]));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "MULTI; INCRBY k -6; TTL k; EXEC");
    let all = answers(&mut queue, &["*2\r\n:-5\r\n:7\r\n"]).0;
    assert_eq!(all, [(0, "*2\r\n:-2\r\n:7\r\n".to_owned()), (2, "*2\r\n:-5\r\n:7\r\n".to_owned())]);
}

#[test]
fn where_a_reply_may_be_null_members_of_one_version_fold() {
    let line = "SET k 1 NX; INCR k";
    let mut queue = tried(line, "*2\r\n+OK\r\n:2\r\n", 2);
    let lines: Vec<Vec<&[u8]>> = vec![vec![b"SET", b"k", b"1", b"NX"], vec![b"INCR", b"k"]];
    with_op(&transaction(&lines), |op| queue.push(op, 9.into(), Resp3));
    let (flush, wire) = sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!((flush.version, &*wire), (Some(Resp2), "MULTI; SET k 1 NX; INCRBY k 2; EXEC"));
    let all = answers(&mut queue, &["*2\r\n$-1\r\n:4\r\n"]).0;
    assert_eq!(all[1], (1, "*2\r\n$-1\r\n:4\r\n".to_owned()));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).0.version, Some(Resp3));
}

#[test]
fn a_connection_keeps_its_order() {
    let mut queue = tried(LIMITER, "*2\r\n:1\r\n:1\r\n", 0);
    for (number, line) in [LIMITER, "INCRBY k 5; TTL k", LIMITER].into_iter().enumerate() {
        for connection in 0..2 {
            push_as(&mut queue, line, Caller { connection, ..(10 * connection + number as u32).into() });
        }
    }
    // The second kind has not been tried: what stands behind it waits.
    assert_eq!(
        sent(&mut queue, INTERVAL_NS, &PLAIN).1,
        "MULTI; INCRBY k 2; EXPIRE k 9; EXEC; MULTI; INCRBY k 5; TTL k; EXEC"
    );
    answers(&mut queue, &["*2\r\n:3\r\n:1\r\n", "*2\r\n:8\r\n:9\r\n"]);
    assert_eq!(
        sent(&mut queue, 2 * INTERVAL_NS, &PLAIN).1,
        "MULTI; INCRBY k 5; TTL k; EXEC; MULTI; INCRBY k 2; EXPIRE k 9; EXEC"
    );
}
