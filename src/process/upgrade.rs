//! Who asks for an upgrade: SIGUSR2, or `hotgate upgrade`, which waits for how it ends. And what that command does.
//!
//! The command reaches a process by a name that only processes of this machine can use, and that says the process's number, so it needs
//! neither the HTTP side nor a token. What an upgrade is stands in [`super::handover`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use signal_hook::consts::SIGUSR2;
use tokio::sync::mpsc;

use crate::control::hangup;
use crate::net::local_requests::{LocalRequest, LocalRequests, ask};
use crate::shared::audit::Author;

/// Before the number of the process.
const NAME: &str = "hotgate-upgrade-";

/// What an answer to a request begins with if all is well.
const DONE: &str = "ok ";

/// Somebody wants this process to be relieved.
pub(super) struct Request {
    /// Who, as far as the system says.
    pub by: Author,
    asker: Option<LocalRequest>,
}

impl Request {
    /// Says how it ended.
    pub(super) async fn answer(self, outcome: Result<&str, &str>) {
        let Some(asker) = self.asker else { return };
        match outcome {
            Ok(line) => asker.answer(&format!("{DONE}{line}")).await,
            Err(why) => asker.answer(why).await,
        }
    }
}

/// Takes requests from now on.
pub(super) struct Requests {
    signals: mpsc::Receiver<Author>,
    local: Option<LocalRequests>,
}

impl Requests {
    /// # Errors
    /// The system gives no signal handler.
    pub(super) fn listen() -> io::Result<Self> {
        let signals = hangup::listen(SIGUSR2, "SIGUSR2")?;
        let local = LocalRequests::listen(&format!("{NAME}{}", std::process::id()));
        if let Err(error) = &local {
            tracing::warn!(%error, "`hotgate upgrade` can't reach this process; SIGUSR2 can");
        }
        Ok(Self { signals, local: local.ok() })
    }

    /// Can't be found by `hotgate upgrade` from now on: another process is the one to ask.
    pub(super) fn hide(&mut self) {
        self.local = None;
    }

    /// The next. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Request {
        let Self { signals, local } = self;
        let asked = async {
            loop {
                match local {
                    Some(local) => match local.next().await {
                        Ok(asker) => return asker,
                        Err(error) => {
                            tracing::warn!(%error, "`hotgate upgrade` could not be heard");
                            tokio::time::sleep(PAUSE).await;
                        }
                    },
                    None => std::future::pending().await,
                }
            }
        };
        let signalled = async {
            match signals.recv().await {
                Some(by) => by,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            by = signalled => Request { by, asker: None },
            asker = asked => {
                let user = format!("uid {}", asker.user);
                let address = format!("hotgate upgrade, process {}", asker.process);
                Request { by: Author { user, address }, asker: Some(asker) }
            }
        }
    }
}

/// After a request that could not be taken.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Has a running gateway relieved by the program that lies where it was started from: the one with this number, or the one that was started
/// with this file, or the only one. Returns what to say.
///
/// # Errors
/// Why that did not happen, as a sentence without a full stop.
pub fn request_upgrade(process: Option<i32>, config: Option<&Path>) -> Result<String, String> {
    let process = match process {
        Some(process) => process,
        None => find(config)?,
    };
    let answer = ask(&format!("{NAME}{process}"), process).map_err(|error| {
        format!(
            "process {process} can't be asked ({error}): is it a gateway of this machine and network namespace, and are you its user \
             or root? SIGUSR2 asks for the same"
        )
    })?;
    match answer.strip_prefix(DONE) {
        Some(line) => Ok(line.to_owned()),
        None if answer.is_empty() => {
            Err(format!("process {process} ended before it answered; its log says more"))
        }
        None => Err(format!("process {process} was not relieved and goes on: {answer}")),
    }
}

/// The one gateway of this machine that runs with this file, if one is given.
fn find(config: Option<&Path>) -> Result<i32, String> {
    let wanted = match config {
        Some(file) => Some(file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?),
        None => None,
    };
    let names = fs::read_to_string("/proc/net/unix").map_err(|error| format!("/proc/net/unix: {error}"))?;
    let mut found: Vec<i32> = names
        .lines()
        .filter_map(|line| line.rsplit_once(NAME)?.1.parse().ok())
        .filter(|process| wanted.is_none() || config_of(*process) == wanted)
        .collect();
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [process] => Ok(process),
        [] => Err(match config {
            Some(file) => {
                format!("no gateway of this machine runs with --config {}; name one by --pid", file.display())
            }
            None => "no gateway runs on this machine, in this network namespace".to_owned(),
        }),
        _ => {
            let all: Vec<_> = found.iter().map(ToString::to_string).collect();
            Err(format!("several gateways run here: name one by --pid ({})", all.join(", ")))
        }
    }
}

/// The configuration file that a process was started with.
fn config_of(process: i32) -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let arguments: Vec<&str> =
        line.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok()).collect();
    let named = arguments.iter().enumerate().find_map(|(place, argument)| match *argument {
        "--config" | "-c" => arguments.get(place + 1).copied(),
        other => other.strip_prefix("--config=").or_else(|| other.strip_prefix("-c")),
    })?;
    Path::new(&format!("/proc/{process}/cwd")).join(named).canonicalize().ok()
}
