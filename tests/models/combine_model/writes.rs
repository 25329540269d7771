//! The queue by itself where writes fold by their forms: which commands many connections become, and what each is told.

use hotgate::{
    combine::{Again, KeyQueue, Op, Verb},
    resp::RespVersion::Resp2,
};

use super::harness::{Caller, NONE, request, with_op};
use super::machine::{
    INTERVAL_NS, ONCE, PLAIN, UP, answers, collect, filled, filled_by_one, said, sent, told,
};

fn with_write(line: &str, take: impl FnOnce(Op)) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    with_op(&request(&words), take);
}

/// Each connection sends its lines, one connection behind the other; the counter is known, so that nothing is held back.
fn limiter(connections: u32, lines: &[&str]) -> KeyQueue<Caller> {
    let mut queue = filled(&[UP]);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &[":1\r\n"]);
    for connection in 0..connections {
        for (place, line) in lines.iter().enumerate() {
            let number = connection * lines.len() as u32 + place as u32;
            with_write(line, |op| {
                queue.push(op, Caller { connection, ..said(Verb::Incr, number) }, Resp2);
            });
        }
    }
    queue
}

#[test]
fn many_connections_are_as_many_commands_as_each_of_them_sends() {
    let check = |lines: &[&str], expect: &str| {
        assert_eq!(sent(&mut limiter(50, lines), INTERVAL_NS, &PLAIN).1, expect, "{lines:?}");
    };
    check(&["INCR k", "EXPIRE k 9"], "INCRBY k 50; EXPIRE k 9");
    check(
        &["INCR k", "EXPIRE k 9 NX", "INCR k", "EXPIRE k 9 NX"],
        "INCRBY k 50; EXPIRE k 9 NX; INCRBY k 50; EXPIRE k 9 NX",
    );
    check(&["GET k", "SET k 1 EX 9"], "GET k; SET k 1 EX 9");
    check(&["HINCRBY k a 1", "HINCRBY k b 2"], "HINCRBY k a 50");
    check(&["HSET k a 1 b 2", "HSET k b 3"], "HSET k a 1 b 2; HSET k b 3");
    check(&["RPUSH k a"], &format!("RPUSH k{}", " a".repeat(50)));
}

#[test]
fn of_equal_times_to_live_the_first_is_the_only_one_that_counts() {
    for line in ["EXPIRE k 9 NX", "EXPIRE k 9 GT", "PEXPIRE k 9 LT", "EXPIREAT k 9 LT"] {
        let mut queue = limiter(3, &[line]);
        assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, line);
        assert_eq!(answers(&mut queue, &[":1\r\n"]).0, told(&[(0, ":1"), (1, ":0"), (2, ":0")]), "{line}");
    }
    let mut queue = limiter(2, &["EXPIREAT k 9"]);
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "EXPIREAT k 9; EXPIREAT k 9", "each for itself");
    assert_eq!(answers(&mut queue, &[":1\r\n", ":0\r\n"]).0, told(&[(0, ":1"), (1, ":0")]));
}

#[test]
fn a_write_that_no_script_does_goes_by_itself() {
    let mut queue = filled_by_one(&[UP]);
    with_write("EXPIRE k 9", |op| queue.push(op, Caller { connection: 0, ..1.into() }, Resp2));
    queue.push(UP, Caller { connection: 0, ..2.into() }, Resp2);
    assert!(sent(&mut queue, 0, &ONCE).1.starts_with("EVALSHA"));
    answers(&mut queue, &["*2\r\n$1\r\n=\r\n$1\r\n_\r\n"]);
    assert_eq!(sent(&mut queue, 0, &ONCE).1, "EXPIRE k 9");
    assert_eq!(answers(&mut queue, &[":1\r\n"]).0, told(&[(1, ":1")]));
    assert!(sent(&mut queue, 0, &ONCE).1.starts_with("EVALSHA"));
}

#[test]
fn a_write_in_doubt_is_told_to_all_and_one_that_moved_goes_again_whole() {
    let mut queue = limiter(2, &["SET k v NX"]);
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &["-MOVED 1 a:1\r\n"]), (vec![], Some(Again::Elsewhere { reply: 0 })));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "SET k v NX");
    let mut unknown = Vec::new();
    queue.lost(1, &NONE, 0, collect(&mut unknown));
    assert!(
        unknown.len() == 2 && unknown.iter().all(|(_, text)| text.contains("outcome unknown")),
        "{unknown:?}"
    );
    assert!(queue.is_empty());
}

