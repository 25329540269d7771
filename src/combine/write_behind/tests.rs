//! What single situations lead to; the interleavings are in [`super::model_tests`].

use bytes::{Bytes, BytesMut};

use super::*;

const IDENTITY: WriteBehindIdentity = WriteBehindIdentity { gateway_id: b"g1", token_floor: 100 };
const POLICY: WriteBehindPolicy = WriteBehindPolicy {
    flush_interval_ns: 1_000_000,
    flush_deltas_max: 3,
    base_age_ns_max: 1_000_000_000,
    journal: true,
};

struct Key {
    machine: WriteBehindKey<u32, u32>,
    budget: PendingBudget,
}

impl Key {
    fn knowing(base: &str) -> Self {
        let machine = WriteBehindKey::new(Bytes::from_static(b"k"), IDENTITY);
        let mut key = Self { machine, budget: PendingBudget::new(10) };
        assert_eq!(key.machine.take(WriteBehindOp::Get, 0, 0, &POLICY, &mut key.budget), Taken::Waits);
        assert_eq!(key.next(0), Action::AskBase);
        assert_eq!(key.next(0), Action::InFlight);
        let reply = format!("${}\r\n{base}\r\n", base.len());
        assert_eq!(key.reply(&reply), WriteBehindReply::Base);
        assert_eq!(key.resume(0), Some(Answer::Bulk(base.parse().unwrap())));
        key
    }

    fn next(&mut self, now_ns: u64) -> Action<u32, u32> {
        self.machine.next(now_ns, &POLICY, false, &mut self.budget)
    }

    fn take(&mut self, op: WriteBehindOp) -> Taken {
        self.machine.take(op, 1, 0, &POLICY, &mut self.budget)
    }

    fn add(&mut self, delta: i64) -> Option<Answer> {
        answer(self.take(WriteBehindOp::Increment(delta)))
    }

    fn get(&mut self) -> Option<Answer> {
        answer(self.take(WriteBehindOp::Get))
    }

