//! Database servers as the tests start them: private, on free ports, killed at the end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::disk::Disk;
use crate::support::{free_port, reaper, wait_for, wait_until};

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Maria,
}

/// A private database server.
pub struct SqlServer {
    kind: Kind,
    child: Child,
    /// What its data lies on, if it has a disk of its own. It goes before the directory.
    disk: Option<Disk>,
    directory: TempDir,
    port: u16,
    /// Further arguments of the server.
    arguments: Vec<String>,
}

impl SqlServer {
    pub fn start(kind: Kind) -> SqlServer {
        Self::start_with(kind, |_| Vec::new())
    }

    /// Starts one with the arguments that a closure makes, which may put files into the directory that it gets.
    pub fn start_with(kind: Kind, prepare: impl FnOnce(&Path) -> Vec<String>) -> SqlServer {
        Self::start_on(kind, prepare, |_| None)
    }

    /// Starts a PostgreSQL whose data lies on a disk of its own, of so many MiB.
    pub fn start_on_disk(mib: u32) -> SqlServer {
        Self::start_on(Kind::Postgres, |_| Vec::new(), |data| Some(Disk::on(data, mib)))
    }

    fn start_on(
        kind: Kind,
        prepare: impl FnOnce(&Path) -> Vec<String>,
        disk: impl FnOnce(&Path) -> Option<Disk>,
    ) -> SqlServer {
        let directory = tempfile::Builder::new().prefix("hotgate-test-sql").tempdir_in("/tmp").unwrap();
        reaper::remove_at_end(directory.path());
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let arguments = prepare(directory.path());
        if is_root() {
            let owned = Command::new("chown").args(["-R", kind.user()]).arg(directory.path()).status();
            assert!(owned.unwrap().success(), "Debian's package makes the user {}", kind.user());
        }
        let disk = disk(&data);
        let mut install = match kind {
            Kind::Postgres => {
                // On a small disk the log has to be cut into small files.
                let cut = disk.as_ref().map(|_| "--wal-segsize=1");
                let mut install = unprivileged("initdb");
                let flags =
                    ["-A", "trust", "-U", "hotgate", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
                install.args(flags).arg(cluster_of(&data)).args(cut);
                install
            }
            Kind::Maria => {
                let mut install = Command::new("mariadb-install-db");
                let flags = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"];
                install.args(flags).arg(format!("--datadir={}", data.display()));
                // How large its files are is settled when they are made.
                install.args(arguments.iter().filter(|argument| argument.starts_with("--innodb")));
                install.args(as_user());
                install
            }
        };
        let made = install.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(made.success(), "{install:?}");
        let port = free_port();
        let child = spawn(kind, &directory, port, &arguments);
        let server = SqlServer { kind, child, directory, port, arguments, disk };
        server.wait_until_it_answers();
        if kind == Kind::Maria {
            server.query("CREATE DATABASE shop");
        }
        server
    }

    /// As `ledger.url` has it: of the user who may do everything.
    pub fn url(&self) -> String {
        let user = match self.kind {
            Kind::Postgres => "hotgate",
            Kind::Maria => "root",
        };
        self.url_of(user)
    }

    /// As `ledger.url` has it, for this user, who may have a password.
    pub fn url_of(&self, user: &str) -> String {
        match self.kind {
            Kind::Postgres => format!("postgres://{user}@127.0.0.1:{}/postgres", self.port),
            Kind::Maria => format!("mysql://{user}@127.0.0.1:{}/shop", self.port),
        }
    }

    /// As `ledger.url` has it, at the port of something that stands before it.
    pub fn url_at(&self, port: u16) -> String {
        self.url().replace(&format!(":{}/", self.port), &format!(":{port}/"))
    }

    pub fn address(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// All its processes stand still from now on: it accepts connections and says nothing.
    pub fn pause(&self) {
        // The first one makes no others any more.
        crate::support::redis::signal(self.child.id(), "STOP");
        self.processes().iter().skip(1).for_each(|process| send(*process, "STOP"));
    }

    pub fn resume(&self) {
        self.processes().iter().rev().for_each(|process| send(*process, "CONT"));
    }

    /// Its first process, and those that it made.
    fn processes(&self) -> Vec<u32> {
        let first = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let children = children.unwrap_or_default();
        [first].into_iter().chain(children.split_whitespace().map(|child| child.parse().unwrap())).collect()
    }

    /// Somebody else has the rows: whoever writes one waits, in the middle of a transaction.
    pub fn hold_rows(&self) -> HeldRows {
        let sql = match self.kind {
            Kind::Postgres => "BEGIN; LOCK TABLE reservation IN EXCLUSIVE MODE; SELECT pg_sleep(3000)",
            Kind::Maria => "LOCK TABLES reservation WRITE; SELECT SLEEP(3000)",
        };
        let client = self.client(sql).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        reaper::kill_at_end(client.id());
        let sleeps = match self.kind {
            Kind::Postgres => "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
            Kind::Maria => "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(3%'",
        };
        let session = wait_for("the rows are held", || Some(self.query(sleeps).first()?[0].clone()));
        HeldRows { client, session }
    }

    /// How many wait for rows that are held.
    pub fn waits_for_rows(&self) -> usize {
        let waits = match self.kind {
            Kind::Postgres => "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
            Kind::Maria => {
                "SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
            }
        };
        self.query(waits).len()
    }

    /// Nobody has them any more.
    pub fn release_rows(&self, mut held: HeldRows) {
        match self.kind {
            Kind::Postgres => self.query(&format!("SELECT pg_terminate_backend({})", held.session)),
            Kind::Maria => self.query(&format!("KILL {}", held.session)),
        };
        let _ = held.client.wait();
        reaper::spare(held.client.id());
    }

    fn wait_until_it_answers(&self) {
        wait_until("the database server answers", || self.query("SELECT 1").len() == 1);
    }

    /// The rows of a query, as text; none where it can't be asked.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let output = self.client(sql).stderr(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// The server's own client, with these statements.
    fn client(&self, sql: &str) -> Command {
        match self.kind {
            Kind::Postgres => {
                let mut client = Command::new("psql");
                client.args(["-XAtqF\t", &self.url(), "-c", sql]).env("PGCONNECT_TIMEOUT", "5");
                client
            }
            Kind::Maria => {
                let mut client = Command::new("mariadb");
                client.args(["--no-defaults", "-h127.0.0.1", "-uroot", "-NBr", "--connect-timeout=5"]);
                // Otherwise it writes a question mark for what takes four bytes.
                client.arg("--default-character-set=utf8mb4");
                client.arg(format!("-P{}", self.port));
                // The database that the other queries are about.
                if !sql.starts_with("CREATE DATABASE") && sql != "SELECT 1" {
                    client.arg("-Dshop");
                }
                client.args(["-e", sql]);
                client
            }
        }
    }

    /// As `kill -9` of all of it: what was not committed is gone.
    pub fn kill(&mut self) {
        // PostgreSQL's own word for that; its processes would stay otherwise.
        let signal = match self.kind {
            Kind::Postgres => "QUIT",
            Kind::Maria => "KILL",
        };
        self.resume();
        crate::support::redis::signal(self.child.id(), signal);
        let _ = self.child.wait();
        reaper::spare(self.child.id());
    }

    /// The disk that its data lies on.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it was started on a disk")
    }

    /// Whether it has ended, as a server does that can't write its log.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// With these arguments from its next start on.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    pub fn restart(&mut self) {
        self.child = spawn(self.kind, &self.directory, self.port, &self.arguments);
        self.wait_until_it_answers();
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Rows that somebody has, until [`SqlServer::release_rows`].
pub struct HeldRows {
    client: Child,
    session: String,
}

/// A signal to a process that may be gone.
fn send(process: u32, signal: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Postgres, Kind::Maria];

    /// The system user that Debian's package makes.
    fn user(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Maria => "mysql",
        }
    }
}

