//! The real program as a child process: the one that cargo built for the tests, or the one that `HOTGATE_PROGRAM` in the
//! environment names (a release build, say).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, Once, mpsc};

use tempfile::TempDir;

use super::client::{Client, Version};
use super::redis::{Cluster, Server, signal};
use super::relay::Relay;
use super::secured::{self, Secured};
use super::{PATIENCE, reaper, wait_for};

/// A running `hotgate serve`. Killed when dropped; its log is shown when a test fails.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    /// Where clients connect with TLS, if they may.
    pub tls: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    secured: Option<&'static Secured>,
    directory: TempDir,
}

/// How a gateway is to be started.
#[derive(Default)]
pub struct Start {
    upstream: String,
    config: String,
    flags: Vec<String>,
    ulimits: Vec<String>,
    environment: Vec<(String, String)>,
    secured: Option<&'static Secured>,
}

impl Start {
    /// Lines of the configuration file.
    pub fn config(mut self, toml: &str) -> Start {
        self.config.push_str(toml);
        self
    }

    pub fn flag(mut self, name: &str, value: &str) -> Start {
        self.flags.extend([name.to_string(), value.to_string()]);
        self
    }

    /// TLS with servers and clients. Plain test clients are brought there by a tunnel.
    pub fn secured(mut self, secured: &'static Secured) -> Start {
        self.secured = Some(secured);
        self
    }

    /// A variable of the program's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// No file that the program writes may be larger than this many blocks of 512 bytes: beyond it the system says that
    /// there is no room, as a full disk does.
    pub fn file_blocks_max(mut self, blocks: u32) -> Start {
        self.ulimits.push(format!("-f {blocks}"));
        self
    }

    /// The program may have so many descriptors open: `-Sn 64`, or `-n 64` for the hard limit as well.
    pub fn descriptors(mut self, ulimit: &str) -> Start {
        self.ulimits.push(ulimit.to_owned());
        self
    }

    /// Flags win over the file, so a gateway whose file says where its upstream is gets none.
    fn address_flags(&self) -> Vec<&str> {
        match self.upstream.as_str() {
            "" => Vec::new(),
            upstream => vec!["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream],
        }
    }

    /// Starts the program and waits until it says that it is ready.
    pub fn start(self) -> Gateway {
        let (mut child, directory) = self.spawn();
        let Announced { plain, tls, admin } = announced(&mut child);
        let address = match (self.secured, tls) {
            (Some(secured), Some(tls)) => secured.tunnel(tls),
            // One that listens on a Unix socket only has no port.
            _ => plain.or(tls).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
        };
        Gateway { child, address, tls, admin, secured: self.secured, directory }
    }

    /// Starts the program where it has to refuse that, and returns its exit code and its log.
    pub fn refused(self) -> (Option<i32>, String) {
        let (mut child, directory) = self.spawn();
        let status = wait_for("the program refuses to start", || child.try_wait().unwrap());
        reaper::spare(child.id());
        (status.code(), std::fs::read_to_string(directory.path().join("log")).unwrap())
    }

    fn spawn(&self) -> (Child, TempDir) {
        let directory = tempfile::Builder::new().prefix("hotgate-test-gateway").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        let config = directory.path().join("hotgate.toml");
        let secured = self.secured.map(|secured| secured.config(&self.config));
        std::fs::write(&config, secured.as_ref().unwrap_or(&self.config)).unwrap();
        let log = directory.path().join("log");
        let child = self
            .program()
            .args(["serve", "--config", &config.display().to_string()])
            .args(self.address_flags())
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        reaper::kill_at_end(child.id());
        show_log_when_a_test_fails(log.display().to_string());
        (child, directory)
    }

    /// The program under its limits.
    fn program(&self) -> Command {
        let program =
            std::env::var("HOTGATE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hotgate").to_string());
        if self.ulimits.is_empty() {
            return Command::new(program);
        }
        let mut shell = Command::new("sh");
        let limits: String = self.ulimits.iter().map(|limit| format!("ulimit {limit}; ")).collect();
        let script = format!("trap '' XFSZ; {limits}exec \"$0\" \"$@\"");
        shell.args(["-c", &script, &program]);
        shell
    }
}

/// What a gateway can stand before.
pub trait Upstream {
    /// As `--upstream` takes them.
    fn addresses(&self) -> String;
}

impl Upstream for str {
    fn addresses(&self) -> String {
        self.to_owned()
    }
}

impl Upstream for String {
    fn addresses(&self) -> String {
        self.clone()
    }
}

impl Upstream for Server {
    fn addresses(&self) -> String {
        self.seed()
    }
}

impl Upstream for Cluster {
    fn addresses(&self) -> String {
        self.seeds()
    }
}

impl Upstream for Relay {
    fn addresses(&self) -> String {
        self.address().to_string()
    }
}

impl<T: Upstream + ?Sized> Upstream for &T {
    fn addresses(&self) -> String {
        (**self).addresses()
    }
}

