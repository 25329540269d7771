//! `hotgate ledger verify`: Redis and the database beside each other, holder by holder.
//!
//! Both change meanwhile, so what differs is looked at again and again for a while; what still differs then is a difference. Owns the
//! comparison and its words. Changes nothing.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::sleep;

use super::asker::Asker;
use super::counts::now_ms;
use super::names::{name_of, text_of};
use super::status::{status_of, terms_of};
use super::store::{HoldingRow, Position, RowState, Store, StoreError, TermsRow};
use crate::reserve::{LedgerStatus, ListPart, ROWS_PER_CALL_MAX, Refusal, SalePhase, encode_list, sale_key};

/// Differences of one sale that are named.
const NAMED_MAX: usize = 1000;

/// How often what differs is looked at again, and how long after.
const LOOKS: usize = 12;
const PAUSE: Duration = Duration::from_millis(250);

/// A holder, as either side has him.
type Holder = (i64, String, i64, RowState, i64);

/// Compares one sale, or all of them; passes each difference to `say`. Returns how many there are.
///
/// # Errors
/// A side does not answer.
pub async fn verify(
    asker: &mut Asker,
    store: &mut Store,
    sku: Option<&[u8]>,
    mut say: impl FnMut(String),
) -> Result<usize, String> {
    let positions = store.positions().await.map_err(words)?;
    let mut names: Vec<Vec<u8>> = match sku {
        Some(sku) => vec![sku.to_vec()],
        None => asker.names().await?.iter().map(|name| name.to_vec()).collect(),
    };
    if sku.is_none() {
        names.extend(positions.iter().map(|(text, _)| name_of(text)));
        names.sort();
        names.dedup();
    }
    let mut differences = 0;
    for name in names {
        let text = text_of(&name);
        for difference in compare(asker, store, &name).await? {
            differences += 1;
            say(format!("{text}: {difference}"));
        }
    }
    Ok(differences)
}

async fn compare(asker: &mut Asker, store: &mut Store, sku: &[u8]) -> Result<Vec<String>, String> {
    let text = text_of(sku);
    let position = store.position(&text).await.map_err(words)?;
    let status = status_of(asker, sku).await?;
    let (status, position) = match (status, position) {
        (None, None) => {
            return Ok(vec!["there is no such sale, neither in Redis nor in the database".to_owned()]);
        }
        (Some(status), None) if status.last == 0 => return Ok(Vec::new()),
        (Some(status), None) => {
            return Ok(vec![format!("the database does not know it; Redis has {} entries", status.last)]);
        }
        (None, Some(position)) => return only_in_sql(store, &text, &position).await,
        (Some(status), Some(position)) => (status, position),
    };
    let mut differences = Vec::new();
    if let Some(why) = position.halted {
        differences.push(format!("halted: {why}"));
    }
    if position.opened_ms != status.opened_ms {
        differences.push(format!(
            "Redis has the sale that was opened at unix-ms {}, the database the one of {}",
            status.opened_ms, position.opened_ms
        ));
        return Ok(differences);
    }
    let ahead_ms = status.now_ms - now_ms();
    let mut sides = Sides { asker, store, sku, text, opened_ms: position.opened_ms, ahead_ms };
    differences.extend(sides.compare().await?);
    differences.extend(sides.compare_terms(&status).await?);
    if differences.is_empty() {
        differences.extend(sides.behind(status.last).await?);
    }
    Ok(differences)
}

fn words(error: StoreError) -> String {
    error.to_string()
}

/// A sale that Redis does not have: dropped, or lost.
async fn only_in_sql(store: &mut Store, text: &str, position: &Position) -> Result<Vec<String>, String> {
    Ok(match store.holders(text, position.opened_ms).await.map_err(words)? {
        0 => Vec::new(),
        holders => vec![format!(
            "Redis does not have it, the database has {holders} holders; dropped, or to be given back by `hotgate ledger restore`"
        )],
    })
}

/// Both sides of a sale that both have.
struct Sides<'a> {
    asker: &'a mut Asker,
    store: &'a mut Store,
    sku: &'a [u8],
    text: String,
    opened_ms: i64,
    /// How much Redis's clock is ahead of the one here: holds end by Redis's.
    ahead_ms: i64,
}