    fn settle(&mut self, reply: &str) -> Option<FlushOutcome> {
        match self.reply(reply) {
            WriteBehindReply::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn reply(&mut self, reply: &str) -> WriteBehindReply {
        self.machine.settle(reply.as_bytes(), 0, &POLICY, &mut self.budget)
    }

    fn resume(&mut self, now_ns: u64) -> Option<Answer> {
        self.machine.resume(now_ns, &POLICY, &mut self.budget).and_then(|(_, taken)| answer(taken))
    }
}

fn answer(taken: Taken) -> Option<Answer> {
    if let Taken::Answer { answer, .. } = taken { Some(answer) } else { None }
}

fn strings(verdict: &str, before: &str) -> String {
    format!("*2\r\n${}\r\n{verdict}\r\n${}\r\n{before}\r\n", verdict.len(), before.len())
}

#[test]
fn answers_count_on_while_a_flush_is_away_and_follow_what_others_wrote() {
    let mut key = Key::knowing("10");
    assert_eq!(key.add(5), Some(Answer::Integer(15)));
    assert_eq!(key.next(0), Action::NotBefore(1_000_000));
    let flush = DeltaFlush { token: 1101, sum: 5, count: 1, through: 1, resend: false };
    assert_eq!(key.next(1_000_000), Action::Flush(flush));
    assert_eq!(key.add(1), Some(Answer::Integer(16)));
    assert_eq!(key.next(9_000_000), Action::InFlight);
    let applied = FlushOutcome::Applied { token: 1101, sum: 5, count: 1, total: 105 };
    assert_eq!(key.settle(&strings("=", "$100")), Some(applied));
    assert_eq!(key.get(), Some(Answer::Bulk(106)));
}

#[test]
fn a_flush_goes_at_once_when_enough_has_gathered() {
    let mut key = Key::knowing("0");
    for _ in 0..3 {
        key.add(1);
    }
    assert!(matches!(key.next(0), Action::Flush(DeltaFlush { sum: 3, count: 3, .. })));
}

#[test]
fn an_increment_out_of_range_is_refused_in_redis_words_and_takes_nothing() {
    let mut key = Key::knowing(&i64::MAX.to_string());
    assert_eq!(key.add(1), Some(Answer::Overflow));
    let mut wire = BytesMut::new();
    Answer::Overflow.encode(crate::resp::RespVersion::Resp2, &mut wire);
    assert_eq!(&wire[..], b"-ERR increment or decrement would overflow\r\n");
    assert_eq!(key.add(-1), Some(Answer::Integer(i64::MAX - 1)));
    assert_eq!(key.machine.facts().pending_deltas, 1);
}

#[test]
fn what_is_lost_is_said_exactly_and_the_key_is_passed_through() {
    let check = |reply: &str, reason: &str| {
        let mut key = Key::knowing("10");
        key.add(4);
        key.add(3);
        assert!(matches!(key.next(1_000_000), Action::Flush(_)));
        let loss = Loss { token: 1101, sum: 7, count: 2, reason: reason.to_owned() };
        assert_eq!(key.settle(reply), Some(FlushOutcome::Lost(loss)), "{reply}");
        assert_eq!(key.machine.facts().lost, LossSum { deltas: 2, sum: 7 });
        assert_eq!(key.take(WriteBehindOp::Get), Taken::PassThrough);
        assert_eq!(key.budget.deltas(), 0);
    };
    let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
    check(&strings(&format!("!{wrong_type}"), "_"), wrong_type);
    check(&strings("#0", "$9223372036854775806"), "ERR increment or decrement would overflow");
}

#[test]
fn what_redis_may_take_later_gathers_again() {
    let mut key = Key::knowing("10");
    key.add(4);
    assert!(matches!(key.next(1_000_000), Action::Flush(DeltaFlush { token: 1101, .. })));
    key.add(3);
    let outcome = key.settle(&strings("!OOM command not allowed", "_"));
    assert!(matches!(outcome, Some(FlushOutcome::Returned { token: 1101, .. })), "{outcome:?}");
    assert_eq!(key.get(), Some(Answer::Bulk(17)));
    assert!(matches!(key.next(2_000_000), Action::Flush(DeltaFlush { token: 2101, sum: 7, .. })));
}

#[test]
fn the_bound_on_pending_deltas_refuses() {
    let mut key = Key::knowing("0");
    for _ in 0..10 {
        key.add(1);
    }
    assert_eq!(key.take(WriteBehindOp::Increment(1)), Taken::Refused);
    assert_eq!(key.get(), Some(Answer::Bulk(10)));
    assert!(matches!(key.next(0), Action::Flush(_)));
    key.settle(&strings("=", "_"));
    assert_eq!(key.add(1), Some(Answer::Integer(11)));
}

#[test]
fn what_the_journal_refuses_is_taken_back() {
    let mut key = Key::knowing("10");
    for delta in [1, 2, 4] {
        key.add(delta);
    }
    key.machine.durable(1);
    let Action::Flush(flush) = key.next(1_000_000) else { panic!("a flush is due") };
    key.machine.retract(2, &mut key.budget);
    key.machine.retract(3, &mut key.budget);
    assert_eq!((flush.count, key.machine.take_back_flush()), (3, None), "it went with what it held");
    assert_eq!(key.get(), Some(Answer::Bulk(11)));
    assert_eq!(key.budget.deltas(), 1);
    assert!(matches!(key.next(1_000_000), Action::Flush(DeltaFlush { sum: 1, count: 1, .. })));
}

#[test]
fn a_flush_in_doubt_is_sent_again_under_its_own_token_or_reported() {
    let recovered = |age_ns| Recovered {
        in_doubt: Some(FlushInDoubt { token: 55, sum: 5, count: 2, age_ns: Some(age_ns) }),
        sum: 3,
        count: 1,
        sequence: 9,
    };
    let mut budget = PendingBudget::new(10);
    let key = || Bytes::from_static(b"k");
    let mut machine = WriteBehindKey::<u32, u32>::recovered(key(), IDENTITY, &recovered(0), 0, &mut budget);
    assert_eq!(budget.deltas(), 3);
    let flush = DeltaFlush { token: 55, sum: 5, count: 2, through: 9, resend: true };
    assert_eq!(machine.next(0, &POLICY, false, &mut budget), Action::Flush(flush));
    assert_eq!(machine.take(WriteBehindOp::Get, 1, 0, &POLICY, &mut budget), Taken::Waits);
    machine.settle(strings("=", "$10").as_bytes(), 0, &POLICY, &mut budget);
    let told = machine.resume(0, &POLICY, &mut budget);
    assert_eq!(told.and_then(|(_, taken)| answer(taken)), Some(Answer::Bulk(18)));
    assert!(matches!(
        machine.next(1_000_000, &POLICY, false, &mut budget),
        Action::Flush(DeltaFlush { token: 1101, sum: 3, .. })
    ));

    const HOUR_NS: u64 = 3_600_000_000_000;
    let mut machine =
        WriteBehindKey::<u32, u32>::recovered(key(), IDENTITY, &recovered(12 * HOUR_NS - 1), 1, &mut budget);
    assert_eq!(machine.next(1, &POLICY, false, &mut budget), Action::Flush(flush), "after a night");
    let old = recovered(12 * HOUR_NS + 1);
    // Redis is asked, whatever clocks say, and nothing is sent before it has answered.
    let mut asked = |reply: &str| {
        let mut machine = WriteBehindKey::<u32, u32>::recovered(key(), IDENTITY, &old, 1, &mut budget);
        assert_eq!(machine.next(1, &POLICY, false, &mut budget), Action::Flush(flush));
        let mut wire = BytesMut::new();
        machine.encode(&mut wire);
        assert!(wire.starts_with(b"*2\r\n$3\r\nGET\r\n"), "{wire:?}");
        let reply = machine.settle(reply.as_bytes(), 1, &POLICY, &mut budget);
        (machine, reply)
    };
    let (machine, outcome) = asked("$-1\r\n");
    let WriteBehindReply::Over(FlushOutcome::Unknown(loss)) = outcome else {
        panic!("Redis may have forgotten the token")
    };
    assert_eq!((loss.token, loss.sum, loss.count), (55, 5, 2));
    assert!(loss.reason.contains("by this machine's clock"), "{}", loss.reason);
    assert_eq!(machine.facts().unknown_outcomes, 1);
    let (_, outcome) = asked("$10\r\n55 \u{12}\r\n");
    assert!(matches!(outcome, WriteBehindReply::Over(FlushOutcome::Unknown(_))), "{outcome:?}");
    let (mut machine, outcome) = asked("$4\r\n54 x\r\n");
    assert_eq!(outcome, WriteBehindReply::Again(Retry::Asked), "it has never taken effect");
    assert_eq!(machine.next(2, &POLICY, false, &mut PendingBudget::new(10)), Action::Flush(flush));
    let mut wire = BytesMut::new();
    machine.encode(&mut wire);
    assert!(wire.windows(4).any(|word| word == b"EVAL"), "{wire:?}");
}

#[test]
fn a_flush_that_has_not_taken_effect_is_taken_back_and_one_in_doubt_is_not() {
    let mut key = Key::knowing("10");
    key.machine.take(WriteBehindOp::Increment(4), 1, 0, &POLICY, &mut key.budget);
    assert!(key.machine.has_unsent());
    let Action::Flush(first) = key.next(1_000_000) else { panic!("it is due") };
    assert!(!key.machine.has_unsent());
    key.machine.lost(false);
    assert_eq!(key.machine.take_back_flush(), Some(first.token));
    assert!(key.machine.has_unsent());
    let Action::Flush(second) = key.next(1_000_000) else { panic!("it is due again") };
    assert_eq!((second.sum, second.count, second.resend), (4, 1, false));
    assert!(second.token > first.token);
    key.machine.lost(true);
    assert_eq!(key.machine.take_back_flush(), None);
    assert_eq!(key.next(1_000_000), Action::Flush(DeltaFlush { resend: true, ..second }));
}

#[test]
fn an_old_total_is_asked_for_again_and_serves_while_it_cannot_be_had() {
    let mut key = Key::knowing("10");
    let take = |key: &mut Key, now_ns| {
        key.machine.take(WriteBehindOp::Increment(1), 1, now_ns, &POLICY, &mut key.budget)
    };
    let later = POLICY.base_age_ns_max + 1;
    assert_eq!(take(&mut key, later), Taken::Waits);
    assert_eq!(key.next(later), Action::AskBase);
    key.machine.lost(false);
    assert!(key.machine.fall_back(later));
    assert_eq!(key.resume(later), Some(Answer::Integer(11)));
    // What comes behind a barrier knows nothing of before.
    assert!(key.machine.barrier(2));
    assert!(matches!(key.next(later), Action::Flush(_)));
    key.settle(&strings("=", "$10"));
    assert_eq!(key.next(later), Action::Hold(2));
    assert_eq!(take(&mut key, later), Taken::Waits);
    assert_eq!(key.next(later), Action::InFlight, "nobody asks while the key is held");
    key.machine.end_hold();
    assert_eq!(key.next(later), Action::AskBase);
    assert!(!key.machine.fall_back(later));
}

#[test]
fn a_key_that_is_no_counter_is_passed_through() {
    let mut machine = WriteBehindKey::new(Bytes::from_static(b"k"), IDENTITY);
    let mut budget = PendingBudget::new(10);
    machine.take(WriteBehindOp::Increment(1), 7, 0, &POLICY, &mut budget);
    let ask = |machine: &mut WriteBehindKey<u32, u32>, reply: &[u8], budget: &mut PendingBudget| {
        assert_eq!(machine.next(0, &POLICY, false, budget), Action::AskBase);
        machine.settle(reply, 0, &POLICY, budget)
    };
    let loading = ask(&mut machine, b"-LOADING Redis is loading\r\n", &mut budget);
    assert_eq!(loading, WriteBehindReply::Again(Retry::Elsewhere));
    assert_eq!(ask(&mut machine, b"-WRONGTYPE not a string\r\n", &mut budget), WriteBehindReply::Base);
    let passed = Action::PassThrough(WriteBehindOp::Increment(1), 7);
    assert_eq!(machine.next(0, &POLICY, false, &mut budget), passed);
    assert_eq!(machine.take(WriteBehindOp::Get, 8, 0, &POLICY, &mut budget), Taken::PassThrough);
    // A barrier holds it all the same: it may be taken for a counter again before the command is over.
    assert!(machine.barrier(9));
    assert_eq!(machine.next(0, &POLICY, false, &mut budget), Action::Hold(9));
    assert!(!machine.is_empty());
}
