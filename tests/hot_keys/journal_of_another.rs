//! A journal belongs to a place and to a Redis: nothing is acknowledged into files that nobody will read, and nothing is
//! flushed to a Redis that it was not acknowledged for, without a word.

use std::path::Path;

use crate::support::{Gateway, Server, wait_until};
use tempfile::TempDir;

fn config(directory: &Path, flush_interval: &str, more: &str) -> String {
    format!(
        "[write_behind]\nflush_interval = \"{flush_interval}\"\njournal = true\njournal_path = \"{}\"\n{more}\
         [[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n",
        directory.display()
    )
}

fn start(server: &Server, config: &str) -> Gateway {
    Gateway::before(&server).config(config).start()
}

#[test]
fn nothing_is_acknowledged_into_a_directory_that_was_removed() {
    let (server, directory) = (Server::start(), TempDir::new().expect("a directory"));
    let place = directory.path().join("journal");
    let mut gateway = start(&server, &config(&place, "1m", ""));
    let mut client = gateway.client();
    client.check("INCRBY wb:1 5", ":5");
    std::fs::remove_dir_all(&place).expect("it is there");
    client.check("INCRBY wb:1 1", "-ERR hotgate: the journal cannot be written: ...");
    wait_until("the log says so", || gateway.log().contains("was removed or replaced while the process ran"));
    std::fs::create_dir(&place).expect("it is gone");
    wait_until("it is written again", || client.ask("INCRBY wb:1 10") == ":15");
    gateway.kill();
    let _next = start(&server, &config(&place, "10ms", ""));
    wait_until("all that was acknowledged is there", || server.client().ask("GET wb:1") == "$2 15");
}

#[test]
fn what_was_acknowledged_for_one_redis_is_not_flushed_to_another() {
    let [server, other] = [(); 2].map(|()| Server::start());
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("journal");
    let mut gateway = start(&server, &config(&place, "1m", ""));
    gateway.client().check("INCRBY wb:1 5", ":5");
    gateway.kill();
    let (code, said) = Gateway::before(&other).config(&config(&place, "10ms", "")).refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&server.address().to_string()) && said.contains("journal_adopt = true"), "{said}");
    other.client().check("GET wb:1", "$-1");
    let mut gateway = start(&server, &config(&place, "1m", ""));
    wait_until("it is flushed where it belongs", || server.client().ask("GET wb:1") == "$1 5");
    gateway.client().check("INCRBY wb:1 2", ":7");
    gateway.kill();
    let _gateway = start(&other, &config(&place, "10ms", "journal_adopt = true\n"));
    wait_until("it is flushed to whom an operator says", || other.client().ask("GET wb:1") == "$1 2");
}
