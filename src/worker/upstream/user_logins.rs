//! Users that are themselves at Redis (`auth.upstream_identity = "same"`): what they logged in with, and the connections of each.
//!
//! Scripts, functions and commands of modules do what they like inside Redis, so only Redis can look at what they may. For a user who may
//! not do everything they go over connections that have logged in there as that user. Everything else such a user sends goes as
//! ever: it has been looked at here, and can share connections, fold and be served from copies.
//!
//! Clients of a worker that are the same user by the same password share these connections, one for each node and selection. So their number is
//! that of users and not that of clients. They count towards `upstream.session_connections_max`; at the bound a request that needs one
//! more is refused. One that redirections need is opened all the same, so there may be one more for each node.
//!
//! Who knows a password: the sessions that gave it, and nobody else. The last of them to end, or to become another user, wipes it, and the
//! connections are closed with the next housekeeping ([`UserLogin`]).
//!
//! If Redis refuses a log-in, what waits for it is answered with that, and so is what comes within [`REFUSAL_NS`], so that clients who try
//! again and again are not felt there.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use ahash::RandomState;

use super::{Phase, Role, Upstream, Upstreams};
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;
use crate::worker::selection::{LoginNumber, Selection};
use crate::worker::user_login::UserLogin;

/// A refused log-in is not tried again for as long, in nanoseconds.
const REFUSAL_NS: u64 = 1_000_000_000;

/// Between two lines of the log about refused log-ins of one worker, in nanoseconds.
const LOG_PERIOD_NS: u64 = 10_000_000_000;

/// What Redis said of a log-in last.
struct RefusedLogin {
    until_ns: u64,
    word: String,
}

/// The log-ins of one worker's clients that are in use at Redis.
#[derive(Default)]
pub struct UserLogins {
    /// The last number that was given. None is given twice.
    last: LoginNumber,
    by_number: HashMap<LoginNumber, Weak<UserLogin>, RandomState>,
    /// Those of each user: one for each password that clients have given.
    by_name: HashMap<Box<[u8]>, Vec<LoginNumber>, RandomState>,
    connections: HashMap<(NodeIndex, Selection), UpstreamKey, RandomState>,
    refused: HashMap<(NodeIndex, LoginNumber), RefusedLogin, RandomState>,
    logged_ns: Option<u64>,
}

impl UserLogins {
    /// Takes a log-in into use. Those that are alike become one.
    pub fn number_of(&mut self, login: &mut Rc<UserLogin>) -> LoginNumber {
        if login.number != 0 {
            return login.number;
        }
        let known = self.by_name.get(&login.name).into_iter().flatten();
        let alike = known
            .filter_map(|number| self.by_number.get(number)?.upgrade())
            .find(|known| *known.password == *login.password);
        if let Some(alike) = alike {
            *login = alike;
            return login.number;
        }
        self.last += 1;
        // It is its session's alone as long as it has no number.
        if let Some(login) = Rc::get_mut(login) {
            login.number = self.last;
        }
        self.by_number.insert(self.last, Rc::downgrade(login));
        self.by_name.entry(login.name.clone()).or_default().push(self.last);
        self.last
    }

    /// What a connection logs in with, while somebody is that user.
    pub fn get(&self, number: LoginNumber) -> Option<Rc<UserLogin>> {
        self.by_number.get(&number)?.upgrade()
    }

    /// Why Redis refused this log-in at this node a moment ago.
    pub fn refusal(&self, node: NodeIndex, number: LoginNumber, now_ns: u64) -> Option<&str> {
        let refused = self.refused.get(&(node, number))?;
        (now_ns < refused.until_ns).then_some(refused.word.as_str())
    }

    /// Forgets a connection that has ended.
    pub(super) fn forget(&mut self, upstream: &Upstream) {
        let place = (upstream.node, upstream.selection());
        if self.connections.get(&place) == Some(&upstream.key) {
            self.connections.remove(&place);
        }
    }

