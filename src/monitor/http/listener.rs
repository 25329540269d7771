//! Accepts connections and serves them, with time limits.
//!
//! `connections` bounds how many there are, and says which one gives way to the next: nobody waits to be accepted. A handshake, and then each header, must be
//! complete within [`HEADER_PATIENCE`], however steadily its bytes come. A connection without progress for [`PATIENCE`] is closed, for
//! example one that does not read its event stream. `guard` bounds what a request may take after its header.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::connections::{Connections, Place, Refused, Source, locked};
use super::{PROBES, error, last};
use crate::monitor::turned_away::{Reason, TurnedAway};
use crate::net;

/// How long a whole header may take. A kept connection on which no request begins is closed after it as well.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may go without progress. An event stream writes once a second.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long connections live when nobody is accepted any more.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// The longest header, and what one connection buffers: far above what a browser sends.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// The pause after a failed accept: it fails while descriptors are short, and trying again at once would
/// spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is told to an address with as many streams as it may have connections.
const CROWDED: &str =
    "this address has all of the connections that one may have; /healthz and /readyz are always answered";

/// The address of the asker.
#[derive(Clone, Debug)]
pub struct Peer(pub net::SocketName);

/// Serves until `until` completes; then it accepts nobody, and requests that came before get [`LAST_PATIENCE`]. When the future is dropped, all
/// connections end.
pub async fn serve(
    listener: net::Listener,
    app: Router,
    connections_max: usize,
    turned_away: Arc<TurnedAway>,
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    let connections = Arc::new(Mutex::new(Connections::new(connections_max)));
    let mut tasks = JoinSet::new();
    tokio::pin!(until);
    loop {
        tokio::select! {
            biased;
            () = &mut until => {
                drop(listener);
                // Event streams never end by themselves.
                let _ = timeout(LAST_PATIENCE, async { while tasks.join_next().await.is_some() {} }).await;
                return Ok(());
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                // One that was closed for another is not in the table any more.
                if let Ok(number) = ended {
                    locked(&connections).leave(number);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    // Whoever has gone already has no name.
                    let Ok(address) = stream.peer() else { continue };
                    let (number, closed) = locked(&connections).enter(Source::of(&address));
                    closed.into_iter().for_each(|reason| turned_away.count(reason));
                    let place = Place::new(Arc::clone(&connections), number);
                    let served = serve_one(stream, address, app.clone(), place, Arc::clone(&turned_away));
                    let task = tasks.spawn(async move {
                        served.await;
                        number
                    });
                    locked(&connections).tend(number, task);
                    // What was accepted is read before the next takes its place, and what was closed for it is gone.
                    tokio::task::yield_now().await;
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn serve_one(
    mut stream: net::Stream,
    address: net::SocketName,
    app: Router,
    place: Place,
    turned_away: Arc<TurnedAway>,
) {
    match timeout(HEADER_PATIENCE, poll_fn(|cx| stream.poll_handshake(cx))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return,
        Err(_) => return turned_away.count(Reason::SlowHeader),
    }
    let asked = Arc::new(AtomicBool::new(false));
    let unfinished = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(PatientStream::new(stream, Arc::clone(&unfinished)));
    let inner = TowerToHyperService::new(app);
    let (has_asked, is_unfinished) = (Arc::clone(&asked), Arc::clone(&unfinished));
    let counted = Arc::clone(&turned_away);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        is_unfinished.store(false, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(Peer(address.clone())));
        request.extensions_mut().insert(place.clone());
        // Probes are answered where they are: they need no place among those that are served.
        let may = match PROBES.contains(&request.uri().path()) {
            true => {
                place.probe();
                Ok(None)
            }
            false => place.serve(),
        };
        let answer = may.map(|closed| {
            closed.into_iter().for_each(|reason| counted.count(reason));
            inner.call(request)
        });
        let (place, counted) = (place.clone(), Arc::clone(&counted));
        async move {
            let answer = match answer {
                Ok(answer) => answer.await,
                Err(Refused) => {
                    counted.count(Reason::Source);
                    Ok(last(error(StatusCode::SERVICE_UNAVAILABLE, CROWDED)))
                }
            };
            place.answered().into_iter().for_each(|reason| counted.count(reason));
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).max_buf_size(BUFFER_BYTES_MAX);
    let ended = builder.serve_connection(io, service).await;
    // A kept connection that asked and then was silent is closed without blame.
    let blamed = unfinished.load(Ordering::Relaxed) || !asked.load(Ordering::Relaxed);
    if ended.is_err_and(|error| error.is_timeout()) && blamed {
        turned_away.count(Reason::SlowHeader);
    }
}

/// A connection that fails with `TimedOut` after [`PATIENCE`] without progress.
struct PatientStream {
    stream: net::Stream,
    deadline: Pin<Box<Sleep>>,
    /// Bytes came since the latest request was whole.
    unfinished: Arc<AtomicBool>,
}

impl PatientStream {
    fn new(stream: net::Stream, unfinished: Arc<AtomicBool>) -> Self {
        Self { stream, deadline: Box::pin(sleep(PATIENCE)), unfinished }
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
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.unfinished.store(true, Ordering::Relaxed);
        }
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
