//! Certificates that do not hold, and certificates that change while the gateway runs: who is told what.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::certificates::{Authority, Pair};
use crate::support::secured::Secured;
use crate::support::{Client, Gateway, Server, tunnel, wait_until};

/// A server with this certificate, and a gateway that trusts the authority, with more lines in `[upstream]`.
fn before(secured: &Secured, shown: &Pair, upstream: &str) -> (Server, Gateway) {
    let options = secured.authority.server_options(shown);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::with(&options);
    let config = format!("{}{upstream}", secured.authority.upstream());
    let target = format!("127.0.0.1:{}", crate::support::certificates::tls_port(server.port()));
    let gateway = Gateway::before(&target).config(&config).start();
    (server, gateway)
}

/// The status line, `/readyz`, the log and clients give the cause.
#[track_caller]
fn is_told(gateway: &Gateway, cause: &str) {
    wait_until("/readyz gives the cause", || {
        let (code, body) = gateway.get("/readyz");
        code == 503 && body.contains(cause)
    });
    wait_until("the status line gives the cause", || {
        let stats = gateway.get("/api/stats").1;
        stats.contains("No Redis to serve from: 127.0.0.1:") && stats.contains(cause)
    });
    assert!(gateway.log().contains(cause), "{}", gateway.log());
    gateway.client().check("PING", "+PONG");
}

#[test]
fn a_server_whose_certificate_does_not_hold_is_named_with_the_cause() {
    let (secured, strangers) = (Secured::new(), Authority::new());
    let at = |days| secured.authority.issue_for("server", "IP:127.0.0.1", days);
    for (shown, cause) in [
        (at(-1), "its certificate has expired"),
        (secured.authority.issue_for("other", "DNS:redis.example", 365), "redis.example"),
        (strangers.issue("server"), "is signed by no authority that is trusted here"),
        (strangers.self_signed("self"), "its certificate"),
    ] {
        let (_server, gateway) = before(secured, &shown, "");
        is_told(&gateway, cause);
    }
}

#[test]
fn a_name_may_be_given_for_servers_that_are_reached_by_another() {
    let secured = Secured::new();
    let shown = secured.authority.issue_for("other", "DNS:redis.example", 365);
    let (_server, gateway) = before(secured, &shown, "server_name = \"redis.example\"\n");
    gateway.client().check("SET k v", "+OK");
}

#[test]
fn a_server_may_want_a_certificate_of_the_gateway() {
    let secured = Secured::new();
    let options = secured.server_options();
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--tls-auth-clients", "yes"]);
    let server = Server::with(&options);
    let target = format!("127.0.0.1:{}", crate::support::certificates::tls_port(server.port()));
    let start = |more: &str| {
        Gateway::before(&target).config(&format!("{}{more}", secured.authority.upstream())).start()
    };
    is_told(&start(""), "it wants a certificate of ours: name cert_file and key_file");
    start(&secured.authority.issue("gateway").directives()).client().check("SET k v", "+OK");
}

#[test]
fn who_speaks_tls_and_who_does_not_is_told_apart() {
    let secured = Secured::new();
    let server = Server::secured(secured, &[]);
    let plainly = Gateway::before(&server.seed()).start();
    is_told(&plainly, "it speaks TLS: set upstream.tls");
    let to_plain = Gateway::before(&server.address().to_string());
    is_told(
        &to_plain.config(&secured.authority.upstream()).start(),
        "it does not speak TLS: name its TLS port",
    );
}

