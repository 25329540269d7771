//! The process itself in the first line: threads that are held up, a file that was not taken over, what was lost, what has no room. As in
//! `headlines`, each row of the table makes the real fault.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sight::{Traffic, gone, quiet_again, sight, stats, told};
use crate::support::redis::signal;
use crate::support::{Gateway, Server, wait_until};

/// Holds one thread of a process up, as a debugger does, until it is dropped.
struct HeldThread(Child);

const HOLD: &str = "import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
SEIZE, INTERRUPT, ALL_THREADS = 0x4206, 0x4207, 0x40000000
assert ptrace(SEIZE, thread, None, None) == 0, os.strerror(ctypes.get_errno())
assert ptrace(INTERRUPT, thread, None, None) == 0, os.strerror(ctypes.get_errno())
os.waitpid(thread, ALL_THREADS)
print('held', flush=True)
sys.stdin.read()";

impl HeldThread {
    fn of(pid: u32, name: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let is_named = |task: &std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let thread = tasks.into_iter().find(is_named).expect("no thread has that name").file_name();
        let mut child = Command::new("python3")
            .args(["-c", HOLD, thread.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for HeldThread {
    fn drop(&mut self) {
        // The thread goes on when who held it ends.
        let _ = self.0.stdin.take().map(|mut stdin| stdin.flush());
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_that_is_held_up_is_told_of() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 2\n").start();
    quiet_again(&gateway, "worker held up");
    let held = HeldThread::of(gateway.pid(), "worker-1");
    let seen = told(&gateway, "worker held up", &["worker-1 has not come round for", "clients wait"]);
    assert_eq!(seen.level, "critical", "{seen:?}");
    drop(held);
    quiet_again(&gateway, "worker held up");
}

#[test]
fn a_process_that_stood_still_says_so() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    quiet_again(&gateway, "stood still");
    signal(gateway.pid(), "STOP");
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("three seconds have passed", || Instant::now() >= until);
    signal(gateway.pid(), "CONT");
    let seen = told(&gateway, "stood still", &["The gateway has stood still for 3 s"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    quiet_again(&gateway, "stood still");
}

#[test]
fn a_file_that_was_not_taken_over_is_told_of() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    quiet_again(&gateway, "reload refused");
    gateway.reload("[gateway]\nno_such_directive = 1\n");
    let words = ["configuration file was not taken over", "no_such_directive"];
    let seen = told(&gateway, "reload refused", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    gateway.reload("[gateway]\ntcp_backlog = 77\n");
    let words = ["gateway.tcp_backlog has changed in the file", "only a restart"];
    let seen = told(&gateway, "restart needed", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    gateway.reload("");
    gone(&gateway, "restart needed", "has changed in the file");
    assert_eq!(sight(&gateway).level, "ok");
}

const BEHIND: &str = "[gateway]\nworkers = 1\n[[rule]]\nmatch = 'wb:*'\nmode = 'write-behind'\n\
                      [write_behind]\nflush_interval = '1m'\n";

#[test]
fn what_was_lost_is_a_line_while_it_is_new_and_a_figure_ever_after() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(BEHIND).start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    let lose = |client: &mut crate::support::Client, direct: &mut crate::support::Client| {
        direct.ask("DEL wb:lost");
        client.check("INCRBY wb:lost 5", ":5");
        client.check("INCRBY wb:lost 6", ":11");
        direct.check("SET wb:lost text", "+OK");
        client.check("APPEND wb:lost s", ":5");
    };
    quiet_again(&gateway, "increments lost");
    assert_eq!(stats(&gateway)["losses"].to_string(), "[]");
    lose(&mut client, &mut direct);
    let words = ["2 write-behind increments are lost: Redis refused them", "the log names the counters"];
    let seen = told(&gateway, "increments lost", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    quiet_again(&gateway, "increments lost");
    assert!(sight(&gateway).sentence.starts_with("All quiet"), "{:?}", sight(&gateway));
    let losses = &stats(&gateway)["losses"];
    assert_eq!((losses[0]["kind"].as_str(), losses[0]["count"].as_u64()), (Some("refused"), Some(2)));
    let sentence = losses[0]["sentence"].as_str().unwrap().to_owned();
    assert!(
        sentence.starts_with("2 write-behind increments are lost") && sentence.contains(" ago"),
        "{sentence}"
    );
    let (first, last) = (&losses[0]["first_at_ms"], &losses[0]["last_at_ms"]);
    assert!(first.as_u64() == last.as_u64() && first.as_u64() > Some(1_600_000_000_000), "{losses}");
    assert!(gateway.log().contains("are lost"));
    // What is lost then is new, and adds to it.
    client.check("DEL wb:lost", ":1");
    lose(&mut client, &mut direct);
    told(&gateway, "increments lost", &["2 write-behind increments are lost"]);
    assert_eq!(stats(&gateway)["losses"][0]["count"].as_u64(), Some(4));
}

#[test]
fn increments_for_which_there_is_no_room_are_told_of() {
    let server = Server::start();
    let quick = BEHIND.replace("1m", "10ms");
    let full = format!("{quick}flush_max = 10\npending_max = 10\n[upstream]\nunavailable_wait = '100ms'\n");
    let gateway = Gateway::before(&server).config(&full).start();
    gateway.client().check("INCR wb:1", ":1");
    // Nothing can be flushed meanwhile.
    server.client().check("CLIENT PAUSE 600000 WRITE", "+OK");
    let traffic = Traffic::start(&gateway, 2, &["INCR wb:1"]);
    let seen = told(&gateway, "write-behind full", &["Write-behind refuses", "write_behind.pending_max"]);
    assert_eq!(seen.level, "critical", "{seen:?}");
    drop(traffic);
    server.client().check("CLIENT UNPAUSE", "+OK");
    quiet_again(&gateway, "write-behind full");

    let few = "[gateway]\nworkers = 1\n[[quota]]\nmatch = 'sku:*'\nlimit = 1000\n[admission]\nkeys_max = 1\n";
    let gateway = Gateway::before(&server).config(few).start();
    gateway.client().check("INCR sku:1", ":1");
    let traffic = Traffic::start(&gateway, 2, &["INCR sku:2"]);
    let seen =
        told(&gateway, "counters full", &["increments/s under quotas are refused", "admission.keys_max"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    drop(traffic);
    gone(&gateway, "counters full", "under quotas are refused");
}

#[test]
fn a_quota_whose_grants_no_replica_confirms_is_told_of() {
    let server = Server::start();
    let quota = "[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\nwait_replicas = 1\nwait_timeout = '20ms'\n";
    let gateway = Gateway::before(&server).config(quota).start();
    let traffic = Traffic::start(&gateway, 2, &["INCR sku:1"]);
    let seen = told(&gateway, "unconfirmed", &["sku:1 is refused because too few replicas confirm in time"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    drop(traffic);
    gone(&gateway, "unconfirmed", "too few replicas");
}
