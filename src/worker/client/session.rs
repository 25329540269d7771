//! What a client has said about itself and its connection: the state that a Redis connection has besides its bytes.
//!
//! Plain data, changed by `decide` and by replies that confirm a change. Holds no socket and sends nothing.

use std::collections::HashSet;

use bytes::Bytes;
use smallvec::SmallVec;

use super::behind::Touched;
use crate::command::{CommandId, CommandTable};
use crate::resp::RespVersion;
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;
use crate::worker::session::exec::{Rest, Step};
use crate::worker::session::keyspace_events::{Deferred, EventListener};
use crate::worker::session::tracking_options::Options;

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

/// A transaction between `MULTI` and `EXEC`.
///
/// Commands are queued here and sent as one stretch of the pipeline at `EXEC`, so that an open transaction holds no
/// upstream connection and can be sent again as a whole when the cluster redirects it (nothing of it has run then).
#[derive(Debug, Default)]
pub struct Transaction {
    /// The queued commands that Redis runs, as they will be sent.
    pub commands: Vec<u8>,
    /// How many.
    pub count: usize,
    /// How many commands are queued in all.
    pub queued: usize,
    /// All of them in order, as soon as one is not Redis's alone: see [`crate::worker::session::exec`].
    pub steps: Vec<Step>,
    /// Bytes of those that the gateway does.
    pub here_bytes: usize,
    /// The reply of its `EXEC` is not wanted (`CLIENT REPLY SKIP`).
    pub skipped: bool,
    /// The database that the commands queued so far will have selected.
    pub database: u32,
    /// The version of the protocol that they will have chosen.
    pub version: RespVersion,
    /// The slot of the first key: where the transaction will run. All keys must be in it in a cluster.
    pub slot: Option<u16>,
    /// A command was refused, so `EXEC` must abort.
    pub poisoned: bool,
    /// Every queued command only reads.
    pub readonly: bool,
    /// A queued command runs a script.
    pub scripts: bool,
    /// The keys in write-behind mode that they touch.
    pub touched: Touched,
}

/// The names that a client is subscribed to, and the connections that carry them.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// `SUBSCRIBE`.
    pub channels: HashSet<Bytes, ahash::RandomState>,
    /// `PSUBSCRIBE`.
    pub patterns: HashSet<Bytes, ahash::RandomState>,
    /// `SSUBSCRIBE`.
    pub shard_channels: HashSet<Bytes, ahash::RandomState>,
    /// One connection for channels and patterns.
    pub connection: Option<UpstreamKey>,
    /// One connection per node for shard channels.
    pub shard_connections: SmallVec<[(NodeIndex, UpstreamKey); 1]>,
    /// Some of the names may bring keyspace events of a cluster.
    pub hears_events: bool,
    /// One connection for each other master where keyspace events are subscribed to.
    pub event_listeners: Vec<EventListener>,
    /// The client's own subscription while those are asked.
    pub deferred: Option<Deferred>,
}

impl Subscriptions {
    /// All names.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = UpstreamKey> {
        let shards = self.shard_connections.iter().map(|(_, key)| *key);
        let events = self.event_listeners.iter().map(|listener| listener.connection);
        self.connection.into_iter().chain(shards).chain(events)
    }
}

/// `CLIENT TRACKING ON`: the client's commands go over connections of its own, which carry its invalidations.
#[derive(Debug)]
pub struct Tracking {
    /// How.
    pub options: Options,
    /// Who is told instead of the client.
    pub redirect: Option<Redirect>,
    /// That client is gone, as far as has been noticed.
    pub broken: bool,
    /// `CLIENT CACHING yes|no` came for the next command.
    pub caching: Option<bool>,
    /// The connections, one per node.
    pub connections: SmallVec<[Tracked; 3]>,
    /// The `CLIENT TRACKING ON` that has not been answered yet.
    pub awaiting: Option<Awaiting>,
}

/// A tracking client's connection to one node.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// The node.
    pub node: NodeIndex,
    /// What carries its commands.
    pub connection: UpstreamKey,
    /// What hears its invalidations, where the client redirects them.
    pub companion: Option<UpstreamKey>,
}

/// The client that is told of what another one tracks.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// Its id.
    pub id: u64,
    /// Whose it is.
    pub worker: usize,
    /// Its key there, as a number.
    pub client: u64,
}

