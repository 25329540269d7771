//! The command line: what it takes, and what it says to what it does not take.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::support::gateway::Start;
use crate::support::shared;

fn hotgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What is printed on standard output by a command that does what it should.
fn printed(arguments: &[&str]) -> String {
    let output = hotgate(arguments);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    text(&output.stdout)
}

#[test]
fn a_wrong_flag_says_what_was_expected() {
    for (arguments, expected) in [
        (&["serve", "--workers", "-1"][..], "-1 is not in 0..=256"),
        (&["serve", "--listen", "example.org:6380"], "0.0.0.0:6380"),
        (&["serve", "--upstream", "localhost"], "expected host:port, such as 127.0.0.1:6379"),
        (&["serve", "--upstream", "http://localhost:6379"], "another kind of URL"),
        (&["serve", "--upstream", "rediss://localhost:6379"], "upstream.tls = true"),
        (&["serve", "--upstream", "redis://shop:sesame@localhost"], "upstream.password_file"),
        (&["check"], "<FILE>"),
        (&["man", "serv"], "'serv' is no command of hotgate"),
    ] {
        let output = hotgate(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_manual_page_and_completions_have_every_command() {
    let page = printed(&["man"]);
    for command in ["serve", "demo", "check", "top"] {
        assert!(page.contains(&format!("hotgate\\-{command}")), "{command}: {page}");
        assert!(printed(&["man", command]).contains(&format!(".TH hotgate-{command}")), "{command}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(printed(&["completions", shell]).contains(command), "{shell} {command}");
        }
    }
    assert!(page.contains("SIGHUP") || page.contains("HUP"), "{page}");
    assert!(printed(&["--version"]).starts_with("hotgate 0."));
}

/// As with `hotgate man | head`: the end of a pipe is no defect, and no success either.
#[test]
fn a_reader_that_has_gone_ends_a_command_without_a_word() {
    for arguments in [
        &["man"][..],
        &["completions", "bash"],
        &["serve", "--describe-metrics"],
        &["check", "conf/hotgate.toml"],
        &["check", "/nowhere"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let (code, said) = (output.status.code(), text(&output.stderr));
        assert_eq!((code, said.as_str()), (Some(hotgate::console::READER_GONE), ""), "{arguments:?}");
    }
}

/// It may find a Redis on this machine or not, and its addresses free or not: what it says first is the same.
#[test]
fn without_arguments_it_says_what_it_does_and_what_else_there_is() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotgate")).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("hotgate serve") && line.contains("hotgate demo"), "{line}");
}

fn start(config: &str, flags: [(&str, &str); 3]) -> Start {
    flags.into_iter().fold(Start::default().config(config), |start, (name, value)| start.flag(name, value))
}

#[test]
fn a_port_alone_is_on_loopback_and_a_url_names_a_server() {
    let url = format!("redis://{}/0", shared::single(module_path!()).0.address());
    let gateway = start("", [("--listen", "0"), ("--admin", ":0"), ("--upstream", &url)]).start();
    assert!(gateway.address.ip().is_loopback());
    assert!(gateway.admin.unwrap().ip().is_loopback());
}

#[test]
fn a_second_gateway_on_an_address_starts_only_where_that_is_meant() {
    let upstream = shared::single(module_path!()).0.address().to_string();
    let before = |config: &str, listen: &str| {
        start(config, [("--listen", listen), ("--admin", "127.0.0.1:0"), ("--upstream", &upstream)])
    };
    let shared = "gateway.share_port = true";
    let first = before(shared, "127.0.0.1:0").start();
    let listen = first.address.to_string();
    let (code, log) = before("", &listen).refused();
    assert_eq!(code, Some(1));
    assert!(
        log.contains(&format!("can't listen on {listen}")) && log.contains("gateway.share_port"),
        "{log}"
    );
    let second = before(shared, &listen).start();
    assert_eq!(second.address, first.address);
}

#[test]
fn a_door_open_to_other_hosts_is_refused_unless_it_is_meant() {
    let everywhere = [("--listen", "0.0.0.0:0"), ("--admin", "127.0.0.1:0"), ("--upstream", "127.0.0.1:1")];
    let (code, log) = start("", everywhere).refused();
    assert_eq!(code, Some(1));
    assert!(log.contains("add auth.password"), "{log}");
    start("gateway.protected_mode = false", everywhere).start();
}
