//! Signals of operators, and who sent them: a reload (SIGHUP) or an upgrade (SIGUSR2) changes what the gateway does, so whoever asks for
//! one is noted like any operator.
//!
//! A signal carries the process that sent it and that process's user, and nothing more. Both are of the machine, not of the gateway, and the
//! process is often gone by the time it is looked for (`kill` ends at once), so its number is kept and its name is not.
//!
//! Owns a thread for each signal, which sleeps until it comes. Does nothing of what is asked: that is [`super::reload`]'s and `process`'s.

use std::io;
use std::thread;

use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use tokio::sync::mpsc;

use crate::shared::audit::Author;

/// Signals that wait while a reload is under way. At the bound the thread waits, and the system joins what comes meanwhile into one.
const WAITING_MAX: usize = 4;

/// Its stack, in bytes: it takes an origin and sends it on.
const STACK_BYTES: usize = 128 * 1024;

/// Listens for a signal from now on. Each is told with who sent it.
///
/// # Errors
/// The system gives no handler or no thread.
pub fn listen(signal: i32, name: &'static str) -> io::Result<mpsc::Receiver<Author>> {
    let mut signals = SignalsInfo::<WithOrigin>::new([signal])?;
    let (sender, received) = mpsc::channel(WAITING_MAX);
    let follow = move || {
        for origin in signals.forever() {
            if sender.blocking_send(author_of(&origin, name)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name(name.to_lowercase()).stack_size(STACK_BYTES).spawn(follow)?;
    Ok(received)
}

/// Who sent a signal, as far as the system says.
fn author_of(origin: &Origin, name: &str) -> Author {
    match &origin.process {
        Some(process) => Author {
            user: format!("uid {}", process.uid),
            address: format!("{name} from process {}", process.pid),
        },
        None => Author { user: "-".to_owned(), address: name.to_owned() },
    }
}
