//! The clients' replies.
//!
//! Owns their shape in both versions of the protocol: a flat array in RESP2, a map with names in RESP3. Deliberately does not know where a result comes
//! from: one that is refused without asking Redis is written here as well.

use bytes::BufMut;

use super::{
    op::OpKind,
    result::{Figures, OpResult},
};
use crate::resp::{RespVersion, encode};

/// Writes the reply to an operation of this kind. [`OpResult::TryAgain`] and a bucket are nothing for a client: they are written as a null.
pub fn write_op_reply(out: &mut impl BufMut, version: RespVersion, kind: OpKind, result: &OpResult) {
    match result {
        OpResult::Refused(refusal) => refusal.write(out),
        OpResult::Figures(figures) => write_figures(out, version, figures),
        OpResult::Nothing | OpResult::TryAgain | OpResult::Bucket { .. } => encode::null_array(out, version),
        OpResult::Holding { state, seq, count, remaining, expires_ms } => {
            let third = if kind == OpKind::Add { ("remaining", *remaining) } else { ("count", *count) };
            header(out, version, 4);
            name(out, version, "state");
            encode::bulk(out, state.word().as_bytes());
            for (field, number) in [("seq", *seq), third, ("expires", *expires_ms)] {
                name(out, version, field);
                encode::integer(out, number);
            }
        }
    }
}

/// Values alone in RESP2, values with names in RESP3.
fn header(out: &mut impl BufMut, version: RespVersion, count: usize) {
    match version {
        RespVersion::Resp2 => encode::array(out, count),
        RespVersion::Resp3 => encode::map(out, version, count),
    }
}

fn name(out: &mut impl BufMut, version: RespVersion, name: &str) {
    if version == RespVersion::Resp3 {
        encode::bulk(out, name.as_bytes());
    }
}

/// A map in both versions: names and values in turn in RESP2, as `XINFO` has it.
fn write_figures(out: &mut impl BufMut, version: RespVersion, figures: &Figures) {
    let numbers = [
        ("limit", figures.limit),
        ("taken", figures.taken),
        ("held", figures.held),
        ("confirmed", figures.confirmed),
        ("moved", figures.moved),
        ("remaining", (figures.limit - figures.taken).max(0)),
        ("holders", figures.holders),
        ("last-seq", figures.seq),
        ("per-user", figures.per_user),
        ("start", figures.start_ms),
        ("end", figures.end_ms),
        ("hold", figures.hold_ms),
    ];
    let texts = [
        ("ledger", if figures.ledger { &b"on"[..] } else { b"off" }),
        ("holders-of", figures.holders_of),
        ("moving-to", figures.moving_to),
    ];
    encode::map(out, version, 1 + numbers.len() + texts.len() + 2);
    encode::bulk(out, b"state");
    encode::bulk(out, figures.phase.word().as_bytes());
    for (field, number) in numbers {
        encode::bulk(out, field.as_bytes());
        encode::integer(out, number);
    }
    for (field, text) in texts {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, text);
    }
    encode::bulk(out, b"rate");
    encode::double(out, version, figures.rate);
    encode::bulk(out, b"sell-out-ms");
    match figures.sell_out_ms() {
        Some(left) => encode::integer(out, left),
        None => encode::null(out, version),
    }
}
