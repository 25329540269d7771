//! The panel of the ledger: it is not there where none is configured, and otherwise says how far the database is behind and what keeps it from going on.

use std::sync::Arc;
use std::time::Duration;

use hotgate::monitor::ledger::{HaltedView, LedgerState, LedgerView};
use hotgate::monitor::view::Conditions;

use crate::made_up::{Served, Stage};
use crate::page_states::{PATIENCE, axe, check_state};
use crate::webdriver::Browser;

fn set(stage: &Stage, ledger: LedgerView) {
    *stage.conditions.lock().unwrap() = Conditions { ledger: Some(ledger), ..Conditions::default() };
}

async fn until_it_says(browser: &Browser, words: &str) {
    let script = format!("return document.getElementById('ledger').innerText.includes(`{words}`)");
    browser.until(&script, PATIENCE).await;
}

#[tokio::test]
async fn the_panel_of_the_ledger_says_how_it_is() {
    let axe = axe();
    let stage = Arc::new(Stage::default());
    let mut served = Served::start(stage.clone(), None).await;
    served.tick();
    let url = served.url.clone();
    tokio::spawn(async move {
        loop {
            served.tick();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let browser = Browser::start().await;
    browser.open(&format!("{url}/#/sales")).await;
    browser.until("return !document.getElementById('page-sales').hidden", PATIENCE).await;
    browser.until("return document.getElementById('ledger-panel').hidden", PATIENCE).await;
    let following = LedgerView {
        state: LedgerState::Following,
        database: "mariadb".to_owned(),
        sales: 4_200,
        rows: 1_234_567,
        rows_per_s: 8_400.0,
        ..LedgerView::default()
    };
    set(&stage, following.clone());
    browser.until("return !document.getElementById('ledger-panel').hidden", PATIENCE).await;
    for words in ["mariadb", "following", "0 entries", "8,400/s", "1,234,567 written", "4,200"] {
        until_it_says(&browser, words).await;
    }
    let gap = HaltedView { key: "mask".to_owned(), why: "entry 8 is missing in Redis".to_owned() };
    set(
        &stage,
        LedgerView {
            state: LedgerState::Waiting,
            fault: "MariaDB: Table is full (1114)".to_owned(),
            lag_entries: 12_000,
            lag_s: 40.0,
            late: 1,
            latest: "{8421}:booking".to_owned(),
            halted: 1,
            halted_named: vec![gap],
            errors: vec![("database".to_owned(), 7), ("gap".to_owned(), 1)],
            ..following
        },
    );
    for words in [
        "database away",
        "MariaDB: Table is full (1114)",
        "12,000 entries",
        "1 beyond lag_max: {8421}:booking",
        "40 s",
        "mask: entry 8 is missing in Redis",
        "7 database, 1 gap",
    ] {
        until_it_says(&browser, words).await;
    }
    let sentence = "return document.getElementById('sentence').innerText";
    let sentence = browser.run(sentence).await;
    assert_eq!(sentence, "The ledger can't write into its database: MariaDB: Table is full (1114).");
    check_state(&browser, &axe, "ledger").await;
}
