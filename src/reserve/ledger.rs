//! The calls of who reads a sale's ledger, and of who gives its holders back to an empty Redis.
//!
//! Owns the calls and their results. Deliberately does not read the entries: they are those of a stream, as `XRANGE` has them.

use bytes::BytesMut;

use super::{
    page::ROWS_PER_CALL_MAX, refusal::Refusal, result::HoldingState, scripts::Script, terms::OpenTerms,
};
use crate::resp::{bulk_payload, elements, parse_integer};

/// How the ledger of a sale stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerStatus {
    /// When the sale was opened, in unix time: two sales of one name differ in it.
    pub opened_ms: i64,
    /// The number of its last entry; 0 if there was none.
    pub last: i64,
    /// Its reader has the entries up to this one for good.
    pub read: i64,
    /// The first entry that is still in the stream; 0 if none is.
    pub first: i64,
    /// Whether entries are written.
    pub is_on: bool,
    /// The last place in line.
    pub seq: i64,
    /// Redis's clock, in unix time.
    pub now_ms: i64,
}

impl LedgerStatus {
    /// Reads the reply. `None` for what the script never says.
    pub fn parse(reply: &[u8]) -> Option<Result<Self, Refusal<'_>>> {
        let Some(mut words) = elements(reply) else {
            return Refusal::parse(bulk_payload(reply)?.strip_prefix(b"-")?).map(Err);
        };
        let mut number = || parse_integer(bulk_payload(words.next()?)?);
        Some(Ok(Self {
            opened_ms: number()?,
            last: number()?,
            read: number()?,
            first: number()?,
            is_on: number()? == 1,
            seq: number()?,
            now_ms: number()?,
        }))
    }
}

/// Writes the question how the ledger of a sale stands. `read` says first that of the sale opened then, the entries up to this one are kept for good,
/// and how many may be unread until no place is given (0: any number).
pub fn encode_ledger(sale_key: &[u8], read: Option<(i64, i64, i64)>, with_body: bool, out: &mut BytesMut) {
    let words = match read {
        None => [String::new(), String::new(), String::new()],
        Some((opened_ms, upto, unread_max)) => {
            [opened_ms.to_string(), upto.to_string(), unread_max.to_string()]
        }
    };
    Script::Ledger.encode(sale_key, &words.each_ref().map(String::as_bytes), with_body, out);
}

/// A holding that is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredRow {
    /// Its place in line.
    pub seq: i64,
    /// Whose it is.
    pub user: Vec<u8>,
    /// Places that are final.
    pub confirmed: i64,
    /// Places that wait to be confirmed,
    pub held: i64,
    /// until then.
    pub expires_ms: i64,
    /// Since when.
    pub since_ms: i64,
}

/// Writes the call that begins to give a sale back: the sale exists from then on, and is closed. `last` is the last entry of its ledger. Its reply, and
/// those of the further calls, are read by [`super::open_result`].
pub fn encode_restore_begin(
    sale_key: &[u8],
    (opened_ms, last): (i64, i64),
    terms: &OpenTerms,
    with_body: bool,
    out: &mut BytesMut,
) {
    let number = |value: Option<i64>, default: i64| value.unwrap_or(default).to_string();
    let words = [
        opened_ms.to_string(),
        last.to_string(),
        number(terms.limit, 0),
        number(terms.per_user, 1),
        number(terms.start_ms, 0),
        number(terms.end_ms, 0),
        number(terms.hold_ms, 0),
    ];
    let unread_max = number(terms.unread_max, 0);
    let mut arguments: Vec<&[u8]> = vec![b"begin"];
    arguments.extend(words.iter().map(String::as_bytes));
    arguments.extend([terms.holders_of.unwrap_or_default(), unread_max.as_bytes()]);
    Script::Restore.encode(sale_key, &arguments, with_body, out);
}

/// Writes the call that gives these holdings back. They come in line.
pub fn encode_restore_rows(sale_key: &[u8], rows: &[RestoredRow], with_body: bool, out: &mut BytesMut) {
    let mut words: Vec<Vec<u8>> = vec![b"rows".to_vec()];
    for row in rows {
        let number = |value: i64| value.to_string().into_bytes();
        words.extend([number(row.seq), row.user.clone(), number(row.confirmed), number(row.held)]);
        words.extend([number(row.expires_ms), number(row.since_ms)]);
    }
    let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    Script::Restore.encode(sale_key, &arguments, with_body, out);
}

/// Writes the call that ends it: the sale is as it was. It says `again` where it did not come to the last place in line.
pub fn encode_restore_end(
    sale_key: &[u8],
    (is_closed, is_on): (bool, bool),
    last_seq: i64,
    with_body: bool,
    out: &mut BytesMut,
) {
    let flag = |value: bool| if value { &b"1"[..] } else { b"0" };
    let last_seq = last_seq.to_string();
    let arguments = [b"end", flag(is_closed), flag(is_on), last_seq.as_bytes()];
    Script::Restore.encode(sale_key, &arguments, with_body, out);
}

/// Writes the call for whole holdings behind this place in line: what [`whole_rows`] reads.
pub fn encode_whole_rows(sale_key: &[u8], after: i64, with_body: bool, out: &mut BytesMut) {
    let (after, count) = (after.to_string(), ROWS_PER_CALL_MAX.to_string());
    Script::List.encode(sale_key, &[after.as_bytes(), count.as_bytes(), b"", b"1"], with_body, out);
}

/// Holdings with their states, the place in line behind which to go on, and whether nothing is there.
type WholeRows = (Vec<(RestoredRow, HoldingState)>, i64, bool);

/// Reads what [`encode_whole_rows`] asked for. Of a holding that moved to another sale, `confirmed` is what it had. `None` for what the script
/// never says of a sale that exists.
pub fn whole_rows(reply: &[u8]) -> Option<WholeRows> {
    let mut words = elements(reply)?.map(bulk_payload);
    let mut word = || words.next().flatten();
    let next_after = parse_integer(word()?)?;
    let at_end = word()? == b"1";
    let mut rows = Vec::new();
    while let Some(seq) = word() {
        let (seq, user) = (parse_integer(seq)?, word()?.to_vec());
        let count = parse_integer(word()?)?;
        let state = HoldingState::parse(word()?)?;
        let mut number = || parse_integer(word()?);
        let (since_ms, held, expires_ms) = (number()?, number()?, number()?);
        rows.push((RestoredRow { seq, user, confirmed: count - held, held, expires_ms, since_ms }, state));
    }
    Some((rows, next_after, at_end))
}
