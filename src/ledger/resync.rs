//! `hotgate ledger resync`: takes Redis's word for a sale that is halted, so that it can be followed again.
//!
//! The entries that are missing stay missing: what happened between is not known. But who holds what is, so the rows become what Redis has. A holding that the
//! database has and Redis has not becomes `lost`, and each is named. It may break off anywhere and be run again: the sale stays halted until all rows are right.
//!
//! The sale need not stand still. Reading goes on behind the last entry that was written before the holders were read, and each entry has a holding's
//! whole state.

use bytes::Bytes;

use super::asker::Asker;
use super::counts::now_ms;
use super::entry::entries_of;
use super::names::text_of;
use super::status::{status_of, terms_of};
use super::store::{HoldingRow, Position, RowState, SaleStep, Store, StoreError, TermsRow};
use crate::reserve::{
    HoldingState, LedgerStatus, RestoredRow, encode_whole_rows, ledger_key, sale_key, whole_rows,
};

/// Makes the rows of one sale what Redis has; passes what is lost to `say`. Returns how many holdings are lost.
///
/// # Errors
/// Neither side has the sale, or one does not answer: in words.
pub async fn resync(
    asker: &mut Asker,
    store: &mut Store,
    sku: &[u8],
    mut say: impl FnMut(String),
) -> Result<usize, String> {
    let text = text_of(sku);
    let status = status_of(asker, sku).await?;
    let mut at = store.position(&text).await.map_err(words)?;
    let status = match (status, &at) {
        (Some(status), _) => status,
        (None, Some(at)) => return give_up(store, &text, at, say).await,
        (None, None) => return Err("there is no such sale, neither in Redis nor in the database".to_owned()),
    };
    // Until the last step it is halted, whoever looks.
    let halted = Some("it is being resynchronized".to_owned());
    let under_way = Position { opened_ms: status.opened_ms, entry: 0, checksum: 0, halted };
    let (mut after, mut lost) = (0, 0);
    loop {
        let key = sale_key(sku);
        let reply = asker.call(sku, |with_body, out| encode_whole_rows(&key, after, with_body, out)).await?;
        let (found, upto, at_end) =
            whole_rows(&reply).ok_or("Redis gives no list of holders that can be read")?;
        let upto = if at_end { i64::MAX } else { upto };
        let mut rows: Vec<HoldingRow> = found.iter().map(|row| row_of(row, &status)).collect();
        let mut behind = after;
        while behind < upto {
            let page = store.page((&text, status.opened_ms), behind, 1000).await.map_err(words)?;
            let Some(last) = page.last() else { break };
            behind = last.seq;
            for was in page.into_iter().filter(|row| row.seq <= upto && row.state.has_places()) {
                let is = rows.iter().find(|row| row.seq == was.seq);
                if is.is_none_or(|is| is.user != was.user) {
                    lost += 1;
                    say(lost_words(&text, &was));
                }
                if is.is_none() {
                    rows.push(lost_row(was, status.now_ms));
                }
            }
        }
        let step = step_of(&text, &under_way, rows, None);
        store.apply(&[(at, step)]).await.map_err(words)?;
        at = Some(under_way.clone());
        if at_end {
            break;
        }
        after = upto;
    }
    let to = Position {
        opened_ms: status.opened_ms,
        entry: status.last,
        checksum: checksum(asker, sku, status.last).await?,
        halted: None,
    };
    let (terms, _) = terms_of(asker, sku, &status).await?;
    store.apply(&[(at, step_of(&text, &to, Vec::new(), Some(terms)))]).await.map_err(words)?;
    Ok(lost)
}

/// Redis does not have the sale: all its holdings are lost, and then it counts as closed.
async fn give_up(
    store: &mut Store,
    text: &str,
    at: &Position,
    mut say: impl FnMut(String),
) -> Result<usize, String> {
    let to = Position { halted: None, ..at.clone() };
    let (mut after, mut lost) = (0, 0);
    loop {
        let page = store.page((text, at.opened_ms), after, 1000).await.map_err(words)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        let live: Vec<HoldingRow> = page.into_iter().filter(|row| row.state.has_places()).collect();
        live.iter().for_each(|row| say(lost_words(text, row)));
        lost += live.len();
        let rows = live.into_iter().map(|row| lost_row(row, now_ms())).collect();
        store.apply(&[(Some(at.clone()), step_of(text, at, rows, None))]).await.map_err(words)?;
    }
    let terms = store.terms(text, at.opened_ms).await.map_err(words)?;
    let closed = terms.map(|terms| TermsRow { is_closed: true, ..terms });
    store.apply(&[(Some(at.clone()), step_of(text, &to, Vec::new(), closed))]).await.map_err(words)?;
    Ok(lost)
}

fn words(error: StoreError) -> String {
    error.to_string()
}

fn step_of(text: &str, to: &Position, rows: Vec<HoldingRow>, terms: Option<TermsRow>) -> SaleStep {
    SaleStep { sku: text.to_owned(), to: to.clone(), rows, terms, entries: 0, written_ms: (0, 0) }
}

fn lost_words(text: &str, was: &HoldingRow) -> String {
    let HoldingRow { seq, user, count, state, .. } = was;
    format!("{text}: place {seq}: '{user}' had {count} {}, and Redis has nothing of it", state.word())
}

fn lost_row(was: HoldingRow, now_ms: i64) -> HoldingRow {
    HoldingRow { count: 0, held: 0, state: RowState::Lost, changed_ms: now_ms, ..was }
}

fn row_of((row, state): &(RestoredRow, HoldingState), status: &LedgerStatus) -> HoldingRow {
    HoldingRow {
        seq: row.seq,
        user: text_of(&row.user),
        count: row.confirmed + row.held,
        held: row.held,
        state: RowState::of_word(state.word()).unwrap_or(RowState::Confirmed),
        since_ms: row.since_ms,
        expires_ms: row.expires_ms,
        changed_ms: status.now_ms,
        entry: status.last,
    }
}

/// The checksum of an entry; 0 where it is not there any more: then nothing is compared with it.
async fn checksum(asker: &mut Asker, sku: &[u8], number: i64) -> Result<i64, String> {
    let (stream, id) = (ledger_key(sku), format!("{number}-0"));
    let reply: Bytes = asker.command(sku, &[b"XRANGE", &stream, id.as_bytes(), id.as_bytes()]).await?;
    let entry = entries_of(&reply).and_then(|entries| entries.into_iter().next());
    Ok(entry.map_or(0, |entry| entry.checksum))
}
