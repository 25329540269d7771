//! A panic in any thread or task ends the whole process, with one line that says where and an exit code of its own: nothing
//! goes on half alive.

use crate::support::{Client, Gateway, Server};

#[test]
fn a_panic_in_any_thread_or_task_ends_the_process() {
    // A release build has no way to make it panic.
    if std::env::var("HOTGATE_PROGRAM").is_ok() {
        return;
    }
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    for place in ["worker", "task", "blocking", "thread"] {
        for format in ["text", "json"] {
            let file = directory.path().join(format!("{place}-{format}"));
            let mut gateway = Gateway::before(&server)
                .config(&format!("[log]\nformat = '{format}'\n"))
                .environment("HOTGATE_PANIC", &format!("{place}:{}", file.display()))
                .environment("RUST_BACKTRACE", "0")
                .start();
            gateway.client().check("SET panic v", "+OK");
            let mut waiting = gateway.client();
            waiting.send_line("BLPOP panic:none 0");
            assert!(is_ready(&gateway));
            std::fs::write(&file, "now").unwrap();
            assert_eq!(gateway.wait().code(), Some(101), "{place}");
            assert!(waiting.try_reply().is_err(), "{place}: the connections are closed");
            let log = gateway.log();
            let said: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
            assert_eq!(said.len(), 1, "{place}: one line says so: {log}");
            assert!(said[0].contains("src/panics.rs:"), "{place}: it says where: {log}");
            assert_eq!(log.lines().last(), said.first().copied(), "{place}: it is the last line: {log}");
        }
    }
}

fn is_ready(gateway: &Gateway) -> bool {
    let mut admin = Client::connect(gateway.admin.unwrap());
    admin.send(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    admin.rest().starts_with(b"HTTP/1.1 200")
}
