//! (a) Bytes become requests, one after the other, for as long as the client may go on.
//!
//! A client may go on while it is below its bounds (requests in flight, bytes of replies) and nothing that it sent has to be
//! settled first. Otherwise its bytes stay where they are and it is not read, which is all the back-pressure there is.

use bytes::Bytes;

use super::client::{Gate, Inbox, Phase};
use super::dispatch::dispatch;
use super::flow::Flow;
use super::owners::Worker;
use crate::limits::LARGE_REQUEST_BYTES;
use crate::resp::{ProtocolError, Request, RequestScan};
use crate::shared::labels::{CloseReason, ErrorKind};

use super::names::ClientKey;
use super::reply::ReplyBytes;
use super::session::exec::NextPiece;

/// Between two lines of the log about clients that speak TLS on a plain port, in nanoseconds.
const TLS_LOG_PERIOD_NS: u64 = 60_000_000_000;

/// Why serving stopped.
enum Stop {
    /// Everything was served; the rest needs this many bytes more.
    Input(usize),
    /// The client has to wait.
    Wait,
    /// The next request, of this many bytes, is large and should be cut out of the buffer.
    Large(usize),
}

/// Dispatches what was read before, or else `fresh`, and keeps what could not be.
pub fn serve(worker: &mut Worker, key: ClientKey, fresh: &[u8]) {
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    let Some(mut inbox) = client.inbox.take() else { return };
    let stopped = serve_inbox(worker, key, &mut inbox, fresh);
    let Some(client) = worker.clients.all.get_mut(key) else { return };
    if stopped && !client.paused && client.phase == Phase::Open {
        worker.core.tallies.clients.paused += 1;
    }
    client.paused = stopped;
    client.inbox = Some(inbox);
}

/// As [`serve`]; `true` when requests are left that have to wait.
fn serve_inbox(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox, fresh: &[u8]) -> bool {
    loop {
        if !serve_exec_reply(worker, key, inbox) {
            inbox.intake.keep(fresh, 0);
            return true;
        }
        let Some(request) = inbox.stalled.pop_front() else { break };
        if !serve_large(worker, key, inbox, request) {
            inbox.intake.keep(fresh, 0);
            return true;
        }
    }
    if inbox.intake.partial.is_empty() {
        if fresh.is_empty() {
            return false;
        }
        let (consumed, stop) = serve_slice(worker, key, inbox, fresh, false);
        let wanted = if let Stop::Input(wanted) = stop { wanted } else { 0 };
        inbox.intake.keep(&fresh[consumed..], wanted);
        return matches!(stop, Stop::Wait);
    }
    inbox.intake.keep(fresh, 0);
    serve_partial(worker, key, inbox)
}

fn serve_partial(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox) -> bool {
    loop {
        let mut partial = std::mem::take(&mut inbox.intake.partial);
        let (consumed, stop) = serve_slice(worker, key, inbox, &partial, true);
        let _ = partial.split_to(consumed);
        let large = if let Stop::Large(len) = stop { Some(partial.split_to(len).freeze()) } else { None };
        inbox.intake.partial = partial;
        inbox.intake.consume(0);
        match (stop, large) {
            (Stop::Input(wanted), _) => {
                inbox.intake.wanted = wanted;
                return false;
            }
            (_, Some(request)) => {
                if !dispatch_large(worker, key, inbox, request) {
                    return true;
                }
            }
            _ => return true,
        }
    }
}

/// Dispatches the requests at the front of `input`. Returns how many bytes they had and why it stopped.
fn serve_slice(
    worker: &mut Worker,
    key: ClientKey,
    inbox: &mut Inbox,
    input: &[u8],
    cut_large: bool,
) -> (usize, Stop) {
    let mut consumed = 0;
    loop {
        if !worker.may_serve(key, inbox) {
            return (consumed, Stop::Wait);
        }
        let rest = &input[consumed..];
        if rest.is_empty() {
            return (consumed, Stop::Input(0));
        }
        let (len, flow) = match inbox.scanner.scan(rest) {
            RequestScan::Complete { len } if cut_large && len >= LARGE_REQUEST_BYTES => {
                return (consumed, Stop::Large(len));
            }
            RequestScan::Complete { len } => {
                let request = Request::at_front_of(rest, len, inbox.scanner.spans());
                (len, dispatch(worker, key, &request, None))
            }
            RequestScan::Inline { len } => {
                let request = Request::new(inbox.scanner.inline(), inbox.scanner.spans());
                (len, dispatch(worker, key, &request, None))
            }
            RequestScan::Empty { len } => (len, Flow::Next),
            RequestScan::Incomplete { wanted } => {
                let bytes_max = worker.core.config.limits.request_bytes_max;
                if rest.len().saturating_add(wanted) > bytes_max {
                    worker
                        .refuse_bytes(key, &format!("Protocol error: request larger than {bytes_max} bytes"));
                    return (input.len(), Stop::Input(0));
                }
                return (consumed, Stop::Input(wanted));
            }
            RequestScan::Malformed(error) => {
                if error == ProtocolError::TlsGreeting {
                    worker.log_tls_greeting(key);
                }
                worker.refuse_bytes(key, &error.message());
                return (input.len(), Stop::Input(0));
            }
        };
        consumed += match flow {
            Flow::Wait => return (consumed, Stop::Wait),
            Flow::Next => len,
            Flow::NextAfter(repeats) => len * (1 + repeats as usize),
        };
    }
}

