//! The queue by itself: when it sends, what it sends again, where its bounds are.

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{Again, Flush, FlushDecision, FlushPolicy, KeyQueue, Op, Settled, Verb},
    resp::RespVersion::{Resp2, Resp3},
};

use super::harness::{Caller, NONE, requests, split_replies};

pub(super) const INTERVAL_NS: u64 = 1_000_000;
pub(super) const PLAIN: FlushPolicy = FlushPolicy {
    interval_ns: INTERVAL_NS,
    early_min: 100,
    exactly_once: false,
    clamp: None,
    withhold: false,
};
pub(super) const ONCE: FlushPolicy = FlushPolicy { exactly_once: true, ..PLAIN };

fn queue() -> KeyQueue<Caller> {
    KeyQueue::new(Bytes::from_static(b"k"), b"g1")
}

pub(super) fn filled(ops: &[Op]) -> KeyQueue<Caller> {
    let mut queue = queue();
    for (member, op) in ops.iter().enumerate() {
        queue.push(*op, (member as u32).into(), Resp2);
    }
    queue
}

/// All of one connection, so that they keep their order.
pub(super) fn filled_by_one(ops: &[Op]) -> KeyQueue<Caller> {
    let mut queue = queue();
    for (member, op) in ops.iter().enumerate() {
        queue.push(*op, Caller { connection: 0, ..(member as u32).into() }, Resp2);
    }
    queue
}

pub(super) fn sent(queue: &mut KeyQueue<Caller>, now_ns: u64, policy: &FlushPolicy) -> (Flush, String) {
    let FlushDecision::Send(flush) = queue.next_flush(now_ns, policy) else { panic!("nothing to send") };
    let mut wire = BytesMut::new();
    queue.encode(&mut wire);
    let commands: Vec<String> = requests(&wire)
        .iter()
        .map(|words| words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" "))
        .collect();
    let mut is_inside = false;
    let is_counted = |command: &&String| {
        is_inside = (is_inside || *command == "MULTI") && *command != "EXEC";
        !is_inside
    };
    assert_eq!(commands.iter().filter(is_counted).count(), flush.commands);
    (flush, commands.join("; "))
}

pub(super) fn answers(queue: &mut KeyQueue<Caller>, replies: &[&str]) -> (Vec<(u32, String)>, Option<Again>) {
    let mut answers = Vec::new();
    let again = queue.settle(replies, collect(&mut answers)).again;
    (answers, again)
}

pub(super) fn collect(into: &mut Vec<(u32, String)>) -> impl FnMut(Caller, Settled) {
    |caller, settled| match settled {
        Settled::Reply(bytes) | Settled::Unsent(bytes) | Settled::OutcomeUnknown(bytes) => into.extend(
            split_replies(caller, bytes)
                .into_iter()
                .map(|(number, reply)| (number, String::from_utf8(reply).unwrap())),
        ),
        other => panic!("{other:?}"),
    }
}

pub(super) fn told(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs.iter().map(|(member, reply)| (*member, format!("{reply}\r\n"))).collect()
}

pub(super) const UP: Op = Op::Increment(1);
const TTL: Op = Op::Read { request: b"*2\r\n$3\r\nTTL\r\n$1\r\nk\r\n", scalar: true };
const ALL: Op = Op::Read { request: b"*2\r\n$7\r\nHGETALL\r\n$1\r\nk\r\n", scalar: false };

#[test]
fn increments_are_withheld_while_their_quota_is_not_known() {
    let mut queue = filled_by_one(&[TTL, UP, TTL]);
    let withhold = FlushPolicy { withhold: true, ..PLAIN };
    assert_eq!(sent(&mut queue, 0, &withhold).1, "TTL k");
    answers(&mut queue, &[":-1\r\n"]);
    assert_eq!(queue.next_flush(INTERVAL_NS, &withhold), FlushDecision::Withheld);
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCRBY k 1; TTL k");
}

