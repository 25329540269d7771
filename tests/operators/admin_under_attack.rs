//! Whatever others do to the HTTP side, `/healthz`, `/readyz` and `/metrics` are answered, and what was turned away is counted
//! and shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::made_up::{Served, Stage};
use hotgate::monitor::http_client::{Response, exchange};
use hotgate::monitor::turned_away::Reason;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "sesame";
/// `admin.connections_max` of the made-up gateway.
const CONNECTIONS_MAX: usize = 64;

async fn gateway() -> Served {
    Served::start(Arc::new(Stage::default()), Some(TOKEN)).await
}

fn address(served: &Served) -> SocketAddr {
    served.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection from the host of that number: all of 127.0.0.0/8 is this machine.
async fn connect(address: SocketAddr, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    socket.connect(address).await.unwrap()
}

async fn send(address: SocketAddr, host: u8, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address, host).await;
    stream.write_all(bytes).await.unwrap();
    stream
}

fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n").into_bytes()
}

async fn status(served: &Served, path: &str) -> u16 {
    ask(served, path, "").await.status
}

/// Asks once.
async fn ask(served: &Served, path: &str, when: &str) -> Response {
    let url = format!("{}{path}", served.url);
    let answer = exchange(Method::GET, &url, Some(TOKEN), None, PATIENCE).await;
    answer.unwrap_or_else(|why| panic!("{path} {when}: {why}"))
}

async fn check_probes(served: &Served, when: &str) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(served, path).await, 200, "{path} {when}");
    }
}

