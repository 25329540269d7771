//! The side of the process that is relieved: starts the program, leads it to where it serves, and takes everything back if it fails.

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, timeout};

use super::{CLIENT_IDS_KEPT, Message, Passed, Program, VARIABLE, VERSION, receive, send};
use crate::journal::Journal;
use crate::net::handover_socket::HandoverSocket;
use crate::process::journal::open_journal;
use crate::shared::audit::Author;
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::WorkerMessage;

/// How long the new process may take until it could serve, and again until it serves: it reads the journal between the two.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long write-behind may take to bring all that it answered to Redis.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what write-behind still has, or whether a process has ended.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// A process that was asked to end is killed after this.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What is needed to be relieved.
pub(in crate::process) struct Handover<'a> {
    pub gateway: &'a Arc<Gateway>,
    pub program: &'a Program,
    pub listeners: &'a [Passed],
    pub journal: &'a mut Option<Journal>,
    pub by: &'a Author,
}

/// The process that has taken over.
pub(in crate::process) struct HandedOver {
    child: Starting,
    socket: HandoverSocket,
}

/// A process that is killed unless it has taken over.
struct Starting {
    child: Child,
    has_taken_over: bool,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Handover<'_> {
    /// Starts the program and hands over to it. This process is to stop accepting when this returns.
    ///
    /// # Errors
    /// Why it did not come to that, as a clause. Everything is as before then.
    pub(in crate::process) async fn run(&mut self) -> Result<HandedOver, String> {
        if std::process::id() == 1 {
            return Err(
                "this is the first process of its container, which would end with it; replace the container"
                    .to_owned(),
            );
        }
        let (socket, mut child) = self.start()?;
        let journaled = self.journal.is_some();
        let led = match self.lead(&socket).await {
            // It may have said why before.
            Err(Fault::Gone) => expect(&socket, &Message::Serving, "served").await,
            led => led,
        };
        let outcome = match led {
            Ok(()) => Ok(()),
            Err(Fault::Said(why)) => Err(why),
            Err(Fault::Gone) => Err(format!(
                "the new process has ended ({}); what it wrote last says why",
                ended(&mut child.child).await.map_or("killed".to_owned(), |status| status.to_string())
            )),
        };
        match outcome {
            Ok(()) => {
                child.has_taken_over = true;
                Ok(HandedOver { child, socket })
            }
            Err(why) => {
                end(child).await;
                if journaled {
                    self.take_journal_back().await;
                }
                Err(why)
            }
        }
    }

    fn start(&self) -> Result<(HandoverSocket, Starting), String> {
        let Program { path, arguments } = self.program;
        let (socket, other) = HandoverSocket::pair().map_err(|error| format!("no socket for it: {error}"))?;
        let child = Command::new(path)
            .args(arguments)
            .env(VARIABLE, VERSION)
            // It names this process, and the service manager wants signs of life of the new one.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(other))
            .spawn()
            .map_err(|error| format!("{} can't be started: {error}", path.display()))?;
        tracing::info!(program = %path.display(), process = child.id(), "an upgrade begins: the program is started");
        Ok((socket, Starting { child, has_taken_over: false }))
    }

    async fn lead(&mut self, socket: &HandoverSocket) -> Result<(), Fault> {
        for Passed { kind, asked, descriptor } in self.listeners {
            let message = Message::Listener { kind: *kind, asked: asked.clone() };
            socket.send(&message.bytes(), Some(descriptor.as_fd())).await.map_err(|_| Fault::Gone)?;
        }
        say(socket, &Message::ThatIsAll).await?;
        expect(socket, &Message::Ready, "could serve").await?;
        self.give_journal().await.map_err(Fault::Said)?;
        let commit = Message::Commit {
            next_client_id: self.gateway.connections.last_id() + CLIENT_IDS_KEPT,
            user: self.by.user.clone(),
            address: self.by.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
        };
        say(socket, &commit).await?;
        expect(socket, &Message::Serving, "served").await
    }

