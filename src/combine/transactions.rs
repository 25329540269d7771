//! A segment of transactions of one shape: the one transaction that they become, and the reply of each `EXEC`.
//!
//! Owns the bytes of both. Which transactions fold, and why the replies are exact, is in [`super::transaction`].

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use super::{
    cut::near_zero,
    member::{Member, Verb},
    segment::{Entry, Segment},
    settle::{NOT_UNDERSTOOD, OVERFLOW, Settled, settle_unknown},
    transaction::{Step, Steps},
    transaction_shape::TransactionShape,
};
use crate::resp::{RespVersion, elements, encode, first_error, parse_integer_reply};

/// What a transaction begins with in a flush.
pub const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
/// And ends with.
pub const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// The transaction that a segment folds into, or its transactions as they came.
pub(super) fn encode<M: Member>(
    key: &[u8],
    segment: &Segment<M>,
    shape: TransactionShape,
    out: &mut BytesMut,
) {
    if segment.unfolded || segment.operations == 1 {
        return segment.entries.iter().for_each(|entry| encode_one(segment, shape, entry, out));
    }
    out.put_slice(MULTI);
    let mut digits = itoa::Buffer::new();
    for (step, request) in Steps::of(&segment.arena).iter().flat_map(|steps| &steps.list) {
        match *step {
            Step::Increment => {
                encode::command(out, &[b"INCRBY", key, digits.format(segment.fold.sum).as_bytes()]);
            }
            Step::FieldIncrement { field, delta } => {
                let sum = delta.saturating_mul(segment.operations as i64);
                encode::command(out, &[b"HINCRBY", key, field, digits.format(sum).as_bytes()]);
            }
            _ => out.put_slice(request),
        }
    }
    out.put_slice(EXEC);
}

/// One transaction as its client said it.
fn encode_one<M: Member>(
    segment: &Segment<M>,
    shape: TransactionShape,
    entry: &Entry<M>,
    out: &mut BytesMut,
) {
    let (before, behind) = shape.around(&segment.arena);
    out.put_slice(MULTI);
    out.put_slice(before);
    if shape.has_number() {
        // The delta of a `DECRBY` was negated when it was read.
        let number =
            if shape.verb == Some(Verb::Decrby) { entry.delta().wrapping_neg() } else { entry.delta() };
        encode::bulk(out, itoa::Buffer::new().format(number).as_bytes());
    }
    out.put_slice(behind);
    out.put_slice(EXEC);
}

/// What one command of the transaction is told to a member.
enum Told<'a> {
    /// This to all.
    Same(&'a [u8]),
    /// This to the first, then that.
    First(&'a [u8], &'a [u8]),
    /// The counter of this index behind the member's own increment.
    Counter(usize),
    /// The same as a string.
    Text(usize),
}

/// A counter on its way through the members.
struct Counter {
    value: i64,
    /// What each adds; nothing there if each has a delta of its own.
    delta: Option<i64>,
}

/// What all commands are told, and where the counters begin.
struct Outcome<'a> {
    told: SmallVec<[Told<'a>; 4]>,
    counters: SmallVec<[Counter; 2]>,
}

/// Answers all members from the reply to the one `EXEC`, which is no error. Returns the value of the string behind it, and whether
/// all counters are near zero.
pub(super) fn settle<M: Member>(
    segment: &Segment<M>,
    reply: &[u8],
    sink: &mut impl FnMut(M, Settled),
) -> (Option<i64>, bool) {
    let Some(mut outcome) = read(segment, reply) else {
        settle_unknown(segment, NOT_UNDERSTOOD, sink);
        return (None, false);
    };
    let (mut told, mut is_first) = (Vec::new(), true);
    for entry in &segment.entries {
        told.clear();
        encode::array(&mut told, outcome.told.len());
        for counter in &mut outcome.counters {
            counter.value = counter.value.wrapping_add(counter.delta.unwrap_or(entry.delta()));
        }
        for one in &outcome.told {
            match *one {
                Told::Same(reply) => told.extend_from_slice(reply),
                Told::First(reply, others) => told.extend_from_slice(if is_first { reply } else { others }),
                Told::Counter(index) => encode::integer(&mut told, outcome.counters[index].value),
                Told::Text(index) => {
                    let mut digits = itoa::Buffer::new();
                    encode::bulk(&mut told, digits.format(outcome.counters[index].value).as_bytes());
                }
            }
        }
        is_first = false;
        sink(entry.member, Settled::Reply(&told));
    }
    let string = outcome.counters.first().filter(|counter| counter.delta.is_none());
    (string.map(|counter| counter.value), is_calm(&outcome.counters))
}

