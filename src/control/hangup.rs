//! SIGHUP, and who sent it: a reload changes what the gateway does, so whoever asks for one is noted like any operator.
//!
//! A signal carries the process that sent it and that process's user, and nothing more. Both are of the machine, not of the gateway, and the
//! process is often gone by the time it is looked for (`kill` ends at once), so its number is kept and its name is not.
//!
//! Owns a thread that sleeps until a signal comes. Does not reload: that is [`super::reload`].

use std::io;
use std::thread;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use tokio::sync::mpsc;

use crate::shared::audit::Author;

/// Signals that wait while a reload is under way. At the bound the thread waits, and the system joins what comes meanwhile into one.
const WAITING_MAX: usize = 4;

/// Its stack, in bytes: it takes an origin and sends it on.
const STACK_BYTES: usize = 128 * 1024;

/// Listens for SIGHUP from now on. Each is told with who sent it.
///
/// # Errors
/// The system gives no handler or no thread.
pub fn listen() -> io::Result<mpsc::Receiver<Author>> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGHUP])?;
    let (sender, received) = mpsc::channel(WAITING_MAX);
    let follow = move || {
        for origin in signals.forever() {
            if sender.blocking_send(author_of(&origin)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("hangup".to_owned()).stack_size(STACK_BYTES).spawn(follow)?;
    Ok(received)
}

/// Who sent a signal, as far as the system says.
fn author_of(origin: &Origin) -> Author {
    match &origin.process {
        Some(process) => Author {
            user: format!("uid {}", process.uid),
            address: format!("SIGHUP from process {}", process.pid),
        },
        None => Author { user: "-".to_owned(), address: "SIGHUP".to_owned() },
    }
}