/// Where PostgreSQL has its files.
fn cluster_of(data: &Path) -> PathBuf {
    data.join("cluster")
}

fn spawn(kind: Kind, directory: &TempDir, port: u16, arguments: &[String]) -> Child {
    let path = directory.path();
    let log = std::fs::File::options().create(true).append(true).open(path.join("log")).unwrap();
    let mut server = match kind {
        Kind::Postgres => {
            let mut server = unprivileged("postgres");
            server.arg("-D").arg(cluster_of(&path.join("data"))).args(["-p", &port.to_string()]);
            server.args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
            ]);
            server
        }
        Kind::Maria => {
            let mut server = Command::new(daemon());
            server.arg("--no-defaults").arg(format!("--datadir={}", path.join("data").display()));
            server.arg(format!("--socket={}", path.join("socket").display()));
            server.arg(format!("--pid-file={}", path.join("pid").display()));
            server.args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"]);
            server.args(as_user());
            server
        }
    };
    let child = server.args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    reaper::kill_at_end(child.id());
    child
}

/// MariaDB consents to run as root no more than PostgreSQL does, but changes the user itself.
fn as_user() -> &'static [&'static str] {
    if is_root() { &["--user=mysql"] } else { &[] }
}

fn daemon() -> &'static str {
    if PathBuf::from("/usr/sbin/mariadbd").exists() { "/usr/sbin/mariadbd" } else { "mariadbd" }
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
