//! How the gateway fared stays known: ten minutes in seconds, a day in minutes, over a restart and behind a torn file; as JSON and as rows, on
//! the page and on the board for the wall.

use std::sync::Arc;
use std::time::Duration;

use hotgate::monitor::http_client::{Response, exchange};
use hyper::Method;
use serde_json::Value;

use crate::dashboard::keep_sampling;
use crate::made_up::{OPENS_S, Sale, Served, Stage};
use crate::page_states::{PATIENCE, axe, check_state};
use crate::support::{Gateway, Server, wait_until};
use crate::webdriver::Browser;

fn seconds(gateway: &Gateway) -> Value {
    let (status, answer) = gateway.get_with_token("/api/history", "sesame");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

fn highest(history: &Value) -> f64 {
    let rates = history["requests_per_s"].as_array().unwrap().iter();
    rates.filter_map(Value::as_f64).fold(0.0, f64::max)
}

#[test]
fn the_past_survives_a_restart_and_a_torn_file() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let toml = format!("gateway.state_dir = {:?}\nadmin.token = \"sesame\"\n", state.path());
    let mut gateway = Gateway::before(&server).config(&toml).start();
    let mut client = gateway.client();
    wait_until("requests are in the history", || {
        (0..50).for_each(|_| client.check("PING", "+PONG"));
        highest(&seconds(&gateway)) > 10.0
    });
    let before = seconds(&gateway);
    gateway.terminate();
    assert!(gateway.wait().success());
    let file = state.path().join("history.csv");
    let mut text = std::fs::read(&file).unwrap();
    assert!(
        !text.is_empty()
            && text
                .split(|byte| *byte == b'\n')
                .all(|line| line.is_empty() || line.starts_with(b"second,") || line.starts_with(b"minute,"))
    );
    text.extend(b"second,1,2\n\xff\nsecond,99");
    std::fs::write(&file, text).unwrap();

    let gateway = Gateway::before(&server).config(&toml).start();
    let after = seconds(&gateway);
    assert!((highest(&after) - highest(&before)).abs() < 0.1, "{before} then {after}");
    wait_until("it goes on behind a gap", || {
        let now = seconds(&gateway);
        let rates = now["requests_per_s"].as_array().unwrap();
        let columns = now["p99_us"].as_array().unwrap();
        assert_eq!(rates.len(), columns.len());
        now["end_ms"].as_u64() > after["end_ms"].as_u64() && rates.last().unwrap().is_number()
    });
    // Who can write nothing there goes on in memory.
    std::fs::remove_dir_all(state.path()).unwrap();
    std::fs::write(state.path(), "no directory").unwrap();
    let end = seconds(&gateway)["end_ms"].as_u64();
    wait_until("it goes on", || seconds(&gateway)["end_ms"].as_u64() > end);
}

