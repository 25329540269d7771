//! New clients: admitted up to `gateway.clients_max` for the whole process, each given a task.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::client::{self, Client};
use super::decide::local::asks_for_password;
use super::state::State;
use crate::shared::labels::RejectReason;

/// What a client beyond the bound is told, as Redis words it.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// After an error of `accept` (no file descriptors left, usually) it is tried again after this pause, since the pending
/// connection would make it fail again at once.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Accepts clients until it is aborted.
pub(super) async fn accept(state: Rc<RefCell<State>>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(&state, stream),
            Err(error) => {
                tracing::warn!(%error, "can't accept a client; see `ulimit -n`");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Rc<RefCell<State>>, stream: TcpStream) {
    let state = &mut *shared.borrow_mut();
    state.tick();
    state.look_at_snapshots();
    let Some(id) = state.gateway.connections.admit(state.config.gateway.clients_max as u64) else {
        state.tallies.clients.rejected[RejectReason::MaxClients.index()] += 1;
        // A new socket's buffer is empty, so this either goes out whole or the client has gone.
        let _ = stream.try_write(TOO_MANY);
        return;
    };
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        state.gateway.connections.release();
        return;
    };
    set_options(&stream, state.config.gateway.tcp_keepalive);
    let limits = state.request_limits(!asks_for_password(&state.config));
    let now_ns = state.now_ns;
    state.tallies.clients.opened += 1;
    let key = state.clients.insert(|key| Client::new(key, id, stream, (peer, local), limits, now_ns));
    tokio::task::spawn_local(client::run(Rc::clone(shared), key));
}

fn set_options(stream: &TcpStream, keepalive: Option<Duration>) {
    // Without these the connection works all the same, a little worse.
    let _ = stream.set_nodelay(true);
    if let Some(period) = keepalive {
        let options = socket2::TcpKeepalive::new().with_time(period);
        let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&options);
    }
}
