//! Whole sales of reservations: opened, changed, closed, listed, moved and dropped, as clients ask with `RESERVE` commands; and looked after.
//!
//! Each of these is a script that may be run twice, so it is sent until it has an answer, over connections of the control thread. After a
//! change the sale's home in this process asks Redis anew; other gateways see it within `reserve.recheck`.
//!
//! A sale is entered into the registry before it is opened and again behind it, and leaves it when it is dropped, or by the [`sweeper`] when
//! it has not existed for a while. So every sale that exists can be listed, whenever a gateway dies.

mod registry;
mod steps;
pub mod sweeper;
pub mod watch;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::owner;
use crate::reserve::{
    REGISTRY_SHARDS, Refusal, ReserveCommand, Script, open_result, registry_key, registry_shard, sale_key,
};
use crate::resp::{bulk_payload, elements, encode, first_error};
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::gateway::Gateway;
use crate::shared::keys;
use crate::shared::mailbox::WorkerMessage;

/// How long one command is tried.
const PATIENCE: Duration = Duration::from_secs(8);

/// Answers a `RESERVE` command about a whole sale. `by` says who asks, for the audit.
pub async fn answer(gateway: &Gateway, arguments: &[Bytes], by: &Author) -> Bytes {
    gateway.sales_used.notify_one();
    let words: Vec<&[u8]> = arguments.iter().map(|word| &word[..]).collect();
    let sku = words.get(1).copied().unwrap_or_default();
    let outcome = match ReserveCommand::parse(&words) {
        Err(text) => return error(&text),
        Ok(ReserveCommand::Open(mut terms)) => {
            if let Some(text) = terms.holders_of.and_then(|other| apart(gateway, sku, other)) {
                return error(&text);
            }
            terms.unread_max = unread_max(gateway);
            let call =
                |with_body, out: &mut BytesMut| Script::encode_open(&sale_key(sku), &terms, with_body, out);
            note(gateway, (arguments, by), open_sale(gateway, sku, call).await)
        }
        Ok(ReserveCommand::Close) => note(gateway, (arguments, by), close(gateway, sku, true).await),
        Ok(ReserveCommand::Reopen) => note(gateway, (arguments, by), close(gateway, sku, false).await),
        Ok(ReserveCommand::Skus { after, count }) => list(gateway, after, count).await,
        Ok(ReserveCommand::List { after, count, state }) => {
            steps::list(gateway, sku, (after, count, state)).await
        }
        Ok(ReserveCommand::Move { to, count }) => {
            note(gateway, (arguments, by), steps::move_holders(gateway, (sku, to), count).await)
        }
        Ok(ReserveCommand::Drop { count }) => {
            note(gateway, (arguments, by), steps::drop_sale(gateway, sku, count).await)
        }
        // They are done at the sale's home.
        Ok(ReserveCommand::Op(_) | ReserveCommand::CheckMany(_)) => {
            return error("ERR hotgate: not asked here");
        }
    };
    outcome
        .unwrap_or_else(|why| error(&format!("ERR hotgate: Redis did not answer in time: {why}; try again")))
}

/// Why one script can't look at two sales of one slot: routes have them in two clusters.
fn apart(gateway: &Gateway, sku: &[u8], other: &[u8]) -> Option<String> {
    let routes = gateway.routes();
    let clusters = [sku, other].map(|name| routes.cluster_of(name));
    let table = routes.several().filter(|_| clusters[0] != clusters[1])?;
    let [own, theirs] = clusters.map(|cluster| table.name_of(cluster));
    Some(format!(
        "CROSSSLOT HOLDERSOF names a sale in the cluster '{theirs}', and this one is in '{own}'; give both names that one route matches"
    ))
}

/// How many entries of its ledger may be unread until a sale gives no more places: 0 where the configuration does not ask for it.
fn unread_max(gateway: &Gateway) -> Option<i64> {
    let config = gateway.config.load();
    let required = config.ledger.required.then_some(config.ledger.lag_max as i64);
    Some(required.unwrap_or(0))
}

fn error(text: &str) -> Bytes {
    let mut out = Vec::new();
    encode::error(&mut out, text);
    out.into()
}

fn refused(refusal: &Refusal<'_>) -> Bytes {
    let mut out = Vec::new();
    refusal.write(&mut out);
    out.into()
}

/// Notes what was asked of a sale, by whom, and what came of it.
fn note(
    gateway: &Gateway,
    (arguments, by): (&[Bytes], &Author),
    outcome: Result<Bytes, String>,
) -> Result<Bytes, String> {
    let text = |word: &Bytes| String::from_utf8_lossy(word).to_ascii_lowercase();
    let change = arguments.first().map(text).unwrap_or_default();
    let sku = arguments.get(1).map(|sku| gateway.key_names.label(sku)).unwrap_or_default();
    let entry = AuditEntry::new(by, change, sku);
    gateway.audit.record(
        match outcome.as_ref().map(|reply| first_error(reply).map(String::from_utf8_lossy)) {
            Ok(None) => entry.from_to("", asked(gateway, arguments)),
            Ok(Some(why)) => entry.failed(gateway.key_names.in_error(&why)),
            Err(why) => entry.failed(format!("not known: {}", gateway.key_names.in_error(why))),
        },
    );
    outcome
}

