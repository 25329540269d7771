//! What takes several calls: a page of holders, a move to another sale, the end of a sale.
//!
//! Each call is short, so that Redis serves others between them, and each may be repeated. So whoever breaks off, client or gateway, asks
//! again, and goes on where it was: Redis knows how far it came. A reply says how much is left.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{PATIENCE, owner, refused, registry_key, registry_shard, sale_key, script, tell_home, words_of};
use crate::reserve::{
    DROPPED_PER_STEP_MAX, Departure, FlushResults, ListPart, MOVED_PER_STEP_MAX, OpKind, OpResult, Refusal,
    ReserveCall, ReserveOp, SalePhase, StateFilter, encode_drop, encode_list, encode_move_out, open_result,
    steps_left,
};
use crate::resp::encode;
use crate::shared::gateway::Gateway;

/// How long steps are made, one behind the other, before a reply says what is left.
const STEPS_FOR: Duration = Duration::from_secs(2);

/// At most so many rows behind this place in line.
pub(super) async fn list(
    gateway: &Gateway,
    sku: &[u8],
    (after, count, state): (i64, usize, Option<StateFilter>),
) -> Result<Bytes, String> {
    let (deadline, key) = (Instant::now() + PATIENCE, sale_key(sku));
    let (mut after, mut found, mut rows) = (after, 0, BytesMut::new());
    loop {
        let wanted = count - found;
        let call = |with_body, out: &mut BytesMut| encode_list(&key, after, wanted, state, with_body, out);
        let reply = script(gateway, sku, call, deadline).await?;
        let part = match ListPart::parse(&reply) {
            None => return Ok(reply),
            Some(Err(refusal)) => return Ok(refused(&refusal)),
            Some(Ok(part)) => part,
        };
        part.rows().for_each(|row| row.write(&mut rows));
        found += part.row_count();
        after = part.next_after;
        if part.at_end || found >= count || (found > 0 && Instant::now() >= deadline) {
            break;
        }
    }
    let mut out = BytesMut::with_capacity(rows.len() + 16);
    encode::array(&mut out, found);
    out.extend_from_slice(&rows);
    Ok(out.freeze())
}

/// Makes steps of a move until nothing is left, or for a while; with a count, one of so many holders.
pub(super) async fn move_holders(
    gateway: &Gateway,
    (from, to): (&[u8], &[u8]),
    count: Option<usize>,
) -> Result<Bytes, String> {
    let until = Instant::now() + STEPS_FOR;
    let places_left = match places_left(gateway, to).await? {
        Ok(places) => places,
        Err(reply) => return Ok(reply),
    };
    loop {
        let left = match move_step(gateway, (from, to), count, places_left).await? {
            Ok(left) => left,
            Err(reply) => return Ok(reply),
        };
        if left == 0 || count.is_some() || Instant::now() >= until {
            tell_home(gateway, from).await;
            tell_home(gateway, to).await;
            return Ok(number(left));
        }
    }
}

/// How many holders are left behind one step; or the reply that says why there was none.
async fn move_step(
    gateway: &Gateway,
    (from, to): (&[u8], &[u8]),
    count: Option<usize>,
    places_left: i64,
) -> Result<Result<i64, Bytes>, String> {
    let (from_key, to_key) = (sale_key(from), sale_key(to));
    let (deadline, count) = (Instant::now() + PATIENCE, count.unwrap_or(MOVED_PER_STEP_MAX));
    let call = |with_body, out: &mut BytesMut| {
        encode_move_out(&from_key, to, count, places_left, with_body, out);
    };
    let reply = script(gateway, from, call, deadline).await?;
    let rows = match Departure::parse(&reply) {
        None => return Ok(Err(reply)),
        Some(Err(refusal)) => return Ok(Err(refused(&refusal))),
        Some(Ok(rows)) => rows,
    };
    if rows.is_last() {
        return Ok(Ok(0));
    }
    let call = |with_body, out: &mut BytesMut| rows.encode_move_in(&to_key, from, with_body, out);
    let arrived = script(gateway, to, call, deadline).await?;
    match open_result(&arrived) {
        Some(Ok(())) => {}
        Some(Err(refusal)) => return Ok(Err(refused(&refusal))),
        None => return Ok(Err(arrived)),
    }
    let call = |with_body, out: &mut BytesMut| rows.encode_move_done(&from_key, with_body, out);
    let done = script(gateway, from, call, deadline).await?;
    Ok(match steps_left(&done) {
        Some(Ok(left)) => Ok(left),
        Some(Err(refusal)) => Err(refused(&refusal)),
        None => Err(done),
    })
}

/// How many places a sale has left; or the reply that says why that is not known.
async fn places_left(gateway: &Gateway, sku: &[u8]) -> Result<Result<i64, Bytes>, String> {
    let key = sale_key(sku);
    let ops = [ReserveOp::on(OpKind::Info, b"")];
    let call = |with_body, out: &mut BytesMut| {
        let call = ReserveCall { sale_key: &key, gateway: gateway.id.as_bytes(), sequence: None, with_body };
        call.encode(ops.iter(), out);
    };
    let reply = script(gateway, sku, call, Instant::now() + PATIENCE).await?;
    let mut results = match FlushResults::parse(&reply, ops.len()) {
        Some(results) if results.state.phase == SalePhase::None => {
            return Ok(Err(refused(&Refusal::NoOther(sku))));
        }
        Some(results) => results,
        None => return Ok(Err(reply)),
    };
    Ok(match results.next() {
        Some(OpResult::Figures(figures)) => Ok((figures.limit - figures.taken).max(0)),
        _ => Err(reply.clone()),
    })
}

/// Drops a closed sale step by step until nothing is left, or for a while; with a count, one step of so many keys.
pub(super) async fn drop_sale(gateway: &Gateway, sku: &[u8], count: Option<usize>) -> Result<Bytes, String> {
    let until = Instant::now() + STEPS_FOR;
    let (key, keys) = (sale_key(sku), count.unwrap_or(DROPPED_PER_STEP_MAX));
    loop {
        let call = |with_body, out: &mut BytesMut| encode_drop(&key, keys, with_body, out);
        let deadline = Instant::now() + PATIENCE;
        let reply = script(gateway, sku, call, deadline).await?;
        let left = match steps_left(&reply) {
            Some(Ok(left)) => left,
            Some(Err(refusal)) => return Ok(refused(&refusal)),
            None => return Ok(reply),
        };
        if left == 0 {
            let registry = registry_key(registry_shard(sku));
            owner::ask(gateway, &registry, &words_of(&[b"ZREM", &registry, sku]), deadline).await?;
        }
        if left == 0 || count.is_some() || Instant::now() >= until {
            tell_home(gateway, sku).await;
            return Ok(number(left));
        }
    }
}

fn number(value: i64) -> Bytes {
    let mut out = Vec::new();
    encode::integer(&mut out, value);
    out.into()
}
