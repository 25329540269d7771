//! Clients that connect with TLS: their handshakes, before they are clients.
//!
//! A handshake costs up to a millisecond of computing, and thousands may begin at once. Those who are in come first: the steps of all handshakes
//! of a worker pass one turnstile, which lets one through and then waits until every task that was ready has had its turn. So
//! an established client waits for one step at the most. At most `tls.handshakes_max` are under way; further clients wait in the
//! kernel, not accepted, until one has ended, which it does within `tls.handshake_timeout`.
//!
//! Owns no client: whoever is through is admitted by [`super::accept`], and counts among the clients from then on.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::net::Stream;
use crate::net::tls::PLAIN_CLIENT;
use crate::shared::labels::RejectReason;

/// Failed handshakes are logged this often at the most: anybody can cause them.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// The handshakes of one worker.
pub struct Handshakes {
    places: std::sync::Arc<Semaphore>,
    turnstile: Semaphore,
    patience: Duration,
    logged: Cell<Option<Instant>>,
    /// Failures since then.
    unlogged: Cell<u64>,
}

impl Handshakes {
    /// Lets so many begin at once, and gives each so much time.
    pub fn new(handshakes_max: usize, patience: Duration) -> Rc<Self> {
        Rc::new(Self {
            places: std::sync::Arc::new(Semaphore::new(handshakes_max)),
            turnstile: Semaphore::new(1),
            patience,
            logged: Cell::new(None),
            unlogged: Cell::new(0),
        })
    }

    /// A place for one more, when there is one.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        std::sync::Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// It failed or took too long, which is counted as the reason that is returned.
    pub async fn run(&self, mut stream: Stream) -> Result<Stream, RejectReason> {
        let outcome = match timeout(self.patience, self.steps(&mut stream)).await {
            Ok(Ok(())) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not end within tls.handshake_timeout ({:?})", self.patience),
        };
        self.log(&stream, &outcome);
        Err(if outcome == PLAIN_CLIENT { RejectReason::PlainText } else { RejectReason::Handshake })
    }

    async fn steps(&self, stream: &mut Stream) -> io::Result<()> {
        loop {
            poll_fn(|cx| stream.poll_handshake_ready(cx)).await?;
            let turn = self.turnstile.acquire().await.map_err(io::Error::other)?;
            let step = poll_fn(|cx| Poll::Ready(stream.poll_handshake(cx))).await;
            yield_now().await;
            drop(turn);
            if let Poll::Ready(outcome) = step {
                return outcome;
            }
        }
    }

    fn log(&self, stream: &Stream, why: &str) {
        let failures = self.unlogged.get() + 1;
        self.unlogged.set(failures);
        if self.logged.get().is_some_and(|logged| logged.elapsed() < LOG_PERIOD) {
            return;
        }
        self.logged.set(Some(Instant::now()));
        self.unlogged.set(0);
        let peer = stream.peer().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string());
        tracing::warn!(client = peer, failures, "a client could not connect with TLS: {why}");
    }
}