/// Dispatches a large request that was set aside. `false` when it still has to wait.
fn serve_large(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox, request: Bytes) -> bool {
    if !worker.may_serve(key, inbox) {
        inbox.stalled.push_front(request);
        return false;
    }
    match inbox.scanner.scan(&request) {
        RequestScan::Complete { .. } => dispatch_large(worker, key, inbox, request),
        // It was scanned whole before it was set aside.
        _ => true,
    }
}

fn dispatch_large(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox, bytes: Bytes) -> bool {
    let request = Request::new(&bytes, inbox.scanner.spans());
    match dispatch(worker, key, &request, Some(&bytes)) {
        Flow::Next | Flow::NextAfter(_) => true,
        Flow::Wait => {
            inbox.stalled.push_front(bytes);
            false
        }
    }
}

/// Goes on with the reply of an `EXEC`, of which the gateway does a part. `false` when that has to wait.
fn serve_exec_reply(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox) -> bool {
    loop {
        let bytes = match worker.sessions().next_piece(key) {
            NextPiece::Over => return true,
            NextPiece::Wait => return false,
            NextPiece::Run(bytes) => bytes,
        };
        if let RequestScan::Complete { .. } = inbox.scanner.scan(&bytes) {
            let request = Request::new(&bytes, inbox.scanner.spans());
            if dispatch(worker, key, &request, None) == Flow::Wait {
                worker.sessions().put_back_piece(key, bytes);
                return false;
            }
        }
    }
}

impl Worker {
    /// Whether the next request of the client itself may be looked at: an `EXEC` is finished first.
    // Each request comes through here: the call would cost it some twenty instructions.
    #[inline(always)]
    fn may_serve(&mut self, key: ClientKey, inbox: &mut Inbox) -> bool {
        let Some(client) = self.clients.all.get_mut(key) else { return false };
        let may_go_on =
            client.session.transaction.replying().is_none() && client.may_go_on(&self.core.config.limits);
        if !may_go_on {
            client.gate = Gate::Open;
        } else if client.session.limits_changed {
            return self.refresh_limits(key, inbox);
        }
        may_go_on
    }

    /// A client that has authenticated may send larger requests from then on, and its keys may live elsewhere; a reload changes what all may send. `false` if it may
    /// send nothing: its user has as many connections as it may.
    #[cold]
    fn refresh_limits(&mut self, key: ClientKey, inbox: &mut Inbox) -> bool {
        self.clients.note_login(key);
        let Some(client) = self.clients.all.get_mut(key) else { return false };
        client.session.limits_changed = false;
        client.session.routed_as = self.core.snapshots.routes.routed_as(&client.session.user);
        inbox.scanner.set_limits(self.core.request_limits(client.session.authenticated));
        self.core.tenants.is_none() || self.find_tenant(key, true)
    }

    /// Says now and then that a client speaks TLS where plain text is expected: it can't read the error that it gets.
    fn log_tls_greeting(&mut self, key: ClientKey) {
        let now_ns = self.core.now_ns;
        let logged_ns = self.clients.tls_logged_ns;
        if logged_ns.is_none_or(|logged_ns| now_ns.saturating_sub(logged_ns) >= TLS_LOG_PERIOD_NS) {
            self.clients.tls_logged_ns = Some(now_ns);
            let peer = self.clients.all.get(key).map(|client| client.peer.to_string());
            tracing::warn!(
                peer,
                "closed a client that speaks TLS on a plain port: have it use a port of tls.listen, or no TLS"
            );
        }
    }

    /// Answers bytes that are no request: the error is the last thing that the client gets.
    fn refuse_bytes(&mut self, key: ClientKey, message: &str) {
        self.core.tallies.error(ErrorKind::ClientProtocol);
        let mut text = Vec::new();
        crate::resp::encode::error(&mut text, format!("ERR {message}"));
        self.clients.add(key, ReplyBytes::Borrowed(&text), false);
        if let Some(client) = self.clients.all.get_mut(key) {
            client.phase = Phase::Finishing(CloseReason::Protocol);
        }
    }
}