impl Gateway {
    /// How to start a gateway before a server, a cluster, a relay, or what is at these addresses (`HOST:PORT[,HOST:PORT...]`).
    pub fn before(upstream: &(impl Upstream + ?Sized)) -> Start {
        Start { upstream: upstream.addresses(), secured: secured::everywhere(), ..Start::default() }
    }

    /// How to start a gateway whose file gives all addresses.
    pub fn by_file(toml: &str) -> Start {
        Start::default().config(toml)
    }

    /// A gateway of two workers: one of them is not the home of a key.
    pub fn of_two_workers(upstream: &(impl Upstream + ?Sized), config: &str) -> Gateway {
        Self::before(upstream).flag("--workers", "2").config(config).start()
    }

    pub fn before_server(server: &Server) -> Gateway {
        Self::before(server).start()
    }

    pub fn before_cluster(cluster: &Cluster) -> Gateway {
        Self::before(cluster).start()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn speaking(&self, version: Version) -> Client {
        Client::speaking(self.address, version)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives the program another configuration file, and tells it.
    pub fn reload(&self, toml: &str) {
        self.write_config(toml);
        signal(self.child.id(), "HUP");
    }

    /// Writes another configuration file, for the next process.
    pub fn write_config(&self, toml: &str) {
        let secured = self.secured.map(|secured| secured.config(toml));
        std::fs::write(self.directory.path().join("hotgate.toml"), secured.as_deref().unwrap_or(toml))
            .unwrap();
    }

    /// Has process `pid`, of which this gateway is an ancestor or which it is, relieved. Returns the process that took over, or what was
    /// said instead.
    pub fn upgrade(&self, pid: u32) -> Result<u32, String> {
        let program =
            std::env::var("HOTGATE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hotgate").to_string());
        let asked = Command::new(program).args(["upgrade", "--pid", &pid.to_string()]).output().unwrap();
        if !asked.status.success() {
            return Err(String::from_utf8(asked.stderr).unwrap());
        }
        let said = String::from_utf8(asked.stdout).unwrap();
        let heir =
            said.split(' ').nth(2).and_then(|word| word.parse().ok()).expect("the line names the process");
        reaper::kill_at_end(heir);
        Ok(heir)
    }

    /// SIGKILL; the process is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The status and the body of what the admin side answers to a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    /// The same by who has this token.
    pub fn get_with_token(&self, path: &str, token: &str) -> (u16, String) {
        self.get_with(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    fn get_with(&self, path: &str, header: &str) -> (u16, String) {
        let admin = self.admin.expect("the admin side listens");
        let mut stream = std::net::TcpStream::connect(admin).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
    }

    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the gateway ends", || child.try_wait().unwrap());
        reaper::spare(self.child.id());
        status
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What the program wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Memory that the process holds, in bytes (`VmRSS`).
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that the process has held so far, in bytes (`VmHWM`).
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::spare(self.child.id());
    }
}

/// The first address of each kind that the program prints.
#[derive(Default)]
struct Announced {
    plain: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Reads what the program prints about its listeners until it says `ready`. A thread of its own goes on reading, so
/// that the program never blocks on its standard output.
fn announced(child: &mut Child) -> Announced {
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut said = Announced::default();
    loop {
        let line = lines.recv_timeout(PATIENCE).expect("the gateway says that it is ready");
        if let Some(found) = line.strip_prefix("hotgate: listening on ") {
            said.plain = said.plain.or_else(|| found.parse().ok());
        } else if let Some(found) = line.strip_prefix("hotgate: listening for TLS on ") {
            said.tls = said.tls.or_else(|| found.parse().ok());
        } else if let Some(found) = line.strip_prefix("hotgate: admin on ") {
            said.admin = found.split_once("://").and_then(|(_, address)| address.parse().ok());
        } else if line == "hotgate: ready" {
            return said;
        }
    }
}

/// Of each gateway.
const LOG_LINES_SHOWN_MAX: usize = 12;

/// The module whose test started a gateway, and its log.
static LOGS: Mutex<Vec<(Option<String>, String)>> = Mutex::new(Vec::new());
static SHOW_LOGS: Once = Once::new();

/// The module of the test that this thread runs; none if it is a thread that a test started.
fn module_of_this_test() -> Option<String> {
    let thread = std::thread::current();
    thread.name()?.rsplit_once("::").map(|(module, _)| module.to_owned())
}

/// After a panic the ends of the logs of the gateways of the same module are printed below it.
fn show_log_when_a_test_fails(path: String) {
    LOGS.lock().unwrap().push((module_of_this_test(), path));
    SHOW_LOGS.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let here = module_of_this_test();
            for (module, path) in LOGS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter() {
                if here.is_some() && module.is_some() && here != *module {
                    continue;
                }
                // A gateway that has ended took its directory along.
                let log = std::fs::read_to_string(path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN_MAX)..];
                if !tail.is_empty() {
                    eprintln!("--- {path}\n{}", tail.join("\n"));
                }
            }
        }));
    });
}
