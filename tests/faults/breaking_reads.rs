//! A read whose reply is more than the server lets wait for a client breaks the connection that carries it. It is tried again where
//! it breaks nothing else, a bounded number of times, and then answered with the cause; others notice the first break at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::text::{encode, one_line};
use crate::support::{self, BOTH_VERSIONS, Client, Gateway, Server, wait_until};

const WRITERS: usize = 8;

/// Clients that increment a counter each, until they are told to stop.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<(u64, u64)>>,
}

impl Writers {
    fn start(gateway: &Gateway) -> Writers {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let write = |number: usize| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            let mut client = gateway.client();
            std::thread::spawn(move || {
                let (mut done, mut unknown) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let reply = client.ask(&format!("INCR written:{number}"));
                    match reply.strip_prefix(':') {
                        Some(_) => done += 1,
                        None if reply.contains("outcome is unknown") => unknown += 1,
                        None => panic!("INCR -> {reply}"),
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                (done, unknown)
            })
        };
        let threads = (0..WRITERS).map(write).collect();
        Writers { stop, acknowledged, threads }
    }

    /// They go on for a while.
    fn go_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_until("the writers go on", || self.acknowledged.load(Ordering::Relaxed) > before + 200);
    }

    /// Ends them; one break at most has reached each, and every acknowledged increment counts once.
    fn stop(self, server: &Server) {
        self.stop.store(true, Ordering::Relaxed);
        let mut direct = Client::connect(server.address());
        for (number, thread) in self.threads.into_iter().enumerate() {
            let (done, unknown) = thread.join().unwrap();
            assert!(unknown <= 1, "a writer met {unknown} breaks");
            let counted: u64 =
                direct.ask(&format!("GET written:{number}")).split(' ').nth(1).unwrap().parse().unwrap();
            assert!((done..=done + unknown).contains(&counted), "{done} and {unknown}: {counted}");
        }
    }
}

fn with_limit() -> (Server, Gateway) {
    let server = Server::start();
    let mut direct = Client::connect(server.address());
    for _ in 0..6 {
        let values = vec!["v".repeat(10_000); 100];
        let words = ["RPUSH", "much"].into_iter().chain(values.iter().map(String::as_str));
        direct.send(&encode(&words.collect::<Vec<_>>()));
        assert!(direct.reply().starts_with(b":"));
    }
    direct.check(&format!("SET some {}", "v".repeat(1_500_000)), "+OK");
    direct.send(&encode(&["CONFIG", "SET", "client-output-buffer-limit", "normal 2mb 0 0"]));
    assert_eq!(one_line(&direct.reply()), "+OK");
    let gateway = Gateway::before(&server).flag("--workers", "1").start();
    (server, gateway)
}

#[test]
fn reads_that_break_their_connection_break_others_once_at_the_most_and_are_told_why() {
    let (server, gateway) = with_limit();
    let writers = Writers::start(&gateway);
    writers.go_on();
    let told_why = |client: &mut Client| {
        let reply = one_line(&client.reply());
        assert!(reply.starts_with("-ERR hotgate: "), "{reply:.200}");
        assert!(reply.contains("client-output-buffer-limit"), "{reply:.200}");
    };
    // At once from five clients, in one pipeline, one after the other, and in a transaction.
    let mut crowd: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    crowd.iter_mut().for_each(|client| client.send_line("LRANGE much 0 -1"));
    crowd.iter_mut().for_each(told_why);
    writers.go_on();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let lines = ["LRANGE much 0 -1", "SET behind v", "LRANGE much 0 400", "GET behind"];
        client.send(&lines.iter().flat_map(|line| support::text::request(line)).collect::<Vec<u8>>());
        told_why(&mut client);
        assert_eq!(one_line(&client.reply()), "+OK");
        told_why(&mut client);
        assert_eq!(one_line(&client.reply()), "$1 v");
        for _ in 0..2 {
            client.send_line("LRANGE much 0 -1");
            told_why(&mut client);
        }
        client.check("MULTI", "+OK");
        client.check("LRANGE much 0 -1", "+QUEUED");
        client.send_line("EXEC");
        told_why(&mut client);
        client.check("LLEN much", ":600");
    }
    writers.go_on();
    writers.stop(&server);
}

/// Each reply fits, but not all that others wait for at the same time: none is refused.
#[test]
fn reads_that_break_their_connection_only_together_are_all_answered() {
    let (server, gateway) = with_limit();
    let writers = Writers::start(&gateway);
    writers.go_on();
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    for _ in 0..3 {
        let pipeline = encode(&["GET", "some"]).repeat(3);
        clients.iter_mut().for_each(|client| client.send(&pipeline));
        for client in &mut clients {
            (0..3).for_each(|_| assert_eq!(client.reply().len(), 1_500_000 + 12));
        }
    }
    writers.go_on();
    writers.stop(&server);
}
