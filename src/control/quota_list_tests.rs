//! The list of counters: what is told, what is looked up, and which page of it is shown.

use super::*;
use crate::shared::quota_facts::Changed;
use crate::shared::quota_overrides::Override;
use crate::shared::tallies::QuotaTally;

fn facts(key: &str, value: i64, refused: u64) -> QuotaFacts {
    let mut tally = QuotaTally { admitted: value as u64, ..QuotaTally::default() };
    tally.refused[0] = refused;
    QuotaFacts {
        key: key.as_bytes().to_vec(),
        rule: 0,
        pattern: "*".into(),
        limit: Some(10_000),
        counts_down: false,
        value: Some(value),
        window_ms: None,
        enforce: true,
        paused: false,
        exhausted: value >= 10_000,
        fault: String::new(),
        changed: Changed::default(),
        tally,
    }
}

fn keys(page: &QuotaPage) -> Vec<String> {
    page.rows.iter().map(|row| String::from_utf8(row.facts.key.clone()).unwrap()).collect()
}

#[tokio::test]
async fn all_are_listed_and_pages_hold_them_once() {
    let (list, now) = (QuotaList::default(), Instant::now());
    list.update((0..1_000).map(|n| facts(&format!("k{n:04}"), n, 1_000 - n as u64)), now);
    let page = |query: QuotaQuery| list.page(&query, now);
    let first = page(QuotaQuery { count: 3, ..QuotaQuery::default() });
    assert_eq!(
        (first.total, first.matched, keys(&first)),
        (1_000, 1_000, vec!["k0999".into(), "k0998".into(), "k0997".into()])
    );
    let refused = page(QuotaQuery { count: 1, sort: QuotaSort::Refused, ..QuotaQuery::default() });
    assert_eq!(keys(&refused), ["k0000"]);
    let found = page(QuotaQuery { search: b"k099".to_vec(), sort: QuotaSort::Key, ..QuotaQuery::default() });
    assert_eq!((found.total, found.matched, keys(&found)[0].as_str()), (1_000, 10, "k0990"));
    let mut seen: Vec<String> = Vec::new();
    for offset in (0..1_200).step_by(100) {
        seen.extend(keys(&page(QuotaQuery { offset, count: 100, ..QuotaQuery::default() })));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_000);
}

#[tokio::test]
async fn what_redis_says_is_shown_until_a_worker_tells_otherwise() {
    let (list, now) = (QuotaList::default(), Instant::now());
    list.update([facts("k", 10_000, 5)], now);
    assert_eq!(list.spoken_of(9), [Bytes::from_static(b"k")]);
    list.looked_up(&Bytes::from_static(b"k"), vec![facts("k", 0, 0)], now);
    let shown = |list: &QuotaList| list.page(&QuotaQuery::default(), now).rows[0].facts.clone();
    assert_eq!(
        (shown(&list).value, shown(&list).exhausted, shown(&list).tally.refused[0]),
        (Some(0), false, 5)
    );
    list.update([facts("k", 10_000, 6)], now);
    assert_eq!(shown(&list).value, Some(0), "the same as before tells nothing new");
    list.update([facts("k", 1, 6)], now);
    assert_eq!(shown(&list).value, Some(1));
}

#[tokio::test]
async fn a_counter_that_nobody_used_shows_while_an_operator_has_changed_it() {
    let (list, now) = (QuotaList::default(), Instant::now());
    let set = Override { paused: true, paused_by: "me".into(), ..Override::default() };
    let mut row = facts("unused", 0, 0);
    row.paused = true;
    list.looked_up(&Bytes::from_static(b"unused"), vec![row], now);
    assert_eq!(list.page(&QuotaQuery::default(), now).total, 0);
    list.overridden(Arc::new([(Bytes::from_static(b"unused"), set)].into()));
    let page = list.page(&QuotaQuery::default(), now);
    assert_eq!(
        (page.total, page.rows[0].facts.paused, page.rows[0].facts.changed.paused_by.as_str()),
        (1, true, "me")
    );
    assert_eq!(list.foremost(now).len(), 1);
    list.overridden(Arc::default());
    assert_eq!(list.foremost(now).len(), 0);
}

#[tokio::test]
async fn rates_are_of_the_last_seconds_and_what_is_old_is_forgotten() {
    let (list, now) = (QuotaList::default(), Instant::now());
    list.update([facts("k", 100, 0)], now);
    let later = now + Duration::from_secs(2);
    list.update([facts("k", 300, 50)], later);
    let row = |now: Instant| {
        list.page(&QuotaQuery::default(), now).rows.first().map(|row| (row.admitted_per_s, row.refused_per_s))
    };
    assert_eq!(row(later), Some((100.0, 25.0)));
    assert_eq!(row(later + Duration::from_secs(6)), Some((0.0, 0.0)));
    list.update([], later + FORGOTTEN_AFTER);
    assert_eq!(row(later), None);
}
