//! What Redis holds of quotas: what operators set, and the levels of single counters. It only reads.

use std::time::Duration;

use bytes::Bytes;
use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame};
use tokio::time::timeout;

use super::masters::Masters;
use crate::admission::{Bound, KeyQuota, Limit, QuotaRules, overrides_index};
use crate::combine::{Consumes, override_key, window_key};
use crate::resp::parse_integer;
use crate::shared::quota_facts::{Changed, QuotaFacts};
use crate::shared::quota_overrides::{Override, Overrides};
use crate::shared::tallies::QuotaTally;

/// Counters with overrides that are followed. Operators make them one by one; the first in the order of their names are.
pub const OVERRIDES_MAX: usize = 1024;

/// How long Redis is asked about one counter: a master that hangs does not hold up the others for longer.
pub const KEY_PATIENCE: Duration = Duration::from_millis(100);

/// All that operators have set. What can't be read stays as it was; the error is a clause: nothing could be read.
pub async fn overrides(masters: &mut Masters, former: &Overrides) -> Result<Overrides, String> {
    let index = overrides_index();
    let OwnedFrame::Array(members) = masters.ask(&index, &[b"SMEMBERS", &index]).await? else {
        return Err("no list of members".to_owned());
    };
    let mut keys: Vec<Bytes> =
        members.iter().filter_map(OwnedFrame::as_bytes).map(Bytes::copy_from_slice).collect();
    keys.sort();
    keys.truncate(OVERRIDES_MAX);
    let mut found = Overrides::with_capacity(keys.len());
    for key in keys {
        match timeout(KEY_PATIENCE, override_of(masters, &key)).await {
            Ok(Ok(set)) if set.is_empty() => {}
            Ok(Ok(set)) => drop(found.insert(key, set)),
            _ => found.extend(former.get(&key).map(|set| (key.clone(), set.clone()))),
        }
    }
    Ok(found)
}

async fn override_of(masters: &mut Masters, key: &[u8]) -> Result<Override, String> {
    let name = override_key(key);
    let fields: [&[u8]; 6] = [b"HMGET", &name, b"limit", b"limit_by", b"paused", b"paused_by"];
    let OwnedFrame::Array(values) = masters.ask(key, &fields).await? else {
        return Err("no list of fields".to_owned());
    };
    let text = |place: usize| values.get(place).and_then(OwnedFrame::as_bytes);
    let words =
        |place: usize| text(place).map(|by| String::from_utf8_lossy(by).into_owned()).unwrap_or_default();
    Ok(Override {
        limit: text(0).and_then(parse_integer),
        limit_by: words(1),
        paused: text(2) == Some(b"1".as_slice()),
        paused_by: words(3),
    })
}

/// The levels of one counter, one row for each quota that holds it, as Redis has them now. The error is a clause.
pub async fn levels(
    masters: &mut Masters,
    rules: &QuotaRules,
    quota: &KeyQuota,
) -> Result<Vec<QuotaFacts>, String> {
    let key = quota.key();
    let value = integer_at(masters, key).await?;
    let set = override_of(masters, key).await?;
    let mut rows = Vec::new();
    for part in quota.parts() {
        let held = part.enforce || quota.is_shadow();
        let set_limit = set.limit.filter(|_| held);
        let limit_at = match &part.bound {
            Bound::Ceiling(limit) | Bound::Window { limit, .. } => limit.clone(),
            Bound::Floor(floor) => Limit::Value(*floor),
        };
        let configured = match limit_at {
            Limit::Value(limit) => Some(limit),
            Limit::InSlot(name) => integer_at(masters, &name).await?,
            Limit::Polled(index) => integer_at(masters, &quota.polled()[index]).await?,
        };
        let (limit, value, window_ms) = match &part.bound {
            Bound::Window { window_ms, .. } => {
                let used = integer_at(masters, &window_key(key, *window_ms)).await?;
                (configured, Some(used.unwrap_or(0)), Some(*window_ms))
            }
            _ => {
                let is_floor = matches!(part.bound, Bound::Floor(_));
                // The operator's limit stands for that which takes.
                let set = set_limit.filter(|_| is_floor == (quota.consumes() == Consumes::Down));
                (set.or(configured), value.or(Some(0)), None)
            }
        };
        let mut row = QuotaFacts {
            key: key.to_vec(),
            rule: part.rule,
            pattern: rules.quota(part.rule).map(|quota| quota.pattern.clone()).unwrap_or_default(),
            limit,
            counts_down: matches!(part.bound, Bound::Floor(_)),
            value,
            window_ms,
            enforce: part.enforce,
            paused: set.paused,
            exhausted: false,
            fault: String::new(),
            changed: Changed::default(),
            tally: QuotaTally::default(),
        };
        row.note(Some(&set));
        row.exhausted = row.remaining() == Some(0);
        rows.push(row);
    }
    Ok(rows)
}

async fn integer_at(masters: &mut Masters, key: &[u8]) -> Result<Option<i64>, String> {
    match masters.ask(key, &[b"GET", key]).await {
        Ok(frame) => Ok(frame.as_bytes().and_then(parse_integer)),
        // What is no string holds no number.
        Err(text) if text.starts_with("WRONGTYPE") => Ok(None),
        Err(text) => Err(text),
    }
}
