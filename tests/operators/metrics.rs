//! `/metrics` as a scraper sees it: every declared metric is there once, promtool finds nothing to object to,
//! and odd keys harm nothing.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::made_up::{OPENS_S, Sale, Served, Stage, hot_key};
use hotgate::detect::{Class, HotSet, Rates};
use hotgate::monitor::exposition::CONTENT_TYPE;
use hotgate::monitor::http_client::exchange;
use hotgate::monitor::metrics::ALL;
use hotgate::shared::labels::{Outcome, RequestClass};
use hotgate::shared::tallies::WorkerTallies;
use hyper::Method;

async fn scrape(url: &str) -> String {
    let response =
        exchange(Method::GET, &format!("{url}/metrics"), None, None, Duration::from_secs(10)).await.unwrap();
    assert_eq!(response.status, 200);
    String::from_utf8(response.body.to_vec()).unwrap()
}

async fn scrape_of_a_sale() -> String {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, None).await;
    for tick in 0..200 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    scrape(&served.url).await
}

fn promtool_check_metrics(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (package prometheus)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "promtool check metrics:\n{said}");
}

/// Sample lines by everything before the value.
fn samples(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series, value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn promtool_finds_nothing_to_object_to() {
    promtool_check_metrics(&scrape_of_a_sale().await);
}

#[tokio::test]
async fn every_declared_metric_is_rendered_once_and_no_other() {
    let text = scrape_of_a_sale().await;
    let mut rendered: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let mut declared: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
    rendered.sort_unstable();
    declared.sort_unstable();
    assert_eq!(rendered, declared);
    assert!(
        text.lines().filter(|line| !line.starts_with('#')).count() == samples(&text).len(),
        "a series appears twice"
    );
}

#[tokio::test]
async fn counts_arrive_unchanged() {
    let stage = Arc::new(Stage::default());
    let mut tallies = WorkerTallies::default();
    for ns in [8_000, 80_000, 800_000] {
        tallies.count(RequestClass::Counter, Outcome::Combined);
        tallies.request_time.record(ns);
    }
    stage.cell.publish(&tallies);
    let mut served = Served::start(stage, None).await;
    served.tick();
    let text = scrape(&served.url).await;
    let samples = samples(&text);
    for (series, expect) in [
        ("hotgate_requests_total{class=\"counter\",outcome=\"combined\"}", 3.0),
        ("hotgate_request_duration_seconds_count", 3.0),
        ("hotgate_request_duration_seconds_sum", 0.000_888),
        ("hotgate_request_duration_seconds_bucket{le=\"0.0001\"}", 2.0),
        ("hotgate_request_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("hotgate_ready", 1.0),
    ] {
        assert!((samples[series] - expect).abs() < 1e-9, "{series} is {}", samples[series]);
    }
}

#[tokio::test]
async fn odd_keys_stay_inside_their_labels_and_are_bounded() {
    let stage = Arc::new(Stage::default());
    let rates = |ops| Rates { ops, reads: ops, ..Rates::default() };
    let odd: [&[u8]; 6] =
        [b"quote\"and\\slash", b"line\nfeed", b"\xff\xfe", b"}", b"", "\u{202e}txt".as_bytes()];
    let plain = (0..100).map(|n| format!("key:{n}").into_bytes());
    let long = [vec![b'x'; 512], vec![b'x'; 512]];
    let hottest = odd.iter().map(|key| key.to_vec()).chain(long).map(|key| (key, 20.0));
    let keys = hottest.chain(plain.map(|key| (key, 10.0)));
    let entries = keys.map(|(key, ops)| hot_key(&key, Class::ReadHot, rates(ops), vec![1])).collect();
    *stage.hot.lock().unwrap() = Arc::new(HotSet { version: 1, entries, ..HotSet::default() });
    let served = Served::start(stage, None).await;
    let text = scrape(&served.url).await;
    promtool_check_metrics(&text);
    let labelled = text.lines().filter(|line| line.starts_with("hotgate_hot_key_share_ratio{")).count();
    assert_eq!(labelled, 20, "the top twenty, the long key once");
    assert!(text.contains("key=\"quote\\\"and\\\\\\\\slash\""));
}

#[tokio::test]
async fn a_scraper_is_told_the_format() {
    let served = Served::start(Arc::new(Stage::default()), None).await;
    let output =
        Command::new("curl").args(["-sI", "-X", "GET", &format!("{}/metrics", served.url)]).output().unwrap();
    let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    assert!(head.contains(&format!("content-type: {CONTENT_TYPE}")), "{head}");
}
