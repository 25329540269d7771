//! What the registry names, and how the sales in it stand: questions to many masters at once, for who looks after sales and who watches them.
//!
//! A mark says whether there may be a sale at all ([`has_mark`]), so that gateways before a Redis without sales do not read the registry. Who opens a sale
//! sets it, and who sweeps keeps it from ending.
//!
//! Has no memory and no clock: callers say behind which names they go on.

use bytes::{Bytes, BytesMut};

use super::{names_behind, names_in, words_of};
use crate::control::masters::{Masters, Question};
use crate::reserve::{REGISTRY_SHARDS, ReserveCall, ReserveOp, registry_key, registry_mark, sale_key};
use crate::resp::{bulk_payload, elements, first_error};
use crate::shared::gateway::Gateway;

/// How long the mark stays when nobody sweeps any more. Who sweeps sets it again long before.
const MARK_MS: &[u8] = b"3600000";

/// What the registry has.
pub(super) enum Found {
    /// Sales, or it could not be asked.
    Sales,
    /// No sale.
    Nothing,
    /// The gateway's user may not read it.
    NoRight,
}

/// The gateway's user at Redis may not read the registry.
pub(super) struct NoRight;

/// The command that sets the mark.
pub(super) fn set_mark() -> Question {
    let mark = registry_mark();
    question(&mark, &[b"SET", &mark, b"1", b"PX", MARK_MS])
}

/// Whether there may be a sale, by one question. Where that can't be asked, none is looked for.
pub(super) async fn has_mark(masters: &mut Masters) -> Found {
    let mark = registry_mark();
    let replies = masters.ask(&[question(&mark, &[b"EXISTS", &mark])]).await;
    match replies.first().and_then(Option::as_deref) {
        Some(b":1\r\n") => Found::Sales,
        Some(reply) if lacks_right(reply) => Found::NoRight,
        _ => Found::Nothing,
    }
}

fn lacks_right(reply: &[u8]) -> bool {
    first_error(reply).is_some_and(|error| error.starts_with(b"NOPERM"))
}

/// The next sales of each part, at most so many of one; none for a part that could not be asked.
pub(super) async fn registered(
    masters: &mut Masters,
    after: &[Bytes],
    most: usize,
) -> Result<Vec<Option<Vec<Bytes>>>, NoRight> {
    let questions: Vec<Question> = (0..REGISTRY_SHARDS)
        .zip(after)
        .map(|(part, after)| {
            let key = registry_key(part);
            let words = names_behind(&key, after, most);
            Question { key, words }
        })
        .collect();
    let replies = masters.ask(&questions).await;
    let names = |reply: Option<Bytes>| match reply {
        Some(reply) if lacks_right(&reply) => Err(NoRight),
        Some(reply) if first_error(&reply).is_none() => Ok(Some(names_in(&reply).collect())),
        _ => Ok(None),
    };
    replies.into_iter().map(names).collect()
}

/// Calls the script with these operations for each of these sales; a second time with its source where it was not known.
pub(super) async fn ask_sales(
    masters: &mut Masters,
    gateway: &Gateway,
    skus: &[&Bytes],
    ops: &[ReserveOp],
) -> Vec<Option<Bytes>> {
    let questions = |places: &mut dyn Iterator<Item = usize>, with_body| -> Vec<Question> {
        places.map(|place| question_about(gateway, skus[place], ops, with_body)).collect()
    };
    let mut replies = masters.ask(&questions(&mut (0..skus.len()), false)).await;
    let is_unknown = |reply: &Option<Bytes>| {
        reply.as_deref().and_then(first_error).is_some_and(|text| text.starts_with(b"NOSCRIPT"))
    };
    let unknown: Vec<usize> = (0..replies.len()).filter(|place| is_unknown(&replies[*place])).collect();
    let whole = questions(&mut unknown.iter().copied(), true);
    for (place, reply) in unknown.into_iter().zip(masters.ask(&whole).await) {
        replies[place] = reply;
    }
    replies
}

fn question_about(gateway: &Gateway, sku: &Bytes, ops: &[ReserveOp], with_body: bool) -> Question {
    let key = sale_key(sku);
    let call = ReserveCall { sale_key: &key, gateway: gateway.id.as_bytes(), sequence: None, with_body };
    let mut bytes = BytesMut::new();
    call.encode(ops.iter(), &mut bytes);
    let words = elements(&bytes).into_iter().flatten().filter_map(bulk_payload).map(Bytes::copy_from_slice);
    Question { key: sku.clone(), words: words.collect() }
}

/// A question about a key of the registry.
pub(super) fn question(key: &[u8], words: &[&[u8]]) -> Question {
    Question { key: Bytes::copy_from_slice(key), words: words_of(words) }
}
