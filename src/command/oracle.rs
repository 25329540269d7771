//! What the tests of this directory compare with: a real `redis-server`, spoken to over a socket of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::resp::{ReplyScan, ReplyScanner, Request, RespVersion, Span, encode};

/// A request that owns its bytes.
pub(super) struct Arguments {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Arguments {
    pub(super) fn new<A: AsRef<[u8]>>(args: &[A]) -> Self {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let mut bytes = Vec::new();
        encode::command(&mut bytes, &args);
        let (mut spans, mut at) = (Vec::new(), format!("*{}\r\n", args.len()).len());
        for arg in args {
            let start = at + format!("${}\r\n", arg.len()).len();
            spans.push(Span { start: start as u32, len: arg.len() as u32 });
            at = start + arg.len() + 2;
        }
        Self { bytes, spans }
    }

    /// The words of `line`, which spaces separate; `""` is an empty one.
    pub(super) fn of_line(line: &str) -> Self {
        let args: Vec<_> = line.split(' ').map(|arg| if arg == "\"\"" { "" } else { arg }).collect();
        Self::new(&args)
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request::new(&self.bytes, &self.spans)
    }
}

/// A server that lives as long as this does.
pub(super) struct Oracle {
    server: Child,
    stream: UnixStream,
    _directory: tempfile::TempDir,
}

impl Oracle {
    /// Starts the server and waits for it to say that it is ready.
    pub(super) fn start(version: RespVersion) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is on PATH");
        let log = BufReader::new(server.stdout.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("ready to accept connections at")),
            "redis-server did not start"
        );
        let stream = UnixStream::connect(&socket).unwrap();
        let mut oracle = Self { server, stream, _directory: directory };
        if version == RespVersion::Resp3 {
            oracle.ask(&Arguments::of_line("HELLO 3"));
        }
        oracle
    }

    /// The bytes of the reply.
    pub(super) fn ask(&mut self, arguments: &Arguments) -> Vec<u8> {
        self.stream.write_all(&arguments.bytes).unwrap();
        let (mut scanner, mut reply, mut chunk) = (ReplyScanner::new(), Vec::new(), [0; 65536]);
        loop {
            match scanner.scan(&reply) {
                ReplyScan::Complete { len } => {
                    assert_eq!(len, reply.len());
                    return reply;
                }
                ReplyScan::Incomplete { .. } => {
                    let len = self.stream.read(&mut chunk).unwrap();
                    assert_ne!(len, 0, "redis-server closed the connection");
                    reply.extend_from_slice(&chunk[..len]);
                }
                ReplyScan::Malformed(expected) => panic!("expected {expected}"),
                ReplyScan::TooLong => panic!("a line without an end"),
            }
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