pub(super) fn said(verb: Verb, number: u32) -> Caller {
    Caller { verb, ..number.into() }
}

#[test]
fn a_run_of_one_goes_as_it_came() {
    let check = |verb, delta, expect: &str| {
        let mut queue = queue();
        queue.push(Op::Increment(delta), said(verb, 0), Resp2);
        assert_eq!(sent(&mut queue, 0, &PLAIN).1, expect);
    };
    check(Verb::Incr, 1, "INCR k");
    check(Verb::Decr, -1, "DECR k");
    check(Verb::Incrby, -7, "INCRBY k -7");
    check(Verb::Decrby, -7, "DECRBY k 7");
}

#[test]
fn what_may_differ_between_members_goes_again_as_it_came() {
    let mut queue = queue();
    for number in 0..3 {
        queue.push(UP, said(Verb::Incr, number), Resp2);
    }
    queue.push(Op::Get, Caller::from(3), Resp3);
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCRBY k 3");
    let overflow = "-ERR increment or decrement would overflow\r\n";
    assert_eq!(answers(&mut queue, &[overflow]), (vec![], Some(Again::OneByOne)));
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCR k; INCR k; INCR k; GET k");
    let (told_now, again) = answers(&mut queue, &[":8\r\n", ":9\r\n", overflow, "$-1\r\n"]);
    assert_eq!(told_now, told(&[(0, ":8"), (1, ":9"), (2, overflow.trim_end()), (3, "_")]));
    assert_eq!(again, None);
    assert!(queue.is_empty());
}

#[test]
fn what_overtook_its_own_connection_is_not_sent_again() {
    let mut queue = filled(&[UP]);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &[":1\r\n"]);
    let of = |connection: u32, number: u32| Caller { connection, ..number.into() };
    for number in 0..4 {
        queue.push(UP, of(number % 2, number), Resp2);
    }
    queue.push(Op::Set(b"5"), of(1, 4), Resp2);
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCRBY k 4; SET k 5");
    let (mut told_now, again) = answers(&mut queue, &["-LOADING x\r\n", "+OK\r\n"]);
    told_now.sort();
    let not_executed =
        |(_, text): &(u32, String)| text.starts_with("-ERR hotgate: the command was not executed");
    assert!(not_executed(&told_now[0]) && not_executed(&told_now[1]), "{told_now:?}");
    assert_eq!((told_now[0].0, told_now[1].0, &told_now[2..]), (1, 3, &told(&[(4, "+OK")])[..]));
    assert_eq!(again, Some(Again::Elsewhere { reply: 0 }));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCRBY k 1; INCRBY k 1");
    assert_eq!(answers(&mut queue, &[":6\r\n", ":7\r\n"]).0, told(&[(0, ":6"), (2, ":7")]));
    assert!(queue.is_empty());
}

/// A right is taken away, so the increments go as they came; then the node refuses the first for a moment and takes the second.
#[test]
fn what_a_node_took_behind_a_refusal_does_not_go_again() {
    let mut queue = filled(&[UP]);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &[":1\r\n"]);
    for number in [1, 2, 3] {
        queue.push(UP, said(Verb::Incr, number), Resp2);
    }
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCRBY k 3");
    let denied = "-NOPERM this user has no permissions to run the 'incrby' command\r\n";
    assert_eq!(answers(&mut queue, &[denied]).1, Some(Again::OneByOne));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCR k; INCR k; INCR k");
    let (told_now, again) = answers(&mut queue, &[":2\r\n", "-LOADING x\r\n", ":3\r\n"]);
    assert_eq!(told_now, told(&[(1, ":2"), (3, ":3")]));
    assert_eq!(again, Some(Again::Elsewhere { reply: 1 }));
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCR k");
    assert_eq!(answers(&mut queue, &[":4\r\n"]).0, told(&[(2, ":4")]));
    assert!(queue.is_empty());
}

