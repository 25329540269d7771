//! Passwords that change in their files while the gateway runs.

use std::path::Path;

use crate::support::{Gateway, Server, wait_until};

fn write(path: &Path, secret: &str) {
    // As secrets are replaced: whole, by a rename.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{secret}\n")).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn a_new_password_of_redis_is_told_on_open_connections_and_used_for_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis-password");
    write(&file, "old");
    let server = Server::start();
    let mut direct = server.client();
    direct.check("ACL SETUSER hotgate on >old ~* &* +@all", "+OK");
    let config = format!("[upstream]\nuser = \"hotgate\"\npassword_file = {file:?}\n");
    let gateway = Gateway::before(&server).config(&config).start();
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP list 0");
    wait_until("it waits", || direct.text("INFO clients").contains("blocked_clients:1"));
    direct.check("CONFIG RESETSTAT", "+OK");
    direct.check("ACL SETUSER hotgate >new", "+OK");
    write(&file, "new");
    let logins = |direct: &mut crate::support::Client| {
        let stats = direct.text("INFO commandstats");
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_auth:calls="))
            .unwrap_or("0,")
            .to_owned();
        line.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    wait_until("open connections log in anew", || logins(&mut direct) > 0);
    // Nothing that was under way has noticed, and the old password is not needed any more.
    direct.check("ACL SETUSER hotgate <old", "+OK");
    client.check("INCR a", ":2");
    direct.check("RPUSH list x", ":1");
    assert!(blocked.reply().ends_with(b"x\r\n"));
    direct.check("CLIENT KILL TYPE normal SKIPME yes", ":...");
    wait_until("new connections are made with the new password", || {
        client.ask("PING") == "+PONG" && client.ask("GET a") == "$1 2"
    });
    assert!(!gateway.log().contains("are refused"), "{}", gateway.log());
}

#[test]
fn a_password_that_redis_refuses_leaves_open_connections_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis-password");
    write(&file, "old");
    let server = Server::start();
    server.client().check("ACL SETUSER hotgate on >old ~* &* +@all", "+OK");
    let config = format!("[upstream]\nuser = \"hotgate\"\npassword_file = {file:?}\n");
    let gateway = Gateway::before(&server).config(&config).start();
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    write(&file, "wrong");
    wait_until("the log says so", || {
        gateway.log().contains("are refused: open connections go on as they are")
    });
    client.check("INCR a", ":2");
    write(&file, "old");
    wait_until("it is taken back", || gateway.log().matches("configuration reloaded").count() == 2);
    client.check("INCR a", ":3");
}

#[test]
fn clients_and_askers_use_the_new_secret_and_a_missing_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [password, token] = ["password", "token"].map(|name| directory.path().join(name));
    write(&password, "first");
    write(&token, "first");
    let server = Server::start();
    let toml = format!("[auth]\npassword_file = {password:?}\n[admin]\ntoken_file = {token:?}\n");
    let gateway = Gateway::before(&server).config(&toml).start();
    gateway.client().check("AUTH first", "+OK");
    write(&password, "second");
    wait_until("the new password holds", || gateway.client().ask("AUTH second") == "+OK");
    gateway.client().check("AUTH first", "-WRONGPASS ...");
    std::fs::remove_file(&password).unwrap();
    wait_until("the log says what is wrong", || {
        gateway.log().contains("the former secret holds: auth.password_file")
    });
    gateway.client().check("AUTH second", "+OK");
    write(&token, "second");
    write(&password, "second");
    wait_until("the new token holds", || {
        let asked = gateway.get_with_token("/api/stats", "second");
        asked.0 == 200 && !asked.1.contains("A secret was not taken over")
    });
}
