//! A TCP relay between the gateway and one server, with which a test sees what was sent and cuts connections at a moment
//! of its choice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
    accepted: AtomicUsize,
    /// Everything that was sent to the server, over all connections.
    sent: Mutex<Vec<u8>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub fn before(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server,
            hold_replies: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
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
                requests.sent.lock().unwrap().extend_from_slice(bytes)
            });
        });
        let (mut from_server, mut to_client) = (server, client);
        let replies = Arc::clone(state);
        std::thread::spawn(move || {
            pump(&mut from_server, &mut to_client, |_| {
                while replies.hold_replies.load(Ordering::SeqCst) {
                    std::thread::park_timeout(std::time::Duration::from_millis(1));
                }
            });
        });
    }
}

/// Copies until either side ends, then ends both.
fn pump(from: &mut TcpStream, to: &mut TcpStream, before_writing: impl Fn(&[u8])) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        before_writing(&chunk[..read]);
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
