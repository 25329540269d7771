//! The gateway as a child process, and processes as `/proc` and Redis's own `INFO` show them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use hotgate::resp::{ReplyScan, ReplyScanner};

/// Where Redis runs, and the gateway, which gets no more of the machine than Redis had.
pub const SERVER_CORE: usize = 0;

/// Where the load runs, with whatever else the servers need.
pub const LOAD_CORE: usize = 1;

/// `hotgate serve` with one worker; killed when dropped.
pub struct Gateway {
    child: Child,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl Gateway {
    /// Starts it on free ports and the core of the servers, with lines of a configuration file, and waits until it is
    /// ready.
    pub fn start(upstream: &str, config: &str) -> Gateway {
        let gateway = Gateway::start_anywhere(upstream, config, 1);
        pin(gateway.pid(), SERVER_CORE);
        gateway
    }

    /// As [`Gateway::start`] with so many workers, on whatever core the system gives it.
    pub fn start_anywhere(upstream: &str, config: &str, workers: usize) -> Gateway {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hotgate.toml");
        fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hotgate"))
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream])
            .args(["--workers", &workers.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.strip_prefix("hotgate: listening on 127.0.0.1:")?.parse().ok())
            .expect("hotgate says where it listens");
        lines.find(|line| line == "hotgate: ready").expect("hotgate says that it is ready");
        Gateway { child, port, _directory: directory }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starting servers needs a runtime, using them does not.
pub fn wait_for<T>(start: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(start)
}

/// Keeps all threads of a process, and those they start later, on one core. A machine with one core has no choice.
pub fn pin(pid: u32, core: usize) {
    if std::thread::available_parallelism().unwrap().get() > 1 || core == SERVER_CORE {
        let output = Command::new("taskset")
            .args(["-a", "-c", "-p", &core.to_string(), &pid.to_string()])
            .output()
            .expect("taskset (util-linux) runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Processor time of all threads of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    hotgate::demo::machine::cpu_seconds(pid)
}

/// How often a Redis server has run each command, by `INFO commandstats`.
pub fn command_calls(port: u16) -> BTreeMap<String, u64> {
    ask(port, "INFO commandstats")
        .lines()
        .filter_map(|line| {
            let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), figures.split(',').next()?.parse().ok()?))
        })
        .collect()
}

/// Sends an inline command on a connection of its own; returns the reply as it came.
pub fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let (mut reply, mut scanner) = (Vec::new(), ReplyScanner::new());
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the server closed the connection");
        reply.extend_from_slice(&chunk[..count]);
        if let ReplyScan::Complete { len } = scanner.scan(&reply) {
            return String::from_utf8_lossy(&reply[..len]).into_owned();
        }
    }
}