#[test]
fn whose_time_is_over_leaves_and_the_others_wait_on() {
    let check = |lines: &[&str], over: &[u32], goes: &str, replies: &[&str], expect: &[(u32, &str)]| {
        let mut queue = limiter(0, &[]);
        for (number, line) in lines.iter().enumerate() {
            with_write(line, |op| queue.push(op, (number as u32).into(), Resp2));
        }
        let mut unsent = Vec::new();
        queue.abandon_waiting("ERR over", |caller| over.contains(&caller.number), collect(&mut unsent));
        let numbers: Vec<u32> = unsent.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, over, "{lines:?}");
        assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, goes, "{lines:?}");
        assert_eq!(answers(&mut queue, replies).0, told(expect), "{lines:?}");
        assert!(queue.is_empty());
    };
    check(&["EXPIRE k 9"; 3], &[0], "EXPIRE k 9", &[":1\r\n"], &[(1, ":1"), (2, ":1")]);
    check(&["EXPIRE k 9 NX"; 3], &[0, 1], "EXPIRE k 9 NX", &[":1\r\n"], &[(2, ":1")]);
    check(&["SADD k a"; 3], &[2], "SADD k a", &[":1\r\n"], &[(0, ":1"), (1, ":0")]);
    check(&["HSET k f 1", "HSET k f 2"], &[0], "HSET k f 2", &[":1\r\n"], &[(1, ":1")]);
    check(&["SET k a NX", "SET k b NX"], &[1], "SET k a NX", &["+OK\r\n"], &[(0, "+OK")]);
    check(
        &["RPUSH k a b", "RPUSH k c", "RPUSH k d"],
        &[0],
        "RPUSH k c d",
        &[":5\r\n"],
        &[(1, ":4"), (2, ":5")],
    );
    // The bytes of the others are not kept.
    for (lines, over) in [
        (["SET k a NX", "SET k b NX", "SET k c NX"], 0),
        (["HSET k f 1", "HSET k f 2", "HSET k f 3"], 2),
        (["HSETNX k f 1", "HSETNX k f 2", "HSETNX k f 3"], 0),
        (["RPUSH k a", "RPUSH k b", "RPUSH k c"], 1),
    ] {
        let mut queue = limiter(0, &[]);
        for (number, line) in lines.iter().enumerate() {
            with_write(line, |op| queue.push(op, (number as u32).into(), Resp2));
        }
        let mut unsent = Vec::new();
        queue.abandon_waiting("ERR over", |caller| caller.number == over, collect(&mut unsent));
        assert_eq!((unsent.len(), queue.is_empty()), (3, true), "{lines:?}");
    }
}

#[test]
fn a_length_that_cannot_be_is_no_answer() {
    let check = |reply: &str, expect: &[(u32, &str)]| {
        let mut queue = limiter(2, &["RPUSH k a b"]);
        sent(&mut queue, INTERVAL_NS, &PLAIN);
        assert_eq!(answers(&mut queue, &[reply]).0, told(expect));
    };
    check(":9\r\n", &[(0, ":7"), (1, ":9")]);
    let unknown = "-ERR hotgate: outcome unknown: the reply of Redis to a combined write was not understood; check before sending it again";
    check(":3\r\n", &[(0, unknown), (1, unknown)]);
    check("+OK\r\n", &[(0, unknown), (1, unknown)]);
}

#[test]
fn reads_of_a_lost_flush_go_again() {
    let check = |lines: &[&str], wire: &str, unknown: &[u32], again: &str| {
        let mut queue = limiter(0, &[]);
        for (number, line) in lines.iter().enumerate() {
            with_write(line, |op| queue.push(op, (number as u32).into(), Resp2));
        }
        assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, wire);
        let mut told = Vec::new();
        queue.lost(1, &NONE, 0, collect(&mut told));
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        assert!(told.iter().all(|(_, text)| text.contains("outcome unknown")), "{told:?}");
        assert_eq!(numbers, unknown, "{lines:?}");
        assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, again, "{lines:?}");
    };
    check(&["INCR k", "GET k", "INCR k", "GET k"], "INCRBY k 2", &[0, 2], "GET k");
    check(&["SET k v", "GET k", "SET k w"], "SET k w", &[0, 2], "GET k");
    check(&["HINCRBY k f 1", "HGET k f"], "HINCRBY k f 1", &[0], "HGET k f");
    check(&["INCR k", "TTL k", "EXPIRE k 9"], "INCRBY k 1; TTL k; EXPIRE k 9", &[0, 2], "TTL k");
}

#[test]
fn reads_among_what_goes_as_it_came_go_again_when_it_is_lost() {
    let mut queue = limiter(0, &[]);
    for (number, line) in ["INCR k", "GET k", "INCR k"].into_iter().enumerate() {
        with_write(line, |op| queue.push(op, said(Verb::Incr, number as u32), Resp2));
    }
    sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(answers(&mut queue, &["-NOPERM this user may not\r\n"]), (vec![], Some(Again::OneByOne)));
    let (_, wire) = sent(&mut queue, INTERVAL_NS, &PLAIN);
    assert_eq!(wire, "INCR k; GET k; INCR k");
    let mut told = Vec::new();
    queue.lost(1, &[":1\r\n"], 0, collect(&mut told));
    assert_eq!(told.remove(0), (0, ":1\r\n".to_owned()));
    assert!(matches!(&told[..], [(2, text)] if text.contains("outcome unknown")), "{told:?}");
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "GET k");
}
