//! The page in each of its states, light and dark, on a desk and on a phone: nobody is kept from reading it, by the rules of WCAG
//! 2.1 AA as axe-core checks them, and it shows what is so.
//!
//! Screenshots of every state are left in the target directory under `tmp/page`, for looking at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hotgate::detect::{Class, HotSet, Rates};
use hotgate::monitor::view::{Conditions, Readiness, ServerFault};
use hotgate::route::ClusterId;
use hotgate::shared::events::{Event, EventKind};
use hotgate::shared::labels::NodeRefusal;
use hotgate::shared::probes::NodeProbe;
use hotgate::shared::topology::Topology;
use serde_json::Value;
use tokio::time::Instant;

use crate::dashboard::keep_sampling;
use crate::made_up::{OPENS_S, SKU, Sale, Served, Stage, hot_key, node_address, quota};
use crate::webdriver::Browser;

pub const PATIENCE: Duration = Duration::from_secs(30);
const LONG_KEY: &str = "tenant:{4711}:basket:of:the:customer:with:a:name:that:goes:on:and:on:until:nobody:reads:it:any:more:lines";

fn target(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// The text of axe-core.
pub fn axe() -> String {
    let directory = target("axe");
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webdriver/install");
    let status = Command::new(install).arg(&directory).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "tests/webdriver/install ended with {status}");
    fs::read_to_string(directory.join("node_modules/axe-core/axe.min.js")).unwrap()
}

/// A gateway whose figures are made anew four times a second, as the control thread does, and which can be changed meanwhile.
async fn served(from_s: f64, to_s: f64, token: Option<&'static str>) -> (Served, Sale) {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, token).await;
    let mut second = from_s;
    while second < to_s {
        sale.play(second);
        served.tick();
        second += 0.25;
    }
    (served, sale)
}

