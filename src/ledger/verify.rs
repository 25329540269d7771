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

/// Differences of one sale that are looked at together; more of them are named only where the database is not behind, because otherwise it is that.
const TOGETHER: usize = 1000;

/// How often what differs is looked at again, and how long after. Where of the first ones nothing has come right, those behind are looked at less.
const LOOKS: usize = 12;
const LOOKS_BEHIND: usize = 2;
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
        let mut say = |difference: String| {
            differences += 1;
            say(format!("{text}: {difference}"));
        };
        for difference in compare(asker, store, &name, &mut say).await? {
            say(difference);
        }
    }
    Ok(differences)
}

/// Compares one sale. Differences of holders, of which there may be many, are said; all others are returned.
async fn compare(
    asker: &mut Asker,
    store: &mut Store,
    sku: &[u8],
    say: &mut impl FnMut(String),
) -> Result<Vec<String>, String> {
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
    let said = sides.compare(status.last, say).await?;
    differences.extend(sides.compare_terms(&status).await?);
    if differences.is_empty() && said == 0 {
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
    /// Walks both in line. Returns how many differences were said.
    async fn compare(&mut self, last: i64, say: &mut impl FnMut(String)) -> Result<usize, String> {
        let (mut after, mut said, mut looks) = (0, 0, LOOKS);
        loop {
            let (doubtful, upto) = self.doubtful(after).await?;
            let doubted = doubtful.len();
            let differences = self.settle(doubtful, looks).await?;
            said += differences.len();
            if doubted > 0 && differences.len() == doubted {
                looks = LOOKS_BEHIND;
            }
            differences.into_iter().for_each(&mut *say);
            let Some(upto) = upto else { return Ok(said) };
            if said >= TOGETHER && self.read().await? < last {
                say("and more behind these: the database does not have all entries yet".to_owned());
                return Ok(said + 1);
            }
            after = upto;
        }
    }

    /// Places behind this one at which the two sides differ, and the place behind which to go on; `None` where nothing is there.
    async fn doubtful(&mut self, mut after: i64) -> Result<(Vec<i64>, Option<i64>), String> {
        let mut doubtful: Vec<i64> = Vec::new();
        loop {
            let (redis, upto, at_end) = self.redis_page(after, ROWS_PER_CALL_MAX).await?;
            let upto = if at_end { i64::MAX } else { upto };
            let sql = self.sql_between(after, upto).await?;
            doubtful.extend(differing(&redis, &sql));
            if at_end || doubtful.len() >= TOGETHER {
                return Ok((doubtful, (!at_end).then_some(upto)));
            }
            after = upto;
        }
    }

    /// Looks at places, which are in line, again and again. Those that still differ in the end are differences.
    async fn settle(&mut self, mut doubtful: Vec<i64>, looks: usize) -> Result<Vec<String>, String> {
        let mut differences = Vec::new();
        for _ in 0..looks {
            if doubtful.is_empty() {
                break;
            }
            sleep(PAUSE).await;
            differences = self.look_again(&doubtful).await?;
            doubtful = differences.iter().map(|(seq, _)| *seq).collect();
        }
        Ok(differences.into_iter().map(|(_, difference)| difference).collect())
    }

    /// Which of these places differ now, and how: page by page.
    async fn look_again(&mut self, doubtful: &[i64]) -> Result<Vec<(i64, String)>, String> {
        let (mut rest, mut still) = (doubtful, Vec::new());
        while let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            let (redis, upto, at_end) = self.redis_page(first - 1, ROWS_PER_CALL_MAX).await?;
            let upto = if at_end { *last } else { upto.clamp(*first, *last) };
            let sql = self.sql_between(first - 1, upto).await?;
            let (now, behind) = rest.split_at(rest.partition_point(|seq| *seq <= upto));
            for seq in now {
                let [redis, sql] = [&redis, &sql].map(|side| side.iter().find(|holder| holder.0 == *seq));
                if redis != sql {
                    let (redis, sql) = (shown(redis), shown(sql));
                    still.push((*seq, format!("place {seq}: Redis has {redis}, the database {sql}")));
                }
            }
            rest = behind;
        }
        Ok(still)
    }

    /// The last entry that the database has.
    async fn read(&mut self) -> Result<i64, String> {
        Ok(self.store.position(&self.text).await.map_err(words)?.map_or(0, |position| position.entry))
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
