//! Clients that come by a balancer which begins with a PROXY header: they are shown, counted and slowed down by their own address; and
//! nobody but a listed balancer may name another address.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::secured::Secured;
use crate::support::{Client, Gateway, Server, tunnel, wait_until};

const FROM_HERE: &str = "[gateway]\nproxy_protocol_from = [\"127.0.0.0/8\"]\n";

/// The binary header of a client at 203.0.113.9 that dialled 192.0.2.1:6380.
fn binary(port: u16) -> Vec<u8> {
    // With a part that balancers add (a TLV), which is skipped.
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13\xcb\x00\x71\x09\xc0\x00\x02\x01";
    [start, &port.to_be_bytes()[..], &6380_u16.to_be_bytes(), b"\x03\x00\x04abcd"].concat()
}

fn line(client: &str, port: u16) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 {port} 6380\r\n").into_bytes()
}

/// A client behind a balancer that has sent this.
fn behind(gateway: &Gateway, header: &[u8]) -> Client {
    let mut client = Client::connect(gateway.address);
    client.send(header);
    client
}

fn rejected(gateway: &Gateway, reason: &str) -> u64 {
    let name = format!("hotgate_clients_rejected_total{{reason=\"{reason}\"}} ");
    let (_, metrics) = gateway.get("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

fn plain(config: &str) -> (Server, Gateway) {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(config).start();
    (server, gateway)
}

#[test]
fn both_versions_show_the_client_and_what_it_dialled() {
    let (_server, gateway) = plain(FROM_HERE);
    for header in [binary(4000), line("203.0.113.9", 4000)] {
        let mut client = behind(&gateway, &header);
        let info = client.text("CLIENT INFO");
        assert!(info.contains(" addr=203.0.113.9:4000 laddr=192.0.2.1:6380 "), "{info}");
        let killed = client.text("CLIENT LIST");
        assert!(killed.contains("addr=203.0.113.9:4000"), "{killed}");
    }
    let mut client = behind(&gateway, b"PROXY TCP6 2001:db8::9 2001:db8::1 4001 6380\r\n");
    assert!(client.text("CLIENT INFO").contains(" addr=[2001:db8::9]:4001 laddr=[2001:db8::1]:6380 "));
    // The balancer's own connections are shown by their own address.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"] {
        let mut client = behind(&gateway, header);
        let own = format!(" addr=127.0.0.1:{} ", client.local_port());
        assert!(client.text("CLIENT INFO").contains(&own));
    }
}

#[test]
fn a_header_comes_in_any_pieces_and_what_follows_it_is_the_clients() {
    let (_server, gateway) = plain(FROM_HERE);
    for header in [binary(4000), line("203.0.113.9", 4000)] {
        // All at once.
        let mut client = behind(&gateway, &[&header[..], b"SET k v\r\nGET k\r\n"].concat());
        client.expect("SET", "+OK");
        client.expect("GET", "$1 v");
        // Byte by byte.
        let mut client = Client::connect(gateway.address);
        client.stream().set_nodelay(true).unwrap();
        for byte in &header {
            client.send(&[*byte]);
            std::thread::yield_now();
        }
        client.check("GET k", "$1 v");
        assert!(client.text("CLIENT INFO").contains(" addr=203.0.113.9:4000 "));
    }
}

#[test]
fn a_balancer_has_to_send_a_header_in_time_and_whole() {
    let config = format!("{FROM_HERE}[tls]\nhandshake_timeout = \"300ms\"\n");
    let (_server, gateway) = plain(&config);
    // One that closes at once looks whether somebody listens: it is not counted.
    Client::connect(gateway.address).finish_sending();
    let mut client = behind(&gateway, b"*1\r\n$4\r\nPING\r\n");
    let told = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(told.starts_with("-ERR ") && told.contains("gateway.proxy_protocol_from"), "{told}");
    wait_until("it is counted", || rejected(&gateway, "proxy_header") == 1);
    let mut cut = behind(&gateway, &binary(1)[..20]);
    cut.finish_sending();
    wait_until("it is counted", || rejected(&gateway, "proxy_header") == 2);
    // Half of one, and no more; and one of a length that nobody needs.
    let half = behind(&gateway, &binary(1)[..20]);
    wait_until("it is counted", || rejected(&gateway, "proxy_header") == 3);
    let _long = behind(&gateway, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff");
    wait_until("it is counted", || rejected(&gateway, "proxy_header") == 4);
    drop(half);
    let log = gateway.log();
    assert!(log.contains("began without a PROXY header"), "{log}");
    behind(&gateway, &binary(2)).check("PING", "+PONG");
}

#[test]
fn balancers_that_stay_silent_keep_nobody_out() {
    let places = "[tls]\nhandshakes_max = 2\nhandshake_timeout = \"1m\"\n";
    let (_server, gateway) = plain(&format!("{FROM_HERE}{places}"));
    let silent: Vec<Client> = (0..8).map(|_| Client::connect(gateway.address)).collect();
    for port in 1..20 {
        behind(&gateway, &binary(port)).check("PING", "+PONG");
    }
    wait_until("those before the last two are closed", || rejected(&gateway, "proxy_header") >= 6);
    assert!(gateway.log().contains("it sent no PROXY header while others waited for its place"));
    drop(silent);

    let secured = Secured::new();
    let server = Server::start();
    let listener = secured.authority.listener(&secured.pair);
    let places = places.replace("[tls]\n", &listener);
    let gateway = Gateway::before(&server).config(&format!("{FROM_HERE}{places}")).start();
    let address = gateway.tls.expect("it listens for TLS");
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    for port in 1..4 {
        let dialer = tunnel::dialer(&secured.authority, None);
        let tunnelled = tunnel::open_behind(dialer, address, binary(port));
        Client::connect(tunnelled).check("PING", "+PONG");
    }
    drop(silent);
}

#[test]
fn who_is_not_listed_names_nobody_and_the_list_changes_at_a_reload() {
    let config = "[gateway]\nproxy_protocol_from = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n";
    let (_server, gateway) = plain(config);
    let mut client = behind(&gateway, &line("203.0.113.9", 4000));
    // It would take the error for the reply to its first request, so there is none.
    assert_eq!(client.rest(), b"");
    wait_until("it is said", || gateway.log().contains("gateway.proxy_protocol_from"));
    let mut client = gateway.client();
    client.check("PING", "+PONG");
    gateway.reload(FROM_HERE);
    wait_until("it is listed", || {
        let mut client = behind(&gateway, &line("203.0.113.9", 4000));
        client.try_send(b"CLIENT INFO\r\n").is_ok()
            && client
                .try_reply()
                .is_ok_and(|reply| String::from_utf8_lossy(&reply).contains("addr=203.0.113.9:"))
    });
    // Who came before stays.
    client.check("PING", "+PONG");
}

#[test]
fn failed_log_ins_slow_down_their_own_address_and_no_other_behind_the_balancer() {
    let config = format!("{FROM_HERE}[auth]\npassword = \"secret\"\n");
    let (_server, gateway) = plain(&config);
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    let mut guessing = behind(&gateway, &line("203.0.113.9", 4000));
    for _ in 0..5 {
        guessing.check("AUTH wrong", wrong);
    }
    // Each further answer waits, longer and longer; those of another address do not.
    for _ in 0..12 {
        guessing.send_line("AUTH wrong");
    }
    let mut other = behind(&gateway, &line("203.0.113.10", 4000));
    for _ in 0..5 {
        other.check("AUTH wrong", wrong);
    }
    other.check("AUTH secret", "+OK");
    let mut answers = [0; 4096];
    let waiting = guessing.stream();
    waiting.set_nonblocking(true).unwrap();
    let count = (&waiting).read(&mut answers).unwrap_or(0);
    assert!(count < 12 * (wrong.len() + 2), "{}", String::from_utf8_lossy(&answers[..count]));
    wait_until("the log of denials names both", || {
        let denied = other.ask("ACL LOG");
        denied.contains("addr=203.0.113.10:4000 laddr=192.0.2.1:6380 ")
            && gateway.log().contains("addr=203.0.113.9:4000 ")
    });
}

#[test]
fn it_stands_before_the_handshake_of_tls() {
    let secured = Secured::new();
    let server = Server::start();
    let listener = secured.authority.listener(&secured.pair);
    let config = format!("{FROM_HERE}{listener}handshake_timeout = \"2s\"\n");
    let gateway = Gateway::before(&server).config(&config).start();
    let address = gateway.tls.expect("it listens for TLS");
    let dialer = tunnel::dialer(&secured.authority, None);
    for header in [binary(4000), line("203.0.113.9", 4000)] {
        let tunnelled = tunnel::open_behind(dialer.clone(), address, header);
        let mut client = Client::connect(tunnelled);
        assert!(client.text("CLIENT INFO").contains(" addr=203.0.113.9:4000 laddr=192.0.2.1:6380 "));
    }
    // What follows is the handshake and nothing else; and a handshake without it is refused.
    let mut then_plain = TcpStream::connect(address).unwrap();
    then_plain.write_all(&[&binary(1)[..], b"PING\r\n"].concat()).unwrap();
    wait_until("it is counted", || rejected(&gateway, "plain_text") == 1);
    wait_until("it is said of the client", || gateway.log().contains("client=\"203.0.113.9:1\""));
    let mut bare = TcpStream::connect(address).unwrap();
    bare.write_all(b"\x16\x03\x01\x00\x10").unwrap();
    wait_until("it is counted", || rejected(&gateway, "proxy_header") == 1);
}
