//! The page of commands, before a real gateway and a real Redis: which commands pass, how often and how long, by node and by error.

use crate::page_states::{PATIENCE, axe, check_state};
use crate::support::{Client, Gateway, Server};
use crate::webdriver::Browser;

fn use_it(client: &mut Client) {
    for number in 0..40 {
        client.check(&format!("SET k{number} v"), "+OK");
        client.ask(&format!("GET k{number}"));
    }
    client.check("LPUSH k1 v", "-WRONGTYPE...");
    client.check("CONFIG GET maxmemory", "*2...");
}

#[test]
fn commands_are_shown_searched_and_told_apart() {
    let axe = axe();
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    use_it(&mut gateway.client());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(look(&axe, &gateway, &server.address().to_string()));
}

async fn look(axe: &str, gateway: &Gateway, node: &str) {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/#/commands", gateway.admin.unwrap())).await;
    let row = |table: &str, words: &str| {
        format!(
            "return [...document.querySelectorAll('#{table} tbody tr')].some(row => row.innerText.includes('{words}'))"
        )
    };
    for words in ["SET", "GET", "LPUSH", "CONFIG GET", "40 in all"] {
        browser.until(&row("commands", words), PATIENCE).await;
    }
    check_state(&browser, axe, "commands").await;
    browser.run("const search = document.getElementById('command-search'); search.value = 'lpush'; search.dispatchEvent(new Event('input'))").await;
    browser.until("return document.querySelectorAll('#commands tbody tr').length === 1", PATIENCE).await;
    let failed = "return document.querySelector('#commands tbody tr').innerText.includes('1 in all')";
    browser.until(failed, PATIENCE).await;
    browser.run("const search = document.getElementById('command-search'); search.value = ''; search.dispatchEvent(new Event('input'))").await;

    let by = |what: &str| {
        format!(
            "const by = document.getElementById('command-by'); by.value = '{what}'; by.dispatchEvent(new Event('change'))"
        )
    };
    browser.run(&by("node")).await;
    browser.until(&row("command-parts", node), PATIENCE).await;
    assert_eq!(browser.run("return location.hash").await, "#/commands/by-node");
    check_state(&browser, axe, "commands-by-node").await;
    browser.run(&by("error")).await;
    browser.until(&row("command-errors", "WRONGTYPE"), PATIENCE).await;
    assert_eq!(browser.run("return document.getElementById('commands').offsetParent === null").await, true);
    check_state(&browser, axe, "commands-by-error").await;
    // The address leads there as well, and that of a list of requests that stood out leaves the table as it is.
    browser.open("about:blank").await;
    browser.open(&format!("http://{}/#/commands/by-tenant", gateway.admin.unwrap())).await;
    browser.until("return document.getElementById('command-by').value === 'tenant' && !document.querySelector('#command-parts').parentElement.hidden", PATIENCE).await;
    browser.run("const kind = document.getElementById('slowlog-kind'); kind.value = 'large-reply'; kind.dispatchEvent(new Event('change'))").await;
    browser.until(&row("commands", "SET"), PATIENCE).await;
}
