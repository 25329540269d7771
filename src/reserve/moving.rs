//! `RESERVE.MOVE` and `RESERVE.DROP`: their steps.
//!
//! A step of a move is three calls: the rows leave one sale (`MoveOut`), come to the other (`MoveIn`), and have left (`MoveDone`). Each may be
//! repeated: `MoveOut` gives a step that was begun again, `MoveIn` knows by the place in line what it has, `MoveDone` changes nothing twice. So a
//! move that broke off anywhere goes on with `MoveOut`. Owns the calls and their results. Deliberately does not run the steps.

use bytes::BytesMut;

use super::{refusal::Refusal, scripts::Script};
use crate::resp::{Elements, bulk_payload, elements, parse_integer};

/// Holders that one step moves: so no call takes longer than 2 ms.
pub const MOVED_PER_STEP_MAX: usize = 64;

/// Keys that one step drops: so no call takes longer than 2 ms.
pub const DROPPED_PER_STEP_MAX: usize = 200;

/// The rows of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure<'a> {
    /// They are behind this place in line,
    pub behind: i64,
    /// and up to this one.
    pub upto: i64,
    rows: Elements<'a>,
}

/// Writes the call for the rows of the next step. `places_left` is what the other sale has: a move does not begin where that is too little.
pub fn encode_move_out(
    from_key: &[u8],
    to: &[u8],
    count: usize,
    places_left: i64,
    with_body: bool,
    out: &mut BytesMut,
) {
    let (count, left) = (count.min(MOVED_PER_STEP_MAX).to_string(), places_left.to_string());
    Script::MoveOut.encode(from_key, &[to, count.as_bytes(), left.as_bytes()], with_body, out);
}

impl<'a> Departure<'a> {
    /// Reads the reply to it. `None` for what the script never says.
    pub fn parse(reply: &'a [u8]) -> Option<Result<Self, Refusal<'a>>> {
        let Some(mut rows) = elements(reply) else {
            return Refusal::parse(bulk_payload(reply)?.strip_prefix(b"-")?).map(Err);
        };
        let mut number = || parse_integer(bulk_payload(rows.next()?)?);
        let (behind, upto) = (number()?, number()?);
        Some(Ok(Self { behind, upto, rows }))
    }

    /// All rows have left before.
    pub fn is_last(&self) -> bool {
        self.upto <= self.behind
    }

    /// Writes the call that brings the rows to the other sale. Its reply is read by [`super::open_result`].
    pub fn encode_move_in(&self, to_key: &[u8], from: &[u8], with_body: bool, out: &mut BytesMut) {
        let upto = self.upto.to_string();
        let mut arguments = vec![from, upto.as_bytes()];
        arguments.extend(self.rows.clone().map(|row| bulk_payload(row).unwrap_or_default()));
        Script::MoveIn.encode(to_key, &arguments, with_body, out);
    }

    /// Writes the call that ends the step. Its reply is read by [`steps_left`].
    pub fn encode_move_done(&self, from_key: &[u8], with_body: bool, out: &mut BytesMut) {
        Script::MoveDone.encode(from_key, &[self.upto.to_string().as_bytes()], with_body, out);
    }
}

/// Writes the call of one step of a drop. Its reply is read by [`steps_left`].
pub fn encode_drop(sale_key: &[u8], count: usize, with_body: bool, out: &mut BytesMut) {
    let count = count.clamp(3, DROPPED_PER_STEP_MAX).to_string();
    Script::Drop.encode(sale_key, &[count.as_bytes()], with_body, out);
}

/// What a step says: how many holders, or keys, are left. `None` for what the scripts never say.
pub fn steps_left(reply: &[u8]) -> Option<Result<i64, Refusal<'_>>> {
    let text = bulk_payload(reply)?;
    match text.strip_prefix(b"-") {
        Some(refusal) => Refusal::parse(refusal).map(Err),
        None => parse_integer(text).map(Ok),
    }
}
