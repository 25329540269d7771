//! A listener with a bound on connections, and connections with a bound on patience.
//!
//! A connection beyond the bound is closed at once: an asker should learn that it is too many, and not hang.
//! A connection on which neither side made progress for a while is closed too, whether it sends its request a
//! byte a minute or does not read its event stream, so that the bound can't be used up by silent ones for
//! longer than that.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::net;

/// How long a connection may go without progress. An event stream writes once a second, a dashboard reuses
/// its connection within seconds, Prometheus connects anew when it has to.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after a failed accept: it fails while descriptors are short, and trying again at once would
/// spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct BoundedListener {
    listener: net::Listener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    /// At most `connections_max` connections at once.
    pub fn new(listener: net::Listener, connections_max: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)) }
    }
}

impl Listener for BoundedListener {
    type Io = PatientStream;
    type Addr = net::SocketName;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok(stream) = self.listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Whoever has gone already has no name.
            let Ok(address) = stream.peer() else { continue };
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return (PatientStream::new(stream, place), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local()
    }
}

/// The address of the asker.
#[derive(Clone, Debug)]
pub struct Peer(pub net::SocketName);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(stream.remote_addr().clone())
    }
}

/// A connection that fails with `TimedOut` after [`PATIENCE`] without progress. It holds its place among the
/// connections.
pub struct PatientStream {
    stream: net::Stream,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl PatientStream {
    fn new(stream: net::Stream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, deadline: Box::pin(sleep(PATIENCE)), _place: place }
    }

    /// Passes progress on and puts the deadline off; turns waiting beyond the deadline into an error.
    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + PATIENCE);
            return polled;
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(cx, polled)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, polled)
    }
}
