//! The panel of sales, before a real gateway and a real Redis: it shows how each sale stands, an operator with the token opens, closes, reopens,
//! raises, extends and moves, and a change that is refused is told why. Everyone can read each of its states (`page_states`).

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::page_states::{PATIENCE, axe, check_state};
use crate::support::{Client, Gateway, Server};
use crate::webdriver::Browser;

const TOKEN: &str = "sesame";

/// A gateway before a server, with a sale in each state.
fn stage(server: &Server) -> (Gateway, Client) {
    let gateway = Gateway::before(server).config(&format!("[admin]\ntoken = '{TOKEN}'\n")).start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 200 HOLD 600000", "+OK");
    client.check("RESERVE.OPEN soldout LIMIT 3", "+OK");
    client.check("RESERVE.OPEN later LIMIT 3 START 9999999999999", "+OK");
    client.check("RESERVE.OPEN <b>bold</b> LIMIT 4000000000", "+OK");
    for user in 0..190 {
        client.check(&format!("RESERVE.ADD mask user{user}"), "*4 $4 held...");
    }
    client.check("RESERVE.CONFIRM mask user1", "*4 $9 confirmed...");
    client.check("RESERVE.CANCEL mask user2", "*4 $9 cancelled...");
    for user in 0..5 {
        client.call_line(&format!("RESERVE.ADD soldout user{user}"));
    }
    client.check("RESERVE.ADD later user", "-NOTOPEN...");
    client.check("RESERVE.ADD <b>bold</b> user", "*4...");
    (gateway, client)
}

/// What a row says in these columns, from 0 on.
fn cell(sku: &str, column: usize) -> String {
    format!(
        "(([...document.querySelectorAll('#sales tbody tr')].find(row => row.cells[0].firstChild.textContent === '{sku}')
            ?? {{ cells: [] }}).cells[{column}]?.innerText ?? '')"
    )
}

async fn until(browser: &Browser, sku: &str, column: usize, words: &str) {
    browser.until(&format!("return {}.includes('{words}')", cell(sku, column)), PATIENCE).await;
}

/// Presses a button of a row, and waits for its dialog.
async fn press(browser: &Browser, sku: &str, label: &str) {
    let script = format!(
        "[...document.querySelectorAll('#sales button')].find(button => button.getAttribute('aria-label') === '{label}: {sku}').click()"
    );
    browser.run(&script).await;
    browser.until("return document.getElementById('sale-dialog').open", PATIENCE).await;
}

async fn fill_in(browser: &Browser, field: &str, value: &str) {
    browser.run(&format!("document.getElementById('sale-{field}').value = '{value}'")).await;
}

async fn confirm(browser: &Browser) {
    browser.run("document.getElementById('sale-do').click()").await;
    browser.until("return !document.getElementById('sale-dialog').open", PATIENCE).await;
}

