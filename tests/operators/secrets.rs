//! Passwords that change in their files, or that a program prints anew, while the gateway runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Client, Gateway, Server, wait_until};

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
    direct.check("ACL SETUSER hotgate >new", "+OK");
    write(&file, "new");
    wait_until("open connections log in anew", || is_told_a_password(&mut direct));
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

/// Whether an open connection was told a password last. (Probes are told one again and again, and ask something behind it.)
fn is_told_a_password(direct: &mut Client) -> bool {
    direct
        .text("CLIENT LIST")
        .lines()
        .any(|line| line.contains(" name=hotgate ") && line.contains(" cmd=auth "))
}

#[test]
fn a_password_is_rotated_under_load_and_nobody_notices() {
    let directory = tempfile::tempdir().unwrap();
    let [first, next] = ["first", "next"].map(|name| directory.path().join(name));
    write(&first, "one");
    write(&next, "");
    let server = Server::start();
    let mut direct = server.client();
    direct.check("ACL SETUSER hotgate on >one ~* &* +@all", "+OK");
    let config =
        format!("[upstream]\nuser = \"hotgate\"\npassword_file = {first:?}\npassword_next_file = {next:?}\n");
    let gateway = Gateway::before(&server).config(&config).start();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let loads: Vec<_> = (0..4)
            .map(|number| {
                let (gateway, is_over) = (&gateway, &is_over);
                threads.spawn(move || {
                    let mut client = gateway.client();
                    let mut done = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        done += 1;
                        client.check(&format!("INCR count:{number}"), &format!(":{done}"));
                        // A connection of its own, which is logged in like any other.
                        client.check("MULTI", "+OK");
                        client.check("GET a", "+QUEUED");
                        client.check("EXEC", "*1 ...");
                    }
                    done
                })
            })
            .collect();
        // The gateway knows the next password before the server does, and it changes there at once: nothing holds both.
        write(&next, "two");
        wait_until("the second password is taken over", || gateway.log().contains("configuration reloaded"));
        direct.check("ACL SETUSER hotgate >two <one", "+OK");
        let mut client = gateway.client();
        client.check("SET after 1", "+OK");
        // Whoever connects anew does so with the second.
        let mut watcher = gateway.client();
        watcher.check("WATCH a", "+OK");
        watcher.check("UNWATCH", "+OK");
        // The second becomes the first, which is told on the connections that carry the load.
        let counted_of = |direct: &mut Client| direct.integer("INCRBY count:0 0");
        write(&first, "two");
        write(&next, "");
        wait_until("the second is not needed any more", || {
            gateway.log().matches("directive=upstream.password_next").count() == 2
        });
        let counted = counted_of(&mut direct);
        wait_until("the load goes on", || counted_of(&mut direct) > counted + 100);
        assert_eq!(gateway.get("/readyz").0, 200);
        is_over.store(true, Ordering::Relaxed);
        assert!(loads.into_iter().all(|load| load.join().unwrap() > 0));
    });
    direct.check("CLIENT KILL TYPE normal SKIPME yes", ":...");
    wait_until("new connections are made with it", || gateway.client().ask("GET after") == "$1 1");
    assert!(!gateway.log().contains("are refused"), "{}", gateway.log());
}

#[test]
fn clients_may_log_in_with_either_of_two_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let next = directory.path().join("next");
    write(&next, "second");
    let server = Server::start();
    let toml = format!(
        "[auth]\npassword = \"first\"\npassword_next_file = {next:?}\n[[auth.user]]\nname = \"app\"\n\
         password = \"of-app\"\npassword_next = \"of-app-too\"\nrules = \"~app:* +get\"\n"
    );
    let gateway = Gateway::before(&server).config(&toml).start();
    for log_in in ["AUTH first", "AUTH second", "AUTH app of-app", "AUTH app of-app-too"] {
        gateway.client().check(log_in, "+OK");
    }
    gateway.client().check("AUTH app second", "-WRONGPASS ...");
    write(&next, "");
    wait_until("the second is not taken any more", || {
        gateway.client().ask("AUTH second").starts_with("-WRONGPASS")
    });
    gateway.client().check("AUTH first", "+OK");
}

fn program(directory: &Path, text: &str) -> String {
    let path = directory.join("token");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn tokens_that_a_program_prints_are_renewed_before_they_end() {
    let directory = tempfile::tempdir().unwrap();
    let [token, runs] = ["current", "runs"].map(|name| directory.path().join(name));
    write(&token, "token-1");
    let program =
        program(directory.path(), &format!("echo run >> {}; cat {}", runs.display(), token.display()));
    let server = Server::start();
    let mut direct = server.client();
    direct.check("ACL SETUSER hotgate on >token-1 ~* &* +@all", "+OK");
    let config = format!(
        "[upstream]\nuser = \"hotgate\"\npassword_command = [{program:?}]\npassword_lifetime = \"1s\"\n"
    );
    let gateway = Gateway::before(&server).config(&config).start();
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    direct.check("ACL SETUSER hotgate >token-2", "+OK");
    write(&token, "token-2");
    wait_until("the new token is told on open connections", || is_told_a_password(&mut direct));
    wait_until("it is in force", || gateway.log().contains("configuration reloaded"));
    direct.check("ACL SETUSER hotgate <token-1", "+OK");
    client.check("INCR a", ":2");
    direct.check("CLIENT KILL TYPE normal SKIPME yes", ":...");
    wait_until("new connections use it", || client.ask("GET a") == "$1 2");

    // Then the service that gives tokens is away for a while.
    std::fs::remove_file(&token).unwrap();
    wait_until("that is told", || {
        gateway.log().contains("the former secret holds: upstream.password_command: ")
    });
    assert!(gateway.log().contains("failed (exit status: 1): cat: "), "{}", gateway.log());
    wait_until("the status line says so", || {
        gateway.get("/api/stats").1.contains("A secret was not taken over")
    });
    client.check("INCR a", ":3");
    write(&token, "token-2");
    wait_until("nothing is wrong any more", || {
        !gateway.get("/api/stats").1.contains("A secret was not taken over")
    });
    assert!(!gateway.log().contains("token-"), "{}", gateway.log());

    // A reload with a program that prints nothing changes nothing.
    gateway.reload(&config.replace(&program, "/bin/false"));
    wait_until("the reload is refused", || {
        gateway.log().contains("configuration not reloaded: upstream.password_command: /bin/false failed")
    });
    client.check("INCR a", ":4");
}

#[test]
fn a_gateway_without_the_token_that_it_needs_does_not_start() {
    let server = Server::start();
    for (command, expected) in [
        (r#"["/no/such/program"]"#, "/no/such/program can't be run: "),
        (r#"["sh", "-c", "echo 'who are you?' >&2; exit 7"]"#, "failed (exit status: 7): who are you?"),
        (r#"["sleep", "1000"]"#, "did not end within password_command_timeout (50ms)"),
    ] {
        let config =
            format!("[upstream]\npassword_command = {command}\npassword_command_timeout = \"50ms\"\n");
        let (code, log) = Gateway::before(&server).config(&config).refused();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("upstream.password_command: ") && log.contains(expected), "{log}");
    }
}
