//! A TCP relay between the gateway and one server, with which a test sees what was sent and cuts connections at a moment
//! of its choice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hotgate::resp::{ReplyScan, ReplyScanner};

use super::{Gateway, Server};

/// On which side of a request a relay stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The server does not get it.
    Before,
    /// The gateway does not get the reply.
    Behind,
}

/// The relay; its threads end with the connections, and the listener with the process.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// While it is set, what the server answers is kept back.
    hold_replies: AtomicBool,
    /// While it is set, connections are accepted and closed at once.
    refuse: AtomicBool,
    /// The request to stop at, and on which side.
    stop: Mutex<Option<(Vec<u8>, Stop)>>,
    is_stopped: AtomicBool,
    accepted: AtomicUsize,
    /// What is said in place of short answers.
    instead: Mutex<Option<Vec<u8>>>,
    /// Everything that was sent to the server, over all connections.
    sent: Mutex<Vec<u8>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// A server, a relay before it, and a gateway of one worker before that.
    pub fn between(config: &str) -> (Server, Relay, Gateway) {
        let server = Server::start();
        let relay = Relay::before(server.address());
        let gateway = Gateway::before(&relay).flag("--workers", "1").config(config).start();
        (server, relay, gateway)
    }

    pub fn before(server: SocketAddr) -> Relay {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), server)
    }

    /// One that listens there.
    pub fn at(address: SocketAddr, server: SocketAddr) -> Relay {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server,
            hold_replies: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            stop: Mutex::new(None),
            is_stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            instead: Mutex::new(None),
            sent: Mutex::new(Vec::new()),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.accepted.fetch_add(1, Ordering::SeqCst);
                if !accepting.refuse.load(Ordering::SeqCst) {
                    State::relay(&accepting, client);
                }
            }
        });
        Relay { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn hold_replies(&self, hold: bool) {
        self.state.hold_replies.store(hold, Ordering::SeqCst);
    }

    /// Stops at the next request that has these bytes, until [`Relay::go_on`].
    pub fn stop_at(&self, bytes: &[u8], stop: Stop) {
        *self.state.stop.lock().unwrap() = Some((bytes.to_vec(), stop));
    }

    /// Whether such a request has come.
    pub fn is_stopped(&self) -> bool {
        self.state.is_stopped.load(Ordering::SeqCst)
    }

    pub fn go_on(&self) {
        self.hold_replies(false);
        self.state.is_stopped.store(false, Ordering::SeqCst);
    }

    pub fn refuse(&self, refuse: bool) {
        self.state.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Closes every connection, both sides. Replies that were held are lost.
    pub fn cut(&self) {
        for connection in self.state.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Sends `bytes` to the gateway on every connection, as if the server had.
    pub fn say(&self, bytes: &[u8]) {
        for mut connection in self.state.connections.lock().unwrap().iter().step_by(2) {
            let _ = connection.write_all(bytes);
        }
    }

    /// While there is a line, it is what the gateway hears in place of each integer, null, short array and `+OK` that the server
    /// answers.
    pub fn say_instead(&self, line: Option<&str>) {
        *self.state.instead.lock().unwrap() = line.map(|line| format!("{line}\r\n").into_bytes());
    }

    /// How often `bytes` were sent to the server so far.
    pub fn times_sent(&self, bytes: &[u8]) -> usize {
        self.state.sent.lock().unwrap().windows(bytes.len()).filter(|window| *window == bytes).count()
    }

    /// Bytes that were sent to the server so far.
    pub fn bytes_sent(&self) -> usize {
        self.state.sent.lock().unwrap().len()
    }

    /// How many connections were opened so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl State {
    fn stop_before(&self, bytes: &[u8]) {
        let stop = {
            let mut asked = self.stop.lock().unwrap();
            let is_it =
                |(wanted, _): &&(Vec<u8>, Stop)| bytes.windows(wanted.len()).any(|part| part == wanted);
            let Some((_, stop)) = asked.as_ref().filter(is_it).cloned() else { return };
            *asked = None;
            stop
        };
        self.hold_replies.store(stop == Stop::Behind, Ordering::SeqCst);
        self.is_stopped.store(true, Ordering::SeqCst);
        while stop == Stop::Before && self.is_stopped.load(Ordering::SeqCst) {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
    }

    fn relay(state: &Arc<State>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(state.server) else { return };
        let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
        let mut connections = state.connections.lock().unwrap();
        connections.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        drop(connections);
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let requests = Arc::clone(state);
        std::thread::spawn(move || {
            pump(&mut from_client, &mut to_server, |bytes| {
                requests.sent.lock().unwrap().extend_from_slice(bytes);
                requests.stop_before(bytes);
                None
            });
        });
        let (mut from_server, mut to_client) = (server, client);
        let replies = Arc::clone(state);
        std::thread::spawn(move || {
            pump(&mut from_server, &mut to_client, |bytes| {
                while replies.hold_replies.load(Ordering::SeqCst) {
                    std::thread::park_timeout(std::time::Duration::from_millis(1));
                }
                replies.instead.lock().unwrap().as_ref().map(|line| replaced(bytes, line))
            });
        });
    }
}

/// The whole replies in `bytes`, the short ones replaced. Only for a server that is asked little at a time.
fn replaced(mut bytes: &[u8], line: &[u8]) -> Vec<u8> {
    let mut changed = Vec::new();
    while let ReplyScan::Complete { len } = ReplyScanner::new().scan(bytes) {
        let (reply, rest) = bytes.split_at(len);
        // What a flush of the gateway is answered is a short array.
        let is_short = matches!(reply[0], b':' | b'_' | b'*') && len < 64
            || [&b"+OK\r\n"[..], b"$-1\r\n"].contains(&reply);
        changed.extend_from_slice(if is_short { line } else { reply });
        bytes = rest;
    }
    changed.extend_from_slice(bytes);
    changed
}

/// Copies until either side ends, then ends both.
fn pump(from: &mut TcpStream, to: &mut TcpStream, before_writing: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        let changed = before_writing(&chunk[..read]);
        if to.write_all(changed.as_deref().unwrap_or(&chunk[..read])).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
