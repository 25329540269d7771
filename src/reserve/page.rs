//! `RESERVE.LIST`: a page of holders.
//!
//! Owns the call, its result and the rows of the client's reply. Deliberately does not go on by itself: where cancelled places left gaps, a part may
//! have fewer rows than asked for before the end, and the caller asks for the next part.

use bytes::{BufMut, BytesMut};

use super::{command::StateFilter, refusal::Refusal, result::HoldingState, scripts::Script};
use crate::resp::{Elements, bulk_payload, elements, encode, parse_integer};

/// Rows that one call reads: so it takes less than 2 ms.
pub const ROWS_PER_CALL_MAX: usize = 100;

/// One part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPart<'a> {
    /// Behind which place in line to go on.
    pub next_after: i64,
    /// Nothing is behind it.
    pub at_end: bool,
    rows: Elements<'a>,
}

/// A holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its place in line.
    pub seq: i64,
    /// Whose it is.
    pub user: &'a [u8],
    /// How many places.
    pub count: i64,
    /// Held, confirmed or moved.
    pub state: HoldingState,
    /// Since when, in unix time.
    pub at_ms: i64,
}

/// Writes the call for at most `count` rows behind this place in line.
pub fn encode_list(
    sale_key: &[u8],
    after: i64,
    count: usize,
    state: Option<StateFilter>,
    with_body: bool,
    out: &mut BytesMut,
) {
    let state = match state {
        None => "",
        Some(StateFilter::Held) => "held",
        Some(StateFilter::Confirmed) => "confirmed",
        Some(StateFilter::Moved) => "moved",
    };
    let (after, count) = (after.to_string(), count.min(ROWS_PER_CALL_MAX).to_string());
    let arguments = [after.as_bytes(), count.as_bytes(), state.as_bytes()];
    Script::List.encode(sale_key, &arguments, with_body, out);
}

impl<'a> ListPart<'a> {
    /// Reads the reply. `None` for what the script never says.
    pub fn parse(reply: &'a [u8]) -> Option<Result<Self, Refusal<'a>>> {
        let Some(mut rows) = elements(reply) else {
            return Refusal::parse(bulk_payload(reply)?.strip_prefix(b"-")?).map(Err);
        };
        let next_after = parse_integer(bulk_payload(rows.next()?)?)?;
        let at_end = bulk_payload(rows.next()?)? == b"1";
        Some(Ok(Self { next_after, at_end, rows }))
    }

    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.rows.len() / 5
    }

    /// Its rows, in line.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let mut words = self.rows.clone();
        std::iter::from_fn(move || {
            let mut word = || bulk_payload(words.next()?);
            Some(Row {
                seq: parse_integer(word()?)?,
                user: word()?,
                count: parse_integer(word()?)?,
                state: HoldingState::parse(word()?)?,
                at_ms: parse_integer(word()?)?,
            })
        })
    }
}

impl Row<'_> {
    /// Writes `[seq, user, count, state, unix-ms]`.
    pub fn write(&self, out: &mut impl BufMut) {
        encode::array(out, 5);
        encode::integer(out, self.seq);
        encode::bulk(out, self.user);
        encode::integer(out, self.count);
        encode::bulk(out, self.state.word().as_bytes());
        encode::integer(out, self.at_ms);
    }
}
