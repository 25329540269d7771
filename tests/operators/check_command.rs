//! `hotgate check` reports every error of a file in one go, with line and column, and never a secret.

use std::path::Path;
use std::process::Command;

use crate::support::certificates::Authority;
use crate::support::{Gateway, Server, wait_until};

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn hotgate(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Checks a file of this text and expects these lines, in which `FILE` stands for its name.
fn check(text: &str, code: i32, expect: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hotgate.toml");
    std::fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let outcome = hotgate(&["check", "--config", name]);
    let expect: Vec<String> = expect.iter().map(|line| line.replace("FILE", name)).collect();
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), expect, "{text}");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""), "{text}");
}

#[test]
fn a_good_file_is_ok() {
    check("", 0, &["FILE: ok"]);
    check("[gateway]\nlisten = [\"127.0.0.1:7000\"]\n", 0, &["FILE: ok"]);
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/hotgate.toml");
    let outcome = hotgate(&["check", "--config", manual.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
}

#[test]
fn every_error_is_reported_in_one_go() {
    check(
        "[gateway]\nlisten = \"127.0.0.1:6380\"\nworker = 4\n\n[upstream]\nconnect_timeout = 100\nkind = \"sentry\"\n\
         drain_timeout = \"1s\"\n\n[detect]\nenter_rate = 100\n\n[[quota]]\nlimit = -1\n",
        1,
        &[
            "FILE:2:10: gateway.listen: expected a list of 0 to 16, each \"ip:port\" to bind, or \"port\" on loopback (port 0 takes a free one), \
             found \"127.0.0.1:6380\"; put it in [ ]",
            "FILE:3:1: gateway.worker: unknown key; did you mean `workers`?",
            "FILE:6:19: upstream.connect_timeout: expected a duration from \"1ms\" to \"1m\", found the integer 100; \
             write a string with its unit, such as \"100ms\"",
            "FILE:7:8: upstream.kind: expected \"auto\" | \"single\" | \"cluster\" | \"sentinel\", found \"sentry\"",
            "FILE:8:1: upstream.drain_timeout: unknown key here; did you mean `gateway.drain_timeout`?",
            "FILE:10:1: detect.leave_rate: expected at most detect.enter_rate (100), found 500; \
             lower it or raise that",
            "FILE:13:1: quota[0].match: expected a key pattern as in Redis's KEYS, found nothing: it must be given",
            "FILE:14:9: quota[0].limit: expected an integer from 0 to 4503599627370496, found the integer -1",
        ],
    );
}

#[test]
fn syntax_errors_do_not_hide_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hotgate.toml");
    std::fs::write(&file, "[auth]\npassword = hunter2\n[log]\nlevel = \"loud\"\nformat = \n").unwrap();
    let outcome = hotgate(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1));
    let places: Vec<_> =
        outcome.stdout.lines().filter_map(|line| line.rsplit("hotgate.toml:").next()).collect();
    assert!(places[0].starts_with("2:12: not TOML: "), "{places:?}");
    assert!(places[1].starts_with("4:9: log.level: expected "), "{places:?}");
    assert!(places[2].starts_with("5:"), "{places:?}");
    assert_eq!(places.len(), 3, "{places:?}");
    assert!(!outcome.stdout.contains("hunter2"), "{places:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let outcome = hotgate(&["check", "--config", "/nonexistent/hotgate.toml"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stdout.lines().count(), 1);
    assert!(outcome.stdout.starts_with("/nonexistent/hotgate.toml: cannot be read: "), "{}", outcome.stdout);
}

#[test]
fn secrets_in_files_are_looked_for_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    let file = directory.path().join("hotgate.toml");
    std::fs::write(&file, format!("[upstream]\npassword_file = {:?}\n", secret.to_str().unwrap())).unwrap();
    let check = || hotgate(&["check", "--config", file.to_str().unwrap()]);

    let missing = check();
    assert!(
        missing.stdout.contains(":2:17: upstream.password_file: expected a file that holds a secret, but ")
    );
    std::fs::write(&secret, "\nhunter2\n").unwrap();
    let empty = check();
    assert!(empty.stdout.contains("first line") && !empty.stdout.contains("hunter2"), "{}", empty.stdout);
    std::fs::write(&secret, "hunter2\n").unwrap();
    assert_eq!(check().code, Some(0));
}

#[test]
fn serve_refuses_a_wrong_file_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hotgate.toml");
    std::fs::write(&file, "[gateway]\nworkers = -1\nclients_max = 0\n").unwrap();
    let outcome = hotgate(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (Some(1), 1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(":2:11: gateway.workers: ") && outcome.stderr.contains("and 1 more"));
}

