//! What a client has said about itself and its connection: the state that a Redis connection has besides its bytes.
//!
//! Plain data, changed by `decide` and by replies that confirm a change. Holds no socket and sends nothing.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::behind::BarrierKeys;
use super::subscriptions::Subscriptions;
use super::tracking::Tracking;
use super::transaction::{TransactionState, Watch};
use crate::access::{DEFAULT_USER, User};
use crate::command::{CommandId, CommandTable};
use crate::resp::RespVersion;
use crate::route::RoutedAs;
use crate::worker::names::UpstreamKey;
use crate::worker::selection::Selection;
use crate::worker::user_login::UserLogin;

/// Whether replies are sent (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// Yes.
    On,
    /// No, until `CLIENT REPLY ON`.
    Off,
    /// Not the reply of the next command.
    SkipNext,
}

/// The command that came last, so that a repeated one is not looked up again.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastCommand {
    /// The name as the client spelled it, if it is short.
    name: [u8; 15],
    len: u8,
    id: Option<CommandId>,
}

impl LastCommand {
    /// The command of this name if it is the last one.
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        (name == &self.name[..usize::from(self.len)]).then_some(self.id).flatten()
    }

    /// Remembers a command whose name alone says what it is.
    pub fn remember(&mut self, name: &[u8], id: CommandId) {
        if name.len() <= self.name.len() {
            self.name[..name.len()].copy_from_slice(name);
            self.len = name.len() as u8;
            self.id = Some(id);
        }
    }

    /// Forgets it, when the command table changed.
    pub fn clear(&mut self) {
        self.id = None;
    }
}

/// The session of one client.
#[derive(Debug)]
pub struct Session {
    /// How replies are encoded.
    pub version: RespVersion,
    /// The database, 0 in a cluster.
    pub database: u32,
    /// `CLIENT SETNAME`.
    pub name: Bytes,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library_name: Bytes,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Bytes,
    /// Who authenticated; `default` until someone else did.
    pub user: Bytes,
    /// By whose routes its keys are looked for. Follows the user before the next request is read ([`Session::limits_changed`]), so that a
    /// transaction runs where its keys were when they were queued.
    pub routed_as: RoutedAs,
    /// That user, if it may not do everything.
    pub restricted: Option<Arc<User>>,
    /// What it logged in with, if it may not do everything and is itself at Redis (`auth.upstream_identity`).
    pub login: Option<Rc<UserLogin>>,
    /// What that user may do was given to it by a rule, so it may have servers administered.
    pub administers: bool,
    /// May send commands.
    pub authenticated: bool,
    /// `CLIENT REPLY`.
    pub replies: Replies,
    /// How far it is between `MULTI` and the last reply of `EXEC`.
    pub transaction: TransactionState,
    /// The transaction that is with Redis swaps databases.
    pub swaps: bool,
    /// What it watches.
    pub watch: Watch,
    /// The watched keys that are in write-behind mode.
    pub watched: BarrierKeys,
    /// The connection on which a blocking command waits.
    pub blocking: Option<UpstreamKey>,
    /// Subscribed to something.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// `CLIENT TRACKING ON`.
    pub tracking: Option<Box<Tracking>>,
    /// `MONITOR`: the connections that are listened to.
    pub monitors: Vec<UpstreamKey>,
    /// The database that `SELECT` asked for and that Redis has not confirmed yet.
    pub selecting: Option<u32>,
    /// The last command's id, for `CLIENT LIST`.
    pub last_seen: Option<CommandId>,
    /// To skip the look-up of a repeated command.
    pub last_command: LastCommand,
    /// The digest of the script whose `EVALSHA` is under way, if its node may lack it.
    pub script: Option<Bytes>,
    /// It has just authenticated, so its requests may be larger from now on, and its user may be another.
    pub limits_changed: bool,
    /// Nothing above makes the next command special, so the short path of `decide` may be taken.
    pub plain: bool,
}

impl Session {
    /// What it has selected, for what goes as the gateway's own user.
    pub fn selection(&self) -> Selection {
        Selection { version: self.version, database: self.database, login: 0 }
    }

