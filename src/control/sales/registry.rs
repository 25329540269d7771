//! What the registry names, and how the sales in it stand: questions to many masters at once, for who looks after sales and who watches them.
//!
//! Has no memory and no clock: callers say behind which names they go on.

use bytes::{Bytes, BytesMut};

use super::{names_behind, names_in, words_of};
use crate::control::masters::{Masters, Question};
use crate::reserve::{REGISTRY_SHARDS, ReserveCall, ReserveOp, registry_key, sale_key};
use crate::resp::{bulk_payload, elements, first_error};
use crate::shared::gateway::Gateway;

/// What the registry has.
pub(super) enum Found {
    /// Sales, or it could not be asked.
    Sales,
    /// No sale.
    Nothing,
    /// The gateway's user may not read it.
    NoRight,
}

/// The next sales of each part, at most so many of one; what to do where a part could not be asked.
pub(super) async fn registered(
    masters: &mut Masters,
    after: &[Bytes],
    most: usize,
) -> Result<Vec<Vec<Bytes>>, Found> {
    let questions: Vec<Question> = (0..REGISTRY_SHARDS)
        .zip(after)
        .map(|(part, after)| {
            let key = registry_key(part);
            let words = names_behind(&key, after, most);
            Question { key, words }
        })
        .collect();
    let replies = masters.ask(&questions).await;
    let names = |reply: Option<Bytes>| {
        let reply = reply.ok_or(Found::Sales)?;
        match first_error(&reply) {
            Some(error) if error.starts_with(b"NOPERM") => Err(Found::NoRight),
            Some(_) => Err(Found::Sales),
            None => Ok(names_in(&reply).collect()),
        }
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