    /// Forgets those whose clients have left; says which.
    fn forget_left(&mut self) -> Vec<LoginNumber> {
        let left: Vec<LoginNumber> = self
            .by_number
            .iter()
            .filter(|(_, login)| login.strong_count() == 0)
            .map(|(number, _)| *number)
            .collect();
        if !left.is_empty() {
            self.by_number.retain(|number, _| !left.contains(number));
            self.by_name.retain(|_, numbers| {
                numbers.retain(|number| !left.contains(number));
                !numbers.is_empty()
            });
            self.refused.retain(|(_, number), _| !left.contains(number));
            self.connections.retain(|(_, selection), _| !left.contains(&selection.login));
        }
        left
    }
}

impl Upstreams {
    /// The connection to a node of whoever logged in as `selection` says, made if there is none yet.
    pub fn user_connection(&mut self, core: &mut Core, node: NodeIndex, selection: Selection) -> UpstreamKey {
        if let Some(key) = self.logins.connections.get(&(node, selection)) {
            return *key;
        }
        let key = self.open_connection(core, node, Role::User, selection, None);
        self.logins.connections.insert((node, selection), key);
        key
    }

    /// Whether there is such a connection, or may be one more.
    pub fn may_have_user_connection(&self, core: &Core, node: NodeIndex, selection: Selection) -> bool {
        let cluster = core.snapshots.cluster_of_node(node);
        self.logins.connections.contains_key(&(node, selection))
            || self.pools.census.owned(cluster) < core.upstream_of(cluster).session_connections_max
    }

    /// Closes the connections of users of whom no client is left.
    pub fn leave_users(&mut self) {
        if self.logins.by_number.is_empty() {
            return;
        }
        let left = self.logins.forget_left();
        if left.is_empty() {
            return;
        }
        for upstream in self.connections.iter_mut().filter(|upstream| left.contains(&upstream.login)) {
            upstream.close();
        }
    }

    /// Redis refused the log-in of a connection's user, or a step behind it. Says with what its requests are to be answered.
    pub fn note_refused_user(
        &mut self,
        core: &Core,
        connection: UpstreamKey,
        step: &str,
        reply: &str,
    ) -> Option<String> {
        let upstream = self.connections.get(connection)?;
        let (node, number) = (upstream.node, upstream.login);
        let user = self.logins.get(number)?;
        let user = user.name.escape_ascii().to_string();
        if self
            .logins
            .logged_ns
            .is_none_or(|logged_ns| core.now_ns.saturating_sub(logged_ns) >= LOG_PERIOD_NS)
        {
            self.logins.logged_ns = Some(core.now_ns);
            let node = core.node_name(node);
            tracing::warn!(
                node,
                user,
                said = reply,
                "Redis refuses {step} of a user (auth.upstream_identity = \"same\")"
            );
        }
        let word = format!(
            "NOPERM hotgate: scripts, functions and commands of modules run at Redis as the user '{user}' itself, and Redis refused \
             {step} ({reply}); give that user the same password and rights there, then log in again"
        );
        let until_ns = core.now_ns + REFUSAL_NS;
        self.logins.refused.insert((node, number), RefusedLogin { until_ns, word: word.clone() });
        Some(word)
    }
}

/// Whether what the server said of a log-in concerns the user, and not the moment.
pub fn is_of_user(upstream: &Upstream, reply: &str) -> bool {
    upstream.login != 0
        && upstream.phase() == Phase::Connecting
        && (reply.starts_with("WRONGPASS ") || reply.starts_with("NOPERM ") || reply.starts_with("NOAUTH "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ins_that_are_alike_are_one_until_the_last_of_them_has_gone() {
        let mut logins = UserLogins::default();
        let mut all: Vec<Rc<UserLogin>> = [("app", "1"), ("app", "1"), ("app", "2"), ("web", "1")]
            .map(|(name, password)| UserLogin::new(name.as_bytes(), password.as_bytes()))
            .into();
        let numbers: Vec<LoginNumber> = all.iter_mut().map(|login| logins.number_of(login)).collect();
        assert_eq!(numbers, [1, 1, 2, 3]);
        all.remove(0);
        assert!(logins.forget_left().is_empty());
        assert_eq!(logins.get(1).map(|login| login.name.clone()), Some(b"app".as_slice().into()));
        all.remove(0);
        assert_eq!(logins.forget_left(), [1]);
        assert!(logins.get(1).is_none());
        let mut again = UserLogin::new(b"app", b"1");
        assert_eq!(logins.number_of(&mut again), 4, "no number is given twice");
    }
}
