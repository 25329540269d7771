//! Clients that connect with TLS: their handshakes, before they are clients. And those that come by a balancer: its PROXY header, which
//! says who they are.
//!
//! A handshake costs up to a millisecond of computing, and thousands may begin at once. Those who are in come first: the steps of all handshakes
//! of a worker pass one turnstile, which lets one through and then waits until every task that was ready has had its turn. So
//! an established client waits for one step at the most. At most `tls.handshakes_max` are under way; further clients wait in the
//! kernel, not accepted, until one has ended, which it does within `tls.handshake_timeout`. A PROXY header counts as a part of a handshake.
//! Plain ports have as many places of their own for headers. A balancer sends its header at once: where a place is wanted and none is free,
//! connections that have been silent for [`HEADER_GRACE`] are closed for it, so that they keep nobody out.
//!
//! Owns no client: whoever is through is admitted by [`super::accept`], and counts among the clients from then on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::net::tls::PLAIN_CLIENT;
use crate::net::{Ends, ProxyError, SocketName, Stream};
use crate::shared::labels::RejectReason;

/// Failed handshakes are logged this often at the most: anybody can cause them.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What a client is told that comes from a balancer's address without a header.
const NO_HEADER_REPLY: &[u8] =
    b"-ERR a connection from this address must begin with a PROXY header (gateway.proxy_protocol_from)\r\n";

/// A stream over which requests may come, and who is at its ends.
pub struct Arrived {
    /// The stream.
    pub stream: Stream,
    /// What a balancer said of its ends.
    pub ends: Option<Ends>,
}

impl Arrived {
    /// The client: where the balancer says that it is, or the other end of the stream.
    ///
    /// # Errors
    /// The other end has gone already.
    pub fn peer(&self) -> io::Result<SocketName> {
        self.ends.map_or_else(|| self.stream.peer(), |ends| Ok(ends.client.into()))
    }

    /// What the client has dialled.
    ///
    /// # Errors
    /// The system refuses.
    pub fn local(&self) -> io::Result<SocketName> {
        self.ends.map_or_else(|| self.stream.local(), |ends| Ok(ends.dialled.into()))
    }
}

impl From<Stream> for Arrived {
    fn from(stream: Stream) -> Self {
        Self { stream, ends: None }
    }
}

/// Why a client is not let in.
enum Failure {
    /// It closed the connection without a word, as a health check does.
    Silent,
    /// Of the PROXY header.
    Header(String),
    /// Of the handshake.
    Handshake(String),
}

/// A balancer sends its header with the connection. Who has kept a place for so long without one goes as soon as somebody else wants a place.
const HEADER_GRACE: Duration = Duration::from_millis(100);

/// The places of those who are not in yet.
struct Places {
    free: std::sync::Arc<Semaphore>,
    /// Who has one and has yet to send its header, the oldest first: since when, and what is notified when it has to go.
    awaited: RefCell<VecDeque<(Instant, Rc<Notify>)>>,
}

/// Somebody whose header is awaited.
struct Awaited<'a> {
    places: &'a Places,
    has_to_go: Rc<Notify>,
}

impl Places {
    fn new(places_max: usize) -> Self {
        Self { free: std::sync::Arc::new(Semaphore::new(places_max)), awaited: RefCell::default() }
    }

    /// A place, when there is one.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let free = std::sync::Arc::clone(&self.free);
            match timeout(HEADER_GRACE, free.acquire_owned()).await {
                Ok(place) => return place.ok(),
                Err(_) => self.send_silent_away(),
            }
        }
    }

    fn await_header(&self) -> Awaited<'_> {
        let has_to_go = Rc::new(Notify::new());
        self.awaited.borrow_mut().push_back((Instant::now(), Rc::clone(&has_to_go)));
        Awaited { places: self, has_to_go }
    }

    fn send_silent_away(&self) {
        let mut awaited = self.awaited.borrow_mut();
        while let Some((since, has_to_go)) = awaited.front() {
            if since.elapsed() < HEADER_GRACE {
                return;
            }
            has_to_go.notify_one();
            awaited.pop_front();
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.places.awaited.borrow_mut().retain(|(_, other)| !Rc::ptr_eq(other, &self.has_to_go));
    }
}

/// The handshakes of one worker, or the headers on its plain ports.
pub struct Handshakes {
    places: Places,
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
            places: Places::new(handshakes_max),
            turnstile: Semaphore::new(1),
            patience,
            logged: Cell::new(None),
            unlogged: Cell::new(0),
        })
    }

    /// A place for one more, when there is one.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.take().await
    }

    /// Reads the PROXY header, if the stream begins with one, and does the handshake, if there is one.
    ///
    /// # Errors
    /// It failed or took too long, which is counted as the reason that is returned; or it is nothing to be counted.
    pub async fn run(&self, stream: Stream, has_header: bool) -> Result<Arrived, Option<RejectReason>> {
        let mut arrived = Arrived { stream, ends: None };
        let failure = match timeout(self.patience, self.arrive(&mut arrived, has_header)).await {
            Ok(Ok(())) => return Ok(arrived),
            Ok(Err(Failure::Silent)) => return Err(None),
            Ok(Err(failure)) => failure,
            Err(_) if has_header && arrived.ends.is_none() => Failure::Header(format!(
                "its PROXY header was not whole within tls.handshake_timeout ({:?})",
                self.patience
            )),
            Err(_) => Failure::Handshake(format!(
                "the TLS handshake did not end within tls.handshake_timeout ({:?})",
                self.patience
            )),
        };
        let (reason, why) = match failure {
            Failure::Silent => return Err(None),
            Failure::Header(why) => (RejectReason::ProxyHeader, why),
            Failure::Handshake(why) if why == PLAIN_CLIENT => (RejectReason::PlainText, why),
            Failure::Handshake(why) => (RejectReason::Handshake, why),
        };
        self.log(&arrived, &why);
        Err(Some(reason))
    }

    async fn arrive(&self, arrived: &mut Arrived, has_header: bool) -> Result<(), Failure> {
        if has_header {
            arrived.ends = self.header(&mut arrived.stream).await?;
        }
        self.steps(&mut arrived.stream).await.map_err(|error| Failure::Handshake(error.to_string()))
    }

    async fn header(&self, stream: &mut Stream) -> Result<Option<Ends>, Failure> {
        let awaited = self.places.await_header();
        let read = tokio::select! {
            biased;
            read = stream.read_proxy_header() => read,
            () = awaited.has_to_go.notified() => {
                return Err(Failure::Header(
                    "it sent no PROXY header while others waited for its place (tls.handshakes_max)".to_owned(),
                ));
            }
        };
        match read {
            Ok(ends) => Ok(ends),
            Err(ProxyError::Silent) => Err(Failure::Silent),
            Err(error) => {
                if !stream.is_handshaking() {
                    // Most often somebody who dials the gateway from the balancer's host.
                    let _ = stream.try_write(NO_HEADER_REPLY);
                }
                Err(Failure::Header(error.to_string()))
            }
        }
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

    fn log(&self, arrived: &Arrived, why: &str) {
        let failures = self.unlogged.get() + 1;
        self.unlogged.set(failures);
        if self.logged.get().is_some_and(|logged| logged.elapsed() < LOG_PERIOD) {
            return;
        }
        self.logged.set(Some(Instant::now()));
        self.unlogged.set(0);
        let peer = arrived.peer().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string());
        tracing::warn!(client = peer, failures, "a client could not connect: {why}");
    }
}
