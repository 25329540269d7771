//! The floor: what a reply costs a bare task that does nothing but find the requests in its bytes and answer each.
//!
//! No gateway that is written this way can answer for less: a tokio runtime of one thread, a task per connection, one read
//! and one write per pipeline. It runs as a process of its own, so that its processor time can be told.

use std::process::{Child, Command, Stdio};

use hotgate::resp::{RequestLimits, RequestScan, RequestScanner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::processes::{SERVER_CORE, pin};

/// With this argument the bench itself is the floor.
pub const ARGUMENT: &str = "--be-the-floor";

/// The process; killed when dropped.
pub struct Floor {
    child: Child,
    pub port: u16,
}

impl Floor {
    /// Starts it on the core of the servers.
    pub fn start() -> Floor {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench starts itself");
        let mut port = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut port).unwrap();
        pin(child.id(), SERVER_CORE);
        Floor { port: port.trim().parse().expect("the floor says its port"), child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does, until it is killed.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: TcpStream) {
    let limits = RequestLimits {
        bulk_bytes_max: 1 << 20,
        arguments_max: 1 << 10,
        inline_bytes_max: 1 << 16,
        authenticated: true,
    };
    let mut scanner = RequestScanner::new(limits);
    let mut input = Vec::with_capacity(64 * 1024);
    let mut output = Vec::new();
    while stream.read_buf(&mut input).await.is_ok_and(|count| count > 0) {
        let mut consumed = 0;
        while let RequestScan::Complete { len } = scanner.scan(&input[consumed..]) {
            consumed += len;
            output.extend_from_slice(b"+PONG\r\n");
        }
        input.drain(..consumed);
        if stream.write_all(&output).await.is_err() {
            return;
        }
        output.clear();
    }
}
