//! The real `hotgate ledger` as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::servers::SqlServer;
use crate::support::disk::Disk;
use crate::support::gateway::Upstream;
use crate::support::{reaper, secured, wait_for};

/// A place for a database: it outlives the processes that write it.
pub struct Place {
    /// What its file lies on, if it has a disk of its own. It goes before the directory.
    disk: Option<Disk>,
    directory: TempDir,
    upstream: String,
    further: String,
    server: Option<SqlServer>,
    /// Further lines of `[upstream]`.
    of_upstream: String,
    /// In place of its own address.
    url: Option<String>,
}

/// A process. Killed when dropped.
pub struct Ledger {
    child: Child,
    log: PathBuf,
}

impl Place {
    /// For the sales of what is there.
    pub fn before(upstream: &(impl Upstream + ?Sized)) -> Place {
        let directory = tempfile::Builder::new().prefix("hotgate-test-ledger").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        Place {
            directory,
            upstream: upstream.addresses(),
            further: String::new(),
            server: None,
            of_upstream: String::new(),
            url: None,
            disk: None,
        }
    }

    /// The rows go to this server.
    pub fn on(mut self, server: SqlServer) -> Place {
        self.server = Some(server);
        self
    }

    /// The rows go to a file on a disk of its own, of so many MiB.
    pub fn on_disk(mut self, mib: u32) -> Place {
        let directory = self.directory.path().join("disk");
        std::fs::create_dir(&directory).unwrap();
        self.disk = Some(Disk::on(&directory, mib));
        self
    }

    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the file is on a disk of its own")
    }

    /// With this for `ledger.url`.
    pub fn at(mut self, url: &str) -> Place {
        self.url = Some(url.to_owned());
        self
    }

    pub fn server(&mut self) -> &mut SqlServer {
        self.server.as_mut().expect("the rows go to a server")
    }

    /// The rows of a query, as text; none while there is no database.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        if let Some(server) = &self.server {
            return server.query(sql);
        }
        if !self.path().exists() {
            return Vec::new();
        }
        let database = self.database();
        let Ok(mut statement) = database.prepare(sql) else { return Vec::new() };
        let columns = statement.column_count();
        let text = |value: rusqlite::types::ValueRef| match value {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        };
        let rows =
            statement.query_map([], |row| (0..columns).map(|column| row.get_ref(column).map(text)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Further lines of `[upstream]`.
    pub fn upstream(mut self, lines: &str) -> Place {
        self.of_upstream.push_str(lines);
        self
    }

    /// The address of its server for another user.
    pub fn url_of(&self, user: &str) -> String {
        self.server.as_ref().expect("the rows go to a server").url_of(user)
    }

    /// Changes something in the database.
    pub fn change(&self, sql: &str) {
        match &self.server {
            Some(server) => drop(server.query(sql)),
            None => self.database().execute_batch(sql).unwrap(),
        }
    }

    /// Further lines of `[ledger]`.
    pub fn config(mut self, lines: &str) -> Place {
        self.further.push_str(lines);
        self
    }

    pub fn path(&self) -> PathBuf {
        let directory = self.directory.path();
        match self.disk {
            Some(_) => directory.join("disk/reservations.db"),
            None => directory.join("reservations.db"),
        }
    }

    /// The database, once there is one.
    pub fn database(&self) -> Connection {
        let database = Connection::open(self.path()).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        database
    }

    /// Where its server listens.
    pub fn sql_address(&self) -> std::net::SocketAddr {
        self.server.as_ref().expect("the rows go to a server").address()
    }

    /// The address of its server at another port.
    pub fn url_at(&self, port: u16) -> String {
        self.server.as_ref().expect("the rows go to a server").url_at(port)
    }

    /// As `ledger.url` has it.
    pub fn url(&self) -> String {
        match (&self.url, &self.server) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server.url(),
            (None, None) => format!("sqlite:{}", self.path().display()),
        }
    }

    /// The file of the configuration.
    pub fn file(&self) -> PathBuf {
        let servers: Vec<String> = self.upstream.split(',').map(|server| format!("'{server}'")).collect();
        let Place { further, of_upstream, .. } = self;
        let toml = format!(
            "[upstream]\nservers = [{}]\n{of_upstream}[ledger]\nurl = '{}'\n{further}",
            servers.join(", "),
            self.url()
        );
        let toml = secured::everywhere().map_or(toml.clone(), |secured| secured.config(&toml));
        let file = self.directory.path().join("hotgate.toml");
        // A process that has just been started may be reading it.
        let next = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        std::fs::write(next.path(), toml).unwrap();
        next.persist(&file).unwrap();
        file
    }

    /// Starts a process that follows.
    pub fn start(&self) -> Ledger {
        self.start_with(&[], &[])
    }

    /// Starts one with further arguments, with these in its environment.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ledger {
        let log = tempfile::Builder::new().prefix("log").tempfile_in(self.directory.path()).unwrap();
        let (log_file, log) = log.keep().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hotgate"))
            .args(["ledger", "--config"])
            .arg(self.file())
            .args(arguments)
            .envs(environment.iter().copied())
            .stderr(log_file)
            .spawn()
            .unwrap();
        reaper::kill_at_end(child.id());
        Ledger { child, log }
    }

    /// Runs one until the database has what there is; the exit code and the log.
    pub fn once(&self) -> (Option<i32>, String) {
        let mut ledger = self.start_with(&["--once"], &[]);
        let status = ledger.wait();
        (status.code(), ledger.log())
    }

    /// Runs a verb to its end; the exit code and what it told.
    pub fn verb(&self, words: &[&str]) -> (Option<i32>, String) {
        self.verb_with(words, &[])
    }

    /// The same with these in its environment.
    pub fn verb_with(&self, words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
        command.args(["ledger", "--config"]).arg(self.file()).args(words);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        if !output.status.success() {
            println!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    /// Runs a verb whose standard output nobody reads; the exit code and what it said on standard error.
    pub fn verb_without_a_reader(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
        command.args(["ledger", "--config"]).arg(self.file()).args(words);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// As [`Place::once`], where all is well.
    pub fn catch_up(&self) {
        let (code, log) = self.once();
        assert_eq!(code, Some(0), "{log}");
    }
}

impl Ledger {
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// SIGKILL; the process is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::spare(self.child.id());
    }

    pub fn terminate(&mut self) -> ExitStatus {
        crate::support::redis::signal(self.child.id(), "TERM");
        self.wait()
    }

    /// Waits for its own end.
    pub fn wait(&mut self) -> ExitStatus {
        let (child, log) = (&mut self.child, &self.log);
        let status = wait_for("the ledger ends", || child.try_wait().unwrap());
        reaper::spare(self.child.id());
        if status.code().is_none() {
            println!("ended by a signal; its log: {}", read(log));
        }
        status
    }

    pub fn signal(&self, signal: &str) {
        crate::support::redis::signal(self.child.id(), signal);
    }

    /// The memory that it has now, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the ledger\n{}", self.log());
        }
        self.kill();
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