/// What `/metrics` counts for a reason, once the figures have been read again; 0 for who was turned away by a crowd that had come before.
async fn counted(served: &mut Served, reason: Reason) -> u64 {
    served.tick();
    let url = format!("{}/metrics", served.url);
    let Ok(response) = exchange(Method::GET, &url, Some(TOKEN), None, PATIENCE).await else { return 0 };
    let name = format!("hotgate_admin_turned_away_total{{reason=\"{}\"}} ", reason.label());
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

async fn until_counted(served: &mut Served, reason: Reason, at_least: u64) {
    let started = Instant::now();
    while counted(served, reason).await < at_least {
        assert!(started.elapsed() < PATIENCE, "{reason:?} is not counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_header_has_a_deadline_however_steadily_it_trickles() {
    let mut served = gateway().await;
    let mut trickling = connect(address(&served), 1).await;
    let mut silent = connect(address(&served), 2).await;
    let started = Instant::now();
    let header = get("/healthz", None);
    let mut sent = 0;
    loop {
        // Never the whole header, however long it takes.
        let byte = header.get(sent).filter(|_| sent + 3 < header.len()).unwrap_or(&b'x');
        let mut answer = [0; 64];
        let ended = tokio::select! {
            read = trickling.read(&mut answer) => !matches!(read, Ok(count) if count > 0),
            () = tokio::time::sleep(Duration::from_millis(100)) => trickling.write_all(&[*byte]).await.is_err(),
        };
        if ended {
            break;
        }
        sent += 1;
        assert!(started.elapsed() < PATIENCE, "a trickling header is read for ever");
    }
    assert!(sent > 10, "it was closed for its pace, not for the whole: {sent} bytes");
    let mut rest = Vec::new();
    let _ =
        tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("a silent one is closed");
    until_counted(&mut served, Reason::SlowHeader, 2).await;
}

#[tokio::test]
async fn stalled_connections_do_not_take_the_place_of_probes() {
    let mut served = gateway().await;
    let address = address(&served);
    let mut held = Vec::new();
    for round in 0..2 {
        for host in 1..=4 {
            // Twice what one host may have.
            for place in 0..2 * CONNECTIONS_MAX {
                // Nothing at all, half a line, or half a header.
                let begun: &[u8] = [&b""[..], b"GE", b"GET /healthz HTTP/1.1\r\nHost: lo"][place % 3];
                held.push(send(address, host, begun).await);
            }
        }
        check_probes(&served, &format!("beside {} stalled connections, round {round}", held.len())).await;
    }
    assert!(counted(&mut served, Reason::Source).await > 0, "one host had more than its part");
    assert!(counted(&mut served, Reason::Connections).await > 0, "none gave way");
}

#[tokio::test]
async fn connections_whose_answers_nobody_reads_give_way_too() {
    let served = gateway().await;
    let address = address(&served);
    let request = get("/", None).repeat(40);
    let mut held = Vec::new();
    for host in 1..=4 {
        for _ in 0..CONNECTIONS_MAX {
            held.push(send(address, host, &request).await);
        }
        check_probes(&served, "beside connections that take no answer").await;
    }
    drop(held);
}

#[tokio::test]
async fn crowds_of_streams_leave_room() {
    let mut served = gateway().await;
    let address = address(&served);
    let request = get("/api/stream", Some(TOKEN));
    let (mut open, mut refused) = (Vec::new(), 0);
    for place in 0..200 {
        let mut stream = send(address, 1 + place % 5, &request).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        match &head[9..] {
            b"200" => open.push(stream),
            b"503" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!((open.len(), refused), (CONNECTIONS_MAX / 2, 200 - CONNECTIONS_MAX / 2));
    check_probes(&served, "beside as many streams as may be").await;
    assert_eq!(counted(&mut served, Reason::Streams).await, refused as u64);
    // Those that are open go on.
    let stalled: Vec<_> = futures_util::future::join_all((0..200).map(|_| send(address, 9, b"GET"))).await;
    for stream in &mut open {
        let mut event = [0; 4096];
        assert!(tokio::time::timeout(PATIENCE, stream.read(&mut event)).await.unwrap().unwrap() > 0);
    }
    drop((open, stalled));
    // Their places are given back.
    let started = Instant::now();
    loop {
        let mut stream = send(address, 1, &request).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        if head.ends_with(b"200") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "places of streams are not given back");
    }
}

#[tokio::test]
async fn a_flood_without_the_token_is_turned_away_and_nobody_else() {
    let mut served = gateway().await;
    let address = address(&served);
    let floods: Vec<_> = ["/api/stats", "/metrics", "/", "/nowhere", "/api/stream"]
        .into_iter()
        .map(|path| {
            let request = get(path, Some("wrong")).repeat(50);
            tokio::spawn(async move {
                loop {
                    let mut stream = send(address, 1, &request).await;
                    let mut answers = Vec::new();
                    let _ = stream.read_to_end(&mut answers).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    until_counted(&mut served, Reason::Rate, 100).await;
    for round in 0..20 {
        check_probes(&served, &format!("in a flood, round {round}")).await;
        for path in ["/api/stats", "/metrics"] {
            assert_eq!(
                status(&served, path).await,
                200,
                "who has the token is answered, {path}, round {round}"
            );
        }
    }
    assert!(counted(&mut served, Reason::Token).await > 0);
    // A second of the flood is what a rate is of.
    let started = Instant::now();
    loop {
        served.tick();
        let status = served.board.latest().view.stats.status.clone();
        let all = std::iter::once(status.sentence).chain(status.others.into_iter().map(|f| f.sentence));
        if all.into_iter().any(|sentence| sentence.starts_with("The HTTP side turns ")) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "nothing tells of the flood");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    floods.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let mut served = gateway().await;
    let head = format!(
        "POST /api/quotas HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{"
    );
    let mut stream = send(address(&served), 1, head.as_bytes()).await;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    until_counted(&mut served, Reason::SlowRequest, 1).await;
}

/// What takes the control thread long, or for ever, holds up whoever asks for figures, and no health check.
#[tokio::test]
async fn health_checks_do_not_wait_for_the_control_thread() {
    let mut served = gateway().await;
    let address = address(&served);
    let resume = served.hold_up().await;
    let mut waiting = send(address, 1, &get("/api/stats", Some(TOKEN))).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(&served, path).await, 200, "{path} while the control thread is held up");
    }
    // As many as may be served wait with it, and the next health check does not.
    let crowd = (0..3 * CONNECTIONS_MAX as u8)
        .map(|place| async move { send(address, 2 + place % 8, &get("/api/stats", Some(TOKEN))).await });
    let crowd = futures_util::future::join_all(crowd).await;
    assert_eq!(status(&served, "/healthz").await, 200, "beside {} that wait", crowd.len());
    drop(crowd);
    drop(resume);
    let mut head = [0; 12];
    let answered = tokio::time::timeout(PATIENCE, waiting.read(&mut head)).await.expect("an end");
    // Or it gave way to another.
    if let Ok(1..) = answered {
        assert!(head.ends_with(b"200"), "{}", String::from_utf8_lossy(&head));
    }
    until_counted(&mut served, Reason::Connections, 1).await;
}

/// A war room of dashboards, of which half do not read, beside connections that trickle and a flood without the token.
#[tokio::test]
async fn everything_at_once_leaves_probes_their_answers() {
    let mut served = gateway().await;
    let address = address(&served);
    let streams = (0..CONNECTIONS_MAX as u8).map(|place| {
        tokio::spawn(async move {
            loop {
                let mut stream = send(address, 1 + place % 8, &get("/api/stream", Some(TOKEN))).await;
                let mut event = [0; 4096];
                while place % 2 == 0 && matches!(stream.read(&mut event).await, Ok(1..)) {}
                // Whoever does not read holds the connection until it is closed.
                let _ = tokio::time::timeout(PATIENCE, stream.readable()).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    });
    // More than may wait.
    let trickles = (0..3 * CONNECTIONS_MAX as u8).map(|place| {
        tokio::spawn(async move {
            loop {
                let mut stream = connect(address, 10 + place % 8).await;
                for byte in get("/healthz", None).iter().cycle() {
                    if stream.write_all(&[*byte | 0x20]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    });
    let floods = (0..4).map(|host| {
        tokio::spawn(async move {
            loop {
                let mut stream = send(address, 20 + host, &get("/api/stats", None).repeat(20)).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                tokio::task::yield_now().await;
            }
        })
    });
    let attack: Vec<_> = streams.chain(trickles).chain(floods).collect();
    until_counted(&mut served, Reason::Connections, 10).await;
    for round in 0..15 {
        check_probes(&served, &format!("beside everything, round {round}")).await;
        // More often than its rate allows, `/metrics` would be refused for that.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    attack.iter().for_each(tokio::task::JoinHandle::abort);
}
