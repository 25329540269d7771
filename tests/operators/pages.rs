//! The pages of the dashboard: each has an address, is found by keyboard and screen reader, can be read by everyone in both themes and
//! sizes, and asks only for what it shows. The list of requests that stood out is one of them: it is filtered, linked and emptied.

use std::sync::Arc;
use std::time::Duration;

use hotgate::monitor::http_client::exchange;
use hotgate::shared::command_log::{LoggedRequest, Spent};
use hotgate::shared::events::{Event, EventKind};
use hotgate::shared::labels::Standout;
use hyper::Method;

use crate::dashboard::keep_sampling;
use crate::made_up::{OPENS_S, START_MS, Sale, Served, Stage};
use crate::page_states::{PATIENCE, axe, check_state, go};
use crate::support::{Gateway, Server};
use crate::webdriver::Browser;

const PAGES: [(&str, &str); 8] = [
    ("overview", "Overview"),
    ("keys", "Keys"),
    ("sales", "Quotas and sales"),
    ("commands", "Commands"),
    ("nodes", "Nodes"),
    ("clients", "Clients"),
    ("events", "Events"),
    ("configuration", "Configuration"),
];

/// A request that took long, of which so much went into waiting here, into Redis, and into the rest.
fn request(arguments: &[&[u8]], [waiting_us, upstream_us, rest_us]: [u64; 3]) -> LoggedRequest {
    LoggedRequest {
        at_ms: START_MS + 60_000,
        arguments: arguments.iter().map(|argument| argument.to_vec()).collect(),
        address: "10.0.1.7:50007".into(),
        name: b"checkout".to_vec(),
        user: b"default".to_vec(),
        node: "10.0.3.10:6379".into(),
        spent: Spent { whole_us: waiting_us + upstream_us + rest_us, waiting_us, upstream_us, stalled_us: 0 },
        request_bytes: 52,
        reply_bytes: 1_345_123,
        ..LoggedRequest::default()
    }
}

fn fill(stage: &Stage) {
    let markup = b"items of <b onclick=\"x\">\xff</b>";
    let long: Vec<&[u8]> =
        std::iter::once(&b"MGET"[..]).chain([&b"a:long:key:with:a:name"[..]; 30]).collect();
    let slow = [
        request(&[b"HGETALL", markup], [31_000, 16_900, 311]),
        LoggedRequest {
            folded: true,
            node: String::new(),
            ..request(&[b"INCR", b"sku"], [1_100, 10_900, 0])
        },
        request(&long, [0, 10_100, 0]),
    ];
    for entry in slow {
        stage.command_log.add(Standout::Slow, entry, 128);
    }
    let large = request(&[b"GET", b"page:{front}"], [10, 900, 10]);
    stage.command_log.add(Standout::LargeReply, large, 128);
    stage.events.record(Event::new(
        EventKind::Failover,
        "10.0.3.11:6379",
        "it has taken the place of 10.0.3.10:6379",
    ));
    stage.events.record(Event::new(EventKind::NodeDown, "10.0.3.13:6379", "it does not answer"));
    stage
        .events
        .record(Event::new(EventKind::QuotaChanged, "sku:{8421}:reserved", "paused").by("10.0.0.9:5 (ops)"));
}

async fn served(token: Option<&'static str>) -> (String, Arc<Stage>) {
    let stage = Arc::new(Stage::default());
    fill(&stage);
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage.clone(), token).await;
    for tick in 0..40 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    let url = served.url.clone();
    keep_sampling(served, sale, OPENS_S + 10.0);
    (url, stage)
}

/// Whether a page is shown, and only this one, with its entry of the navigation marked.
fn is_shown(page: &str) -> String {
    format!(
        "return document.readyState === 'complete' && [...document.querySelectorAll('.page:not([hidden])')].map(page => page.id).join() === 'page-{page}'
             && [...document.querySelectorAll('#nav [aria-current=page]')].map(link => link.hash).join() === '#/{page}'
             && document.getElementById('status').dataset.level !== undefined"
    )
}

#[tokio::test]
async fn every_page_has_an_address_and_can_be_read_by_everyone() {
    let axe = axe();
    let (url, _stage) = served(None).await;
    let browser = Browser::start().await;
    for (page, title) in PAGES {
        browser.open("about:blank").await;
        browser.open(&format!("{url}/#/{page}")).await;
        browser.until(&is_shown(page), PATIENCE).await;
        let heading = browser.run("return document.querySelector('.page:not([hidden]) h2').innerText").await;
        assert_eq!(heading, title);
        let filled = "return [...document.querySelectorAll('.page:not([hidden]) table:not([hidden])')].some(table => table.tBodies[0].rows.length > 0)";
        browser.until(filled, PATIENCE).await;
        check_state(&browser, &axe, &format!("page-{page}")).await;
    }
    // One that there is not leads to the first.
    browser.open("about:blank").await;
    browser.open(&format!("{url}/#/nonsense/%ff")).await;
    browser.until(&is_shown("overview"), PATIENCE).await;
    let elsewhere = format!(
        "return performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('{url}/')).length"
    );
    assert_eq!(browser.run(&elsewhere).await, 0, "nothing is loaded from elsewhere");
}