#[test]
fn what_the_server_does_not_permit_is_not_tried_again() {
    let mut queue = queue();
    let denied = "-NOPERM this user has no permissions to run the 'incrby' command\r\n";
    for number in 0..2 {
        queue.push(UP, said(Verb::Incr, number), Resp2);
    }
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCRBY k 2");
    let mut none = Vec::new();
    let settlement = queue.settle(&[denied], collect(&mut none));
    assert!(settlement.denied && none.is_empty());
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCR k; INCR k");
    assert_eq!(answers(&mut queue, &[":1\r\n", ":2\r\n"]).0, told(&[(0, ":1"), (1, ":2")]));
    for number in 2..4 {
        queue.push(UP, said(Verb::Incr, number), Resp2);
    }
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCR k; INCR k");
    // Whoever says INCRBY is answered as Redis answers that.
    let mut queue = filled(&[UP, UP]);
    sent(&mut queue, 0, &PLAIN);
    assert_eq!(answers(&mut queue, &[denied]).0, told(&[(0, denied.trim_end()), (1, denied.trim_end())]));
}

#[test]
fn a_way_that_turns_is_folded_where_it_can_not_leave_the_range() {
    let mut queue = filled(&[UP]);
    sent(&mut queue, 0, &PLAIN);
    answers(&mut queue, &[":100\r\n"]);
    for (number, delta) in [5, -3, 1].into_iter().enumerate() {
        queue.push(Op::Increment(delta), (number as u32).into(), Resp2);
    }
    assert_eq!(sent(&mut queue, INTERVAL_NS, &PLAIN).1, "INCRBY k 3");
    assert_eq!(answers(&mut queue, &[":50\r\n"]).0, told(&[(0, ":52"), (1, ":49"), (2, ":50")]));
    for (number, delta) in [5, -3].into_iter().enumerate() {
        queue.push(Op::Increment(delta), (number as u32).into(), Resp2);
    }
    sent(&mut queue, 2 * INTERVAL_NS, &PLAIN);
    let moved_by_others = format!(":{}\r\n", i64::MAX - 1);
    let (told, _) = answers(&mut queue, &[&moved_by_others]);
    assert!(told.iter().all(|(_, text)| text.starts_with("-ERR hotgate: outcome unknown")), "{told:?}");
}

#[test]
fn what_was_answered_before_the_connection_was_lost_is_settled() {
    let mut queue = filled_by_one(&[UP, Op::Set(b"5"), TTL, Op::Set(b"6")]);
    queue.push(ALL, Caller::from(4), Resp2);
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCRBY k 1; SET k 5; TTL k; SET k 6; HGETALL k");
    let mut told = Vec::new();
    queue.lost(1, &[":1\r\n"], 2, collect(&mut told));
    assert_eq!(told.remove(0), (0, ":1\r\n".to_owned()));
    assert!(
        matches!(&told[..], [(1, text)] if text.starts_with("-ERR hotgate: outcome unknown")),
        "{told:?}"
    );
    assert_eq!(sent(&mut queue, 1, &PLAIN).1, "TTL k; SET k 6; HGETALL k");
}

#[test]
fn folds_into_the_fewest_commands() {
    let check = |ops: &[Op], expect: &str| assert_eq!(sent(&mut filled(ops), 0, &PLAIN).1, expect, "{ops:?}");
    check(&[UP, UP, Op::Increment(5)], "INCRBY k 7");
    check(&[UP, Op::Get, UP, Op::Get], "INCRBY k 2");
    check(&[Op::Increment(-2), Op::Increment(0)], "INCRBY k -2");
    check(&[Op::Get, Op::Get], "GET k");
    check(&[Op::Set(b"a"), Op::Get, Op::Set(b"b"), Op::Set(b"c")], "SET k c");
    check(&[Op::HashIncrement { field: b"f", delta: 2 }, Op::HashGet { field: b"f" }], "HINCRBY k f 2");
    check(&[Op::HashGet { field: b"f" }], "HGET k f");
    check(&[UP, TTL, TTL, ALL], "INCRBY k 1; TTL k; HGETALL k");
    check(&[TTL, UP, UP], "TTL k; INCRBY k 2");
    check(&[Op::Get, Op::Get, UP, UP, Op::Get], "GET k; INCRBY k 2");
    check(&[UP, UP, Op::Increment(-1), Op::Increment(-5), UP], "INCRBY k 2");
    check(&[Op::Set(b"1"), UP, UP, Op::Set(b"2")], "SET k 2; INCRBY k 2");
    check(&[Op::Set(b"1"), UP, Op::Set(b"2"), TTL, Op::Set(b"3")], "SET k 3; INCRBY k 1; TTL k");
}

