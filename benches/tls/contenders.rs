//! The contenders as processes: started on free ports, measured through `/proc`, ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hotgate::demo::private_redis::PrivateServer;

/// Certificates, made by openssl.
pub struct Files {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Files {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (authority, certificate, key, all) =
            (path("ca.pem"), path("cert.pem"), path("key.pem"), path("all.pem"));
        let request = path("request.pem");
        let key_of_authority = path("ca-key.pem");
        let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            Command::new("openssl")
                .args(new)
                .args(["-x509", "-days", "2", "-subj", "/CN=authority"])
                .arg("-keyout")
                .arg(&key_of_authority)
                .arg("-out")
                .arg(&authority),
        );
        openssl(
            Command::new("openssl")
                .args(new)
                .args(["-subj", "/CN=bench"])
                .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&request),
        );
        openssl(
            Command::new("openssl")
                .args(["x509", "-req", "-copy_extensions", "copy", "-days", "2", "-in"])
                .arg(&request)
                .arg("-CA")
                .arg(&authority)
                .arg("-CAkey")
                .arg(&key_of_authority)
                .arg("-out")
                .arg(&certificate),
        );
        fs::write(all, [fs::read(&certificate).unwrap(), fs::read(&key).unwrap()].concat()).unwrap();
        Files { authority, certificate, key, directory }
    }
}

fn openssl(command: &mut Command) {
    let made = command.output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Something that redis-benchmark is pointed at.
pub struct Contender {
    pub name: &'static str,
    /// Where it speaks TLS.
    pub port: u16,
    pid: u32,
    _proxy: Option<Proxy>,
    _server: PrivateServer,
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Contender {
    /// The processor time that each of what `run` says that it did costs the process that speaks with clients, in µs.
    pub fn cpu_us(&self, run: impl FnOnce() -> u64) -> f64 {
        let before = self.cpu_ns();
        let count = run();
        (self.cpu_ns() - before) as f64 / 1000.0 / count as f64
    }

    /// Of all its threads, from the scheduler's own count.
    fn cpu_ns(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the process runs");
        let of_thread = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        };
        threads.flatten().map(of_thread).sum()
    }

    pub fn is_hotgate(&self) -> bool {
        self.name.starts_with("hotgate")
    }
}

pub fn start(files: &Files) -> Vec<Contender> {
    vec![
        redis_itself(files),
        haproxy(files),
        hotgate("hotgate, plain to redis", files, false),
        hotgate("hotgate, TLS to redis", files, true),
    ]
}

fn server(options: &[String]) -> PrivateServer {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(PrivateServer::start(&options)).unwrap_or_else(|error| panic!("{error}"))
}

fn secured(files: &Files) -> (PrivateServer, u16) {
    let file = |path: &Path| path.display().to_string();
    let server = server(&[
        "--tls-port".to_owned(),
        "{port+11000}".to_owned(),
        "--tls-cert-file".to_owned(),
        file(&files.certificate),
        "--tls-key-file".to_owned(),
        file(&files.key),
        "--tls-ca-cert-file".to_owned(),
        file(&files.authority),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
        "--maxclients".to_owned(),
        "9000".to_owned(),
    ]);
    let port = server.address().port + 11_000;
    (server, port)
}

fn redis_itself(files: &Files) -> Contender {
    let (server, port) = secured(files);
    Contender { name: "redis itself", port, pid: server.pid(), _proxy: None, _server: server }
}

/// With one thread, as its documentation shows a TCP proxy that ends TLS.
fn haproxy(files: &Files) -> Contender {
    let server = server(&[]);
    let port = free_port();
    let text = format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {}\n  default_backend redis\nbackend redis\n  server one {}\n",
        files.directory.path().join("all.pem").display(),
        server.address(),
    );
    let file = files.directory.path().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut program = Command::new("haproxy");
    let child = silent(program.env("PATH", path).arg("-db").arg("-f").arg(&file));
    let child = child.spawn().expect("haproxy is installed (apt-get install haproxy)");
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "haproxy does not listen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Contender {
        name: "haproxy, plain to redis",
        port,
        pid: child.id(),
        _proxy: Some(Proxy(child)),
        _server: server,
    }
}

/// The gateway as it comes, with one worker.
fn hotgate(name: &'static str, files: &Files, tls: bool) -> Contender {
    let (server, upstream, more) = match tls {
        false => {
            let server = server(&[]);
            let upstream = server.address().to_string();
            (server, upstream, String::new())
        }
        true => {
            let (server, port) = secured(files);
            let more = format!("[upstream]\ntls = true\nca_file = {:?}\n", files.authority);
            (server, format!("127.0.0.1:{port}"), more)
        }
    };
    let text = format!(
        "[gateway]\nclients_max = 9000\ntcp_backlog = 4096\n[tls]\nlisten = [\"127.0.0.1:0\"]\ncert_file = {:?}\nkey_file = {:?}\n{more}",
        files.certificate, files.key
    );
    let file = files.directory.path().join(format!("hotgate-{tls}.toml"));
    fs::write(&file, text).unwrap();
    let program =
        std::env::var("HOTGATE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hotgate").to_owned());
    let mut child = Command::new(program);
    child.arg("serve").arg("--config").arg(&file);
    child.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--workers",
        "1",
        "--upstream",
        &upstream,
    ]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listening = "hotgate: listening for TLS on 127.0.0.1:";
    let port =
        lines.find_map(|line| line.strip_prefix(listening)?.parse().ok()).expect("it says where it listens");
    lines.find(|line| line == "hotgate: ready").expect("it says that it is ready");
    Contender { name, port, pid: child.id(), _proxy: Some(Proxy(child)), _server: server }
}

fn silent(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