#[tokio::test]
async fn the_navigation_works_by_keyboard_and_with_the_way_back() {
    let (url, _stage) = served(None).await;
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser.until(&is_shown("overview"), PATIENCE).await;
    let asked = "return performance.getEntriesByType('resource').map(entry => new URL(entry.name).pathname).filter(path => path.startsWith('/api/')).sort().filter((path, i, all) => path !== all[i - 1]).join()";
    browser.until(&format!("{asked}.includes('/api/events')"), PATIENCE).await;
    assert_eq!(
        browser.run(asked).await,
        "/api/caller,/api/events,/api/stats",
        "a page that is not shown asks for nothing"
    );
    // A link is reached by the Tab key and followed by Enter; then the next Tab goes on in the page.
    browser.run("document.querySelector('#nav a[href=\"#/clients\"]').focus()").await;
    browser.press("\u{e007}").await;
    browser.until(&is_shown("clients"), PATIENCE).await;
    assert_eq!(browser.run("return document.activeElement.innerText").await, "Clients");
    browser.press("\u{e004}").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "client-search");
    browser.until("return document.querySelectorAll('#clients tbody tr').length === 40", PATIENCE).await;
    assert_eq!(browser.run("return document.title.startsWith('Clients · ')").await, true);
    go(&browser, "nodes").await;
    browser.run("history.back()").await;
    browser.until(&is_shown("clients"), PATIENCE).await;

    // What is searched for is found, and what is asked for comes first.
    browser.run("const search = document.getElementById('client-search'); search.value = 'catalogue'; search.form.dispatchEvent(new Event('input'))").await;
    browser.until("return document.getElementById('client-place').innerText === '13 shown'", PATIENCE).await;
    let first = "return document.querySelector('#clients tbody td').firstChild.innerText";
    assert_eq!(browser.run(first).await, "10.0.1.37:50037", "the one with the most requests");
    browser.run("const sort = document.getElementById('client-sort'); sort.value = 'id'; sort.form.dispatchEvent(new Event('input'))").await;
    browser.until(&format!("{first} === '10.0.1.1:50001'"), PATIENCE).await;
    go(&browser, "events").await;
    browser.until("return document.querySelectorAll('#events tbody tr').length === 3", PATIENCE).await;
    browser.run("const kind = document.getElementById('event-kind'); kind.value = 'failover'; kind.form.dispatchEvent(new Event('input'))").await;
    browser.until("return document.querySelectorAll('#events tbody tr').length === 1", PATIENCE).await;
    assert_eq!(browser.errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn requests_that_stood_out_are_shown_with_where_their_time_went_and_forgotten_with_a_reason() {
    let axe = axe();
    let (url, stage) = served(Some("sesame")).await;
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#/commands/large-reply")).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    browser.run("document.getElementById('token').value = 'sesame'; document.querySelector('#token-form button').click()").await;
    browser
        .until(
            "return document.querySelector('#slowlog tbody')?.innerText.includes('GET page:{front}')",
            PATIENCE,
        )
        .await;
    browser.run("const kind = document.getElementById('slowlog-kind'); kind.value = 'slow'; kind.dispatchEvent(new Event('change'))").await;
    browser.until("return document.querySelectorAll('#slowlog tbody tr').length === 3", PATIENCE).await;
    assert_eq!(browser.run("return location.hash").await, "#/commands/slow");
    let row = |words: &str| {
        format!(
            "return [...document.querySelectorAll('#slowlog tbody tr')].find(row => row.innerText.includes('{words}'))"
        )
    };
    let said = browser.run(&format!("{}.innerText.replaceAll('\\u00a0', ' ')", row("HGETALL"))).await;
    let said = said.as_str().unwrap();
    for words in [
        "48.2 ms",
        "31.0 ms waiting here · 16.9 ms at Redis · 311 µs delivery",
        "1.3 MiB",
        "checkout",
        "<b onclick=",
        "\\xff",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let widths = format!(
        "{}.querySelector('.split').children].map(part => Math.round(parseFloat(part.style.width))).join()",
        row("HGETALL").replacen("return [", "return [...[", 1)
    );
    assert_eq!(browser.run(&widths).await, "64,35,1");
    assert_eq!(
        browser
            .run(&format!("{}.innerText.includes('it shared a command with others')", row("INCR sku")))
            .await,
        true
    );

    browser.run("document.getElementById('slowlog-reset').click()").await;
    browser.until("return document.getElementById('change-dialog').open", PATIENCE).await;
    check_state(&browser, &axe, "slowlog-reset").await;
    browser.run("document.getElementById('change-reason').value = 'after the fix'; document.getElementById('change-do').click()").await;
    browser.until("return !document.getElementById('change-dialog').open && document.getElementById('slowlog').hidden", PATIENCE).await;
    let noted = &stage.audit.latest(1)[0];
    assert_eq!(
        (noted.change.as_str(), noted.before.as_str(), noted.reason.as_str()),
        ("commandlog reset slow", "3 entries", "after the fix")
    );
    assert_eq!(stage.command_log.len(Standout::LargeReply), 1, "the other lists stay");
    check_state(&browser, &axe, "slowlog-empty").await;
}

#[test]
fn who_may_only_read_empties_no_list() {
    let server = Server::start();
    let toml = "admin.token = 'sesame'\nslowlog.slower_than = '1us'\n[[admin.bearer]]\nname = 'eve'\ntoken = 'look'\nmay = 'read'\n";
    let gateway = Gateway::before(&server).config(toml).start();
    gateway.client().check("SET k v", "+OK");
    let url = format!("http://{}/api/slowlog", gateway.admin.unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let post = |token: &str, body: &str| {
        let body = Some(body.to_owned().into());
        runtime.block_on(exchange(Method::POST, &url, Some(token), body, Duration::from_secs(20))).unwrap()
    };
    for (token, body, status) in [
        ("", r#"{"kind":"slow","action":"reset"}"#, 401),
        ("look", r#"{"kind":"slow","action":"reset"}"#, 403),
        ("sesame", r#"{"kind":"quick","action":"reset"}"#, 400),
        ("sesame", r#"{"kind":"slow","action":"drop"}"#, 400),
        ("sesame", r#"{"kind":"slow","action":"reset","all":true}"#, 422),
    ] {
        let answer = post(token, body);
        assert_eq!(answer.status, status, "{token}: {}", String::from_utf8_lossy(&answer.body));
    }
    let mut client = gateway.client();
    assert_ne!(client.ask("SLOWLOG LEN"), ":0");
    assert_eq!(post("sesame", r#"{"kind":"slow","action":"reset","reason":"done"}"#).status, 200);
    client.check("SLOWLOG LEN", ":0");
    let noted = client.ask("HOTGATE AUDIT 1");
    assert!(
        noted.contains("commandlog reset slow") && noted.contains("admin.token") && noted.contains("done"),
        "{noted}"
    );
}

#[test]
fn who_may_only_look_is_offered_no_change() {
    let server = Server::start();
    let toml = "[admin]\ntoken = 'sesame'\n[[admin.bearer]]\nname = 'eve'\ntoken = 'look'\nmay = 'read'\n[[quota]]\nmatch = 'q*'\nlimit = 5\n";
    let gateway = Gateway::before(&server).config(toml).start();
    gateway.client().check("INCR q1", ":1");
    let open = Gateway::before_server(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let browser = Browser::start().await;
        let buttons = "return [...document.querySelectorAll('#quotas tbody button, #quota-other, #sale-open')].filter(button => button.offsetParent).length";
        for (token, may) in [("look", false), ("sesame", true)] {
            browser.open(&format!("http://{}/", gateway.admin.unwrap())).await;
            browser.run("sessionStorage.clear()").await;
            browser.open("about:blank").await;
            browser.open(&format!("http://{}/#/sales", gateway.admin.unwrap())).await;
            browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
            browser.run(&format!("document.getElementById('token').value = '{token}'; document.querySelector('#token-form button').click()")).await;
            browser.until("return document.querySelectorAll('#quotas tbody tr').length === 1", PATIENCE).await;
            let said = if may { "changes as admin.token" } else { "the token of eve may only read" };
            browser.until(&format!("return document.getElementById('footer').innerText.includes('{said}')"), PATIENCE).await;
            assert_eq!(browser.run(buttons).await, if may { 5 } else { 0 }, "{token}");
        }
        browser.open(&format!("http://{}/#/sales", open.admin.unwrap())).await;
        browser.until("return document.getElementById('footer').innerText.includes('changes need an admin token')", PATIENCE).await;
        assert_eq!(browser.run(buttons).await, 0);
    });
}