#[test]
fn what_one_connection_sends_keeps_its_order() {
    let check =
        |ops: &[Op], expect: &str| assert_eq!(sent(&mut filled_by_one(ops), 0, &PLAIN).1, expect, "{ops:?}");
    check(&[Op::Set(b"1"), UP, UP, Op::Set(b"2")], "SET k 1; INCRBY k 2");
    check(
        &[Op::Set(b"1"), UP, Op::Set(b"2"), TTL, Op::Set(b"3")],
        "SET k 1; INCRBY k 1; SET k 2; TTL k; SET k 3",
    );
}

#[test]
fn one_flush_in_flight_and_the_round_trip_is_the_clock() {
    let mut queue = filled(&[UP]);
    let sent_ns = 9 * INTERVAL_NS;
    assert!(!sent(&mut queue, sent_ns, &PLAIN).0.resend);
    queue.push(UP, Caller::from(1), Resp2);
    assert_eq!(queue.next_flush(u64::MAX, &PLAIN), FlushDecision::InFlight);
    assert_eq!(answers(&mut queue, &[":1\r\n"]).0, told(&[(0, ":1")]));
    sent(&mut queue, sent_ns + 50_000, &PLAIN);
    answers(&mut queue, &[":2\r\n"]);
    assert_eq!(queue.next_flush(u64::MAX, &PLAIN), FlushDecision::Idle);
}

#[test]
fn where_the_interval_brings_much_it_is_waited_for_unless_all_seem_to_have_come() {
    let fill = |queue: &mut KeyQueue<Caller>, operations: usize| {
        queue.push(UP, Caller { operations: operations as u32, ..0.into() }, Resp2);
    };
    let mut queue = queue();
    fill(&mut queue, 200);
    let began = 50 * INTERVAL_NS;
    sent(&mut queue, began, &PLAIN);
    answers(&mut queue, &[":200\r\n"]);
    fill(&mut queue, 200);
    assert_eq!(
        sent(&mut queue, began + INTERVAL_NS, &PLAIN).1,
        "INCRBY k 200",
        "200 in 50 intervals is not much"
    );
    answers(&mut queue, &[":400\r\n"]);
    fill(&mut queue, 20);
    let due = began + 2 * INTERVAL_NS;
    assert_eq!(queue.next_flush(due - 1, &PLAIN), FlushDecision::NotBefore(due));
    fill(&mut queue, 160);
    assert_eq!(sent(&mut queue, due - 1, &PLAIN).1, "INCRBY k 180", "nearly as many as an interval brings");
}

#[test]
fn what_could_not_ride_along_follows_at_once() {
    let mut queue = filled(&[ALL, Op::HashIncrement { field: b"f", delta: 1 }]);
    let sent_ns = 9 * INTERVAL_NS;
    assert_eq!(sent(&mut queue, sent_ns, &ONCE).1, "HGETALL k");
    answers(&mut queue, &["*0\r\n"]);
    assert!(sent(&mut queue, sent_ns, &ONCE).1.starts_with("EVALSHA"));
}

#[test]
fn a_flush_is_bounded() {
    let mut ops = Vec::new();
    for _ in 0..50 {
        ops.extend([Op::Set(b"1"), UP]);
    }
    let mut queue = filled_by_one(&ops);
    let (flush, _) = sent(&mut queue, 0, &ONCE);
    assert_eq!((flush.commands, flush.operations, flush.script_operations), (1, 64, 64));
    let mut queue = filled_by_one(&[Op::Increment(2), Op::Increment(-1)].repeat(10_000));
    assert_eq!(sent(&mut queue, 0, &ONCE).0.operations, 8192);
}

