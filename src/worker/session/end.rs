//! The end of a session: the connections that it held are given up.

use super::Sessions;
use crate::worker::client::session::Session;

impl Sessions<'_> {
    /// Gives up the upstream connections that a session held.
    pub fn release_session(&mut self, session: Session) {
        if let Some(key) = session.watch.connection() {
            // What its transaction makes of the connection is not known yet.
            match session.transaction.changes_connection() {
                true => self.upstreams.close_own(key),
                false => self.upstreams.unwatch(self.core, key),
            }
        }
        let subscriptions = session.subscriptions.as_deref();
        let subscribed = subscriptions.iter().flat_map(|all| all.connections());
        let tracked = session.tracking.iter().flat_map(|tracking| &tracking.connections);
        let tracking = tracked.flat_map(|tracked| [Some(tracked.connection), tracked.companion]).flatten();
        let own = session.blocking.into_iter().chain(session.monitors.iter().copied());
        for key in own.chain(subscribed).chain(tracking) {
            self.upstreams.close_own(key);
        }
    }
}
