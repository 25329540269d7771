//! The pages of docs/ tell the truth where a program can tell: configurations in them are right, texts that they quote are in the program,
//! and a configuration that is translated from another proxy's does what that one did.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Client, Gateway, Server, free_port, wait_until};

const MOVING: &str = include_str!("../../docs/moving.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut waiting, mut found) = (vec![root().join(directory)], Vec::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
    found
}

/// The blocks of a language, in order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_configuration_of_a_page_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for path in files("docs", "md").into_iter().chain([root().join("README.md")]) {
        let page = std::fs::read_to_string(&path).unwrap();
        for block in blocks(&page, "toml") {
            let file = directory.path().join("page.toml");
            std::fs::write(&file, block).unwrap();
            let output =
                Command::new(env!("CARGO_BIN_EXE_hotgate")).arg("check").arg(&file).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            // A file that is named, and that only its operator has.
            let lacks_a_file = said.contains("No such file");
            assert!(output.status.success() || lacks_a_file, "{}: {block}\n{said}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 6, "{checked}");
}

/// A text with `…` for what varies is in the program: in one string, its pieces in this order.
#[test]
fn texts_that_the_pages_quote_are_in_the_program() {
    let mut program: String = files("src", "rs")
        .iter()
        .filter(|path| !path.to_string_lossy().contains("tests"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    // A string that goes on in the next line.
    while let Some(start) = program.find("\\\n") {
        let rest = program[start + 2..].trim_start().to_owned();
        program.truncate(start);
        program.push_str(&rest);
    }
    let mut quoted = 0;
    for (page, column) in [("docs/failures.md", 3), ("docs/troubleshooting.md", 1)] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let of_the_program = text.split("## It works, but").next().unwrap();
        for row in of_the_program.lines().filter(|line| line.starts_with("| ")) {
            let cell = row.split('|').nth(column).unwrap();
            for text in cell.split('`').skip(1).step_by(2) {
                for piece in text.split('…').map(str::trim).filter(|piece| piece.len() > 2) {
                    assert!(program.contains(piece), "{page}: nothing says {piece:?}");
                    quoted += 1;
                }
            }
        }
    }
    assert!(quoted > 50, "{quoted}");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// twemproxy with the page's configuration, before this server.
fn twemproxy(server: &Server, directory: &Path) -> (Running, u16) {
    let port = free_port();
    let yaml = blocks(MOVING, "yaml")[0]
        .replace("127.0.0.1:22121", &format!("127.0.0.1:{port}"))
        .replace("127.0.0.1:6379", &server.address().to_string());
    let file = directory.join("nutcracker.yml");
    std::fs::write(&file, yaml).unwrap();
    // Debian puts it where only root's PATH leads.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new("nutcracker")
        .env("PATH", path)
        .arg("-c")
        .arg(&file)
        .args(["-s", &free_port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nutcracker is installed by tests/setup");
    (Running(child), port)
}

#[test]
fn what_is_moved_from_twemproxy_answers_alike() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [Server::start(), Server::start()];
    let (_running, port) = twemproxy(&servers[0], directory.path());
    let toml = blocks(MOVING, "toml")[0];
    let ours = toml.lines().filter(|line| !line.starts_with("listen") && !line.starts_with("servers"));
    let gateway = Gateway::before(&servers[1].address().to_string())
        .config(&ours.collect::<Vec<_>>().join("\n"))
        .start();
    let address = ([127, 0, 0, 1], port).into();
    wait_until("twemproxy listens", || std::net::TcpStream::connect::<std::net::SocketAddr>(address).is_ok());
    let (mut theirs, mut ours) = (Client::connect(address), gateway.client());
    for line in [
        "SET a 1",
        "GET a",
        "INCRBY a 41",
        "MSET b 2 c 3",
        "MGET a b c none",
        "DEL a b none",
        "HSET h f v",
        "HGETALL h",
        "LPUSH l x y",
        "LRANGE l 0 -1",
        "SADD s m",
        "SISMEMBER s m",
        "ZADD z 1 m",
        "ZRANGE z 0 -1 WITHSCORES",
        "EXPIRE h 100",
        "TTL h",
        "INCR l",
        "EVAL return{KEYS[1]} 1 k",
        "EXISTS h l",
    ] {
        assert_eq!(ours.ask(line), theirs.ask(line), "{line}");
    }
}
