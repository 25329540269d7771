//! The log is for whoever reads it: plain text in a file or a pipe, colours at a terminal only.

use std::process::Command;

use crate::support::{Gateway, shared, wait_until};

const ESCAPE: char = '\x1b';

#[test]
fn a_log_that_is_no_terminal_holds_no_escapes() {
    let upstream = shared::single(module_path!()).0.address().to_string();
    for format in ["text", "json"] {
        let toml = format!("[log]\nformat = \"{format}\"\n");
        let gateway = Gateway::before(&upstream).config(&toml).start();
        gateway.reload(&toml);
        wait_until("the reload is logged", || gateway.log().contains("configuration reloaded"));
        assert!(!gateway.log().contains(ESCAPE), "{format}: {}", gateway.log());
    }
}

/// `script` gives the program a terminal. An address that can't be listened on ends it, after its first lines.
#[test]
fn a_terminal_gets_colours_unless_it_wants_none() {
    let taken = shared::single(module_path!()).0.address();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("hotgate.toml");
    let toml = format!(
        "[write_behind]\njournal = true\njournal_path = \"{}/journal\"\n",
        directory.path().display()
    );
    std::fs::write(&config, toml).expect("a file");
    let program = format!("{} --config {} --listen {taken}", env!("CARGO_BIN_EXE_hotgate"), config.display());
    for (no_color, coloured) in [("", true), ("1", false)] {
        let output =
            Command::new("script").args(["-qec", &program, "/dev/null"]).env("NO_COLOR", no_color).output();
        let said = String::from_utf8_lossy(&output.expect("script runs").stdout).into_owned();
        assert!(said.contains("the journal is open"), "{said}");
        assert_eq!(said.contains(ESCAPE), coloured, "{said}");
    }
}