/// What axe-core finds, one line for each.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    if browser.run("return typeof axe === 'undefined'").await == true {
        browser.run(&format!("{axe}\nwindow.axe = axe;")).await;
    }
    let script = "const done = arguments[arguments.length - 1];
        axe.run(document, { preload: false, resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] })
           .then(results => done(results.violations.map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => `${n.target} ${n.failureSummary}`).join(' | ')}`)),
                 error => done([String(error)]));";
    let found = browser.run_async(script).await;
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
}

/// Checks the state that the page is in, in both themes and sizes.
pub async fn check_state(browser: &Browser, axe: &str, state: &str) {
    let mut faults = Vec::new();
    for (width, height) in [(1280, 1000), (390, 844)] {
        browser.resize(width, height).await;
        for theme in ["light", "dark"] {
            browser.theme(theme).await;
            let file = format!("{state}-{theme}-{width}.png");
            screenshot_of_all(browser, (width, height), &target("page").join(file)).await;
            let found = violations(browser, axe).await;
            faults.extend(found.into_iter().map(|line| format!("{state}, {theme}, {width}: {line}")));
            let wide = browser.run("return document.documentElement.scrollWidth > window.innerWidth").await;
            if wide == true {
                faults.push(format!("{state}, {theme}, {width}: scrolls sideways"));
            }
        }
    }
    browser.resize(1280, 1000).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // That a token was asked for, or a change refused, is the browser's to log.
    let expected = ["401 (Unauthorized)", "409 (Conflict)"];
    let is_expected = |line: &String| expected.iter().any(|status| line.contains(status));
    let errors = browser.errors().await.into_iter().filter(|line| !is_expected(line));
    assert_eq!(errors.collect::<Vec<_>>(), Vec::<String>::new(), "{state}");
}

/// Goes to a page by its entry of the navigation, as the keyboard and a screen reader do.
pub async fn go(browser: &Browser, page: &str) {
    let press = format!("document.querySelector('#nav a[href=\"#/{page}\"]').click()");
    browser.run(&press).await;
    let shown = format!("return !document.getElementById('page-{page}').hidden");
    browser.until(&shown, PATIENCE).await;
}

/// The whole page, however far down it goes.
async fn screenshot_of_all(browser: &Browser, (width, height): (u32, u32), path: &Path) {
    let whole = browser.run("return document.documentElement.scrollHeight").await;
    browser.resize(width, (whole.as_u64().unwrap() as u32).clamp(height, 6_000)).await;
    browser.screenshot(path).await;
    browser.resize(width, height).await;
}

async fn text(browser: &Browser, id: &str) -> String {
    let text = browser.run(&format!("return document.getElementById('{id}').innerText")).await;
    text.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_state_can_be_read_by_everyone() {
    let axe = axe();
    let (served, sale) = served(OPENS_S - 30.0, OPENS_S - 1.0, Some("sesame")).await;
    let (url, stage) = (served.url.clone(), served.stage.clone());
    keep_sampling(served, sale, OPENS_S - 1.0);
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    check_state(&browser, &axe, "token").await;
    let enter = "document.getElementById('token').value = 'sesame';
                 document.querySelector('#token-form button').click();";
    browser.run(enter).await;
    browser
        .until("return document.querySelectorAll('#overview-nodes tbody tr').length === 3", PATIENCE)
        .await;
    check_state(&browser, &axe, "quiet").await;

    browser
        .until(
            "return document.querySelector('#overview-hot tbody').innerText.includes('sku:{8421}')",
            PATIENCE,
        )
        .await;
    check_state(&browser, &axe, "sale").await;

    go(&browser, "sales").await;
    stage.quotas.lock().unwrap()[0].limit = Some(10);
    browser.until("return document.querySelector('#quotas .badge').innerText === 'sold out'", PATIENCE).await;
    check_state(&browser, &axe, "sold-out").await;

    browser
        .run("document.querySelectorAll('#quotas tbody tr')[0].querySelectorAll('button')[1].click()")
        .await;
    browser.until("return document.getElementById('change-dialog').open", PATIENCE).await;
    check_state(&browser, &axe, "limit-dialog").await;
    browser.run("document.getElementById('change-cancel').click()").await;
    browser.run("document.querySelector('#quotas tbody tr button').click()").await;
    browser.run("document.getElementById('change-do').click()").await;
    browser.until("return document.querySelector('#quotas .badge').innerText === 'paused'", PATIENCE).await;
    check_state(&browser, &axe, "paused").await;

    *stage.readiness.lock().unwrap() =
        Readiness::UpstreamUnreachable { why: "10.0.3.10:6379 refuses connections".into() };
    browser.until("return document.getElementById('status').dataset.level === 'critical'", PATIENCE).await;
    check_state(&browser, &axe, "unreachable").await;
}

#[tokio::test]
async fn a_gateway_that_is_lost_and_one_without_traffic_can_be_read_by_everyone() {
    let axe = axe();
    let stage = Arc::new(Stage::default());
    stage.quotas.lock().unwrap().clear();
    *stage.topology.lock().unwrap() = Arc::new(one_server());
    let mut served = Served::start(stage, None).await;
    served.tick();
    let browser = Browser::start().await;
    browser.open(&served.url).await;
    browser.until("return document.getElementById('rate').innerText === '0'", PATIENCE).await;
    for _ in 0..20 {
        served.tick();
    }
    browser
        .until("return document.getElementById('sentence').innerText.startsWith('All quiet')", PATIENCE)
        .await;
    check_state(&browser, &axe, "no-traffic").await;
    served.stop();
    browser.until("return !document.getElementById('lost').hidden", PATIENCE).await;
    // That the connection is refused is the browser's to log.
    browser.errors().await;
    for (theme, width) in [("light", 1280), ("dark", 390)] {
        browser.resize(width, 900).await;
        browser.theme(theme).await;
        browser.screenshot(&target("page").join(format!("lost-{theme}-{width}.png"))).await;
        assert_eq!(violations(&browser, &axe).await, Vec::<String>::new(), "lost, {theme}");
    }
}

/// Much is wrong at once: the gravest comes first, each node says what it is, and what was lost stays.
#[tokio::test]
async fn a_gateway_in_trouble_can_be_read_by_everyone() {
    let axe = axe();
    let (served, mut sale) = served(OPENS_S, OPENS_S + 2.0, None).await;
    let (url, stage) = (served.url.clone(), served.stage.clone());
    sale.lose(3);
    let here = |place: usize| (ClusterId::DEFAULT, node_address(place));
    {
        let mut probes = stage.probes.lock().unwrap();
        let silent = NodeProbe { unanswered_since: Some(Instant::now()), ..NodeProbe::default() };
        let gone = NodeProbe { unreachable: Some("cannot connect: refused".into()), ..NodeProbe::default() };
        let refusing = NodeProbe { refusal: Some(NodeRefusal::Loading), ..NodeProbe::default() };
        let unlinked = NodeProbe { is_linked: Some(false), ..NodeProbe::default() };
        let full = NodeProbe { clients: Some((9_990, 10_000)), keys: Some(301_000), ..NodeProbe::default() };
        probes.extend([(here(0), silent), (here(1), full), (here(3), gone), (here(4), unlinked)]);
        probes.insert(here(5), refusing);
        *stage.conditions.lock().unwrap() = Conditions {
            reload_refused: vec!["/etc/hotgate/hotgate.toml:12:1: gateway.worker: unknown key".into()],
            restart_needed: vec!["gateway.listen".into()],
            unusable_servers: vec![ServerFault {
                cluster: "default".into(),
                what: "redis-old.internal:6379: cannot resolve: no such host".into(),
            }],
            ..Conditions::default()
        };
    }
    keep_sampling(served, sale, OPENS_S + 2.0);
    let browser = Browser::start().await;
    browser.open(&url).await;
    let told =
        "return document.getElementById('sentence').innerText.startsWith('10.0.3.10:6379 has not answered')";
    browser.until(told, PATIENCE).await;
    // What was lost is a line while that is recent, and stays beside the figures after it.
    browser.until("return !document.getElementById('losses').hidden", PATIENCE).await;
    let lost = text(&browser, "losses").await;
    assert!(lost.starts_with("3 write-behind increments are lost: Redis refused them ("), "{lost}");
    check_state(&browser, &axe, "trouble-overview").await;
    go(&browser, "nodes").await;
    browser.until("return document.querySelectorAll('#nodes tbody tr').length === 6", PATIENCE).await;
    let badges = "return [...document.querySelectorAll('#nodes .badge')].map(badge => badge.innerText.replace(/[0-9]+ s/, '')).join()";
    let badges = browser.run(badges).await;
    assert_eq!(badges, "silent for ,up,up,down,no link,loading");
    let roles = text(&browser, "nodes").await;
    assert!(roles.contains("master, 5,461 slots, no replica"), "{roles}");
    assert!(roles.contains("replica of 10.0.3.11:6379"), "{roles}");
    check_state(&browser, &axe, "trouble").await;
}

/// One server, without a cluster.
fn one_server() -> Topology {
    Topology::single(1, "10.0.3.10:6379".parse().unwrap())
}

#[tokio::test]
async fn charts_and_tables_tell_the_truth_at_a_glance() {
    let stage = Arc::new(Stage::default());
    *stage.topology.lock().unwrap() = Arc::new(one_server());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage.clone(), None).await;
    for tick in 0..400 {
        sale.play(f64::from(tick) * 0.25);
        // Two seconds in which forty times as much is asked, and then a minute as before.
        if (150..158).contains(&tick) {
            sale.rush(500_000);
        }
        served.tick();
    }
    let rates = Rates { ops: 900.0, reads: 900.0, share: 0.02, connections: 30, ..Rates::default() };
    let mut history = vec![900; 60];
    history[20] = 90_000;
    let entries = vec![hot_key(LONG_KEY.as_bytes(), Class::ReadHot, rates, history)];
    *stage.hot.lock().unwrap() = Arc::new(HotSet { version: 10, entries, ..HotSet::default() });
    let url = served.url.clone();
    tokio::spawn(async move {
        loop {
            served.tick();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let browser = Browser::start().await;
    browser.resize(1280, 1000).await;
    browser.open(&url).await;
    browser.until("return document.querySelectorAll('#overview-hot tbody tr').length === 1", PATIENCE).await;
    browser.screenshot(&target("page").join("spike-light-1280.png")).await;

    // A spike is marked, and what is usual uses the height.
    let scale = browser.run("return document.querySelector('#tile-rate .scale').innerText").await;
    assert!(scale.as_str().unwrap().contains("peak"), "{scale}");
    let usual = "const ys = [...document.querySelector('#tile-rate .line').getAttribute('d').matchAll(/[ML][0-9.-]+ ([0-9.]+)/g)].map(m => Number(m[1]));
                 return ys.sort((a, b) => a - b)[Math.floor(ys.length / 2)]";
    assert!(
        browser.run(usual).await.as_f64().unwrap() < 50.0,
        "the usual height is in the lower third of 74"
    );
    assert_ne!(
        browser.run("return document.querySelector('#overview-hot .beyond').getAttribute('d')").await,
        ""
    );

    // The sparkline is as wide as its column.
    let widths = "const spark = document.querySelector('#overview-hot .spark'); const cell = spark.closest('td'); const style = getComputedStyle(cell);
                  return [spark.getBoundingClientRect().width, cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)]";
    let widths = browser.run(widths).await;
    assert!((widths[0].as_f64().unwrap() - widths[1].as_f64().unwrap()).abs() < 1.5, "{widths}");

    // A long key is cut in the middle, and the whole of it is told at the pointer.
    let shown =
        browser.run("return document.querySelector('#overview-hot tbody td').firstChild.innerText").await;
    let shown = shown.as_str().unwrap();
    assert!(
        shown.starts_with("tenant:{4711}") && shown.contains('…') && shown.ends_with("more:lines"),
        "{shown}"
    );
    assert_eq!(
        browser.run("return document.querySelector('#overview-hot tbody td').firstChild.title").await,
        LONG_KEY
    );

    // A lone server takes all of the load: that is nothing to warn of.
    assert_eq!(browser.run("return document.querySelector('#overview-nodes .bar').dataset.tone").await, "");

    // Values at the pointer, and by the keyboard, which a screen reader tells.
    for chart in ["#tile-latency svg", "#overview-hot .spark"] {
        let point = format!(
            "const chart = document.querySelector('{chart}'); const box = chart.getBoundingClientRect();
             chart.dispatchEvent(new PointerEvent('pointermove', {{ clientX: box.right - 2, clientY: box.top + 5 }}));
             return [document.getElementById('tip').hidden, document.getElementById('tip').innerText]"
        );
        let tip = browser.run(&point).await;
        assert!(tip[0] == false && tip[1].as_str().unwrap().len() > 6, "{tip}");
        let keys = format!(
            "const chart = document.querySelector('{chart}'); chart.focus();
             const press = key => chart.dispatchEvent(new KeyboardEvent('keydown', {{ key, cancelable: true }}));
             press('End'); const now = chart.getAttribute('aria-valuenow'); press('ArrowLeft'); press('ArrowLeft');
             return [now, chart.getAttribute('aria-valuenow'), chart.getAttribute('aria-valuetext'), chart.getAttribute('role'), chart.tabIndex]"
        );
        let told = browser.run(&keys).await;
        assert_eq!((told[0].as_str(), told[1].as_str()), (Some("0"), Some("-2")), "{told}");
        assert!(told[2].as_str().unwrap().len() > 6 && told[3] == "slider" && told[4] == 0, "{told}");
    }
    let unlabelled = "return [...document.querySelectorAll('button, input, select, [tabindex]')].filter(e => e.offsetParent && !(e.ariaLabel || e.innerText || e.labels?.length || e.getAttribute('aria-label'))).length";
    assert_eq!(browser.run(unlabelled).await, 0);
}

#[tokio::test]
async fn quotas_are_counted_searched_paged_and_changed() {
    let (served, sale) = served(OPENS_S, OPENS_S + 2.0, Some("sesame")).await;
    let (url, stage) = (served.url.clone(), served.stage.clone());
    let more = (0..300).map(|number| {
        let mut row = quota(format!("sku:{{{number}}}:more").as_bytes(), 0, 1_000);
        row.value = Some(number);
        row
    });
    stage.quotas.lock().unwrap().extend(more);
    keep_sampling(served, sale, OPENS_S + 2.0);
    let browser = Browser::start().await;
    browser.resize(1280, 1000).await;
    browser.open(&format!("{url}/#/sales")).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    browser.run("document.getElementById('token').value = 'sesame'; document.querySelector('#token-form button').click()").await;
    browser.until("return document.getElementById('quota-count').innerText === '302'", PATIENCE).await;
    assert_eq!(text(&browser, "quota-place").await, "1 to 20 of 302");
    browser.run("document.getElementById('quota-on').click()").await;
    browser
        .until("return document.getElementById('quota-place').innerText === '21 to 40 of 302'", PATIENCE)
        .await;
    browser.run("const search = document.getElementById('quota-search'); search.value = '{29'; search.dispatchEvent(new Event('input'))").await;
    browser
        .until(
            "return document.getElementById('quota-place').innerText === '1 to 11 of 11 found, 302 in all'",
            PATIENCE,
        )
        .await;
    browser.screenshot(&target("page").join("search-light-1280.png")).await;

    // A limit is set, said to be an operator's, and reset.
    let press = |button: usize| {
        format!(
            "document.querySelectorAll('#quotas tbody tr')[0].querySelectorAll('button')[{button}].click()"
        )
    };
    assert_eq!(browser.run("return document.querySelectorAll('#quotas tbody tr')[0].querySelectorAll('button')[2].disabled").await, true);
    browser.run(&press(1)).await;
    browser.run("document.getElementById('change-limit').value = '4503599627370496'; document.getElementById('change-do').click()").await;
    browser.until("return document.querySelector('#quotas tbody tr').innerText.includes('of 4,503,599,627,370,496, set by 10.0.0.9 over HTTP')", PATIENCE).await;
    browser.run(&press(2)).await;
    browser.run("document.getElementById('change-do').click()").await;
    browser
        .until("return !document.querySelector('#quotas tbody tr').innerText.includes('set by')", PATIENCE)
        .await;

    // What was changed is listed, the latest first.
    go(&browser, "configuration").await;
    browser.until("return document.querySelectorAll('#changes tbody tr').length === 2", PATIENCE).await;
    browser
        .until(
            "return document.querySelector('#changes tbody tr').innerText.includes('quota reset')",
            PATIENCE,
        )
        .await;

    // What happened is listed, and marked on the charts.
    let happened = Event::new(EventKind::NodeDown, "10.0.0.2:7000", "it does not answer");
    stage.events.record(happened);
    go(&browser, "events").await;
    browser
        .until(
            "return document.querySelector('#events tbody tr')?.innerText.includes('10.0.0.2:7000')",
            PATIENCE,
        )
        .await;

    let marked = browser
        .run_async(
            "const done = arguments[arguments.length - 1];
            import('/charts.js').then(({ Chart }) => {
              const figure = document.createElement('figure');
              const chart = new Chart(figure, [{ name: 'v', label: '', tone: '' }], String);
              chart.happen([{ at_ms: 990000, label: 'node down a:1' }, { at_ms: 5, label: 'long ago' }]);
              chart.draw({ v: Array(600).fill(1), end_ms: 1000000, step_ms: 1000 }, { slots: 600, since: '10 min ago' });
              done([chart.happened.getAttribute('d'), chart.read(9), chart.read(30)].join('|'));
            }, error => done(String(error)))",
        )
        .await;
    let marked: Vec<&str> = marked.as_str().unwrap().split('|').collect();
    assert_eq!(marked[0], "M295.0 0V74", "{marked:?}");
    assert!(marked[1].ends_with("1 · node down a:1") && marked[2].ends_with("  1"), "{marked:?}");

    // One for a key that is not in the list.
    go(&browser, "sales").await;
    browser.run("document.getElementById('quota-other').click()").await;
    browser.run("document.getElementById('change-name').value = 'sku:{new}:reserved'; document.getElementById('change-limit').value = '5'; document.getElementById('change-do').click()").await;
    browser
        .until(
            "return document.getElementById('change-fault').innerText === 'no quota holds this key'",
            PATIENCE,
        )
        .await;
    let name: Value = std::str::from_utf8(SKU).unwrap().into();
    browser.run(&format!("document.getElementById('change-name').value = {name}; document.getElementById('change-do').click()")).await;
    browser.until("return !document.getElementById('change-dialog').open", PATIENCE).await;
    assert_eq!(stage.quotas.lock().unwrap()[0].limit, Some(5));
}