/// The value of the string behind a transaction that went as it came, and whether all its counters are near zero.
pub(super) fn learn<M: Member>(segment: &Segment<M>, reply: &[u8]) -> (Option<i64>, bool) {
    let counted = |(step, element): (&(Step, &[u8]), &[u8])| match step.0 {
        Step::Increment | Step::FieldIncrement { .. } => Some(parse_integer_reply(element)),
        _ => None,
    };
    let (Some(steps), Some(replies)) = (Steps::of(&segment.arena), elements(reply)) else {
        return (None, false);
    };
    let values: SmallVec<[Option<i64>; 4]> = steps.list.iter().zip(replies).filter_map(counted).collect();
    let is_string = steps.list.iter().any(|(step, _)| *step == Step::Increment);
    let is_calm = !values.is_empty() && values.iter().all(|value| value.is_some_and(near_zero));
    (values.first().copied().flatten().filter(|_| is_string), is_calm)
}

fn is_calm(counters: &[Counter]) -> bool {
    !counters.is_empty() && counters.iter().all(|counter| near_zero(counter.value))
}

/// Reads the reply to the folded transaction. `None` if it is none that its commands have, or shows that the members may have
/// fared differently.
fn read<'a, M: Member>(segment: &'a Segment<M>, reply: &'a [u8]) -> Option<Outcome<'a>> {
    let steps = Steps::of(&segment.arena)?;
    let replies: SmallVec<[&[u8]; 4]> = elements(reply)?.collect();
    if replies.len() != steps.list.len() {
        return None;
    }
    let null: &[u8] = match segment.entries.first()?.version {
        RespVersion::Resp2 => b"$-1\r\n",
        RespVersion::Resp3 => b"_\r\n",
    };
    let mut outcome = Outcome { told: SmallVec::new(), counters: SmallVec::new() };
    for ((step, _), reply) in steps.list.iter().zip(replies.iter().copied()) {
        let told = match *step {
            Step::Same => Told::Same(reply),
            Step::FirstThenZero => Told::First(reply, b":0\r\n"),
            Step::FirstThenNull => Told::First(reply, null),
            Step::Increment => outcome.count(reply, segment.fold.sum, None)?,
            Step::FieldIncrement { delta, .. } => {
                let sum = delta.checked_mul(segment.operations as i64)?;
                outcome.count(reply, sum, Some(delta))?
            }
            Step::ValueOf(index) => match outcome.told.get(index)? {
                Told::Counter(counter) => Told::Text(*counter),
                // The increment failed, so nothing has changed for any of them.
                _ => Told::Same(reply),
            },
        };
        outcome.told.push(told);
    }
    let string = outcome.counters.iter().find(|counter| counter.delta.is_none());
    if let Some(counter) = string {
        counter.value.checked_add(segment.fold.high)?;
        counter.value.checked_add(segment.fold.low)?;
    }
    Some(outcome)
}

