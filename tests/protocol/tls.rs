//! TLS on both sides: what passes is what passes without it, however the bytes of a session come; and who does not speak it, or
//! not well enough, is told so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::support::certificates::Authority;
use crate::support::secured::Secured;
use crate::support::text::{encode, request};
use crate::support::{Client, Cluster, Gateway, Server, free_port, tunnel, wait_until};

/// A server, a gateway with TLS on both sides, and what they are secured with.
fn secured(config: &str) -> (&'static Secured, Server, Gateway) {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let gateway = Gateway::before(&server).secured(secured).config(config).start();
    (secured, server, gateway)
}

fn redis_cli(gateway: &Gateway, secured: &Secured, arguments: &[&str]) -> String {
    let output = Command::new(std::env::var("HOTGATE_TEST_CLI").unwrap_or_else(|_| "redis-cli".to_owned()))
        .args(["-p", &gateway.tls.expect("it listens for TLS").port().to_string(), "--tls"])
        .arg("--cacert")
        .arg(secured.authority.ca())
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn openssl_clients_and_servers_are_spoken_to_in_both_versions() {
    let (secured, server, gateway) = secured("");
    assert_eq!(redis_cli(&gateway, secured, &["SET", "k", "v"]), "OK\n");
    assert_eq!(redis_cli(&gateway, secured, &["-3", "GET", "k"]), "v\n");
    // The server's plain port has it, so it went there by the other one.
    assert_eq!(server.client().text("GET k"), "v");
    for version in ["-tls1_2", "-tls1_3"] {
        let mut first = true;
        // The second time the session of the first is resumed.
        let directory = tempfile::tempdir().unwrap();
        let session = directory.path().join("session");
        for expect in ["New, ", "Reused, "] {
            let mut command = Command::new("openssl");
            command.args([
                "s_client",
                version,
                "-ign_eof",
                "-connect",
                &gateway.tls.unwrap().to_string(),
                "-CAfile",
            ]);
            command
                .arg(secured.authority.ca())
                .arg(if first { "-sess_out" } else { "-sess_in" })
                .arg(&session);
            first = false;
            let mut child = command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // A reply, so that the tickets have come before the end.
            child.stdin.as_mut().unwrap().write_all(b"PING\r\nQUIT\r\n").unwrap();
            let said = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout);
            assert!(said.contains(expect) && said.contains("+PONG"), "{version}: {said}");
        }
    }
}

#[test]
fn a_cluster_is_followed_over_tls_and_clients_are_told_the_port_that_they_dialled() {
    let secured = Secured::new();
    let cluster = Cluster::secured(secured, &[]);
    let gateway = Gateway::before(&cluster).secured(secured).start();
    let port = gateway.tls.unwrap().port();
    let slots = redis_cli(&gateway, secured, &["CLUSTER", "SLOTS"]);
    assert!(slots.contains(&port.to_string()), "{slots}");
    let mut client = gateway.client();
    for number in 0..200 {
        client.check(&format!("SET key:{number} {number}"), "+OK");
    }
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    assert_eq!(client.list(&format!("MGET {}", keys.join(" "))).len(), 200);
    assert_eq!(redis_cli(&gateway, secured, &["-c", "GET", "key:7"]), "7\n");
}

