//! The same promises with a database server, and what only a server does: it goes away and comes back.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::books::{check_equal, in_redis, last_entry, position, wait_until_read};
use crate::process::Place;
use crate::support::{Gateway, Server, free_port, reaper, wait_until};

/// A private PostgreSQL on a free port.
pub struct Postgres {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    pub fn start() -> Postgres {
        let directory = tempfile::Builder::new().prefix("hotgate-test-postgres").tempdir_in("/tmp").unwrap();
        reaper::remove_at_end(directory.path());
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(directory.path()).status();
            assert!(owned.unwrap().success(), "Debian's postgresql makes its user");
        }
        let arguments = ["-A", "trust", "-U", "hotgate", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        let made = unprivileged("initdb").args(arguments).arg(&data).stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "initdb");
        let port = free_port();
        let child = Self::spawn(&directory, port);
        let server = Postgres { child, directory, port };
        server.wait_until_it_answers();
        server
    }

    fn spawn(directory: &TempDir, port: u16) -> Child {
        let log =
            std::fs::File::options().create(true).append(true).open(directory.path().join("log")).unwrap();
        let options =
            ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"];
        let child = unprivileged("postgres")
            .arg("-D")
            .arg(directory.path().join("data"))
            .args(["-p", &port.to_string()])
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        reaper::kill_at_end(child.id());
        child
    }

    pub fn url(&self) -> String {
        format!("postgres://hotgate@127.0.0.1:{}/postgres", self.port)
    }

    fn wait_until_it_answers(&self) {
        wait_until("PostgreSQL answers", || self.query("SELECT 1").len() == 1);
    }

    /// The rows of a query, as text; none where it can't be asked.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let output = Command::new("psql")
            .args(["-XAtqF\t", &self.url(), "-c", sql])
            .env("PGCONNECT_TIMEOUT", "5")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// As `kill -9` of all of it: what was not committed is gone.
    pub fn kill(&mut self) {
        crate::support::redis::signal(self.child.id(), "QUIT");
        let _ = self.child.wait();
        reaper::spare(self.child.id());
    }

    pub fn restart(&mut self) {
        self.child = Self::spawn(&self.directory, self.port);
        self.wait_until_it_answers();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A program of the server, as a user that it consents to run as.
fn unprivileged(program: &str) -> Command {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("tests/setup installs postgresql")
        .map(|version| version.unwrap().path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let program = found.pop().expect("tests/setup installs postgresql");
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

#[test]
fn postgres_has_each_entry_once_whatever_dies() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 PERUSER 50 HOLD 500000", "+OK");
    let mut place = Place::before(&server).on(Postgres::start());
    let mut user = 0;
    let mut sell = || {
        user += 1;
        client.check(&format!("RESERVE.ADD mask {user} COUNT 2"), "*4...");
        client.check(&format!("RESERVE.CANCEL mask {user} COUNT 1"), "*4...");
    };
    for point in ["after_read", "before_commit", "after_commit", "after_tell"] {
        let mut ledger = place.start_with(&[], "", &[("HOTGATE_LEDGER_DIES", &format!("{point}:2"))]);
        wait_until("it dies", || {
            sell();
            !ledger.runs()
        });
    }
    let ledger = place.start();
    (0..50).for_each(|_| sell());
    place.server().kill();
    (0..50).for_each(|_| sell());
    wait_until("it says why it waits", || {
        ledger.log().contains("the database does not take rows: PostgreSQL")
    });
    place.server().restart();
    wait_until_read(&place, &mut direct, "mask");
    let mut client = gateway.client();
    check_equal(&place, &mut client, &mut direct, "mask");
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    let before = in_redis(&mut client, "mask");
    direct.check("FLUSHALL", "+OK");
    assert_eq!(place.verb(&["restore", "mask"]).0, Some(0));
    assert_eq!(in_redis(&mut client, "mask"), before);
    client.check("RESERVE.ADD mask new", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
}

#[test]
fn of_two_processes_on_postgres_one_works_and_the_other_takes_over() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
    let place = Place::before(&server).on(Postgres::start());
    let mut first = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let second = place.start();
    wait_until("the second says that it waits", || second.log().contains("another ledger process"));
    for user in 0..100 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    first.kill();
    let last = last_entry(&mut direct, "mask");
    wait_until("the second goes on", || position(&place, "mask") == last);
    check_equal(&place, &mut client, &mut direct, "mask");
}
