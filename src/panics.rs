//! A panic anywhere ends the process: a gateway that is half alive is worse than none.
//!
//! Tasks are detached, and a thread is looked at when the process ends. So without this a panic would end one connection's
//! task, or the journal, or the keeper of the topology, and nobody would know: what waits for it waits for ever, and
//! readiness stays green. The hook runs on the thread that panics, whichever that is, and asks nobody.
//!
//! Owns the last words and the exit code. Deliberately does not recover, drain or flush: after a panic nothing in memory
//! can be relied upon. Supervisors start the process again, and what the journal has is flushed then.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

/// The exit code after a panic, which is the one that Rust itself uses.
pub const EXIT_CODE: i32 = 101;

/// From here on a panic in any thread or task says where it was, in one line of the log, and ends the process.
pub fn end_process_on_panic() {
    // A second thread that panics meanwhile waits here for the end: the last line is the first panic's.
    static ENDING: Once = Once::new();
    panic::set_hook(Box::new(|panic| {
        ENDING.call_once(|| {
            say(panic);
            std::process::exit(EXIT_CODE);
        });
    }));
}

fn say(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
    let payload = panic.payload();
    let why = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => *text,
        (None, Some(text)) => text,
        (None, None) => "no reason given",
    };
    // One line, whatever is in the text.
    let why = why.escape_debug();
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, thread, %why, "panicked: this is a defect of hotgate, please report it; the process ends");
    } else {
        eprintln!(
            "hotgate: panicked at {place} in thread {thread}: {why}; this is a defect of hotgate, please report it"
        );
    }
    // Only with `RUST_BACKTRACE=1`.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        eprintln!("{backtrace}");
    }
}

/// Panics once there is a file that `HOTGATE_PANIC=place:file` names, if `place` is this one. Debug builds only: it is how
/// tests see what a panic does.
#[cfg(debug_assertions)]
pub async fn provoke(place: &'static str) {
    let wanted = std::env::var("HOTGATE_PANIC").unwrap_or_default();
    let Some(file) = wanted.strip_prefix(place).and_then(|rest| rest.strip_prefix(':')) else { return };
    while !std::path::Path::new(file).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("provoked in\n{place}");
}

/// As [`provoke`] in every kind of thread and task that is not a worker's.
#[cfg(debug_assertions)]
pub fn provoke_anywhere() {
    tokio::spawn(provoke("task"));
    let runtime = tokio::runtime::Handle::current();
    let handle = runtime.clone();
    runtime.spawn_blocking(move || handle.block_on(provoke("blocking")));
    let handle = runtime;
    let _ = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || handle.block_on(provoke("thread")));
}