/// A `CLIENT TRACKING ON` on its way to the nodes.
#[derive(Debug)]
pub struct Awaiting {
    /// Its slot in the reply queue.
    pub sequence: u32,
    /// Connections of which it is not known yet whether they can be had.
    pub outstanding: usize,
    /// Those that track.
    pub ready: usize,
    /// Why another one does not.
    pub refusal: Option<String>,
    /// The client had tracked before, over other connections.
    pub again: bool,
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
    /// May send commands.
    pub authenticated: bool,
    /// `CLIENT REPLY`.
    pub replies: Replies,
    /// Between `MULTI` and `EXEC`.
    pub transaction: Option<Box<Transaction>>,
    /// The connection on which keys are watched.
    pub watch: Option<(NodeIndex, UpstreamKey)>,
    /// The watched keys that are in write-behind mode.
    pub watched: Touched,
    /// The slot of the watched keys: a transaction has to stay in it.
    pub watch_slot: Option<u16>,
    /// That connection broke, so the watched keys may have changed: the next `EXEC` must not run.
    pub watch_lost: bool,
    /// The connection on which a blocking command waits.
    pub blocking: Option<UpstreamKey>,
    /// Subscribed to something.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// `CLIENT TRACKING ON`.
    pub tracking: Option<Box<Tracking>>,
    /// `MONITOR`: the connections that are listened to.
    pub monitors: Vec<UpstreamKey>,
    /// The database that `SELECT` asked for and that Redis has not confirmed yet.
    pub selecting: u32,
    /// The transaction whose `EXEC` is with Redis, if the gateway has a part in it.
    pub executing: Option<Box<Transaction>>,
    /// What is still to be done of an `EXEC` that Redis has answered.
    pub rest: Option<Box<Rest>>,
    /// The last command's id, for `CLIENT LIST`.
    pub last_seen: Option<CommandId>,
    /// To skip the look-up of a repeated command.
    pub last_command: LastCommand,
    /// The digest of the script whose `EVALSHA` is under way, if its node may lack it.
    pub script: Option<Bytes>,
    /// It has just authenticated, so its requests may be larger from now on.
    pub limits_changed: bool,
    /// Nothing above makes the next command special, so the short path of `decide` may be taken.
    pub plain: bool,
}

impl Session {
    /// A new connection's session.
    pub fn new(authenticated: bool) -> Self {
        Self {
            version: RespVersion::Resp2,
            database: 0,
            name: Bytes::new(),
            library_name: Bytes::new(),
            library_version: Bytes::new(),
            user: Bytes::from_static(b"default"),
            authenticated,
            replies: Replies::On,
            transaction: None,
            watch: None,
            watched: Touched::default(),
            watch_slot: None,
            watch_lost: false,
            blocking: None,
            subscriptions: None,
            tracking: None,
            monitors: Vec::new(),
            selecting: 0,
            executing: None,
            rest: None,
            last_seen: None,
            last_command: LastCommand::default(),
            script: None,
            limits_changed: false,
            plain: authenticated,
        }
    }

    /// To be called after any change of the state above.
    pub fn refresh_plain(&mut self) {
        self.plain = self.authenticated
            && self.transaction.is_none()
            && self.rest.is_none()
            && self.subscriptions.is_none()
            && self.tracking.is_none()
            && self.monitors.is_empty()
            && self.replies == Replies::On;
    }

    /// It waits for something that only Redis can end, so its leaving has to end it.
    pub fn waits_on_server(&self) -> bool {
        self.blocking.is_some() || self.subscriptions.is_some() || !self.monitors.is_empty()
    }

    /// The database that a command would go to which came now, in an open transaction the one that it will have selected.
    pub fn database_ahead(&self) -> u32 {
        self.transaction.as_ref().map_or(self.database, |transaction| transaction.database)
    }

    /// `CLIENT CACHING` was for the command that has just been taken, unless that was another `CLIENT`; in a transaction it is
    /// for all of it.
    pub fn forget_caching(&mut self, command: Option<CommandId>, commands: &CommandTable) {
        let Some(tracking) = self.tracking.as_mut().filter(|tracking| tracking.caching.is_some()) else {
            return;
        };
        let goes_on = command.is_some_and(|id| commands.get(id).name.starts_with("client"));
        if !goes_on && self.transaction.is_none() && self.rest.is_none() {
            tracking.caching = None;
        }
    }

    /// In RESP2 a subscribed connection takes only a few commands.
    pub fn is_subscriber_only(&self) -> bool {
        self.version == RespVersion::Resp2 && self.subscriptions.is_some()
    }
}