/// Values far larger than a record, a scratch buffer and a socket's buffer, both ways at once: what is decoded waits where no
/// socket tells of it, and what is encoded is cut anywhere.
#[test]
fn large_values_and_long_pipelines_pass_whole() {
    let (_, _server, gateway) = secured("");
    let mut client = gateway.client();
    let value: Vec<u8> = (0..3_000_017_u32).map(|place| (place % 251) as u8).collect();
    let mut writer = Client::connect(gateway.address);
    assert_eq!(writer.call(&[&b"SET"[..], b"large", &value]), b"+OK\r\n");
    let expected = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
    client.send(&request("GET large").repeat(5));
    for _ in 0..5 {
        assert!(client.reply() == expected);
    }
    let mut pipeline = Vec::new();
    for number in 0..20_000 {
        pipeline.extend_from_slice(&encode(&[&b"ECHO"[..], format!("{number}").as_bytes()]));
    }
    let mut sending = client.stream();
    let sender = std::thread::spawn(move || sending.write_all(&pipeline).unwrap());
    for number in 0..20_000 {
        let text = number.to_string();
        assert_eq!(client.reply(), format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
    sender.join().unwrap();
}

#[test]
fn messages_blocking_commands_and_transactions_pass() {
    let (_, _server, gateway) = secured("");
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE news", "*3 $9 subscribe $4 news :1");
    let mut other = gateway.client();
    for number in 0..100 {
        other.check(&format!("PUBLISH news {number}"), ":1");
        subscriber
            .expect("message", &format!("*3 $7 message $4 news ${} {number}", number.to_string().len()));
    }
    let mut waiting = gateway.client();
    waiting.send_line("BLPOP list 0");
    wait_until("the client waits", || other.text("CLIENT LIST").contains("cmd=blpop"));
    other.check("RPUSH list x", ":1");
    waiting.expect("BLPOP", "*2 $4 list $1 x");
    other.check("MULTI", "+OK");
    other.check("INCR n", "+QUEUED");
    other.check("EXEC", "*1 :1");
}

#[test]
fn a_drain_finishes_what_is_under_way_and_ends_sessions_properly() {
    let (_, server, mut gateway) = secured("");
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    server.pause();
    client.send_line("GET k");
    wait_until("the request is under way", || gateway.get("/api/nodes").1.contains("\"inflight\":1"));
    gateway.terminate();
    server.resume();
    client.expect("GET k", "$1 v");
    assert_eq!(client.rest(), b"");
    assert!(gateway.wait().success());
}

/// Passes bytes on one at a time.
fn byte_by_byte(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(target).unwrap();
            let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
            for (from, to) in ways {
                let (mut from, mut to) = (from.unwrap(), to.unwrap());
                to.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    address
}

#[test]
fn a_session_may_come_byte_by_byte() {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let slow_server = byte_by_byte(server.seed().parse().unwrap());
    let start = Gateway::before(&slow_server.to_string()).secured(secured);
    let gateway = start.config("[upstream]\nconnect_timeout = \"60s\"\n").start();
    let slow_gateway = byte_by_byte(gateway.tls.unwrap());
    let mut client = Client::connect(secured.tunnel(slow_gateway));
    for number in 0..20 {
        client.check(&format!("SET k{number} v"), "+OK");
        client.check(&format!("GET k{number}"), "$1 v");
    }
}

#[test]
fn who_stays_in_the_doorway_keeps_no_one_out_for_long() {
    let (_, _server, gateway) = secured("[tls]\nhandshakes_max = 2\nhandshake_timeout = \"300ms\"\n");
    let mut established = gateway.client();
    established.check("PING", "+PONG");
    let greeting_begun = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(gateway.tls.unwrap()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let _doorway: Vec<TcpStream> =
        (0..20).map(|number| greeting_begun(&[0x16, 3, 1][..number % 4])).collect();
    established.check("PING", "+PONG");
    // It gets in when those before it have had their time.
    gateway.client().check("PING", "+PONG");
    wait_until("those who stayed are counted", || {
        gateway.get("/metrics").1.contains("hotgate_clients_rejected_total{reason=\"handshake\"} 20")
    });
}

#[test]
fn who_speaks_something_else_is_told_so() {
    let (secured, _server, gateway) = secured("");
    let mut plain = Client::connect(gateway.tls.unwrap());
    plain.check("PING", "-ERR this port speaks TLS only...");
    assert_eq!(plain.rest(), b"");
    wait_until("the log names the client", || {
        gateway.log().contains("it speaks plain text on a port for TLS")
    });
    wait_until("it is counted", || {
        gateway.get("/metrics").1.contains("hotgate_clients_rejected_total{reason=\"plain_text\"} 1")
    });
    let plain_port = Gateway::before("127.0.0.1:1").start();
    let target = plain_port.address;
    let through = tunnel::open(tunnel::dialer(&secured.authority, None), target);
    assert!(Client::connect(through).try_reply().is_err());
    wait_until("the log names the client", || {
        plain_port.log().contains("closed a client that speaks TLS on a plain port")
    });
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let others = Authority::new();
    let (known, unknown) = (secured.authority.issue("client"), others.issue("client"));
    for (demand, without_is_let_in) in [("required", false), ("optional", true)] {
        let demand = format!(
            "[tls]\nclient_auth = \"{demand}\"\nclient_ca_file = \"{}\"\n",
            secured.authority.ca().display()
        );
        let gateway = Gateway::before(&server).secured(secured).config(&demand).start();
        let tls = gateway.tls.unwrap();
        let is_let_in = |shown| {
            let mut client = Client::connect(tunnel::open(tunnel::dialer(&secured.authority, shown), tls));
            client.try_send(&request("PING")).is_ok()
                && client.try_reply().is_ok_and(|reply| reply == b"+PONG\r\n")
        };
        assert!(is_let_in(Some(&known)));
        assert!(!is_let_in(Some(&unknown)));
        assert_eq!(is_let_in(None), without_is_let_in);
    }
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let other = secured.authority.issue_for("other", "DNS:*.shop.example", 365);
    let more = format!("[[tls.certificate]]\nnames = [\"*.shop.example\"]\n{}", other.directives());
    let gateway = Gateway::before(&server).secured(secured).config(&more).start();
    let subject = |name: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.tls.unwrap().to_string(), "-servername", name])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.starts_with("subject=")).unwrap_or(&text).to_owned()
    };
    assert!(subject("eu.shop.example").contains("other"));
    assert!(subject("EU.SHOP.example").contains("other"));
    assert!(subject("elsewhere.example").contains("everybody"));
}

