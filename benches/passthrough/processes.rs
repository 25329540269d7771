//! The contenders as processes: started on free ports, measured through `/proc`, ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hotgate::demo::private_redis::{PrivateCluster, PrivateServer};

use super::{CLUSTER, DIRECT, IDLE_CONNECTIONS, NUTCRACKER, SINGLE};

/// Something that redis-benchmark is pointed at.
pub struct Contender {
    pub name: &'static str,
    pub port: u16,
    /// The processes whose time counts; those of one name are added up.
    pub processes: Vec<Process>,
    _proxy: Option<Proxy>,
    _servers: Servers,
}

#[expect(dead_code, reason = "held for their Drop, which ends them")]
enum Servers {
    One(PrivateServer),
    Cluster(PrivateCluster),
}

/// A proxy and the directory of its configuration.
struct Proxy {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One result of a run.
pub struct Measured {
    pub process: String,
    pub cpu_us: f64,
}

/// A process as `/proc` shows it.
pub struct Process {
    pub name: &'static str,
    pid: u32,
}

impl Process {
    /// Processor time of all threads so far, user and system, from `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15, in
    /// ticks of 1/100 s on Linux).
    pub fn cpu_us(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the process runs");
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
        (ticks(14) + ticks(15)) * 10_000
    }

    /// Resident memory.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// Starts all contenders, each with servers of its own.
pub fn start() -> Vec<Contender> {
    raise_open_files();
    vec![direct(), nutcracker(), single(), cluster()]
}

/// Ten thousand connections need as many descriptors, here and in the gateway, which inherits the limit.
fn raise_open_files() {
    let pid = std::process::id().to_string();
    let wanted = (IDLE_CONNECTIONS + 2_000).to_string();
    let limit = format!("--nofile={wanted}:");
    let status =
        Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit (util-linux) runs");
    assert!(status.success(), "the limit of open files cannot be raised to {wanted}");
}

fn wait_for<T>(start: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(start)
}

fn server() -> PrivateServer {
    wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"))
}

fn redis(server: &PrivateServer) -> Process {
    Process { name: "redis", pid: server.pid() }
}

fn direct() -> Contender {
    let server = server();
    let (port, processes) = (server.address().port, vec![redis(&server)]);
    Contender { name: DIRECT, port, processes, _proxy: None, _servers: Servers::One(server) }
}

/// twemproxy with the configuration that its own documentation shows for Redis.
fn nutcracker() -> Contender {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nutcracker.yml");
    let (port, stats_port) = (free_port(), free_port());
    let text = format!(
        "bench:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n  servers:\n   - {}:1\n",
        server.address()
    );
    fs::write(&file, text).unwrap();
    let child = with_sbin(Command::new("nutcracker").arg("-c").arg(&file))
        .args(["-a", "127.0.0.1", "-s", &stats_port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nutcracker is installed (apt-get install nutcracker)");
    wait_until_it_listens(port);
    let processes = vec![redis(&server), Process { name: "nutcracker", pid: child.id() }];
    let proxy = Some(Proxy { child, _directory: directory });
    Contender { name: NUTCRACKER, port, processes, _proxy: proxy, _servers: Servers::One(server) }
}

fn single() -> Contender {
    let server = server();
    let (proxy, port) = hotgate(&server.address().to_string());
    let processes = vec![redis(&server), Process { name: "hotgate", pid: proxy.child.id() }];
    Contender { name: SINGLE, port, processes, _proxy: Some(proxy), _servers: Servers::One(server) }
}

fn cluster() -> Contender {
    let cluster = wait_for(PrivateCluster::start(3, 0, &[])).unwrap_or_else(|error| panic!("{error}"));
    let seeds: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let (proxy, port) = hotgate(&seeds.join(","));
    let mut processes: Vec<Process> = (0..3).map(|node| redis(cluster.node(node))).collect();
    processes.push(Process { name: "hotgate", pid: proxy.child.id() });
    Contender { name: CLUSTER, port, processes, _proxy: Some(proxy), _servers: Servers::Cluster(cluster) }
}

/// The gateway as it comes, with one worker.
fn hotgate(upstream: &str) -> (Proxy, u16) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hotgate.toml");
    fs::write(&file, format!("[gateway]\nclients_max = {}\n", IDLE_CONNECTIONS + 1_000)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotgate"))
        .arg("serve")
        .arg("--config")
        .arg(&file)
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1", "--upstream", upstream])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listening = "hotgate: listening on 127.0.0.1:";
    let port = lines
        .find_map(|line| line.strip_prefix(listening)?.parse().ok())
        .expect("hotgate says where it listens");
    lines.find(|line| line == "hotgate: ready").expect("hotgate says that it is ready");
    (Proxy { child, _directory: directory }, port)
}

/// Runs redis-benchmark to its end.
pub fn redis_benchmark(
    port: u16,
    clients: usize,
    keys: usize,
    command: &str,
    pipeline: usize,
    requests: usize,
) {
    let numbers = [("-p", port.into()), ("-c", clients), ("-r", keys), ("-P", pipeline), ("-n", requests)];
    let mut benchmark = Command::new("redis-benchmark");
    for (flag, number) in numbers {
        benchmark.args([flag, &number.to_string()]);
    }
    let output =
        benchmark.args(["-q", "-t", command]).output().expect("redis-benchmark is installed (redis-tools)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Debian puts nutcracker where only root's PATH leads.
fn with_sbin(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"))
}

fn wait_until_it_listens(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on port {port}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
