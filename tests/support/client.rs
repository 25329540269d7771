//! A client that hides nothing: it sends the bytes it is given and returns each reply as the bytes that came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;
use super::text::{elements, encode, one_line, request, shown, words};

/// The version of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What every connection starts with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

pub const BOTH_VERSIONS: [Version; 2] = [Version::Resp2, Version::Resp3];

/// One blocking connection. Every read gives up after [`PATIENCE`].
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    consumed: usize,
    version: Version,
}

impl Client {
    /// A RESP2 connection.
    pub fn connect(address: SocketAddr) -> Client {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Like [`Client::connect`] where a refused connection is one of the outcomes.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream, received: Vec::new(), consumed: 0, version: Version::Resp2 })
    }

    /// A connection that speaks `version`; for RESP3 it has said `HELLO 3`.
    pub fn speaking(address: SocketAddr, version: Version) -> Client {
        let mut client = Self::connect(address);
        if version == Version::Resp3 {
            client.hello3("HELLO 3");
        }
        client
    }

    /// Sends a `HELLO 3 ...` and reads everything from its reply on as RESP3.
    pub fn hello3(&mut self, line: &str) -> Vec<u8> {
        self.version = Version::Resp3;
        let reply = self.call_line(line);
        assert!(reply.starts_with(b"%"), "{line} -> {}", shown(&reply));
        reply
    }

    /// From here on replies are read as `version`, without a word to the server.
    pub fn read_as(&mut self, version: Version) {
        self.version = version;
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// The socket, for a second thread that writes while this client reads.
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Like [`Client::send`] where the other side may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send_line(&mut self, line: &str) {
        self.send(&request(line));
    }

    /// Has the gateway let this client have as many requests under way at a time: one that begins gets few.
    pub fn widen_window(&mut self, requests: usize) {
        for _ in 0..3 {
            self.send(&request("EXISTS window").repeat(requests));
            (0..requests).for_each(|_| assert_eq!(self.reply(), b":0\r\n"));
        }
    }

    /// Says that nothing more is sent (a half-close).
    pub fn finish_sending(&mut self) {
        // Fails when the other side has closed already: then nothing more is sent either.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next reply, whole, as its bytes.
    #[track_caller]
    pub fn reply(&mut self) -> Vec<u8> {
        match self.try_reply() {
            Ok(reply) => reply,
            Err(error) => {
                panic!("no reply: {error}; received so far: {}", shown(&self.received[self.consumed..]))
            }
        }
    }

    /// Like [`Client::reply`] where a connection that ends is one of the outcomes (`UnexpectedEof`, `ConnectionReset`).
    pub fn try_reply(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(length) = self.whole_reply() {
                let reply = self.received[self.consumed..self.consumed + length].to_vec();
                self.consumed += length;
                return Ok(reply);
            }
            if self.read_more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn whole_reply(&self) -> Option<usize> {
        let bytes = &self.received[self.consumed..];
        if bytes.is_empty() {
            return None;
        }
        let decoded = match self.version {
            Version::Resp2 => redis_protocol::resp2::decode::decode_range(bytes)
                .map(|found| found.map(|(_, length)| length)),
            Version::Resp3 => redis_protocol::resp3::decode::complete::decode_range(bytes)
                .map(|found| found.map(|(_, length)| length)),
        };
        decoded.unwrap_or_else(|error| panic!("not a reply ({error:?}): {}", shown(bytes)))
    }

    /// Reads once from the socket; 0 is the end of the stream.
    fn read_more(&mut self) -> std::io::Result<usize> {
        if self.consumed > 0 && self.consumed >= self.received.len() / 2 {
            self.received.drain(..self.consumed);
            self.consumed = 0;
        }
        let mut chunk = vec![0; if self.received.len() > 1 << 16 { 1 << 22 } else { 1 << 16 }];
        let read = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.received.extend_from_slice(&chunk[..read]);
        Ok(read)
    }

    /// Exactly `length` bytes, whatever they are.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() - self.consumed < length {
            let read = self.read_more().unwrap_or_else(|error| panic!("cannot read {length} bytes: {error}"));
            assert!(read > 0, "the connection ended before {length} bytes came: {}", shown(&self.received));
        }
        let bytes = self.received[self.consumed..self.consumed + length].to_vec();
        self.consumed += length;
        bytes
    }

    /// Everything until the other side closes. A reset is a failure: it may have eaten what was on its way.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read_more().unwrap_or_else(|error| panic!("the connection did not end cleanly: {error}"))
            > 0
        {}
        let rest = self.received.split_off(self.consumed);
        self.received.clear();
        self.consumed = 0;
        rest
    }

    /// Sends one command given as a line of words and returns its reply.
    #[track_caller]
    pub fn call_line(&mut self, line: &str) -> Vec<u8> {
        self.call(&words(line))
    }

    /// Sends one command and returns its reply.
    #[track_caller]
    pub fn call(&mut self, arguments: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.send(&encode(arguments));
        self.reply()
    }

    /// Sends one command and returns its reply on one line (see [`one_line`]).
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        one_line(&self.call_line(line))
    }

    /// Sends `line` and holds its reply, on one line, against `expected`, where a final `...` stands for any rest.
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        self.send_line(line);
        self.expect(line, expected);
    }

    /// Holds the next reply, that of `line`, against `expected` as [`Client::check`] does.
    #[track_caller]
    pub fn expect(&mut self, line: &str, expected: &str) {
        let reply = one_line(&self.reply());
        let same = match expected.strip_suffix("...") {
            Some(start) => reply.starts_with(start),
            None => reply == expected,
        };
        assert!(same, "{:?}: {line}\n  reply    {reply}\n  expected {expected}", self.version);
    }

    /// The number of an integer reply.
    pub fn integer(&mut self, line: &str) -> i64 {
        let reply = self.ask(line);
        reply
            .strip_prefix(':')
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("{line} -> {reply}, which is not an integer"))
    }

    /// The content of a bulk reply (or of a verbatim one, without its `txt:`).
    pub fn bulk(&mut self, line: &str) -> Vec<u8> {
        let reply = self.call_line(line);
        let start = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        match reply.first() {
            Some(b'$') => reply[start..reply.len() - 2].to_vec(),
            Some(b'=') => reply[start + 4..reply.len() - 2].to_vec(),
            _ => panic!("{line} -> {}, which is not a bulk", shown(&reply)),
        }
    }

    /// As [`Client::bulk`], as text.
    pub fn text(&mut self, line: &str) -> String {
        String::from_utf8(self.bulk(line)).expect("UTF-8")
    }

    /// The strings and integers of a reply (see [`elements`]).
    pub fn list(&mut self, line: &str) -> Vec<String> {
        elements(&self.call_line(line))
    }
}