#[test]
fn reads_of_both_versions_are_shared_only_if_spelled_alike() {
    let mut queue = queue();
    for (member, (op, version)) in
        [(TTL, Resp2), (TTL, Resp3), (ALL, Resp3), (ALL, Resp2)].into_iter().enumerate()
    {
        queue.push(op, (member as u32).into(), version);
    }
    let (flush, wire) = sent(&mut queue, 0, &PLAIN);
    assert_eq!((flush.version, wire.as_str()), (Some(Resp3), "TTL k; HGETALL k"));
    answers(&mut queue, &[":-1\r\n", "%0\r\n"]);
    assert_eq!(sent(&mut queue, 0, &PLAIN).0.version, Some(Resp2));

    let mut queue = filled(&[Op::Get]);
    queue.push(Op::Get, Caller::from(1), Resp3);
    sent(&mut queue, 0, &PLAIN);
    assert_eq!(answers(&mut queue, &["$-1\r\n"]).0, told(&[(0, "$-1"), (1, "_")]));
}

#[test]
fn equal_operations_that_come_together_are_answered_together() {
    let mut queue = queue();
    let run = |number: u32, operations| Caller { operations, ..number.into() };
    queue.push(UP, run(0, 2), Resp2);
    queue.push(Op::Increment(5), run(2, 4), Resp2);
    let (flush, commands) = sent(&mut queue, 0, &PLAIN);
    assert_eq!((flush.operations, &*commands), (6, "INCRBY k 22"));
    let mut answers = Vec::new();
    queue.settle(&[":32\r\n"], |caller, settled| answers.push((caller, format!("{settled:?}"))));
    let reply = |bytes: &[u8]| format!("{:?}", Settled::Reply(bytes));
    let expect = [(run(0, 2), reply(b":11\r\n:12\r\n")), (run(2, 4), reply(b":17\r\n:22\r\n:27\r\n:32\r\n"))];
    assert_eq!(answers, expect);
    assert!(queue.is_empty());
    assert_eq!(queue.counters().offered, 6);
}

#[test]
fn what_was_not_executed_is_sent_again_as_it_was() {
    for policy in [PLAIN, ONCE] {
        let mut queue = filled(&[UP, UP, TTL]);
        let (_, first) = sent(&mut queue, 0, &policy);
        queue.push(UP, Caller::from(3), Resp2);
        queue.not_executed();
        let (flush, second) = sent(&mut queue, 0, &policy);
        assert!(flush.resend);
        assert_eq!(first, second);
    }
}

#[test]
fn redirections_reach_no_member() {
    for error in ["MOVED 1 a:1", "ASK 1 a:1", "TRYAGAIN x", "CLUSTERDOWN x", "LOADING x", "MASTERDOWN x"] {
        let error = format!("-{error}\r\n");
        let mut queue = filled(&[UP, TTL]);
        sent(&mut queue, 0, &PLAIN);
        let again = |reply| Some(Again::Elsewhere { reply });
        assert_eq!(
            answers(&mut queue, &[&error, ":-1\r\n"]),
            (vec![], again(0)),
            "what stands behind waits too"
        );
        assert_eq!(sent(&mut queue, 0, &PLAIN).1, "INCRBY k 1; TTL k");
        assert_eq!(answers(&mut queue, &[":1\r\n", &error]), (told(&[(0, ":1")]), again(1)));
        assert_eq!(sent(&mut queue, 0, &PLAIN).1, "TTL k");
        assert_eq!(answers(&mut queue, &[":-1\r\n"]), (told(&[(1, ":-1")]), None));
    }
}