    /// Has write-behind answer nothing more, waits until Redis has all that it answered, and lets go of the journal.
    async fn give_journal(&mut self) -> Result<(), String> {
        if self.journal.is_none() {
            return Ok(());
        }
        self.gateway.journal_given.send_replace(true);
        let flushed = async {
            let mut look = interval(LOOK_PERIOD);
            while self.gateway.config.load().has_write_behind() || !self.is_flushed().await {
                look.tick().await;
            }
        };
        if timeout(FLUSH_PATIENCE, flushed).await.is_err() {
            return Err(format!(
                "Redis did not take what write-behind had answered within {} s, so the journal could not be handed over",
                FLUSH_PATIENCE.as_secs()
            ));
        }
        drop(self.journal.take());
        Ok(())
    }

    async fn is_flushed(&self) -> bool {
        for worker in &self.gateway.workers {
            let (reply, has_unflushed) = oneshot::channel();
            let asked = worker.mailbox.send(WorkerMessage::HasUnflushed(reply)).await;
            if asked.is_err() || has_unflushed.await.unwrap_or(true) {
                return false;
            }
        }
        true
    }

    /// The former state: the journal is this process's, and write-behind answers.
    async fn take_journal_back(&mut self) {
        if self.journal.is_none() {
            let opened =
                open_journal(&self.gateway.config.load(), self.gateway.workers.len(), &self.gateway.id);
            match opened {
                Ok((journal, ends)) => {
                    *self.journal = journal;
                    for (worker, end) in self.gateway.workers.iter().zip(ends) {
                        let _ = worker.mailbox.send(WorkerMessage::OpenJournal(Box::new(end))).await;
                    }
                }
                Err(error) => {
                    tracing::error!(
                        "after an upgrade that failed the journal can't be opened again: {error}; write-behind answers nothing \
                         until a restart, and what its rules name is combined"
                    );
                    return;
                }
            }
        }
        self.gateway.journal_given.send_replace(false);
    }
}

impl HandedOver {
    /// Its number.
    pub(in crate::process) fn process(&self) -> u32 {
        self.child.child.id()
    }

    /// Says that this process has stopped accepting.
    pub(in crate::process) async fn left(&self) {
        let _ = send(&self.socket, &Message::Left).await;
    }

    /// Completes if the new process ends while this one still serves clients, with how.
    pub(in crate::process) async fn ended(&mut self) -> String {
        while let Ok(Some(_)) = receive(&self.socket).await {}
        ended(&mut self.child.child).await.map_or("nobody knows how".to_owned(), |status| status.to_string())
    }
}

/// Why a successor did not take over.
enum Fault {
    /// A clause.
    Said(String),
    /// It has ended.
    Gone,
}

async fn say(socket: &HandoverSocket, message: &Message) -> Result<(), Fault> {
    send(socket, message).await.map_err(|_| Fault::Gone)
}

async fn expect(socket: &HandoverSocket, wanted: &Message, what: &str) -> Result<(), Fault> {
    match timeout(PATIENCE, receive(socket)).await {
        Ok(Ok(Some((message, _)))) if message == *wanted => Ok(()),
        Ok(Ok(Some((Message::Failed { why }, _)))) => {
            Err(Fault::Said(format!("the new process refused: {why}")))
        }
        Ok(Ok(Some((other, _)))) => Err(Fault::Said(format!("the new process said {other:?} out of turn"))),
        Ok(Ok(None)) => Err(Fault::Gone),
        Ok(Err(error)) => Err(Fault::Said(format!("the new process can't be understood: {error}"))),
        Err(_) => {
            let patience_s = PATIENCE.as_secs();
            Err(Fault::Said(format!("it took longer than {patience_s} s until the new process {what}")))
        }
    }
}

/// How a process has ended, if it ends soon.
async fn ended(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + END_PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => sleep(LOOK_PERIOD).await,
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Asks a process to end, and kills it if it does not.
async fn end(mut starting: Starting) {
    // One that has been waited for already has no number any more.
    if let Ok(None) = starting.child.try_wait() {
        if let Some(pid) = rustix::process::Pid::from_raw(starting.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        ended(&mut starting.child).await;
    }
}
