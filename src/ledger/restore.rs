//! `hotgate ledger restore`: gives the holders of a sale back to a Redis that does not have it.
//!
//! The sale is made closed, gets its holders in line, and is as it was at the end; so nobody takes a place meanwhile. A restoration that breaks off is
//! begun again and goes on. What Redis had and the database had not is lost, and so are the ids of `IDMP`: they are in no ledger.

use super::asker::Asker;
use super::fault;
use super::names::{name_of, text_of};
use super::store::Store;
use crate::reserve::{
    OpenTerms, RestoredRow, encode_restore_begin, encode_restore_end, encode_restore_rows, open_result,
    registry_key, registry_shard, sale_key,
};
use crate::resp::bulk_payload;

/// Holdings of one call: so it takes less than two milliseconds.
const ROWS_PER_CALL: usize = 64;

/// Gives one sale back. Returns how many holders it has.
///
/// # Errors
/// Redis has the sale, the database has it not, or one of them does not answer: in words.
pub async fn restore(
    asker: &mut Asker,
    store: &mut Store,
    sku: &[u8],
    unread_max: i64,
) -> Result<usize, String> {
    let text = text_of(sku);
    let words = |error: super::store::StoreError| error.to_string();
    let position = store.position(&text).await.map_err(words)?;
    let position = position.ok_or("the database has no sale of this name")?;
    let terms = store.terms(&text, position.opened_ms).await.map_err(words)?;
    let terms = terms.ok_or("the database does not have the terms of the sale")?;
    // Before anything is written: half a sale in Redis would take places that no ledger sees, and would hide the loss.
    if store.moved(&text, position.opened_ms).await.map_err(words)? > 0 {
        let left = store.holders(&text, position.opened_ms).await.map_err(words)?;
        return Err(refusal_of_moved(left));
    }
    let holders_of = name_of(&terms.holders_of);
    let open = OpenTerms {
        limit: Some(terms.limit),
        per_user: Some(terms.per_user),
        start_ms: Some(terms.start_ms),
        end_ms: Some(terms.end_ms),
        hold_ms: Some(terms.hold_ms),
        holders_of: Some(&holders_of),
        ledger: Some(terms.is_on),
        unread_max: Some(unread_max),
    };
    let (key, of) = (sale_key(sku), (position.opened_ms, position.entry));
    let begun =
        asker.call(sku, |with_body, out| encode_restore_begin(&key, of, &open, with_body, out)).await?;
    done(&begun)?;
    let (mut after, mut holders) = (0, 0);
    loop {
        let page = store.page((&text, position.opened_ms), after, ROWS_PER_CALL).await.map_err(words)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        let live = page.into_iter().filter(|row| row.state.has_places());
        let rows: Vec<RestoredRow> = live
            .map(|row| RestoredRow {
                seq: row.seq,
                user: name_of(&row.user),
                confirmed: row.count - row.held,
                held: row.held,
                expires_ms: row.expires_ms,
                since_ms: row.since_ms,
            })
            .collect();
        holders += rows.len();
        if !rows.is_empty() {
            let reply =
                asker.call(sku, |with_body, out| encode_restore_rows(&key, &rows, with_body, out)).await?;
            done(&reply)?;
            fault::point("restoring");
        }
    }
    loop {
        let flags = (terms.is_closed, terms.is_on);
        let reply =
            asker.call(sku, |with_body, out| encode_restore_end(&key, flags, after, with_body, out)).await?;
        done(&reply)?;
        if bulk_payload(&reply) != Some(b"again") {
            break;
        }
    }
    let registry = registry_key(registry_shard(sku));
    asker.command(&registry, &[b"ZADD", &registry, b"0", sku]).await?;
    Ok(holders)
}

/// A sale that was moved, or was on its way, is not given back: the database does not say where its holders went.
fn refusal_of_moved(left: i64) -> String {
    match left {
        0 => "its holders went to another sale, and nothing was written; restore that one".to_owned(),
        left => format!(
            "holders of it went to another sale, {left} had not, and nothing was written; restore the other sale, then give places there to those {left} \
            in their order, as docs/ledger.md says under \"A sale that was on its way\""
        ),
    }
}

fn done(reply: &[u8]) -> Result<(), String> {
    match open_result(reply) {
        Some(Ok(())) => Ok(()),
        Some(Err(refusal)) => {
            let mut out = Vec::new();
            refusal.write(&mut out);
            Err(String::from_utf8_lossy(&out).trim_start_matches("-ERR ").trim_end().to_owned())
        }
        None => Err("Redis says nothing that a sale's script says".to_owned()),
    }
}
