//! The HTTP side with TLS: pages, `hotgate top` and webhooks; a certificate that is replaced; who does not finish a handshake.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::certificates::{Authority, Pair};
use crate::support::gateway::Start;
use crate::support::{Gateway, Server, tunnel, wait_until};

fn with(server: &Server, pair: &Pair, more: &str) -> Start {
    let Pair { cert, key } = pair;
    Gateway::before(server).config(&format!("[admin]\ncert_file = {cert:?}\nkey_file = {key:?}\n{more}"))
}

/// What is answered to a GET over TLS.
fn get(authority: &Authority, admin: SocketAddr, path: &str) -> String {
    let plain = tunnel::open(tunnel::dialer(authority, None), admin);
    let mut stream = TcpStream::connect(plain).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // A tunnel ends where its far end has ended, with or without a last word.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn top(admin: SocketAddr, ca_file: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
    command.args(["top", "--once", "--json", "--admin", &format!("https://localhost:{}", admin.port())]);
    ca_file.map(|file| command.arg("--ca-file").arg(file));
    command.output().unwrap()
}

#[test]
fn pages_and_top_are_served_with_tls_only_and_a_new_certificate_is_taken_over() {
    let (authority, server) = (Authority::new(), Server::start());
    let pair = authority.issue("admin");
    let gateway = with(&server, &pair, "").start();
    let admin = gateway.admin.unwrap();
    assert!(get(&authority, admin, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&authority, admin, "/metrics").contains("table=\"admin\""), "the certificate has its metric");
    let told = top(admin, Some(&authority.ca()));
    assert!(told.status.success() && told.stdout.starts_with(b"{"), "{told:?}");
    let ready = Command::new(env!("CARGO_BIN_EXE_hotgate"))
        .args(["check", "--ready", "--admin", &format!("https://localhost:{}", admin.port()), "--ca-file"])
        .arg(authority.ca())
        .status();
    assert!(ready.unwrap().success());
    let strange = top(admin, Some(&Authority::new().ca()));
    let said = String::from_utf8_lossy(&strange.stderr);
    assert!(
        !strange.status.success() && said.contains("signed by no authority that is trusted here"),
        "{said}"
    );
    // Who speaks no TLS gets no page.
    let mut plain = TcpStream::connect(admin).unwrap();
    plain.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // The new pair is of another authority.
    let other = Authority::new();
    let Pair { cert, key } = other.issue("admin");
    std::fs::copy(key, &pair.key).unwrap();
    std::fs::copy(cert, &pair.cert).unwrap();
    crate::support::redis::signal(gateway.pid(), "HUP");
    wait_until("the new certificate is shown", || top(admin, Some(&other.ca())).status.success());
}

#[test]
fn handshakes_that_do_not_end_keep_nobody_out() {
    let (authority, server) = (Authority::new(), Server::start());
    let pair = authority.issue("admin");
    let gateway = with(&server, &pair, "connections_max = 16\n").start();
    let admin = gateway.admin.unwrap();
    let stalled: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).unwrap();
            // The beginning of a greeting.
            stream.write_all(&[22, 3, 1]).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        assert!(get(&authority, admin, "/healthz").starts_with("HTTP/1.1 200"));
    }
    drop(stalled);
}

#[test]
fn a_webhook_is_posted_with_tls() {
    let (authority, server) = (Authority::new(), Server::start());
    let Pair { cert, key } = authority.issue("receiver");
    let receiver = "import http.server, ssl, sys\n\
        class Handler(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_POST(self):\n\
        \x20       print(self.rfile.read(int(self.headers['content-length'])).decode(), flush=True)\n\
        \x20       self.send_response(200); self.end_headers()\n\
        server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain(sys.argv[1], sys.argv[2])\n\
        server.socket = context.wrap_socket(server.socket, server_side=True)\n\
        print(server.server_port, flush=True)\n\
        server.serve_forever()\n";
    let mut child = Command::new("python3")
        .args(["-c", receiver])
        .args([&cert, &key])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::reaper::kill_at_end(child.id());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let port = lines.next().unwrap().unwrap();
    let ca = authority.ca();
    let gateway = Gateway::before(&server)
        .config(&format!(
            "[admin]\nwebhook_url = \"https://localhost:{port}/hook\"\nwebhook_ca_file = {ca:?}\n[detect]\nenter_rate = 10\nleave_rate = 5\n"
        ))
        .start();
    let mut client = gateway.client();
    let posted = std::thread::spawn(move || lines.next().unwrap().unwrap());
    wait_until("the key is hot and posted", || {
        (0..200).for_each(|_| drop(client.ask("INCR hot")));
        posted.is_finished()
    });
    assert!(posted.join().unwrap().contains("hot"));
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn one_file_without_the_other_is_refused() {
    let (code, log) = Gateway::by_file("[admin]\ncert_file = \"/nowhere/admin.crt\"\n").refused();
    assert!(code == Some(1) && log.contains("admin.key_file"), "{log}");
}
