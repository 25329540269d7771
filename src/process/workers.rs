//! The worker threads: how they start, how they are drained, and what they leave behind.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::ProcessError;
use super::wiring::WorkerInboxes;
use crate::control::service_manager;
use crate::net::BoundListener;
use crate::shared::gateway::{Gateway, Stage};
use crate::worker;
use crate::worker::hot::behind::{Unflushed, WorkerJournal};

/// How a worker ended, with its index.
type End = (usize, io::Result<worker::Ended>);

/// All of them.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    ends: mpsc::Receiver<End>,
}

impl Workers {
    /// Starts one thread for each of `inboxes`, with its listeners and its end of the journal, if there is one.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(
        gateway: &Arc<Gateway>,
        inboxes: Vec<WorkerInboxes>,
        listeners: Vec<Vec<BoundListener>>,
        journals: Vec<WorkerJournal>,
    ) -> Result<Self, ProcessError> {
        let (ended, ends) = mpsc::channel(inboxes.len());
        let mut threads = Vec::with_capacity(inboxes.len());
        let mut journals = journals.into_iter();
        for (index, (inboxes, listeners)) in inboxes.into_iter().zip(listeners).enumerate() {
            let WorkerInboxes { messages, client_rows } = inboxes;
            let (gateway, journal) = (Arc::clone(gateway), journals.next());
            let setup = worker::Setup { index, gateway, listeners, messages, client_rows, journal };
            let ended = ended.clone();
            let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let outcome = worker::run(setup);
                // The receiver lives until all threads are joined.
                let _ = ended.blocking_send((index, outcome));
            });
            threads.push(thread.map_err(|error| ProcessError::System("a thread", error))?);
        }
        Ok(Self { threads, ends })
    }

    /// For `gateway.drain_delay` clients are still taken while `/readyz` says no, so that balancers notice first. An error if a worker ends
    /// by itself meanwhile.
    pub(super) async fn leave(
        &mut self,
        gateway: &Gateway,
        stage: &watch::Sender<Stage>,
    ) -> Option<ProcessError> {
        service_manager::say_stopping();
        let delay = gateway.config.load().gateway.drain_delay;
        if delay.is_zero() {
            return None;
        }
        tracing::info!(?delay, "about to drain: /readyz says no, and clients are still taken");
        stage.send_replace(Stage::Leaving);
        timeout(delay, self.failed()).await.ok()
    }

    /// Completes when one ends that nobody has told to.
    pub(super) async fn failed(&mut self) -> ProcessError {
        match self.ends.recv().await {
            Some((index, Err(error))) => ProcessError::Worker(index, error.to_string()),
            Some((index, Ok(_))) => ProcessError::Worker(index, "it returned".to_owned()),
            // Each worker has a sender until it has said how it ended.
            None => std::future::pending().await,
        }
    }

    /// Lets them finish, then cuts what is left.
    ///
    /// # Errors
    /// Redis does not have all that was answered.
    pub(super) async fn drain(
        &mut self,
        gateway: &Gateway,
        stage: &watch::Sender<Stage>,
        journaled: bool,
    ) -> Result<(), ProcessError> {
        let patience = gateway.config.load().gateway.drain_timeout;
        tracing::info!(
            clients = gateway.connections.open(),
            ?patience,
            "draining: no new clients, finishing what is in flight"
        );
        stage.send_replace(Stage::Draining);
        let (mut cut_off, mut unflushed, mut unpaid) = (0, Unflushed::default(), Unflushed::default());
        let mut collect = async || {
            while let Some((_, outcome)) = self.ends.recv().await {
                let ended = outcome.unwrap_or_default();
                cut_off += ended.cut_off;
                unflushed.add(ended.unflushed);
                unpaid.add(ended.unpaid);
            }
        };
        if timeout(patience, collect()).await.is_err() {
            stage.send_replace(Stage::Stopped);
            collect().await;
        }
        match cut_off {
            0 => tracing::info!("drained"),
            clients => {
                tracing::warn!(clients, "cut off clients that had not finished within gateway.drain_timeout")
            }
        }
        match unflushed.keys + unpaid.keys {
            0 => Ok(()),
            _ => Err(ProcessError::Unflushed { unflushed, journaled, unpaid }),
        }
    }

    /// Waits until all threads have ended.
    pub(super) fn join(self) {
        for thread in self.threads {
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}
