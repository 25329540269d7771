//! Unix sockets: clients come in by one as by a port, and a server is reached by one as by a port.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::support::gateway::Start;
use crate::support::{Client, Gateway, Server, Version, wait_until};

/// A gateway with a socket at this path.
fn at(server: &Server, path: &Path, more: &str) -> Start {
    let config = format!("[gateway]\nunix_socket = {:?}\n{more}", path.display().to_string());
    Gateway::before(server).config(&config)
}

/// A port that leads to the socket, for the clients of the tests.
fn port_to(path: &Path) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let path = path.to_owned();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = UnixStream::connect(&path) else { continue };
            let (mut up, mut down) = ((near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near));
            thread::spawn(move || {
                let _ = std::io::copy(&mut up.0, &mut up.1);
                let _ = up.1.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut down.0, &mut down.1);
                let _ = down.1.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn clients_of_the_socket_are_clients_like_all_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hotgate.sock");
    let server = Server::start();
    let gateway = at(&server, &path, "").flag("--workers", "2").start();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let address = port_to(&path);
    for version in [Version::Resp2, Version::Resp3] {
        let mut client = Client::speaking(address, version);
        client.check("SET a 1", "+OK");
        client.check("INCR a", ":2");
        client.check("MULTI", "+OK");
        client.check("INCR a", "+QUEUED");
        assert!(client.ask("EXEC").contains(":3"));
        let shown = client.text("CLIENT LIST");
        let named = format!("addr={0}:0 laddr={0}:0 ", path.display());
        assert!(shown.contains(&named), "{shown}");
        assert!(client.ask("CONFIG GET unixsocketperm").ends_with(" 600"));
    }
    // A large value, and many requests at once: nothing of them is lost where the socket is full.
    let mut client = Client::connect(address);
    let large = "x".repeat(3 << 20);
    assert_eq!(client.call(&["SET", "large", &large]), b"+OK\r\n");
    assert_eq!(client.call(&["GET", "large"]).len(), large.len() + b"$3145728\r\n\r\n".len());
    client.send("PING\r\n".repeat(50_000).as_bytes());
    (0..50_000).for_each(|_| client.expect("PING", "+PONG"));
    // What others do reaches those who listen.
    let mut listening = Client::connect(address);
    listening.ask("SUBSCRIBE news");
    gateway.client().check("PUBLISH news hello", ":1");
    assert!(listening.reply().ends_with(b"hello\r\n"));
    let told = Command::new("redis-cli").arg("-s").arg(&path).args(["GET", "a"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "3");
}

#[test]
fn no_port_is_needed_and_everybody_may_be_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hotgate.sock");
    let server = Server::start();
    let toml = format!(
        "[gateway]\nlisten = []\nunix_socket = {:?}\nunix_socket_mode = \"666\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream]\nservers = [\"{}\"]\n",
        path.display().to_string(),
        server.address()
    );
    let _gateway = Gateway::by_file(&toml).start();
    wait_until("the gateway listens", || UnixStream::connect(&path).is_ok());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn the_file_goes_with_its_process_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hotgate.sock");
    let server = Server::start();
    let mut first = at(&server, &path, "").start();
    // Somebody listens there.
    let (code, log) = at(&server, &path, "").refused();
    assert!(code == Some(1) && log.contains("can't listen on") && log.contains("hotgate.sock"), "{log}");
    // One that was killed leaves its file, which the next takes over.
    first.kill();
    assert!(path.exists());
    let mut second = at(&server, &path, "").start();
    Client::connect(port_to(&path)).check("PING", "+PONG");
    // Another takes the place where that is allowed, and the file stays when the former one ends.
    let mut third = at(&server, &path, "share_port = true\n").start();
    second.terminate();
    assert!(second.wait().success());
    assert!(path.exists());
    Client::connect(port_to(&path)).check("PING", "+PONG");
    third.terminate();
    assert!(third.wait().success());
    assert!(!path.exists());
    // What is no socket is nobody's to remove.
    std::fs::write(&path, "a letter").unwrap();
    let (code, log) = at(&server, &path, "").refused();
    assert!(code == Some(1) && log.contains("no socket"), "{log}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn a_path_that_can_not_be_listened_on_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start();
    let long = directory.path().join("s".repeat(120));
    let (code, log) = at(&server, &long, "").refused();
    assert!(code == Some(1) && log.contains(&long.display().to_string()), "{log}");
    let missing = directory.path().join("no/such/directory/hotgate.sock");
    let (code, log) = at(&server, &missing, "").refused();
    assert!(code == Some(1) && log.contains("can't listen on") && log.contains("No such file"), "{log}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left there");
}

#[test]
fn a_file_that_is_removed_keeps_those_who_are_in_and_another_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hotgate.sock");
    let server = Server::start();
    let mut gateway = at(&server, &path, "").start();
    let mut client = Client::connect(port_to(&path));
    client.check("SET a 1", "+OK");
    std::fs::remove_file(&path).unwrap();
    client.check("INCR a", ":2");
    // Somebody else's socket is at its place when it ends.
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    gateway.terminate();
    assert!(gateway.wait().success());
    assert!(path.exists());
}

#[test]
fn a_server_is_reached_by_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.sock").display().to_string();
    let mut server = Server::with(&["--unixsocket", &path]);
    let gateway =
        Gateway::of_two_workers(&format!("unix:{path}"), "[[rule]]\nmatch = \"hot:*\"\nmode = \"combine\"\n");
    let mut client = gateway.client();
    let through = |server: &Server| {
        let shown = server.client().text("CLIENT LIST");
        shown.lines().filter(|line| line.contains(&format!("addr={path}:0"))).count()
    };
    client.check("SET a 1", "+OK");
    client.check("INCR hot:a", ":1");
    assert!(through(&server) >= 1);
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP list 0");
    wait_until("it waits", || server.client().text("INFO clients").contains("blocked_clients:1"));
    client.check("RPUSH list x", ":1");
    assert!(blocked.reply().ends_with(b"x\r\n"));
    wait_until("the node is shown by its socket", || {
        gateway.get("/api/nodes").1.contains(&format!("unix:{path}"))
    });
    // It is found again when it comes back.
    server.kill();
    wait_until("the gateway says so", || gateway.get("/readyz").0 == 503);
    server.restart();
    wait_until("it is there again", || gateway.get("/readyz").0 == 200 && client.ask("PING") == "+PONG");
    client.check("INCR hot:b", ":1");
}

#[test]
fn what_can_not_be_is_refused_by_name() {
    let check = |toml: &str, says: &str| {
        let (code, log) = Gateway::by_file(toml).refused();
        assert!(code == Some(1) && log.contains(says), "{toml}: {log}");
    };
    check("[upstream]\nservers = [\"unix:redis.sock\"]\n", "absolute path");
    check("[upstream]\nservers = [\"unix:/r.sock\", \"a:1\"]\n", "name it alone");
    check("[upstream]\nservers = [\"unix:/r.sock\"]\ntls = true\n", "no TLS");
    check("[gateway]\nannounce = \"unix:/g.sock\"\n", "other hosts");
}
