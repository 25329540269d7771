//! Ends what a test process started even when the process itself is killed or leaves a `static` behind.
//!
//! One `sh` per test process reads commands from a pipe that only this process holds. When the pipe closes, however
//! that came about, it kills what is still on its list and removes the directories. Rust opens pipes with CLOEXEC, so
//! no other child keeps the pipe open.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

#[expect(clippy::zombie_processes, reason = "it outlives this process by design")]
static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let script = r#"
        pids=" "; directories=""
        while read -r what value; do
            case "$what" in
                kill) pids="$pids$value " ;;
                spare) pids=$(printf %s "$pids" | sed "s/ $value / /") ;;
                remove) directories="$directories $value" ;;
            esac
        done
        [ "$pids" = " " ] || kill -9 $pids 2>/dev/null
        [ -z "$directories" ] || rm -rf $directories
    "#;
    let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("sh starts");
    Mutex::new(shell.stdin.take().expect("stdin is a pipe"))
});

fn tell(line: String) {
    let mut pipe = PIPE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    pipe.write_all(line.as_bytes()).expect("the reaper reads");
}

/// Kills process `pid` when the test process ends.
pub fn kill_at_end(pid: u32) {
    tell(format!("kill {pid}\n"));
}

/// Takes `pid` off the list: it has ended and its number may be given to another process.
pub fn spare(pid: u32) {
    tell(format!("spare {pid}\n"));
}

/// Removes a directory when the test process ends. The path holds no space: it comes from `tempfile`.
pub fn remove_at_end(directory: &Path) {
    tell(format!("remove {}\n", directory.display()));
}
