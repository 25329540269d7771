//! A key's own page: what is done with it and why, who uses it and with what, its last ten minutes, what was refused and who changed what. An
//! operator with the right says whether it is folded; the gateway holds to it on all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hotgate::monitor::http_client::exchange;
use hotgate::shared::command_log::{LoggedRequest, Spent};
use hotgate::shared::events::{Event, EventKind};
use hotgate::shared::labels::Standout;
use hyper::Method;
use serde_json::{Value, json};

use crate::dashboard::keep_sampling;
use crate::made_up::{MARKUP, OPENS_S, Sale, Served, Stage};
use crate::page_states::{PATIENCE, axe, check_state, go};
use crate::support::{Gateway, Server, wait_until};
use crate::webdriver::Browser;

const SKU: &str = "sku:{8421}:reserved";

async fn served() -> (String, Arc<Stage>) {
    let stage = Arc::new(Stage::default());
    stage.events.record(Event::new(EventKind::Hot, SKU, "84,000/s, 62 % of all"));
    let entry = LoggedRequest {
        arguments: vec![b"INCRBY".to_vec(), SKU.into(), b"3".to_vec()],
        address: "10.0.1.7:50007".into(),
        folded: true,
        spent: Spent { whole_us: 12_000, waiting_us: 1_000, upstream_us: 10_900, stalled_us: 0 },
        ..LoggedRequest::default()
    };
    stage.command_log.add(Standout::Slow, entry, 128);
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage.clone(), Some("sesame")).await;
    stage.quotas.lock().unwrap()[0].limit = Some(100_000);
    for tick in 0..80 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    let url = served.url.clone();
    keep_sampling(served, sale, OPENS_S + 20.0);
    (url, stage)
}

async fn says(browser: &Browser, id: &str, words: &str) {
    browser
        .until(&format!("return document.getElementById('{id}').innerText.includes(`{words}`)"), PATIENCE)
        .await;
}

#[tokio::test]
async fn a_key_has_a_page_of_its_own() {
    let axe = axe();
    let (url, stage) = served().await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#/keys")).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    browser.run("document.getElementById('token').value = 'sesame'; document.querySelector('#token-form button').click()").await;
    let link =
        format!("[...document.querySelectorAll('#hot td a')].find(link => link.innerText === '{SKU}')");
    browser.until(&format!("return {link} !== undefined"), PATIENCE).await;
    browser.run(&format!("{link}.click()")).await;
    browser.until("return !document.getElementById('page-key').hidden", PATIENCE).await;
    assert_eq!(browser.run("return location.hash").await, "#/key/sku%3A%7B8421%7D%3Areserved");
    assert_eq!(browser.run("return document.querySelector('#nav [aria-current]').hash").await, "#/keys");
    assert_eq!(browser.run("return document.getElementById('key-name').innerText").await, SKU);
    for words in [
        "they had queued for 4.20 ms at 10.0.3.12:6379",
        "do not fold: expire",
        "it is tried whether they may pass again",
    ] {
        says(&browser, "key-course", words).await;
    }
    for (id, words) in [
        ("key-facts", "kept from Redis"),
        ("key-facts", "10.0.3.12:6379"),
        ("key-commands", "INCR"),
        ("key-clients", "10.0.1.3:50003"),
        ("key-clients", "#4711"),
        ("key-quotas", "ago: used up"),
        ("key-requests", "INCRBY sku:{8421}:reserved 3"),
        ("key-events", "62 % of all"),
    ] {
        says(&browser, id, words).await;
    }
    browser.until("return document.querySelectorAll('#page-key .chart .line').length === 4 && document.querySelector('#key-rate .line').getAttribute('d').length > 50", PATIENCE).await;
    check_state(&browser, &axe, "key").await;

    let press =
        |action: &str| format!("document.querySelector('#key-actions [data-action={action}]').click()");
    browser.run(&press("never")).await;
    browser.until("return document.getElementById('change-dialog').open", PATIENCE).await;
    check_state(&browser, &axe, "key-never").await;
    browser.run("document.getElementById('change-reason').value = 'to compare'; document.getElementById('change-do').click()").await;
    browser.until("return !document.getElementById('change-dialog').open", PATIENCE).await;
    says(&browser, "key-course", "An operator says that it is never folded.").await;
    says(&browser, "key-changes", "to compare").await;
    assert_eq!(
        browser.run("return document.querySelector('#key-actions [data-action=never]').disabled").await,
        true
    );
    assert_eq!(stage.audit.latest(1)[0].change, "key folding");

    // Its quotas are paused, limited and reset here as well.
    browser.run("document.querySelector('#key-quotas tbody button').click()").await;
    browser.run("document.getElementById('change-do').click()").await;
    browser
        .until("return document.querySelector('#key-quotas .badge').innerText === 'paused'", PATIENCE)
        .await;

    // Another key, of which nothing is known, and one whose name is markup.
    browser.run("location.hash = '#/key/cold%2Fkey'").await;
    says(&browser, "key-course", "It is not hot").await;
    assert_eq!(browser.run("return document.getElementById('key-name').innerText").await, "cold/key");
    assert_eq!(browser.run("return document.getElementById('key-quotas-panel').hidden && document.getElementById('key-tiles').hidden").await, true);
    check_state(&browser, &axe, "key-cold").await;
    let markup = std::str::from_utf8(MARKUP).unwrap();
    browser.run(&format!("location.hash = '#/key/' + encodeURIComponent(\"{markup}\")")).await;
    says(&browser, "key-course", "no worker has it combined").await;
    assert_eq!(browser.run("return document.querySelectorAll('img').length").await, 0);
    go(&browser, "overview").await;
}

