//! The process while it serves: until it is told to end, until a worker ends by itself, or until another process has taken over and its clients
//! have left. And how it ends then.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::ProcessError;
use super::bind::Bound;
use super::handover::{HandedOver, Handover, Program};
use super::upgrade::{Request, Requests};
use super::workers::Workers;
use crate::control::service_manager;
use crate::journal::Journal;
use crate::shared::audit::AuditEntry;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::{Gateway, Stage};

/// Who was accepted last is a client within this time, without TLS.
const LAST_ACCEPTED: Duration = Duration::from_secs(1);

/// Between two looks at whether the clients have left.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// What runs.
pub(super) struct Running {
    pub gateway: Arc<Gateway>,
    pub stage: watch::Sender<Stage>,
    pub workers: Workers,
    pub bound: Bound,
    pub journal: Option<Journal>,
}

impl Running {
    /// Completes when the process is to be drained; with an error when it is to end at once.
    pub(super) async fn until_end(
        &mut self,
        program: &Program,
        requests: &mut Requests,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<ProcessError> {
        loop {
            let request = tokio::select! {
                () = &mut shutdown => return self.leave().await,
                error = self.workers.failed() => return Some(error),
                request = requests.next() => request,
            };
            let mut handover = Handover {
                gateway: &self.gateway,
                program,
                listeners: &self.bound.passed,
                journal: &mut self.journal,
                by: &request.by,
            };
            let outcome = tokio::select! {
                () = &mut shutdown => Err("it was told to end meanwhile".to_owned()),
                error = self.workers.failed() => return Some(error),
                outcome = handover.run() => outcome,
            };
            match outcome {
                Ok(heir) => {
                    requests.hide();
                    let heir = self.give_way(heir, request).await;
                    return self.stay(heir, shutdown).await;
                }
                Err(why) => self.go_on(request, &why).await,
            }
            if *self.stage.borrow() != Stage::Serving {
                return None;
            }
        }
    }

    async fn leave(&mut self) -> Option<ProcessError> {
        self.gateway.events.record(Event::new(EventKind::Stopped, "gateway", "it was told to end"));
        // Nobody accepts from these; who waits there is to learn that.
        self.bound.passed.clear();
        self.workers.leave(&self.gateway, &self.stage).await
    }

    /// The upgrade came to nothing.
    async fn go_on(&self, request: Request, why: &str) {
        tracing::error!("the upgrade failed and this process goes on as before: {why}");
        self.gateway.audit.record(AuditEntry::new(&request.by, "upgrade", "hotgate").failed(why));
        request.answer(Err(why)).await;
    }

    /// Stops accepting, since another process does.
    async fn give_way(&mut self, heir: HandedOver, request: Request) -> HandedOver {
        service_manager::say_handed_over(heir.process());
        self.bound.passed.clear();
        if let Some(file) = &mut self.bound.unix {
            file.leave();
        }
        let text = format!("process {} has taken over", heir.process());
        self.gateway.events.record(Event::new(EventKind::Stopped, "gateway", text));
        self.gateway.audit.close();
        self.gateway.events.close();
        self.gateway.history.close();
        self.stage.send_replace(Stage::HandedOver);
        heir.left().await;
        let clients = self.gateway.connections.open();
        tracing::info!(
            process = heir.process(),
            clients,
            "another process has taken over; the clients of this one are served until they leave (gateway.handover_timeout)"
        );
        let line = format!(
            "process {} has taken over from process {}, which serves its {clients} clients until they leave",
            heir.process(),
            std::process::id()
        );
        request.answer(Ok(&line)).await;
        heir
    }

    /// Serves the clients until they have left, `gateway.handover_timeout` is over, or the process is told to end.
    async fn stay(
        &mut self,
        mut heir: HandedOver,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<ProcessError> {
        let config = self.gateway.config.load_full();
        let handshake =
            if config.tls.listen.is_empty() { Duration::ZERO } else { config.tls.handshake_timeout };
        let all_left = async {
            sleep(LAST_ACCEPTED.max(handshake)).await;
            let mut look = interval(LOOK_PERIOD);
            while self.gateway.connections.open() > 0 {
                look.tick().await;
            }
        };
        let patience = config.gateway.handover_timeout;
        let told_of_end = async {
            let how = heir.ended().await;
            tracing::error!(
                "the process that had taken over has ended ({how}): nobody accepts clients, start the gateway again; those of this \
                 process are still served"
            );
            pending::<()>().await;
        };
        tokio::select! {
            () = shutdown => None,
            error = self.workers.failed() => Some(error),
            _ = timeout(patience, all_left) => None,
            () = told_of_end => None,
        }
    }

    /// Drains, or ends at once after an error, and waits for all threads.
    pub(super) async fn end(self, failed: Option<ProcessError>) -> Result<(), ProcessError> {
        let Self { gateway, stage, mut workers, bound, journal } = self;
        let outcome = match failed {
            None => workers.drain(&gateway, &stage, journal.is_some()).await,
            Some(error) => {
                gateway.events.record(Event::new(EventKind::Stopped, "gateway", error.to_string()));
                stage.send_replace(Stage::Stopped);
                Err(error)
            }
        };
        workers.join();
        // The file of the Unix socket goes when nobody accepts any more.
        drop(bound);
        gateway.audit.close();
        gateway.events.close();
        gateway.history.close();
        // What the workers handed over last is on disk before the process ends.
        drop(journal);
        outcome
    }
}