/// The arguments behind the name of the sale, with names of other sales as they may be shown.
fn asked(gateway: &Gateway, arguments: &[Bytes]) -> String {
    let name = arguments.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let is_name = |place: usize| match name.as_slice() {
        b"reserve.move" => place == 0,
        _ => {
            place > 0 && arguments.get(place + 1).is_some_and(|word| word.eq_ignore_ascii_case(b"HOLDERSOF"))
        }
    };
    let words = arguments.iter().skip(2).enumerate().map(|(place, word)| match is_name(place) {
        true => gateway.key_names.label(word),
        false => keys::text(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Marks that there are sales, enters this one into the registry, opens it, and enters it again: the sweeper may have taken it out between the two.
async fn open_sale(
    gateway: &Gateway,
    sku: &[u8],
    call: impl Fn(bool, &mut BytesMut),
) -> Result<Bytes, String> {
    let deadline = Instant::now() + PATIENCE;
    let registry = registry_key(registry_shard(sku));
    let enter = words_of(&[b"ZADD", &registry, b"0", sku]);
    let mark = registry::set_mark();
    let marked = owner::ask(gateway, &mark.key, &mark.words, deadline).await?;
    if first_error(&marked).is_some() {
        return Ok(marked);
    }
    let entered = owner::ask(gateway, &registry, &enter, deadline).await?;
    if first_error(&entered).is_some() {
        return Ok(entered);
    }
    let opened = run(gateway, sku, call, deadline).await?;
    if first_error(&opened).is_none() {
        owner::ask(gateway, &registry, &enter, deadline).await?;
    }
    tell_home(gateway, sku).await;
    Ok(opened)
}

/// Closes a sale, or opens it again.
async fn close(gateway: &Gateway, sku: &[u8], closes: bool) -> Result<Bytes, String> {
    let call = |with_body, out: &mut BytesMut| Script::encode_close(&sale_key(sku), closes, with_body, out);
    let reply = run(gateway, sku, call, Instant::now() + PATIENCE).await;
    tell_home(gateway, sku).await;
    reply
}

/// Runs a script of a sale, with its source where its node does not know it. Its word becomes the client's reply.
async fn run(
    gateway: &Gateway,
    sku: &[u8],
    call: impl Fn(bool, &mut BytesMut),
    deadline: Instant,
) -> Result<Bytes, String> {
    let reply = script(gateway, sku, call, deadline).await?;
    Ok(match open_result(&reply) {
        Some(Ok(())) => Bytes::from_static(b"+OK\r\n"),
        Some(Err(refusal)) => refused(&refusal),
        None => reply,
    })
}

/// The reply to a script of a sale.
async fn script(
    gateway: &Gateway,
    sku: &[u8],
    call: impl Fn(bool, &mut BytesMut),
    deadline: Instant,
) -> Result<Bytes, String> {
    let words = |with_body| {
        let mut bytes = BytesMut::new();
        call(with_body, &mut bytes);
        let words = elements(&bytes).into_iter().flatten().filter_map(bulk_payload);
        words.map(Bytes::copy_from_slice).collect::<Vec<Bytes>>()
    };
    let reply = owner::ask(gateway, sku, &words(false), deadline).await?;
    match first_error(&reply).is_some_and(|text| text.starts_with(b"NOSCRIPT")) {
        true => owner::ask(gateway, sku, &words(true), deadline).await,
        false => Ok(reply),
    }
}

fn words_of(words: &[&[u8]]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word)).collect()
}

/// Has the home of a sale in this process ask about it anew.
async fn tell_home(gateway: &Gateway, sku: &[u8]) {
    let hash = gateway.key_hasher.id(gateway.routes().cluster_of(sku), sku).hash;
    let home = (hash % gateway.workers.len() as u64) as usize;
    if let Some(worker) = gateway.workers.get(home) {
        // A worker that has ended knows nothing.
        let changed = WorkerMessage::SaleChanged {
            sku: Bytes::copy_from_slice(sku),
            hash,
            place: gateway.routes().place_of(sku),
        };
        let _ = worker.mailbox.send(changed).await;
    }
}

/// The names of sales behind a name, in order.
async fn list(gateway: &Gateway, after: &[u8], count: usize) -> Result<Bytes, String> {
    let found = names(gateway, after, count).await?;
    let mut out = Vec::new();
    encode::array(&mut out, found.len());
    found.iter().for_each(|sku| encode::bulk(&mut out, sku));
    Ok(out.into())
}

/// At most so many names of sales behind this one, in order.
///
/// # Errors
/// A part of the registry could not be read: why.
pub async fn names(gateway: &Gateway, after: &[u8], count: usize) -> Result<Vec<Bytes>, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    for shard in 0..REGISTRY_SHARDS {
        let key = registry_key(shard);
        let reply = owner::ask(gateway, &key, &names_behind(&key, after, count), deadline).await?;
        if let Some(text) = first_error(&reply) {
            return Err(String::from_utf8_lossy(text).into_owned());
        }
        found.extend(names_in(&reply));
    }
    found.sort();
    found.truncate(count);
    Ok(found)
}

/// The question for names of one part of the registry.
fn names_behind(registry: &[u8], after: &[u8], count: usize) -> Vec<Bytes> {
    let from = if after.is_empty() { b"-".to_vec() } else { [b"(", after].concat() };
    let count = count.to_string();
    words_of(&[b"ZRANGEBYLEX", registry, &from, b"+", b"LIMIT", b"0", count.as_bytes()])
}

/// The names in its reply.
fn names_in(reply: &[u8]) -> impl Iterator<Item = Bytes> + '_ {
    elements(reply).into_iter().flatten().filter_map(bulk_payload).map(Bytes::copy_from_slice)
}
