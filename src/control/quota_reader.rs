//! What Redis holds of quotas: what operators set, and the levels of single counters. It only reads, and for all counters at once.

use bytes::Bytes;

use super::masters::{Masters, Question};
use crate::admission::{Bound, KeyQuota, Limit, Part, QuotaRules, overrides_index};
use crate::combine::{Consumes, override_key, window_key};
use crate::resp::{bulk_payload, elements, first_error, parse_integer};
use crate::shared::quota_facts::{Changed, QuotaFacts};
use crate::shared::quota_overrides::{Override, Overrides};
use crate::shared::tallies::QuotaTally;

/// Counters with overrides that are followed. Operators make them one by one; the first in the order of their names are.
pub const OVERRIDES_MAX: usize = 1024;

/// All that operators have set, and why it is not known for which counters, if it is not. What can't be read stays as it was.
pub async fn overrides(masters: &mut Masters, former: &Overrides) -> (Overrides, Option<String>) {
    let index = overrides_index();
    let question =
        Question { key: index.clone(), words: vec![Bytes::from_static(b"SMEMBERS"), index.clone()] };
    let reply = masters.ask(&[question]).await.pop().flatten();
    let (mut keys, fault) = match members(reply.as_ref()) {
        Ok(keys) => (keys, None),
        Err(why) => (former.keys().cloned().collect(), Some(why)),
    };
    keys.sort();
    keys.truncate(OVERRIDES_MAX);
    let questions: Vec<Question> = keys.iter().map(override_question).collect();
    let replies = masters.ask(&questions).await;
    let mut found = Overrides::with_capacity(keys.len());
    for (key, reply) in keys.into_iter().zip(replies) {
        match reply.as_ref().and_then(override_of) {
            Some(set) if set.is_empty() => {}
            Some(set) => drop(found.insert(key, set)),
            None => found.extend(former.get(&key).map(|set| (key.clone(), set.clone()))),
        }
    }
    (found, fault)
}

/// The members that a reply lists. The error is a clause.
fn members(reply: Option<&Bytes>) -> Result<Vec<Bytes>, String> {
    let reply = reply.ok_or("no answer in time")?;
    if let Some(text) = first_error(reply) {
        return Err(String::from_utf8_lossy(text).into_owned());
    }
    let members = elements(reply).ok_or("no list of members")?;
    Ok(members.filter_map(bulk_payload).map(Bytes::copy_from_slice).collect())
}

fn override_question(key: &Bytes) -> Question {
    let mut words = vec![Bytes::from_static(b"HMGET"), override_key(key)];
    words.extend(
        ["limit", "limit_by", "paused", "paused_by"].map(|field| Bytes::from_static(field.as_bytes())),
    );
    Question { key: key.clone(), words }
}

fn override_of(reply: &Bytes) -> Option<Override> {
    let values: Vec<Option<&[u8]>> = elements(reply)?.map(bulk_payload).collect();
    let text = |place: usize| values.get(place).copied().flatten();
    let words =
        |place: usize| text(place).map(|by| String::from_utf8_lossy(by).into_owned()).unwrap_or_default();
    Some(Override {
        limit: text(0).and_then(parse_integer),
        limit_by: words(1),
        paused: text(2) == Some(b"1".as_slice()),
        paused_by: words(3),
    })
}

/// The levels of counters as Redis has them now, one row for each quota that holds one; `None` of those of which not all could be
/// read.
pub async fn levels(
    masters: &mut Masters,
    rules: &QuotaRules,
    quotas: &[KeyQuota],
) -> Vec<Option<Vec<QuotaFacts>>> {
    let mut questions = Vec::new();
    let starts: Vec<usize> = quotas
        .iter()
        .map(|quota| {
            let start = questions.len();
            questions.extend(questions_about(quota));
            start
        })
        .collect();
    let replies = masters.ask(&questions).await;
    let rows_of = |(quota, start): (&KeyQuota, &usize)| rows(rules, quota, replies.get(*start..)?.iter());
    quotas.iter().zip(&starts).map(rows_of).collect()
}

/// What is asked about one counter: its value, its override, and of each part what limits it and what its window holds.
fn questions_about(quota: &KeyQuota) -> Vec<Question> {
    let mut questions = vec![Question::get(quota.key()), override_question(quota.key())];
    for part in quota.parts() {
        if let Some(name) = limit_key(quota, part) {
            questions.push(Question::get(name));
        }
        if let Bound::Window { window_ms, .. } = &part.bound {
            questions.push(Question::get(&window_key(quota.key(), *window_ms)));
        }
    }
    questions
}

/// The key that holds the limit, if one does.
fn limit_key<'a>(quota: &'a KeyQuota, part: &'a Part) -> Option<&'a Bytes> {
    match &part.bound {
        Bound::Ceiling(Limit::InSlot(name)) | Bound::Window { limit: Limit::InSlot(name), .. } => Some(name),
        Bound::Ceiling(Limit::Polled(index)) | Bound::Window { limit: Limit::Polled(index), .. } => {
            quota.polled().get(*index)
        }
        _ => None,
    }
}

/// The rows of one counter, given the replies to its questions in their order.
fn rows<'a>(
    rules: &QuotaRules,
    quota: &KeyQuota,
    mut replies: impl Iterator<Item = &'a Option<Bytes>>,
) -> Option<Vec<QuotaFacts>> {
    let mut next = || replies.next()?.as_ref();
    let value = integer_of(next()?)?;
    let set = override_of(next()?)?;
    let mut rows = Vec::new();
    for part in quota.parts() {
        let held = part.enforce || quota.is_shadow();
        let set_limit = set.limit.filter(|_| held);
        let configured = match &part.bound {
            Bound::Ceiling(Limit::Value(limit)) | Bound::Window { limit: Limit::Value(limit), .. } => {
                Some(*limit)
            }
            Bound::Floor(floor) => Some(*floor),
            Bound::Ceiling(_) | Bound::Window { .. } => integer_of(next()?)?,
        };
        let (limit, value, window_ms) = match &part.bound {
            Bound::Window { window_ms, .. } => {
                (configured, Some(integer_of(next()?)?.unwrap_or(0)), Some(*window_ms))
            }
            _ => {
                let is_floor = matches!(part.bound, Bound::Floor(_));
                // The operator's limit stands for that which takes.
                let set = set_limit.filter(|_| is_floor == (quota.consumes() == Consumes::Down));
                (set.or(configured), value.or(Some(0)), None)
            }
        };
        let mut row = QuotaFacts {
            key: quota.key().to_vec(),
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
    Some(rows)
}

/// The number that a reply to `GET` tells, if the key holds one; `None` if it is an error that says nothing of the key.
#[allow(clippy::option_option, reason = "no answer is something else than an answer without a number")]
fn integer_of(reply: &Bytes) -> Option<Option<i64>> {
    match first_error(reply) {
        // What is no string holds no number.
        Some(text) if text.starts_with(b"WRONGTYPE") => Some(None),
        Some(_) => None,
        None => Some(bulk_payload(reply).and_then(parse_integer)),
    }
}
