//! A real redis-server on a free port, for as long as the value lives.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hotgate::resp::{ReplyScan, ReplyScanner, RespVersion};

use super::harness::{Backend, request, requests};

/// Owns the process; ends it when dropped.
pub struct Server {
    process: Child,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { process, port, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not come up");
            std::thread::yield_now();
        }
        server
    }

    /// A client of one of its databases.
    pub fn client(&self, database: u32) -> Client {
        let open = |hello: &[&[u8]]| {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut connection = Connection { stream };
            connection
                .run(&[request(hello), request(&[b"SELECT", database.to_string().as_bytes()])].concat());
            connection
        };
        Client { resp2: open(&[b"PING"]), resp3: open(&[b"HELLO", b"3"]) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection of each protocol version.
pub struct Client {
    resp2: Connection,
    resp3: Connection,
}

struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn run(&mut self, wire: &[u8]) -> Vec<Vec<u8>> {
        self.stream.write_all(wire).unwrap();
        let (mut replies, mut buffer) = (Vec::new(), Vec::new());
        let mut scanner = ReplyScanner::new();
        for _ in requests(wire) {
            let len = loop {
                match scanner.scan(&buffer) {
                    ReplyScan::Complete { len } => break len,
                    ReplyScan::Incomplete { .. } => {
                        let mut chunk = [0; 65536];
                        let count = self.stream.read(&mut chunk).unwrap();
                        assert!(count > 0, "redis-server closed the connection");
                        buffer.extend_from_slice(&chunk[..count]);
                    }
                    ReplyScan::Malformed(what) => panic!("{what}"),
                    ReplyScan::TooLong => panic!("a line without an end"),
                }
            };
            replies.push(buffer.drain(..len).collect());
        }
        replies
    }
}

impl Client {
    /// Runs one command and returns its reply as text.
    pub fn ask(&mut self, words: &[&[u8]]) -> String {
        String::from_utf8_lossy(&self.resp2.run(&request(words))[0]).into_owned()
    }
}

impl Backend for Client {
    const TIME_STANDS_STILL: bool = false;

    fn run(&mut self, wire: &[u8], version: RespVersion) -> Vec<Vec<u8>> {
        match version {
            RespVersion::Resp2 => self.resp2.run(wire),
            RespVersion::Resp3 => self.resp3.run(wire),
        }
    }
}