impl Sides<'_> {
    /// Walks both in line.
    async fn compare(&mut self) -> Result<Vec<String>, String> {
        let mut doubtful: Vec<i64> = Vec::new();
        let (mut after, mut more) = (0, false);
        loop {
            let (redis, upto, at_end) = self.redis_page(after, ROWS_PER_CALL_MAX).await?;
            let sql = self.sql_between(after, if at_end { i64::MAX } else { upto }).await?;
            doubtful.extend(differing(&redis, &sql));
            if doubtful.len() > NAMED_MAX {
                doubtful.truncate(NAMED_MAX);
                more = true;
                break;
            }
            if at_end {
                break;
            }
            after = upto;
        }
        let mut differences = Vec::new();
        for look in 0..LOOKS {
            if doubtful.is_empty() {
                break;
            }
            sleep(PAUSE).await;
            let is_last = look + 1 == LOOKS;
            let mut still = Vec::new();
            for seq in doubtful {
                let (redis, ..) = self.redis_page(seq - 1, 1).await?;
                let redis: Vec<Holder> = redis.into_iter().filter(|holder| holder.0 == seq).collect();
                let sql = self.sql_between(seq - 1, seq).await?;
                if redis == sql {
                    continue;
                }
                still.push(seq);
                if is_last {
                    differences.push(format!(
                        "place {seq}: Redis has {}, the database {}",
                        shown(redis.first()),
                        shown(sql.first())
                    ));
                }
            }
            doubtful = still;
        }
        if more && !differences.is_empty() {
            differences.push("and more behind these".to_owned());
        }
        Ok(differences)
    }

    /// Names the terms that the two sides have otherwise, and go on having otherwise.
    async fn compare_terms(&mut self, status: &LedgerStatus) -> Result<Vec<String>, String> {
        for look in 0..LOOKS {
            let (mut redis, phase) = terms_of(self.asker, self.sku, status).await?;
            let sql = self.store.terms(&self.text, self.opened_ms).await.map_err(words)?;
            let differences = match &sql {
                Some(sql) => {
                    redis.is_closed |= phase == SalePhase::Moved && sql.is_closed;
                    differing_terms(&redis, sql)
                }
                None => vec!["the database does not have its terms".to_owned()],
            };
            if differences.is_empty() || look + 1 == LOOKS {
                return Ok(differences);
            }
            sleep(PAUSE).await;
        }
        Ok(Vec::new())
    }

    /// Whether the database lacks entries up to this one, and goes on lacking them.
    async fn behind(&mut self, last: i64) -> Result<Option<String>, String> {
        for look in 0..LOOKS {
            let read =
                self.store.position(&self.text).await.map_err(words)?.map_or(0, |position| position.entry);
            if read >= last {
                return Ok(None);
            }
            if look + 1 == LOOKS {
                return Ok(Some(format!(
                    "the database has entries up to {read} of {last}; is `hotgate ledger` running?"
                )));
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// A page of Redis, the place up to which it goes, and whether nothing is behind it.
    async fn redis_page(&mut self, after: i64, count: usize) -> Result<(Vec<Holder>, i64, bool), String> {
        let key = sale_key(self.sku);
        let encode = |with_body, out: &mut BytesMut| encode_list(&key, after, count, None, with_body, out);
        let reply = self.asker.call(self.sku, encode).await?;
        match ListPart::parse(&reply) {
            Some(Ok(part)) => {
                let holder = |row: crate::reserve::Row<'_>| {
                    let state = RowState::of_word(row.state.word()).unwrap_or(RowState::Confirmed);
                    (row.seq, text_of(row.user), row.count, state, row.at_ms)
                };
                Ok((part.rows().map(holder).collect(), part.next_after, part.at_end))
            }
            Some(Err(Refusal::NoSku)) => Ok((Vec::new(), after, true)),
            _ => Err("Redis gives no list of holders that can be read".to_owned()),
        }
    }

    /// The holders of the database behind one place and up to another. A hold that is over counts for nothing, as in Redis.
    async fn sql_between(&mut self, mut after: i64, upto: i64) -> Result<Vec<Holder>, String> {
        let (now_ms, mut holders) = (now_ms() + self.ahead_ms, Vec::new());
        loop {
            let page = self.store.page((&self.text, self.opened_ms), after, 1000).await.map_err(words)?;
            let Some(last) = page.last() else { return Ok(holders) };
            after = last.seq;
            let upto_there = page.iter().filter(|row| row.seq <= upto);
            holders.extend(upto_there.filter_map(|row| holder_of(row, now_ms)));
            if after >= upto {
                return Ok(holders);
            }
        }
    }
}

fn shown(holder: Option<&Holder>) -> String {
    match holder {
        None => "nobody".to_owned(),
        Some((_, user, count, state, since)) => {
            format!("'{user}', {count} {}, since {since}", state.word())
        }
    }
}

/// The terms that differ, each as a clause.
fn differing_terms(redis: &TermsRow, sql: &TermsRow) -> Vec<String> {
    let shown = |terms: &TermsRow| {
        [
            ("places", terms.limit.to_string()),
            ("per_user", terms.per_user.to_string()),
            ("start_ms", terms.start_ms.to_string()),
            ("end_ms", terms.end_ms.to_string()),
            ("hold_ms", terms.hold_ms.to_string()),
            ("holders_of", format!("'{}'", terms.holders_of)),
            ("is_closed", terms.is_closed.to_string()),
            ("is_on", terms.is_on.to_string()),
        ]
    };
    let both = shown(redis).into_iter().zip(shown(sql));
    let others = both.filter(|((_, redis), (_, sql))| redis != sql);
    others.map(|((name, redis), (_, sql))| format!("{name}: Redis has {redis}, the database {sql}")).collect()
}

/// The places at which the two sides differ.
fn differing(redis: &[Holder], sql: &[Holder]) -> Vec<i64> {
    let missing = |one: &[Holder], other: &[Holder]| -> Vec<i64> {
        let other: std::collections::HashSet<&Holder> = other.iter().collect();
        one.iter().filter(|holder| !other.contains(holder)).map(|holder| holder.0).collect()
    };
    let mut seqs = missing(redis, sql);
    seqs.extend(missing(sql, redis));
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

fn holder_of(row: &HoldingRow, now_ms: i64) -> Option<Holder> {
    let is_over = row.state == RowState::Held && row.expires_ms <= now_ms;
    let (count, state) = match is_over {
        true if row.count == row.held => return None,
        true => (row.count - row.held, RowState::Confirmed),
        false => (row.count, row.state),
    };
    let is_listed = state.has_places() || state == RowState::Moved;
    is_listed.then(|| (row.seq, row.user.clone(), count, state, row.since_ms))
}