    /// A new connection's session. Whoever need not log in is the user `default`.
    pub fn new(default: Option<&Arc<User>>) -> Self {
        let mut session = Self {
            version: RespVersion::Resp2,
            database: 0,
            name: Bytes::new(),
            library_name: Bytes::new(),
            library_version: Bytes::new(),
            user: Bytes::from_static(DEFAULT_USER),
            routed_as: RoutedAs::ANYBODY,
            restricted: None,
            login: None,
            administers: false,
            authenticated: false,
            replies: Replies::On,
            transaction: TransactionState::Closed,
            swaps: false,
            watch: Watch::Nothing,
            watched: BarrierKeys::default(),
            blocking: None,
            subscriptions: None,
            tracking: None,
            monitors: Vec::new(),
            selecting: None,
            last_seen: None,
            last_command: LastCommand::default(),
            script: None,
            limits_changed: false,
            plain: false,
        };
        if let Some(user) = default {
            session.become_user(user);
        }
        session
    }

    /// From now on it is this user's, who has shown no password that is kept.
    pub fn become_user(&mut self, user: &Arc<User>) {
        self.login = None;
        self.user = Bytes::copy_from_slice(&user.name);
        self.restricted = (!user.is_unrestricted()).then(|| Arc::clone(user));
        self.administers = user.has_given_commands();
        self.limits_changed = true;
        self.authenticated = true;
        self.refresh_plain();
    }

    /// The same, by this password, and that user is itself at Redis where it may not do everything.
    pub fn become_itself(&mut self, user: &Arc<User>, password: &[u8]) {
        self.become_user(user);
        self.login = self.restricted.is_some().then(|| UserLogin::new(&user.name, password));
        self.refresh_plain();
    }

    /// To be called after any change of the state above.
    pub fn refresh_plain(&mut self) {
        self.plain = self.authenticated
            && !self.transaction.is_special()
            && self.subscriptions.is_none()
            && self.tracking.is_none()
            && self.login.is_none()
            && self.monitors.is_empty()
            && self.replies == Replies::On;
    }

    /// By whose routes its channels are looked for.
    pub fn channels_routed_as(&self) -> RoutedAs {
        self.subscriptions.as_ref().map_or(self.routed_as, |all| all.routed_as)
    }

    /// It waits for something that only Redis can end, so its leaving has to end it.
    pub fn waits_on_server(&self) -> bool {
        self.blocking.is_some() || self.subscriptions.is_some() || !self.monitors.is_empty()
    }

    /// The database that a command would go to which came now, in an open transaction the one that it will have selected.
    pub fn database_ahead(&self) -> u32 {
        self.transaction.queuing().map_or(self.database, |transaction| transaction.database)
    }

    /// `CLIENT CACHING` was for the command that has just been taken, unless that was another `CLIENT`; in a transaction it is
    /// for all of it.
    pub fn forget_caching(&mut self, command: Option<CommandId>, commands: &CommandTable) {
        let Some(tracking) = self.tracking.as_mut().filter(|tracking| tracking.caching.is_some()) else {
            return;
        };
        let goes_on = command.is_some_and(|id| commands.get(id).name.starts_with("client"));
        if !goes_on && !self.transaction.is_special() {
            tracking.caching = None;
        }
    }

    /// The `EXEC` under way comes to nothing that is known. What it watched, if it did, is watched no more: the next
    /// transaction has nothing to do with it.
    pub fn give_up_exec(&mut self, watched: bool) {
        self.transaction.take_executing();
        if watched {
            self.watch = Watch::Nothing;
        }
    }

    /// Bytes of messages that wait for the end of a reply of `EXEC`.
    pub fn held_push_bytes(&self) -> usize {
        self.transaction.replying().map_or(0, |reply| reply.held.len())
    }

    /// In RESP2 a subscribed connection takes only a few commands.
    pub fn is_subscriber_only(&self) -> bool {
        self.version == RespVersion::Resp2 && self.subscriptions.is_some()
    }
}