#[test]
fn an_operator_sees_and_changes_sales() {
    let axe = axe();
    let server = Server::start();
    let (gateway, client) = stage(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(operate(&axe, &gateway, client));
}

async fn operate(axe: &str, gateway: &Gateway, mut client: Client) {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/#/sales", gateway.admin.unwrap())).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    let enter = format!(
        "document.getElementById('token').value = '{TOKEN}'; document.querySelector('#token-form button').click();"
    );
    browser.run(&enter).await;
    browser.until("return document.querySelectorAll('#sales tbody tr').length === 4", PATIENCE).await;
    until(&browser, "mask", 1, "open").await;
    until(&browser, "mask", 3, "of 200").await;
    until(&browser, "mask", 4, "188 · 1").await;
    until(&browser, "mask", 4, "1 given back here").await;
    until(&browser, "soldout", 1, "sold out").await;
    until(&browser, "soldout", 6, "2 sold out").await;
    until(&browser, "later", 1, "not open yet").await;
    until(&browser, "<b>bold</b>", 3, "of 4,000,000,000").await;
    check_state(&browser, axe, "sales").await;

    press(&browser, "mask", "Close").await;
    check_state(&browser, axe, "sale-close").await;
    browser.run("document.getElementById('sale-cancel').click()").await;
    client.check("RESERVE.ADD mask late1", "*4 $4 held...");
    press(&browser, "mask", "Close").await;
    confirm(&browser).await;
    until(&browser, "mask", 1, "closed").await;
    client.check("RESERVE.ADD mask late2", "-CLOSED...");
    press(&browser, "mask", "Reopen").await;
    confirm(&browser).await;
    client.check("RESERVE.ADD mask late2", "*4 $4 held...");

    press(&browser, "soldout", "Limit").await;
    fill_in(&browser, "limit", "2").await;
    browser.run("document.getElementById('sale-do').click()").await;
    browser
        .until(
            "return document.getElementById('sale-fault').innerText.includes('below the 3 places')",
            PATIENCE,
        )
        .await;
    fill_in(&browser, "limit", "300").await;
    confirm(&browser).await;
    client.check("RESERVE.ADD soldout late", "*4 $9 confirmed :4 :296 :0");
    press(&browser, "soldout", "End").await;
    fill_in(&browser, "end", "2035-01-01T00:00:00").await;
    check_state(&browser, axe, "sale-end").await;
    confirm(&browser).await;
    assert!(
        client.ask("RESERVE.INFO soldout").contains(" $3 end :2051"),
        "{}",
        client.ask("RESERVE.INFO soldout")
    );

    browser.run("document.getElementById('sale-open').click()").await;
    fill_in(&browser, "name", "mask-june").await;
    fill_in(&browser, "limit", "1000").await;
    fill_in(&browser, "hold", "60").await;
    check_state(&browser, axe, "sale-open").await;
    confirm(&browser).await;
    client.check("RESERVE.ADD mask-june user500", "*4 $4 held...");
    press(&browser, "mask", "Move").await;
    fill_in(&browser, "to", "mask-june").await;
    confirm(&browser).await;
    until(&browser, "mask", 1, "moved").await;
    until(&browser, "mask-june", 3, "of 1,000").await;
    client.check("RESERVE.CHECK mask-june user7", "*4 $4 held...");
    check_state(&browser, axe, "sales-moved").await;
    assert_eq!(gateway.log().matches("over HTTP").count(), 7, "{}", gateway.log());
}

/// Sends a change over HTTP; the status and what is answered.
fn change(gateway: &Gateway, token: &str, body: &str) -> (u16, String) {
    let admin = gateway.admin.unwrap();
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!(
        "POST /api/sales HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_change_needs_the_token_and_says_what_is_wrong_with_it() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(&format!("[admin]\ntoken = '{TOKEN}'\n")).start();
    for (token, body, status, words) in [
        ("", r#"{"key":"a","action":"open","limit":5}"#, 401, "error"),
        ("wrong", r#"{"key":"a","action":"open","limit":5}"#, 401, "error"),
        (TOKEN, r#"{"key":"a","action":"open","limit":5}"#, 200, r#""left":0"#),
        (TOKEN, r#"{"key":"a","action":"open","end_ms":9000000000000}"#, 200, r#""left":0"#),
        (TOKEN, r#"{"key":"b","action":"open","end_ms":9000000000000}"#, 409, "NOSKU"),
        (TOKEN, r#"{"key":"a","action":"open","limit":-5}"#, 409, "LIMIT takes an integer"),
        (TOKEN, r#"{"key":"a","action":"close","limit":5}"#, 400, "only the action open"),
        (TOKEN, r#"{"key":"a","action":"close"}"#, 200, "left"),
        (TOKEN, r#"{"key":"none","action":"close"}"#, 409, "NOSKU"),
        (TOKEN, r#"{"key":"a","action":"reopen"}"#, 200, "left"),
        (TOKEN, r#"{"key":"a","action":"move"}"#, 400, "takes to"),
        (TOKEN, r#"{"key":"a","action":"close","to":"b"}"#, 400, "takes to"),
        (TOKEN, r#"{"key":"a","action":"move","to":"b"}"#, 409, "NOSKU there is no sale 'b'"),
        (TOKEN, r#"{"key":"a","action":"drop"}"#, 400, "the action is one of"),
        (TOKEN, r#"{"key":"a","action":"close","force":true}"#, 422, "unknown field"),
    ] {
        let (seen, answer) = change(&gateway, token, body);
        assert!(seen == status && answer.contains(words), "{body}: {seen} {answer}");
    }
    let gateway = Gateway::before_server(&server);
    let (status, answer) = change(&gateway, "", r#"{"key":"a","action":"close"}"#);
    assert!(status == 403 && answer.contains("admin.token"), "{status} {answer}");
}