/// The serial number of the certificate that clients are shown.
fn shown(gateway: &Gateway) -> String {
    let connect = format!(
        "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        gateway.tls.unwrap()
    );
    let output = Command::new("sh").args(["-c", &connect]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_certificate_is_replaced_while_clients_are_connected() {
    let secured = Secured::new();
    let server = Server::start();
    let (pair, next, other) =
        (secured.authority.issue("pair"), secured.authority.issue("next"), secured.authority.issue("other"));
    let config = secured.authority.listener(&pair);
    let gateway = Gateway::before(&server.address().to_string()).config(&config).start();
    let door = secured.tunnel(gateway.tls.unwrap());
    let mut established = Client::connect(door);
    established.check("PING", "+PONG");
    let first = shown(&gateway);

    // The key of another certificate: what was stays, and it is said.
    std::fs::copy(&other.key, &pair.key).unwrap();
    gateway.reload(&config);
    wait_until("it is said", || {
        gateway.get("/metrics").1.contains("hotgate_tls_refused{table=\"tls\"} 1")
            && gateway.get("/api/stats").1.contains("[tls] keeps its former certificates")
    });
    assert!(gateway.log().contains("is not the key of the certificate in"), "{}", gateway.log());
    assert_eq!(shown(&gateway), first);
    Client::connect(door).check("PING", "+PONG");

    // Half a file.
    std::fs::write(&pair.cert, &std::fs::read(&next.cert).unwrap()[..100]).unwrap();
    gateway.reload(&config);
    wait_until("it is said", || gateway.log().contains("is no PEM or is cut short"));
    assert_eq!(shown(&gateway), first);

    // The right pair, without a word to the process.
    next.replaces(&pair);
    wait_until("the new one is shown", || shown(&gateway) != first);
    wait_until("nothing is refused any more", || {
        gateway.get("/metrics").1.contains("hotgate_tls_refused{table=\"tls\"} 0")
    });
    let events: Value = serde_json::from_str(&gateway.get("/api/events").1).unwrap();
    let events = events["events"].as_array().unwrap().iter();
    let told: Vec<&Value> =
        events.filter(|event| event["subject"] == "tls").map(|event| &event["kind"]).collect();
    assert_eq!(told, ["certificate_renewed", "certificate_refused", "certificate_refused"]);
    established.check("PING", "+PONG");
    Client::connect(door).check("PING", "+PONG");
}

/// Puts a pair where Kubernetes would: in a directory of its own, to which a link leads that is replaced as a whole.
fn mount(volume: &std::path::Path, pair: &Pair, revision: &str) {
    let directory = volume.join(format!("..{revision}"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(&pair.cert, directory.join("tls.crt")).unwrap();
    std::fs::copy(&pair.key, directory.join("tls.key")).unwrap();
    let fresh = volume.join("..data_tmp");
    std::os::unix::fs::symlink(format!("..{revision}"), &fresh).unwrap();
    std::fs::rename(fresh, volume.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let link = volume.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
    }
}

#[test]
fn under_load_certificates_are_swapped_whole_and_what_does_not_hold_is_noticed_by_nobody() {
    let secured = Secured::new();
    let server = Server::start();
    let volume = tempfile::tempdir().unwrap();
    let (first, second) = (secured.authority.issue("first"), secured.authority.issue("second"));
    mount(volume.path(), &first, "1");
    let mounted = Pair { cert: volume.path().join("tls.crt"), key: volume.path().join("tls.key") };
    let config = secured.authority.listener(&mounted);
    let gateway = Gateway::before(&server.address().to_string()).config(&config).start();
    let door = secured.tunnel(gateway.tls.unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        // One stays, one connects again and again.
        let established = threads.spawn(|| {
            let mut client = Client::connect(door);
            while !is_over.load(Ordering::Relaxed) {
                client.check("INCR steady", ":...");
            }
        });
        let coming = threads.spawn(|| {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                Client::connect(door).check("INCR coming", ":...");
                served += 1;
            }
            served
        });
        let before = shown(&gateway);
        // Half of a swap: a certificate whose key is to come.
        let mismatched = Pair { cert: second.cert.clone(), key: first.key.clone() };
        mount(volume.path(), &mismatched, "2");
        gateway.reload(&config);
        wait_until("the pair that does not fit is told", || {
            gateway.get("/metrics").1.contains("hotgate_tls_refused{table=\"tls\"} 1")
        });
        assert_eq!(shown(&gateway), before);
        mount(volume.path(), &second, "3");
        wait_until("the new one is shown", || shown(&gateway) != before);
        is_over.store(true, Ordering::Relaxed);
        established.join().unwrap();
        assert!(coming.join().unwrap() > 0);
    });
}

#[test]
fn an_authority_that_is_taken_away_lets_nobody_in_any_more() {
    let (secured, others) = (Secured::new(), Authority::new());
    let server = Server::start();
    let pair = secured.authority.issue("pair");
    let client_ca = secured.authority.path("clients.crt");
    std::fs::copy(secured.authority.ca(), &client_ca).unwrap();
    let config = format!(
        "{}client_auth = \"required\"\nclient_ca_file = \"{}\"\n",
        secured.authority.listener(&pair),
        client_ca.display()
    );
    let gateway = Gateway::before(&server.address().to_string()).config(&config).start();
    let is_let_in = |door| {
        let mut client = Client::connect(door);
        client.try_send(b"PING\r\n").is_ok() && client.try_reply().is_ok()
    };
    // One tunnel, which resumes the session of its first connection.
    let known = tunnel::open(
        tunnel::dialer(&secured.authority, Some(&secured.authority.issue("client"))),
        gateway.tls.unwrap(),
    );
    assert!(is_let_in(known) && is_let_in(known));
    std::fs::copy(others.ca(), &client_ca).unwrap();
    gateway.reload(&config);
    wait_until("it is not let in any more", || !is_let_in(known));
}

#[test]
fn what_expires_soon_is_told_before_it_does() {
    let secured = Secured::new();
    let server = Server::start();
    for (days, sentence) in [(5, "expires in 5 days"), (-1, "expired 24.0 h ago")] {
        let pair = secured.authority.issue_for("pair", "IP:127.0.0.1", days);
        let start = Gateway::before(&server.address().to_string());
        let gateway = start.config(&secured.authority.listener(&pair)).start();
        wait_until("the status line tells it", || gateway.get("/api/stats").1.contains(sentence));
        let metrics = gateway.get("/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with("hotgate_tls_certificate_expires_seconds{"));
        let seconds: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!((seconds / 86_400.0 - f64::from(days)).abs() < 0.1, "{line:?}");
    }
}

#[test]
fn files_that_can_not_be_used_refuse_the_start() {
    let secured = Secured::new();
    let (pair, other) = (secured.authority.issue("pair"), secured.authority.issue("other"));
    let mixed = Pair { cert: pair.cert.clone(), key: other.key };
    let missing = Pair { cert: secured.authority.path("nowhere"), key: pair.key.clone() };
    let swapped = Pair { cert: pair.key, key: pair.cert };
    for (pair, cause) in [
        (mixed, "is not the key of the certificate in"),
        (missing, "nowhere can't be read"),
        (swapped, "holds no certificate"),
    ] {
        let (code, log) = Gateway::before("127.0.0.1:1").config(&secured.authority.listener(&pair)).refused();
        assert!(code == Some(1) && log.contains(cause), "{log}");
    }
}