async fn get(served: &Served, path: &str, token: Option<&str>) -> Response {
    exchange(Method::GET, &format!("{}{path}", served.url), token, None, Duration::from_secs(20))
        .await
        .unwrap()
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

/// A sale with so many seconds behind it.
async fn served(seconds: f64, token: Option<&'static str>) -> (Served, Sale) {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, token).await;
    for tick in 0..(seconds * 4.0) as u32 {
        sale.play(OPENS_S - 90.0 + f64::from(tick) * 0.25);
        served.tick();
    }
    (served, sale)
}

#[tokio::test]
async fn everything_that_is_shown_can_be_had_as_json_and_as_rows() {
    let (served, _) = served(110.0, Some("sesame")).await;
    let minutes = text(&get(&served, "/api/history?step=minute", Some("sesame")).await);
    let minutes: Value = serde_json::from_str(&minutes).unwrap();
    assert_eq!(
        (minutes["step_ms"].as_u64(), minutes["requests_per_s"].as_array().unwrap().len()),
        (Some(60_000), 2)
    );
    assert_eq!(minutes["end_ms"].as_u64().unwrap() % 60_000, 0, "minutes are those of the clock");
    assert!(minutes["p99_us"][1].as_f64().unwrap() > 100.0, "{minutes}");
    let rows = get(&served, "/api/history?format=csv", Some("sesame")).await;
    let rows = text(&rows);
    let mut lines = rows.lines();
    assert_eq!(
        lines.next(),
        Some("at_ms,errors_per_s,flushed_per_s,offered_per_s,p50_us,p99_us,refused_per_s,requests_per_s")
    );
    assert!(lines.clone().count() > 100 && lines.all(|line| line.split(',').count() == 8), "{rows}");
    for (path, column) in [
        ("hotkeys", "requests_per_s"),
        ("nodes", "inflight"),
        ("quotas", "remaining"),
        ("clients", "address"),
        ("events", "value"),
        ("audit", "value"),
        ("slowlog", "value"),
        ("sales", "value"),
        ("stats", "value"),
        ("routes?table=routes", "value"),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = get(&served, &format!("/api/{path}{separator}format=csv"), Some("sesame")).await;
        let answer = text(&answer);
        assert!(answer.lines().next().unwrap().split(',').any(|name| name == column), "{path}: {answer}");
    }
    let hot = text(&get(&served, "/api/hotkeys?format=csv", Some("sesame")).await);
    assert!(
        hot.contains("<img src=x onerror=document.title='owned'>") && hot.contains("sku:{8421}:reserved"),
        "{hot}"
    );
    for (path, status) in [
        ("/api/history?step=hour", 400),
        ("/api/history?format=xml", 400),
        ("/api/hotkeys?format=csv&table=nothing", 400),
        ("/api/nothing?format=csv", 404),
    ] {
        assert_eq!(get(&served, path, Some("sesame")).await.status, status, "{path}");
    }
    assert_eq!(get(&served, "/api/history?format=csv", None).await.status, 401);
}

#[tokio::test]
async fn the_charts_go_back_a_day_and_the_board_for_the_wall_shows_the_rest() {
    let axe = axe();
    let (served, sale) = served(110.0, Some("sesame")).await;
    let url = served.url.clone();
    keep_sampling(served, sale, OPENS_S + 20.0);
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#/overview/day")).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    browser.run("document.getElementById('token').value = 'sesame'; document.querySelector('#token-form button').click()").await;
    browser
        .until(
            "return document.querySelector('#tile-rate figcaption').innerText.includes('24 h ago')",
            PATIENCE,
        )
        .await;
    let chart = "document.querySelector('#tile-rate svg')";
    assert_eq!(browser.run(&format!("return {chart}.getAttribute('aria-valuemin')")).await, "-1439");
    assert_eq!(
        browser.run(&format!("return {chart}.getAttribute('aria-label')")).await,
        "Requests per second, 24 h ago until now"
    );
    let told = browser.run(&format!("return {chart}.getAttribute('aria-valuetext')")).await;
    assert!(told.as_str().unwrap().ends_with("/s"), "{told}");
    check_state(&browser, &axe, "overview-day").await;
    browser.run("document.getElementById('history-csv').click()").await;
    browser.until("return performance.getEntriesByType('resource').some(entry => entry.name.endsWith('api/history?step=minute&format=csv'))", PATIENCE).await;
    browser.run("document.querySelector('#range a').click()").await;
    browser
        .until(
            "return document.querySelector('#tile-rate figcaption').innerText.includes('10 min ago')",
            PATIENCE,
        )
        .await;

    // What is not known is a gap, and no line goes over it.
    let drawn = browser
        .run_async(
            "const done = arguments[arguments.length - 1];
            import('/charts.js').then(({ Chart }) => {
              const chart = new Chart(document.createElement('figure'), [{ name: 'v', label: '', tone: '' }], String);
              chart.draw({ v: [1, 1, null, null, 1, 1], end_ms: 5000, step_ms: 1000 }, { slots: 6, since: 'then' });
              done([chart.lines[0].getAttribute('d').match(/M/g).length, chart.area.getAttribute('d').match(/Z/g).length, chart.read(2), chart.read(0) !== null].join('|'));
            }, error => done(String(error)))",
        )
        .await;
    assert_eq!(drawn, "2|2||true");

    browser.open(&format!("{url}/wall")).await;
    browser.until("return document.body.dataset.level === 'notice' && document.querySelector('#wall-keys tbody').innerText.includes('sku:{8421}')", PATIENCE).await;
    browser
        .until(
            "return document.getElementById('wall-nodes').innerText.startsWith('3 of 3 masters up')",
            PATIENCE,
        )
        .await;
    browser
        .until(
            "return document.querySelector('#wall-stock tbody').innerText.includes('sku:{8421}:reserved')",
            PATIENCE,
        )
        .await;
    assert_eq!(
        browser.run("return document.querySelectorAll('main button, main a, main input').length").await,
        0
    );
    check_state(&browser, &axe, "wall").await;
    browser.resize(1920, 1080).await;
    browser.screenshot(&std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page/wall-1920.png")).await;
    assert_eq!(
        browser.run("return document.documentElement.scrollHeight <= window.innerHeight").await,
        true,
        "it fits a screen"
    );
}
