//! The dashboard in real Chromium, through ChromeDriver: what an operator sees, and that a key name is never
//! markup.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::made_up::{BINARY, MARKUP, OPENS_S, SKU, Sale, Served, Stage, hot_key};
use crate::webdriver::Browser;
use hotgate::detect::{Class, HotSet, Rates};

/// How soon a key that became hot must be on the page.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Samples four times a second, as the control thread does, for as long as the test runs.
pub fn keep_sampling(mut served: Served, mut sale: Sale, mut second: f64) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            sale.play(second);
            served.tick();
            second += 0.25;
        }
    });
}

/// A served sale that has been going on for `seconds`.
async fn sale_after(seconds: f64, token: Option<&'static str>) -> (Served, Sale) {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, token).await;
    let mut second = 0.0;
    while second < seconds {
        sale.play(second);
        served.tick();
        second += 0.25;
    }
    (served, sale)
}

#[tokio::test]
async fn a_key_just_made_hot_is_on_the_page_within_two_seconds() {
    let (mut served, _) = sale_after(10.0, None).await;
    let (url, stage) = (served.url.clone(), served.stage.clone());
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser
        .until(
            "return document.querySelectorAll('#overview-hot tbody tr').length > 0",
            Duration::from_secs(20),
        )
        .await;
    assert_eq!(
        browser
            .run("return document.querySelector('#overview-hot tbody').innerText.includes('fresh:key')")
            .await,
        false
    );

    let rates = Rates { ops: 9_000.0, reads: 9_000.0, share: 0.4, connections: 30, ..Rates::default() };
    let entries = vec![hot_key(b"fresh:key", Class::ReadHot, rates, vec![9_000])];
    *stage.hot.lock().unwrap() = Arc::new(HotSet { version: 10, entries, ..HotSet::default() });
    let made_hot = Instant::now();
    tokio::spawn(async move {
        loop {
            served.tick();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    browser
        .until(
            "return document.querySelector('#overview-hot tbody').innerText.includes('fresh:key')",
            SEEN_WITHIN,
        )
        .await;
    println!("on the page {} ms after it became hot", made_hot.elapsed().as_millis());
    browser
        .until(
            "return document.getElementById('sentence').innerText.startsWith('fresh:key takes 40')",
            SEEN_WITHIN,
        )
        .await;
}

#[tokio::test]
async fn key_names_are_data() {
    let (served, sale) = sale_after(OPENS_S, None).await;
    let url = served.url.clone();
    keep_sampling(served, sale, OPENS_S);
    let browser = Browser::start().await;
    browser.open(&url).await;
    browser
        .until(
            "return document.querySelectorAll('#overview-hot tbody tr').length >= 5",
            Duration::from_secs(20),
        )
        .await;
    let text = browser.run("return document.querySelector('#overview-hot tbody').innerText").await;
    let text = text.as_str().unwrap();
    assert!(text.contains(std::str::from_utf8(MARKUP).unwrap()), "{text}");
    assert!(text.contains("session:\\xff\\x00\\xfe:profile"), "{BINARY:?} in {text}");
    assert_eq!(browser.run("return document.querySelectorAll('img, b').length").await, 0);
    assert_ne!(browser.run("return document.title").await, "owned");
    assert_eq!(browser.errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_operator_with_the_token_pauses_a_sale() {
    let (served, sale) = sale_after(OPENS_S + 5.0, Some("sesame")).await;
    let (url, stage) = (served.url.clone(), served.stage.clone());
    keep_sampling(served, sale, OPENS_S + 5.0);
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#/sales")).await;
    let patience = Duration::from_secs(20);
    let enter = |token: &str| {
        format!(
            "document.getElementById('token').value = '{token}';
             document.querySelector('#token-form button').click();"
        )
    };
    browser.until("return document.getElementById('token-dialog').open", patience).await;
    browser.run(&enter("wrong")).await;
    browser.until("return document.getElementById('token-fault').innerText !== ''", patience).await;
    browser.run(&enter("sesame")).await;
    browser.until("return document.querySelectorAll('#quotas tbody tr').length === 2", patience).await;
    browser.run("document.querySelector('#quotas tbody tr button').click()").await;
    assert_eq!(
        browser.run("return document.getElementById('change-key').innerText").await,
        std::str::from_utf8(SKU).unwrap()
    );
    browser.run("document.getElementById('change-do').click()").await;
    browser.until("return document.querySelector('#quotas .badge').innerText === 'paused'", patience).await;
    assert!(stage.quotas.lock().unwrap()[0].paused);
}

#[tokio::test]
async fn a_lost_gateway_is_said_to_be_lost() {
    let (served, _) = sale_after(3.0, None).await;
    let browser = Browser::start().await;
    browser.open(&served.url).await;
    let patience = Duration::from_secs(20);
    browser.until("return document.getElementById('rate').innerText !== '–'", patience).await;
    assert_eq!(browser.run("return document.getElementById('lost').hidden").await, true);
    served.stop();
    browser
        .until(
            "return document.getElementById('lost').innerText.startsWith('No word from the gateway')",
            patience,
        )
        .await;
}

#[tokio::test]
async fn a_phone_scrolls_down_and_not_sideways() {
    let (served, sale) = sale_after(OPENS_S, None).await;
    let url = served.url.clone();
    keep_sampling(served, sale, OPENS_S);
    let browser = Browser::start().await;
    browser.resize(390, 844).await;
    browser.open(&url).await;
    browser
        .until(
            "return document.querySelectorAll('#overview-hot tbody tr').length >= 5",
            Duration::from_secs(20),
        )
        .await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth <= window.innerWidth").await, true);
}

/// Serves the sale for looking at, in real time, from `FROM_S` seconds of its story on, with `TOKEN` if that
/// is set: `cargo test --test operators -- --ignored --nocapture serve_made_up_figures`.
#[tokio::test]
#[ignore = "serves made-up figures until it is stopped, for looking at the dashboard"]
async fn serve_made_up_figures() {
    let from_s = std::env::var("FROM_S").map_or(OPENS_S + 45.0, |text| text.parse().unwrap());
    let token = std::env::var("TOKEN").ok().map(|token| &*token.leak());
    let (served, sale) = sale_after(from_s, token).await;
    println!("{}", served.url);
    keep_sampling(served, sale, from_s);
    std::future::pending::<()>().await;
}