fn ask(gateway: &Gateway, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}{path}", gateway.admin.unwrap());
    let body = body.map(|body| body.to_string().into());
    let asked = exchange(method, &url, Some("sesame"), body, Duration::from_secs(20));
    let answer = runtime.block_on(asked).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn set(gateway: &Gateway, key: &str, action: &str) -> (u16, Value) {
    ask(gateway, Method::POST, "/api/key", Some(json!({ "key": key, "action": action, "reason": "a test" })))
}

/// Increments from several connections until told to stop; what they were told is counted.
fn load(
    gateway: &Gateway,
    stop: &Arc<AtomicBool>,
    told: &Arc<AtomicU64>,
) -> Vec<std::thread::JoinHandle<()>> {
    let start = |_| {
        let (mut client, stop, told) = (gateway.client(), Arc::clone(stop), Arc::clone(told));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let reply = client.ask("INCR hot*key");
                assert!(reply.starts_with(':'), "{reply}");
                told.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    (0..6).map(start).collect()
}

#[test]
fn what_an_operator_says_of_folding_holds_on_all_workers_and_costs_no_increment() {
    let server = Server::start();
    let toml = "gateway.workers = 2\nadmin.token = \"sesame\"\n[detect]\nenter_rate = 10\nenter_share = 0.0\nleave_rate = 5\nleave_share = 0.0\n\
                [[rule]]\nmatch = \"behind:*\"\nmode = \"write-behind\"\n[[quota]]\nmatch = \"sold:*\"\nlimit = 5\n";
    let gateway = Gateway::before(&server).config(toml).start();
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads = load(&gateway, &stop, &told);
    let of_key = || ask(&gateway, Method::GET, "/api/key?key=hot*key", None).1;
    wait_until("the key is hot, and who uses it is known", || {
        let known = of_key();
        known["hot"]["requests_per_s"].as_f64() > Some(10.0)
            && known["used_by"]["clients"].as_array().is_some_and(|clients| clients.len() >= 2)
            && known["used_by"]["commands"][0]["command"] == "incr"
            && known["history"]["requests_per_s"].as_array().is_some_and(|points| !points.is_empty())
    });
    assert_eq!(of_key()["mode"], "auto");

    assert_eq!(set(&gateway, "hot*key", "fold"), (200, json!({ "done": "folded always" })));
    wait_until("it is folded always", || {
        let known = of_key();
        known["mode"] == "fold"
            && known["hot"]["course"] == "folding always"
            && known["hot"]["offered_per_s"].as_f64() > Some(1.0)
    });
    assert_eq!(set(&gateway, "hot*key", "never").0, 200);
    wait_until("no worker has it combined", || {
        let known = of_key();
        known["mode"] == "never"
            && known["hot"]["course"] == ""
            && known["hot"]["requests_per_s"].as_f64() > Some(10.0)
    });
    // A reload leaves what was said.
    gateway.reload(&format!("{toml}\n[slowlog]\nentries_max = 7\n"));
    let mut client = gateway.client();
    wait_until("the reload is noted", || client.ask("HOTGATE AUDIT 9").contains("slowlog.entries_max"));
    assert_eq!(of_key()["mode"], "never");
    assert_eq!(of_key()["hot"]["course"], "");
    assert_eq!(set(&gateway, "hot*key", "auto").0, 200);
    wait_until("it is left to the gateway", || of_key()["hot"]["course"] != "");
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(
        server.client().text("GET hot*key"),
        told.load(Ordering::Relaxed).to_string(),
        "each increment once"
    );

    let noted = client.ask("HOTGATE AUDIT 20");
    for words in ["key folding", "hot*key", "never", "admin.token", "a test"] {
        assert!(noted.contains(words), "{words}: {noted}");
    }
    for (key, action, status, words) in [
        ("behind:1", "fold", 409, "write-behind"),
        ("sold:1", "never", 409, "a quota holds this key"),
        ("\\xff", "fold", 409, "UTF-8"),
        ("k", "sometimes", 400, "fold, never, auto"),
    ] {
        let (seen, answer) = set(&gateway, key, action);
        assert!(
            seen == status && answer["error"].as_str().unwrap().contains(words),
            "{key} {action}: {seen} {answer}"
        );
    }
    for number in 0..64 {
        assert_eq!(set(&gateway, &format!("k{number}"), "fold").0, 200);
    }
    let (seen, answer) = set(&gateway, "one:more", "fold");
    assert!(seen == 409 && answer["error"].as_str().unwrap().contains("64 keys"), "{answer}");
}

#[test]
fn a_key_is_named_by_its_hash_where_that_is_asked_for_and_who_may_only_read_says_nothing() {
    let server = Server::start();
    let toml = "admin.token = \"sesame\"\nadmin.hash_key_names = true\n[[admin.bearer]]\nname = \"eve\"\ntoken = \"look\"\nmay = \"read\"\n\
                [detect]\nenter_rate = 10\nenter_share = 0.0\nleave_rate = 5\nleave_share = 0.0\n";
    let gateway = Gateway::before(&server).config(toml).start();
    let mut client = gateway.client();
    let hot =
        || ask(&gateway, Method::GET, "/api/hotkeys", None).1["keys"][0]["key"].as_str().map(str::to_owned);
    let mut name = None;
    wait_until("the key is hot", || {
        (0..30).for_each(|_| drop(client.ask("GET private")));
        name = hot();
        name.is_some()
    });
    let name = name.unwrap();
    assert!(name.starts_with("h:"), "{name}");
    let (status, known) = ask(&gateway, Method::GET, &format!("/api/key?key={name}"), None);
    assert!(
        status == 200 && known["hot"]["key"] == name.as_str() && !known.to_string().contains("private"),
        "{known}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}/api/key", gateway.admin.unwrap());
    let body = Some(json!({ "key": name, "action": "fold" }).to_string().into());
    let refused =
        runtime.block_on(exchange(Method::POST, &url, Some("look"), body, Duration::from_secs(20))).unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(set(&gateway, &name, "fold").0, 200);
    assert_eq!(ask(&gateway, Method::GET, &format!("/api/key?key={name}"), None).1["mode"], "fold");
    assert!(!client.ask("HOTGATE AUDIT 9").contains("private"));
}
