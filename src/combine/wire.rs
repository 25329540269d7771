//! The bytes of a flush: the commands that do not need the script.

use bytes::{BufMut, BytesMut};

use super::{
    counter_script,
    member::{Member, Verb},
    op::scanner_of,
    segment::{EntryKind, Kind, Segment},
    transactions, writes,
};
use crate::resp::{RequestScan, encode};

/// The command that a segment folds into, or its commands as they came.
pub(super) fn encode_segment<M: Member>(key: &[u8], segment: &Segment<M>, out: &mut BytesMut) {
    if segment.is_read_before {
        encode::command(out, &read_arguments(key, segment));
    }
    let is_as_it_came = segment.unfolded && !matches!(segment.kind, Kind::Transaction(_) | Kind::Script(_));
    if is_as_it_came || (segment.operations == 1 && segment.kind == Kind::Counter) {
        return encode_operations(key, segment, out);
    }
    if !segment.is_write() {
        return encode_read(key, segment, out);
    }
    let mut digits = itoa::Buffer::new();
    let sum = digits.format(segment.fold.sum).as_bytes();
    match segment.kind {
        Kind::Counter => encode::command(out, &[b"INCRBY", key, sum]),
        Kind::HashCounter => encode::command(out, &[b"HINCRBY", key, &segment.arena, sum]),
        Kind::Sets => encode::command(out, &[b"SET", key, segment.last_value()]),
        Kind::Read { .. } => encode_read(key, segment, out),
        Kind::Write(form) => writes::encode(segment, form, out),
        Kind::Transaction(shape) => transactions::encode(key, segment, shape, out),
        Kind::Script(shape) => counter_script::encode(key, segment, shape, out),
    }
}

/// Each operation of a counter as its client said it.
fn encode_operations<M: Member>(key: &[u8], segment: &Segment<M>, out: &mut BytesMut) {
    let field = &segment.arena;
    let mut digits = itoa::Buffer::new();
    for entry in &segment.entries {
        let delta = digits.format(entry.delta()).as_bytes();
        // Its delta was negated when it was read.
        let negated = entry.delta().wrapping_neg().to_string();
        let words: &[&[u8]] = match (segment.kind, entry.ask, entry.member.verb()) {
            (Kind::HashCounter, EntryKind::Increment, _) => &[b"HINCRBY", key, field, delta],
            (Kind::HashCounter, ..) => &[b"HGET", key, field],
            (_, EntryKind::Increment, Verb::Incr) => &[b"INCR", key],
            (_, EntryKind::Increment, Verb::Decr) => &[b"DECR", key],
            (_, EntryKind::Increment, Verb::Decrby) => &[b"DECRBY", key, negated.as_bytes()],
            (_, EntryKind::Increment, Verb::Incrby) => &[b"INCRBY", key, delta],
            _ => &[b"GET", key],
        };
        for _ in 0..entry.member.operations() {
            encode::command(out, words);
        }
    }
}

/// The one read that all members of a segment without a write share.
fn encode_read<M: Member>(key: &[u8], segment: &Segment<M>, out: &mut BytesMut) {
    match segment.kind {
        Kind::Read { .. } => out.put_slice(&segment.arena),
        _ => encode::command(out, &read_arguments(key, segment)),
    }
}

/// The same read, argument by argument, for the script.
pub(super) fn read_arguments<'a, M: Member>(key: &'a [u8], segment: &'a Segment<M>) -> Vec<&'a [u8]> {
    match segment.kind {
        Kind::Counter | Kind::Sets => vec![b"GET", key],
        Kind::HashCounter => vec![b"HGET", key, &segment.arena],
        Kind::Read { .. } | Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_) => {
            arguments(&segment.arena)
        }
    }
}

/// Splits a request that a scanner has passed before.
fn arguments(request: &[u8]) -> Vec<&[u8]> {
    let mut scanner = scanner_of(request);
    let scan = scanner.scan(request);
    debug_assert!(matches!(scan, RequestScan::Complete { .. }), "{scan:?}");
    let place = |start: u32, len: u32| request.get(start as usize..start as usize + len as usize);
    scanner.spans().iter().filter_map(|span| place(span.start, span.len)).collect()
}
