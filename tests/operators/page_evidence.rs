//! The pages of clients, big keys and the configuration, before a real gateway and a real Redis: what they show is so, and a connection is closed with a
//! reason.

use crate::page_states::{PATIENCE, axe, check_state, go};
use crate::support::{Gateway, Server, wait_until};
use crate::webdriver::Browser;

const TOML: &str = "gateway.clients_max = 777\nadmin.token = 'sesame'\n[[quota]]\nmatch = 'q*'\nlimit = 5\n[[rule]]\nmatch = 'r*'\nmode = 'off'\n";

async fn says(browser: &Browser, id: &str, words: &str) {
    browser
        .until(&format!("return document.getElementById('{id}').innerText.includes(`{words}`)"), PATIENCE)
        .await;
}

async fn input(browser: &Browser, id: &str, value: &str) {
    let script = format!(
        "const field = document.getElementById('{id}'); field.value = '{value}'; field.dispatchEvent(new Event('input', {{ bubbles: true }}))"
    );
    browser.run(&script).await;
}

#[test]
fn clients_big_keys_and_the_configuration_have_their_pages() {
    let axe = axe();
    let server = Server::start();
    let gateway = Gateway::before(&server).config(TOML).start();
    let mut client = gateway.client();
    client.check("CLIENT SETNAME checkout", "+OK");
    client.check("INCR q1", ":1");
    client.check("SET s v", "+OK");
    client.check("LPUSH s v", "-WRONGTYPE...");
    client.call(&[&b"SET"[..], &b"big<b>"[..], &vec![b'x'; 3 << 20][..]]);
    let mut other = gateway.client();
    other.check("CLIENT SETNAME other", "+OK");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(look(&axe, &gateway));
    wait_until("its connection is closed", || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.ask("PING"))).is_err();
        ended || other.ask("CLIENT LIST").matches("name=checkout").count() == 0
    });
    let noted = other.ask("HOTGATE AUDIT 9");
    assert!(noted.contains("out of order") && noted.contains("admin.token"), "{noted}");
}

async fn look(axe: &str, gateway: &Gateway) {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/#/clients", gateway.admin.unwrap())).await;
    browser.until("return document.getElementById('token-dialog').open", PATIENCE).await;
    browser.run("document.getElementById('token').value = 'sesame'; document.querySelector('#token-form button').click()").await;
    says(&browser, "clients", "checkout").await;
    check_state(&browser, axe, "clients-real").await;

    go(&browser, "keys").await;
    says(&browser, "bigkeys", "big<b>").await;
    says(&browser, "bigkeys", "3.0 MiB").await;
    check_state(&browser, axe, "big-keys").await;

    go(&browser, "configuration").await;
    for (id, words) in [
        ("directives", "gateway.clients_max"),
        ("directives", "777"),
        ("config-tables", "q*"),
        ("config-tables", "r*"),
    ] {
        says(&browser, id, words).await;
    }
    let rows = "return document.querySelectorAll('#directives tbody tr').length";
    let few = browser.run(rows).await.as_u64().unwrap();
    assert!((2..30).contains(&few), "{few} differ from their defaults");
    assert_eq!(
        browser.run("return document.getElementById('directives').innerText.includes('sesame')").await,
        false
    );
    check_state(&browser, axe, "configuration").await;
    input(&browser, "directive-which", "all").await;
    browser.until(&format!("{rows} > 60"), PATIENCE).await;
    input(&browser, "directive-search", "slowlog.slower_than").await;
    browser.until(&format!("{rows} === 1"), PATIENCE).await;
    says(&browser, "directives", "10ms").await;
    input(&browser, "directive-which", "waits").await;
    browser.until(&format!("{rows} === 0"), PATIENCE).await;

    go(&browser, "clients").await;
    input(&browser, "client-search", "checkout").await;
    browser.until("return document.querySelectorAll('#clients tbody tr').length === 1", PATIENCE).await;
    browser.run("document.querySelector('#clients tbody button').click()").await;
    browser.until("return document.getElementById('change-dialog').open", PATIENCE).await;
    check_state(&browser, axe, "client-close").await;
    browser.run("document.getElementById('change-reason').value = 'out of order'; document.getElementById('change-do').click()").await;
    browser.until("return !document.getElementById('change-dialog').open", PATIENCE).await;
    browser.until("return document.getElementById('clients').hidden", PATIENCE).await;
}
