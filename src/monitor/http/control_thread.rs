//! Between the thread of the HTTP side and the control thread.
//!
//! Connections, headers and health checks are the HTTP thread's. What needs figures, or changes something, is done on the control thread, as
//! a task of its own there: whatever that costs, and however late the control thread is, the HTTP thread waits for none of it.
//! A task ends with the connection that asked for it.

use std::io;
use std::thread;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::error;

/// The name of the thread.
const NAME: &str = "http";

/// Passes a request to the control thread and waits for the answer.
pub async fn pass_on(State(control): State<Handle>, request: Request, next: Next) -> Response {
    // Dropped, it ends its task.
    let mut tasks = JoinSet::new();
    tasks.spawn_on(next.run(request), &control);
    match tasks.join_next().await {
        Some(Ok(response)) => response,
        _ => error(StatusCode::SERVICE_UNAVAILABLE, "the gateway is about to end"),
    }
}

/// Runs `serve` on a thread of its own until it ends. It is told when `until` completes, and when this future is dropped.
///
/// # Errors
/// There is no thread to be had, or `serve` failed.
pub async fn beside<S>(
    serve: impl FnOnce(oneshot::Receiver<()>) -> S + Send + 'static,
    until: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Future<Output = io::Result<()>>,
{
    let (stop, stopped) = oneshot::channel();
    let (end, mut ended) = oneshot::channel();
    thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let outcome = runtime.and_then(|runtime| runtime.block_on(serve(stopped)));
        // Nobody may be there any more to be told.
        let _ = end.send(outcome);
    })?;
    let gone = |_| Err(io::Error::other("its thread has ended"));
    tokio::select! {
        outcome = &mut ended => return outcome.unwrap_or_else(gone),
        () = until => {}
    }
    let _ = stop.send(());
    ended.await.unwrap_or_else(gone)
}