#[test]
fn a_gateway_may_speak_nothing_but_tls() {
    let (secured, server) = (Secured::new(), Server::start());
    let pair = secured.authority.issue("only");
    let toml = format!(
        "upstream.servers = [\"{}\"]\n[gateway]\nlisten = []\n[admin]\nlisten = \"127.0.0.1:{}\"\n{}",
        server.seed(),
        free_port(),
        secured.authority.listener(&pair)
    );
    let gateway = Gateway::by_file(&toml).start();
    let mut client = Client::connect(secured.tunnel(gateway.tls.unwrap()));
    client.check("SET k v", "+OK");
    assert!(gateway.get("/readyz").0 == 200);
    let port = gateway.tls.unwrap().port().to_string();
    assert_eq!(client.list("CONFIG GET port"), ["port", &port]);
}

#[test]
fn a_certificates_name_is_the_user() {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let config = format!(
        "[tls]\nclient_auth = \"optional\"\nclient_ca_file = {:?}\nuser_from = \"cn\"\n\
         [auth]\npassword = \"secret\"\n[[auth.user]]\nname = \"app\"\npassword = \"x\"\nrules = \"~app:* +@all\"\n",
        secured.authority.ca()
    );
    let gateway = Gateway::before(&server).secured(secured).config(&config).start();
    let shown = |name: &str| {
        let pair = secured.authority.issue(name);
        Client::connect(tunnel::open(tunnel::dialer(&secured.authority, Some(&pair)), gateway.tls.unwrap()))
    };
    let mut app = shown("app");
    app.check("ACL WHOAMI", "$3 app");
    app.check("SET app:k v", "+OK");
    app.check("SET k v", "-NOPERM ...");
    // It stays who it is, and may become another.
    app.check("RESET", "+RESET");
    app.check("SET app:k w", "+OK");
    let mut default = shown("app");
    default.check("AUTH secret", "+OK");
    default.check("ACL WHOAMI", "$7 default");
    // One without a certificate logs in.
    gateway.client().check("GET k", "-NOAUTH Authentication required.");
    let mut unknown = shown("nobody");
    let told = String::from_utf8_lossy(&unknown.rest()).into_owned();
    assert!(told.starts_with("-WRONGPASS ") && told.contains("'nobody'"), "{told}");
    wait_until("it is counted", || {
        gateway.get("/metrics").1.contains("hotgate_clients_rejected_total{reason=\"unknown_user\"} 1")
    });
    assert!(gateway.log().contains("name=\"nobody\""), "{}", gateway.log());
    // Who is made later comes in, and who is taken away is out.
    default.check("ACL SETUSER nobody on ~* +get", "+OK");
    let mut known = shown("nobody");
    known.check("GET k", "$-1");
    default.check("ACL DELUSER nobody", ":1");
    assert_eq!(known.rest(), b"");
}

/// Who is in goes on while hundreds knock, begin and stay, or send a byte now and then.
#[test]
fn established_clients_go_on_while_hundreds_of_handshakes_knock() {
    let (_, _server, gateway) = secured("");
    let address = gateway.tls.unwrap();
    let mut established: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    established.iter_mut().for_each(|client| client.check("SET k v", "+OK"));
    let mut knocking: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The start of a greeting, a byte at a time to each.
    let greeting = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7];
    for byte in greeting {
        for (number, socket) in knocking.iter_mut().enumerate() {
            // Some of them are over their time already.
            let _ = socket.write_all(&[byte]);
            if number % 50 == 0 {
                established.iter_mut().for_each(|client| client.check("GET k", "$1 v"));
            }
        }
    }
    wait_until("some were given up", || {
        let (_, metrics) = gateway.get("/metrics");
        metrics.contains("hotgate_clients_rejected_total{reason=\"handshake\"} ")
            && !metrics.contains("hotgate_clients_rejected_total{reason=\"handshake\"} 0")
    });
    established.iter_mut().for_each(|client| client.check("GET k", "$1 v"));
    drop(knocking);
    gateway.client().check("GET k", "$1 v");
}
