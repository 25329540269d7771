//! A segment of writes that fold by their forms: its one command, and the reply of each member.

use bytes::{BufMut, BytesMut};

use super::{
    member::Member,
    segment::{Entry, Segment},
    settle::{NOT_UNDERSTOOD, Settled, settle_read, settle_unknown},
    write_form::{Claim, FieldWrite, WriteForm, behind_words},
};
use crate::resp::{RespVersion, parse_integer_reply};

/// The one command of a segment.
pub(super) fn encode<M: Member>(segment: &Segment<M>, form: WriteForm, out: &mut BytesMut) {
    let WriteForm::Push(_) = form else { return out.put_slice(&segment.arena) };
    let elements = pushed(segment);
    out.put_u8(b'*');
    out.put_slice(itoa::Buffer::new().format(elements + 2).as_bytes());
    out.put_slice(b"\r\n");
    out.put_slice(behind_words(&segment.arena, 0));
}

/// How many elements the members push together.
fn pushed<M: Member>(segment: &Segment<M>) -> i64 {
    segment.entries.iter().map(Entry::elements).sum()
}

/// Answers all members from a reply that is no error.
pub(super) fn settle<M: Member>(
    segment: &Segment<M>,
    form: WriteForm,
    reply: &[u8],
    sink: &mut impl FnMut(M, Settled),
) {
    match form {
        WriteForm::Last(_) | WriteForm::Fields(FieldWrite::Hmset) => settle_read(segment, reply, sink),
        WriteForm::Push(_) => settle_lengths(segment, reply, sink),
        WriteForm::First(Claim::SetNew) => settle_first(segment, reply, b"$-1\r\n", sink),
        WriteForm::Once | WriteForm::First(_) | WriteForm::Fields(_) | WriteForm::Alone => {
            settle_first(segment, reply, b":0\r\n", sink);
        }
    }
}

/// The first operation gets the reply; the others are told what they would have been behind it.
fn settle_first<M: Member>(
    segment: &Segment<M>,
    reply: &[u8],
    others: &[u8],
    sink: &mut impl FnMut(M, Settled),
) {
    let mut next = reply;
    for entry in &segment.entries {
        for place in 0..entry.member.operations() {
            let told: &[u8] = match (std::mem::replace(&mut next, others), entry.version) {
                (b"$-1\r\n" | b"_\r\n", RespVersion::Resp2) => b"$-1\r\n",
                (b"$-1\r\n" | b"_\r\n", RespVersion::Resp3) => b"_\r\n",
                (told, _) => told,
            };
            sink(entry.member.one(place), Settled::Reply(told));
        }
    }
}

/// The list has the length of the reply behind the last.
fn settle_lengths<M: Member>(segment: &Segment<M>, reply: &[u8], sink: &mut impl FnMut(M, Settled)) {
    let elements = pushed(segment);
    let mut length = match parse_integer_reply(reply) {
        // There is no list that they could go onto.
        Some(0) => return settle_read(segment, b":0\r\n", sink),
        Some(length) if length >= elements => length - elements,
        _ => return settle_unknown(segment, NOT_UNDERSTOOD, sink),
    };
    let mut told = Vec::new();
    for entry in &segment.entries {
        length += entry.elements();
        told.clear();
        crate::resp::encode::integer(&mut told, length);
        sink(entry.member, Settled::Reply(&told));
    }
}