#[test]
fn whether_a_gateway_is_ready_is_an_exit_code() {
    let mut gateway = Gateway::before_server(&Server::start());
    let ask = |admin: &str| {
        let arguments = ["check", "--ready", "--admin", admin];
        let output = Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let admin = format!("http://{}", gateway.admin.unwrap());
    // Its server is gone already.
    wait_until("it is not ready", || ask(&admin).0 == Some(1));
    let (_, said) = ask(&admin);
    assert!(said.contains("503 to /readyz") && said.contains("upstream_unreachable"), "{said}");
    gateway.kill();
    let (code, said) = ask(&admin);
    assert!(code == Some(1) && said.contains(&admin), "{said}");
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    assert_eq!(ask(&format!("http://{}/", gateway.admin.unwrap())), (Some(0), String::new()));
}

#[test]
fn the_files_of_certificates_are_read_too() {
    let authority = Authority::new();
    let good = authority.issue("good");
    let other = authority.issue("other");
    let expired = authority.issue_for("expired", "IP:127.0.0.1", -1);
    let text = authority.path("text");
    std::fs::write(&text, "no certificate").unwrap();
    let listener = |cert: &Path, key: &Path| {
        format!("[tls]\nlisten = [\"127.0.0.1:0\"]\ncert_file = {cert:?}\nkey_file = {key:?}\n")
    };
    let said = |toml: &str| {
        let file = authority.path("hotgate.toml");
        std::fs::write(&file, toml).unwrap();
        let outcome = hotgate(&["check", "--config", file.to_str().unwrap()]);
        (outcome.code, outcome.stdout)
    };
    let (code, told) = said(&listener(&good.cert, &good.key));
    assert_eq!(code, Some(0), "{told}");
    let no_authority =
        format!("{}client_auth = \"required\"\nclient_ca_file = {text:?}\n", listener(&good.cert, &good.key));
    for (toml, words) in [
        (listener(&expired.cert, &expired.key), &["[tls]", "expired.crt expired", "days ago"][..]),
        (
            listener(&good.cert, &other.key),
            &["[tls]", "other.key is not the key of the certificate in", "good.crt"],
        ),
        (listener(&text, &good.key), &["[tls]", "text", "PEM"]),
        (listener(&good.cert, &text), &["[tls]", "text holds no private key"]),
        (listener(&authority.path("gone"), &good.key), &["[tls]", "gone can't be read"]),
        (no_authority, &["[tls]", "text", "PEM"]),
        (format!("[upstream]\ntls = true\nca_file = {text:?}\n"), &["[upstream]", "text", "PEM"]),
    ] {
        let (code, told) = said(&toml);
        assert!(code == Some(1) && words.iter().all(|word| told.contains(word)), "{toml}: {told}");
    }
    // All that is wrong, in one go.
    let (_, told) = said(&format!(
        "{}[upstream]\ntls = true\nca_file = {text:?}\n",
        listener(&expired.cert, &expired.key)
    ));
    assert_eq!(told.lines().count(), 2, "{told}");
}

const CLUSTERS: &str = "[[cluster]]\nname = \"a\"\nservers = [\"127.0.0.1:1\"]\n\
                        [[cluster]]\nname = \"b\"\nservers = [\"127.0.0.1:2\"]\n\
                        [[cluster]]\nname = \"c\"\nservers = [\"127.0.0.1:3\"]\n";

fn spread(clusters: &str, more: &str) -> String {
    format!("{CLUSTERS}[[route]]\nmatch = \"t:*:*\"\nclusters = [{clusters}]\nby = \"$1\"\n{more}")
}

/// What another file or a running gateway makes of its keys is told, with the share that moves.
#[test]
fn keys_that_a_file_would_move_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let old = write("old.toml", &spread("\"a\", \"b\"", ""));
    let new = write("new.toml", &spread("\"a\", \"b\", \"c\"", ""));
    let forced = write("forced.toml", &spread("\"a\", \"b\", \"c\"", "force = true\n"));
    let moves = "about 33 % of the keys that match \"t:*:*\" live in a, b and would be looked for in a, b, c";
    let server = Server::start();
    let gateway = Gateway::before(&server).config(&spread("\"a\", \"b\"", "")).start();
    let admin = format!("http://{}", gateway.admin.unwrap());
    for against in [vec!["--against", old.as_str()], vec!["--running", "--admin", admin.as_str()]] {
        let run = |file: &str| hotgate(&[&["check", file][..], &against].concat());
        let same = run(&old);
        assert_eq!((same.code, same.stdout), (Some(0), format!("{old}: ok\n")), "{}", same.stderr);
        let refused = run(&new);
        let expect = format!("{new}: route: {moves}; move them first, and set force = true on that route\n");
        assert_eq!((refused.code, refused.stdout), (Some(1), expect), "{}", refused.stderr);
        let taken = run(&forced);
        assert_eq!(
            (taken.code, taken.stdout),
            (Some(0), format!("{forced}: moves: {moves}\n{forced}: ok\n"))
        );
    }
    let nobody = hotgate(&["check", &old, "--running", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stdout.contains("can't connect"), "{}", nobody.stdout);
    let bad = write("bad.toml", "[upstream]\nnothing = 1\n");
    let outcome = hotgate(&["check", &old, "--against", &bad]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains("unknown key"), "{}", outcome.stdout);
}
