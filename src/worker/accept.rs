//! New clients: admitted up to `gateway.clients_max` for the whole process, each given a task.
//!
//! The bound leaves descriptors for everybody else. Should there be none all the same, new clients are told that they are too
//! many, by means of a descriptor that is kept for that, until none was missing for a while: so they do not take those that
//! a broken upstream connection frees.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::certified::{Certified, certified};
use super::client::Client;
use super::client::session::Session;
use super::client_task;
use super::handshakes::{Arrived, Handshakes};
use super::owners::Worker;
use super::turn::turn;
use crate::net::{Listener, SocketName, Stream};
use crate::resp::encode;
use crate::shared::labels::RejectReason;

/// What a client beyond the bound is told, as Redis words it.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// After an error of `accept` it is tried again after this pause, since the pending connection would make it fail again at once.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// New clients are refused for this long after a descriptor was missing.
const SHORTAGE: Duration = Duration::from_secs(1);

/// The same trouble is logged this often at the most.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Clients with unknown names are logged this often at the most.
const UNKNOWN_LOG_PERIOD_NS: u64 = 10_000_000_000;

/// Accepts clients until it is aborted.
pub(super) async fn accept(worker: Rc<RefCell<Worker>>, listener: Listener, handshakes: Rc<Handshakes>) {
    let mut shortage = Shortage { spare: spare(), ..Shortage::default() };
    loop {
        let place = if listener.is_tls() { handshakes.place().await } else { None };
        match listener.accept().await {
            Ok(stream) if shortage.is_recent() => turn(&worker, |worker| refuse(worker, stream)),
            Ok(stream) if has_header(&worker, &stream) => {
                // That the client would come by a balancer was not known before.
                let place = if place.is_some() { place } else { handshakes.place().await };
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(let_in(worker, (stream, true), Rc::clone(&handshakes), place));
            }
            Ok(stream) if stream.is_handshaking() => {
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(let_in(worker, (stream, false), Rc::clone(&handshakes), place));
            }
            Ok(stream) => turn(&worker, |acting| admit(acting, &worker, stream.into())),
            Err(error) => {
                shortage.note(&error);
                // One that waits is accepted in place of the spare descriptor.
                let had_spare = shortage.spare.take().is_some();
                let waiting = had_spare.then(|| listener.accept().now_or_never()).flatten();
                let told = match waiting {
                    Some(Ok(stream)) => {
                        turn(&worker, |worker| refuse(worker, stream));
                        true
                    }
                    _ => false,
                };
                shortage.spare = spare();
                if told && shortage.spare.is_some() {
                    tokio::task::yield_now().await;
                } else {
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }
}

/// Whether the stream comes from a balancer that begins with a PROXY header.
fn has_header(worker: &RefCell<Worker>, stream: &Stream) -> bool {
    let worker = worker.borrow();
    let balancers = &worker.core.config.gateway.proxy_protocol_from;
    !balancers.is_empty()
        && matches!(stream.peer(), Ok(SocketName::Ip(peer)) if balancers.iter().any(|all| all.contains(peer.ip())))
}

/// Does the handshake of a client in the place that it has taken, after its PROXY header if it has one, and admits it.
async fn let_in(
    worker: Rc<RefCell<Worker>>,
    (stream, has_header): (Stream, bool),
    handshakes: Rc<Handshakes>,
    place: Option<OwnedSemaphorePermit>,
) {
    let outcome = handshakes.run(stream, has_header).await;
    drop(place);
    turn(&worker, |acting| match outcome {
        Ok(_) if acting.core.draining => {
            acting.core.tallies.clients.rejected[RejectReason::Draining.index()] += 1;
        }
        Ok(arrived) => admit(acting, &worker, arrived),
        Err(Some(reason)) => acting.core.tallies.clients.rejected[reason.index()] += 1,
        Err(None) => {}
    });
}

/// That clients could not be accepted, and the means to tell them.
#[derive(Default)]
struct Shortage {
    spare: Option<File>,
    last: Option<Instant>,
    logged: Option<Instant>,
}

impl Shortage {
    fn is_recent(&self) -> bool {
        self.last.is_some_and(|last| last.elapsed() < SHORTAGE)
    }

    fn note(&mut self, error: &io::Error) {
        self.last = Some(Instant::now());
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_PERIOD) {
            self.logged = self.last;
            tracing::warn!(
                %error,
                "can't accept clients, which are told that they are too many; raise the limit on file descriptors \
                 (ulimit -n, LimitNOFILE= of a service) or lower gateway.clients_max"
            );
        }
    }
}

/// Something that holds a descriptor.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn refuse(worker: &mut Worker, mut stream: Stream) {
    worker.core.tallies.clients.rejected[RejectReason::MaxClients.index()] += 1;
    // A new socket's buffer is empty, so this either goes out whole or the client has gone. With TLS, what comes before the
    // handshake is not heard.
    let _ = stream.try_write(TOO_MANY);
}

/// Tells a client that its certificate names nobody, and says so now and then.
fn refuse_unknown(worker: &mut Worker, mut stream: Stream, peer: &SocketName, name: &str) {
    worker.core.tallies.clients.rejected[RejectReason::UnknownUser.index()] += 1;
    let mut told = Vec::new();
    let text =
        format!("WRONGPASS the certificate names the user '{name}', who does not exist here or is off");
    encode::error(&mut told, text);
    let _ = stream.try_write(&told);
    let (now_ns, logged_ns) = (worker.core.now_ns, &mut worker.clients.unknown_logged_ns);
    if logged_ns.is_none_or(|logged_ns| now_ns.saturating_sub(logged_ns) >= UNKNOWN_LOG_PERIOD_NS) {
        *logged_ns = Some(now_ns);
        tracing::warn!(
            client = %peer,
            name,
            "refused a client whose certificate names a user who does not exist or is off (tls.user_from)"
        );
    }
}

fn admit(worker: &mut Worker, shared: &Rc<RefCell<Worker>>, arrived: Arrived) {
    worker.look_at_snapshots();
    let Some(id) = worker.core.gateway.connections.admit(worker.core.config.gateway.clients_max as u64)
    else {
        return refuse(worker, arrived.stream);
    };
    let (Ok(peer), Ok(local)) = (arrived.peer(), arrived.local()) else {
        worker.core.gateway.connections.release();
        return;
    };
    let stream = arrived.stream;
    stream.set_options(worker.core.config.gateway.tcp_keepalive);
    let mut session = Session::new(worker.core.snapshots.users.anybody());
    match certified(&worker.core, &stream) {
        Certified::Unnamed => {}
        Certified::User(user) => session.become_user(&user),
        Certified::Unknown(name) => {
            worker.core.gateway.connections.release();
            return refuse_unknown(worker, stream, &peer, &name);
        }
    }
    let limits = worker.core.request_limits(session.authenticated);
    let now_ns = worker.core.now_ns;
    worker.core.tallies.clients.opened += 1;
    let since = (now_ns, worker.core.snapshots.topology.version);
    let names = (peer, local);
    let key = worker.clients.all.insert(|key| Client::new(key, id, stream, names, (session, limits), since));
    worker.clients.note_login(key);
    if worker.core.tenants.is_some() {
        // If there is no place for it, its task tells it so and ends.
        worker.begin_tenancy(key);
    }
    let (all, workers) =
        (worker.core.config.gateway.unauthenticated_clients_max, worker.core.gateway.workers.len());
    worker.clients.bound_unauthenticated(all.div_ceil(workers.max(1)));
    tokio::task::spawn_local(client_task::run(Rc::clone(shared), key));
}