impl<'a> Outcome<'a> {
    /// An increment was answered. Another error than that of an overflow is that of each member.
    fn count(&mut self, reply: &'a [u8], sum: i64, delta: Option<i64>) -> Option<Told<'a>> {
        if let Some(error) = first_error(reply) {
            return (error != OVERFLOW).then_some(Told::Same(reply));
        }
        let value = parse_integer_reply(reply)?.checked_sub(sum)?;
        self.counters.push(Counter { value, delta });
        Some(Told::Counter(self.counters.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::transaction::transaction_op;
    use super::*;
    use crate::combine::op::Op;

    /// Someone who is told by number.
    #[derive(Clone, Copy)]
    struct Nth(u32);

    impl Member for Nth {
        type Caller = u32;

        fn operations(&self) -> u32 {
            1
        }

        fn one(&self, _: u32) -> Self {
            *self
        }

        fn caller(&self) -> u32 {
            self.0
        }
    }

    type Lines<'a> = &'a [&'a str];

    fn segment(lines: &[Lines], version: RespVersion) -> Segment<Nth> {
        let mut segment = Segment::new();
        for (place, lines) in lines.iter().enumerate() {
            let mut commands = Vec::new();
            for line in *lines {
                let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                encode::command(&mut commands, &words);
            }
            let op: Op = transaction_op(&commands).unwrap();
            match place {
                0 => segment.begin(&op, Nth(0), version),
                _ => assert!(segment.join(&op, Nth(place as u32), version)),
            }
        }
        segment
    }

    fn shape(segment: &Segment<Nth>) -> TransactionShape {
        let crate::combine::segment::Kind::Transaction(shape) = segment.kind else { panic!() };
        shape
    }

    fn spoken(wire: &[u8]) -> String {
        let text = String::from_utf8_lossy(wire);
        text.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn many_become_one_and_one_stays_as_it_is() {
        let check = |lines: &[Lines], folded: &str, as_they_came: &str| {
            let mut segment = segment(lines, RespVersion::Resp2);
            for expect in [folded, as_they_came] {
                let mut out = BytesMut::new();
                encode(b"k", &segment, shape(&segment), &mut out);
                assert_eq!(spoken(&out).trim_end(), expect);
                segment.unfolded = true;
            }
        };
        check(
            &[&["DECRBY k 2", "EXPIRE k 60 NX"], &["DECRBY k 30", "EXPIRE k 60 NX"]],
            "MULTI INCRBY k -32 EXPIRE k 60 NX EXEC",
            "MULTI DECRBY k 2 EXPIRE k 60 NX EXEC MULTI DECRBY k 30 EXPIRE k 60 NX EXEC",
        );
        check(
            &[&["HINCRBY k a 2", "HINCRBY k b -1"][..]; 3],
            "MULTI HINCRBY k a 6 HINCRBY k b -3 EXEC",
            &["MULTI HINCRBY k a 2 HINCRBY k b -1 EXEC"; 3].join(" "),
        );
        check(&[&["INCR k", "TTL k"]], "MULTI INCR k TTL k EXEC", "MULTI INCR k TTL k EXEC");
    }

    #[test]
    fn each_is_told_its_own_array() {
        let check = |lines: &[Lines], version, reply: &str, expect: &[&str]| {
            let segment = segment(lines, version);
            let mut told = vec![String::new(); lines.len()];
            settle(&segment, reply.as_bytes(), &mut |member: Nth, settled| {
                let text = String::from_utf8_lossy(settled.reply().unwrap()).into_owned();
                told[member.0 as usize] = text;
            });
            assert_eq!(told, expect, "{lines:?}");
        };
        let (two, three) = (RespVersion::Resp2, RespVersion::Resp3);
        check(
            &[&["INCRBY k 2", "EXPIRE k 60 NX", "GET k"], &["INCRBY k 5", "EXPIRE k 60 NX", "GET k"]],
            two,
            "*3\r\n:17\r\n:1\r\n$2\r\n17\r\n",
            &["*3\r\n:12\r\n:1\r\n$2\r\n12\r\n", "*3\r\n:17\r\n:0\r\n$2\r\n17\r\n"],
        );
        let claims: &[Lines] = &[&["SET k 0 NX", "INCR k"][..]; 2];
        check(claims, two, "*2\r\n+OK\r\n:2\r\n", &["*2\r\n+OK\r\n:1\r\n", "*2\r\n$-1\r\n:2\r\n"]);
        check(claims, three, "*2\r\n_\r\n:9\r\n", &["*2\r\n_\r\n:8\r\n", "*2\r\n_\r\n:9\r\n"]);
        let wrong = "*2\r\n-WRONGTYPE x\r\n:1\r\n";
        check(&[&["INCR k", "EXPIRE k 9"][..]; 2], two, wrong, &[wrong; 2]);
        check(&[&["INCR k", "EXPIRE k 9 NX"][..]; 2], two, wrong, &[wrong, &wrong.replace(":1", ":0")]);
        check(
            &[&["HINCRBY k a 2", "HINCRBY k b 1", "HGET k a", "HGET k b"][..]; 2],
            two,
            "*4\r\n:4\r\n-ERR hash value is not an integer\r\n$1\r\n4\r\n$1\r\nx\r\n",
            &[
                "*4\r\n:2\r\n-ERR hash value is not an integer\r\n$1\r\n2\r\n$1\r\nx\r\n",
                "*4\r\n:4\r\n-ERR hash value is not an integer\r\n$1\r\n4\r\n$1\r\nx\r\n",
            ],
        );
        let unknown = format!("-{}\r\n", String::from_utf8_lossy(NOT_UNDERSTOOD));
        let unknown: &[&str] = &[unknown.as_str(); 2];
        let overflow = "*2\r\n-ERR increment or decrement would overflow\r\n:1\r\n";
        for odd in [overflow, "*1\r\n:2\r\n", "+OK\r\n", "*2\r\n$1\r\n2\r\n:1\r\n", "*-1\r\n"] {
            check(&[&["INCR k", "EXPIRE k 9"][..]; 2], two, odd, unknown);
        }
    }

    #[test]
    fn one_that_went_as_it_came_tells_of_its_counters() {
        let check = |lines: &[&str], reply: &str, expect: (Option<i64>, bool)| {
            assert_eq!(learn(&segment(&[lines], RespVersion::Resp2), reply.as_bytes()), expect, "{reply}");
        };
        check(&["INCR k", "TTL k"], "*2\r\n:7\r\n:-1\r\n", (Some(7), true));
        check(&["INCR k", "TTL k"], "*2\r\n:9223372036854775807\r\n:-1\r\n", (Some(i64::MAX), false));
        check(&["INCR k", "TTL k"], "*2\r\n-WRONGTYPE x\r\n:-1\r\n", (None, false));
        check(&["HINCRBY k a 1", "HINCRBY k b 1"], "*2\r\n:7\r\n:8\r\n", (None, true));
        check(&["HINCRBY k a 1", "HINCRBY k b 1"], "*2\r\n:7\r\n-ERR x\r\n", (None, false));
        check(&["INCR k"], "-EXECABORT x\r\n", (None, false));
    }
}