#[test]
fn an_unknown_outcome_is_said_or_resolved() {
    let mut queue = filled(&[UP, TTL]);
    sent(&mut queue, 0, &PLAIN);
    let mut unknown = Vec::new();
    queue.lost(0, &NONE, 0, collect(&mut unknown));
    assert!(
        matches!(&unknown[..], [(0, text)] if text.starts_with("-ERR hotgate: outcome unknown")),
        "{unknown:?}"
    );
    assert_eq!(sent(&mut queue, 0, &PLAIN).1, "TTL k", "a read can be asked again");

    let mut queue = filled(&[UP]);
    let (_, first) = sent(&mut queue, 0, &ONCE);
    queue.lost(1, &NONE, 0, |_, _| panic!("it is retried"));
    assert_eq!(sent(&mut queue, 1, &ONCE).1, first);
    let old = 301_000_000_000;
    let mut unknown = Vec::new();
    queue.lost(old, &NONE, 0, collect(&mut unknown));
    assert_eq!(unknown.len(), 1, "the companion may have expired");
    assert!(queue.is_empty());
}

#[test]
fn a_refusal_after_a_doubtful_sending_proves_nothing() {
    let check = |reply: &str| {
        let mut queue = filled(&[UP]);
        sent(&mut queue, 0, &ONCE);
        queue.lost(1, &NONE, 0, |_, _| {});
        sent(&mut queue, 1, &ONCE);
        answers(&mut queue, &[reply])
    };
    let (told, again) = check("-NOAUTH Authentication required.\r\n");
    assert!(told[0].1.starts_with("-ERR hotgate: outcome unknown") && again.is_none(), "{told:?}");
    let by_replica = "*2\r\n$15\r\n!READONLY no no\r\n$1\r\n_\r\n";
    assert_eq!(check(by_replica), (vec![], Some(Again::Elsewhere { reply: 0 })));
}

#[test]
fn giving_up_tells_what_is_known() {
    let lost = "ERR upstream away";
    let tell = |prepare: &dyn Fn(&mut KeyQueue<Caller>)| {
        let mut queue = filled(&[UP, TTL]);
        sent(&mut queue, 0, &ONCE);
        queue.push(UP, Caller::from(2), Resp2);
        prepare(&mut queue);
        let mut answers = Vec::new();
        queue.abandon(lost, collect(&mut answers));
        queue.abandon_waiting(lost, |_| true, collect(&mut answers));
        assert!(queue.is_empty());
        answers.into_iter().map(|(_, text)| text.contains("unknown")).collect::<Vec<_>>()
    };
    assert_eq!(tell(&|_| {}), [true, false, false], "sent and not answered");
    assert_eq!(tell(&KeyQueue::not_executed), [false, false, false]);
    let doubtful = |queue: &mut KeyQueue<Caller>| {
        queue.lost(0, &NONE, 0, |_, _| {});
        sent(queue, 0, &ONCE);
        queue.not_executed();
    };
    assert_eq!(tell(&doubtful), [true, false, false], "the first sending is still in doubt");
}

#[test]
fn replies_that_make_no_sense_are_no_answers() {
    let check = |policy: &FlushPolicy, reply: &str| {
        let mut queue = filled(&[UP, UP]);
        sent(&mut queue, 0, policy);
        let (told, again) = answers(&mut queue, &[reply]);
        assert_eq!((told.len(), again), (2, None), "{reply:?}");
        assert!(
            told.iter().all(|(_, text)| text.starts_with("-ERR hotgate: outcome unknown")),
            "{reply:?}: {told:?}"
        );
    };
    for reply in ["+OK\r\n", "$1\r\n5\r\n", "*0\r\n", "", "_\r\n"] {
        check(&PLAIN, reply);
        check(&ONCE, reply);
    }
    for verdict in ["=", "#", "#1", "#x", "?", "nonsense", "#9 9z"] {
        check(&ONCE, &format!("*1\r\n${}\r\n{verdict}\r\n", verdict.len()));
    }
    check(&ONCE, "*2\r\n$1\r\n=\r\n$4\r\n$abc\r\n");
}
