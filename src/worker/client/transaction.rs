//! A client's transaction, from `MULTI` to the last reply of its `EXEC`: what is queued, and what is left of the reply.
//!
//! Commands are queued here and sent as one stretch of the pipeline at `EXEC`, so that an open transaction holds no upstream
//! connection and can be sent again as a whole when the cluster redirects it (nothing of it has run then). Plain data: who
//! sends it and acts on its reply is `session/`.

use std::collections::VecDeque;

use bytes::Bytes;
use smallvec::SmallVec;

use super::behind::BarrierKeys;
use crate::resp::{RespVersion, Span, encode};
use crate::route::{ClusterId, SlotAt};
use crate::shared::command_tallies::CommandRow;
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;
use crate::worker::pending::Route;

/// Keys of one transaction that are told apart.
const KEYS_NOTED_MAX: usize = 8;

/// How far a client is between `MULTI` and the last reply of `EXEC`.
#[derive(Debug, Default)]
pub enum TransactionState {
    /// It is in none, or the gateway has no part in the one that is with Redis.
    #[default]
    Closed,
    /// `MULTI` came.
    Queuing(Box<Transaction>),
    /// `EXEC` came and is with Redis; the gateway does its own part when Redis has done what is Redis's.
    Executing(Box<Transaction>),
    /// Redis has answered: the reply leaves piece by piece.
    Replying(Box<ExecReply>),
}

/// A transaction between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The queued commands that Redis runs, as they will be sent.
    pub commands: Vec<u8>,
    /// How many.
    pub count: usize,
    /// How many commands are queued in all.
    pub queued: usize,
    /// Those that Redis runs and that are no `HELLO`, in order, for the figures by command.
    pub runs: Vec<CommandRow>,
    /// All of them in order, as soon as one is not Redis's alone.
    pub steps: Vec<Step>,
    /// Bytes of those that the gateway does.
    pub here_bytes: usize,
    /// The reply of its `EXEC` is not wanted (`CLIENT REPLY SKIP`).
    pub suppressed: bool,
    /// The database that the commands queued so far will have selected.
    pub database: u32,
    /// The version of the protocol that they will have chosen.
    pub version: RespVersion,
    /// The slot of the first key: where the transaction will run. All keys must be in it in a cluster.
    pub slot: Option<SlotAt>,
    /// A queued command has no keys, and so has to run in this one of several clusters.
    pub keyless: Option<ClusterId>,
    /// A command was refused, so `EXEC` must abort.
    pub poisoned: bool,
    /// Every queued command only reads.
    pub readonly: bool,
    /// A queued command runs a script.
    pub scripts: bool,
    /// A queued command runs at Redis as the client's own user, and so does all of it.
    pub as_user: bool,
    /// A queued command swaps databases.
    pub swaps: bool,
    /// The keys in write-behind mode that they touch.
    pub touched: BarrierKeys,
    /// The keys that they name, by hash: the first ones.
    pub key_hashes: SmallVec<[u64; 2]>,
    /// Where among the commands the name of the first key stands.
    pub first_key: Span,
}

/// Queued commands, by who does them.
#[derive(Debug)]
pub enum Step {
    /// So many that Redis alone runs.
    Redis(usize),
    /// `SELECT`: Redis runs it, and the client is in this database if Redis agrees.
    Select(u32),
    /// `HELLO` that chooses another version: Redis changes too, but what the client gets is the gateway's.
    Hello(RespVersion, Bytes),
    /// Done by the gateway.
    Here(Bytes),
}

/// What is still to be done of an `EXEC` that Redis has answered.
#[derive(Debug)]
pub struct ExecReply {
    /// The pieces, in order.
    pub due: VecDeque<Due>,
    /// The reply of `EXEC` is not wanted (`CLIENT REPLY SKIP`).
    pub suppressed: bool,
    /// Messages that came meanwhile. Bounded with the client's output.
    pub held: Vec<u8>,
}

/// One piece of the reply of an `EXEC`.
#[derive(Debug)]
pub enum Due {
    /// An element of Redis's reply.
    Reply(Bytes),
    /// The reply of `SELECT`.
    Select(u32, Bytes),
    /// A request that the gateway does now.
    Run(Bytes),
}

/// What a client watches for its next transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    #[default]
    Nothing,
    /// Keys of one slot, on a connection of the client's own: the transaction has to stay in the slot, and goes there.
    Keys {
        /// The node of the keys.
        node: NodeIndex,
        /// The connection that watches.
        connection: UpstreamKey,
        /// The slot, if the keys are in one.
        slot: Option<SlotAt>,
    },
    /// That connection is gone, so the keys may have changed: the next `EXEC` must not run.
    Lost {
        /// The slot that the keys were in.
        slot: Option<SlotAt>,
    },
}

impl TransactionState {
    /// The transaction that takes commands.
    pub fn queuing(&self) -> Option<&Transaction> {
        if let Self::Queuing(transaction) = self { Some(transaction) } else { None }
    }

    /// As [`TransactionState::queuing`], to be changed.
    pub fn queuing_mut(&mut self) -> Option<&mut Transaction> {
        if let Self::Queuing(transaction) = self { Some(transaction) } else { None }
    }

    /// Takes the transaction that takes commands; the client is in none then.
    pub fn take_queuing(&mut self) -> Option<Box<Transaction>> {
        self.take_if(|state| matches!(state, Self::Queuing(_)))
    }

    /// Takes the transaction that is with Redis.
    pub fn take_executing(&mut self) -> Option<Box<Transaction>> {
        self.take_if(|state| matches!(state, Self::Executing(_)))
    }

    fn take_if(&mut self, wanted: impl FnOnce(&Self) -> bool) -> Option<Box<Transaction>> {
        match wanted(self).then(|| std::mem::take(self)) {
            Some(Self::Queuing(transaction) | Self::Executing(transaction)) => Some(transaction),
            _ => None,
        }
    }

    /// What is left of the reply of `EXEC`.
    pub fn replying(&self) -> Option<&ExecReply> {
        if let Self::Replying(reply) = self { Some(reply) } else { None }
    }

    /// As [`TransactionState::replying`], to be changed.
    pub fn replying_mut(&mut self) -> Option<&mut ExecReply> {
        if let Self::Replying(reply) = self { Some(reply) } else { None }
    }

    /// A command that came now would be queued, or comes out of a queue.
    pub fn is_special(&self) -> bool {
        matches!(self, Self::Queuing(_) | Self::Replying(_))
    }

    /// Its `EXEC` is with Redis and changes the connection that it runs on.
    pub fn changes_connection(&self) -> bool {
        matches!(self, Self::Executing(transaction) if transaction.changes_connection())
    }
}

impl Transaction {
    /// The command that is queued next names a key, which stands there in its bytes.
    pub fn note_key(&mut self, hash: u64, at: Span) {
        if self.key_hashes.is_empty() {
            self.first_key = Span { start: self.commands.len() as u32 + at.start, len: at.len };
        }
        if self.key_hashes.len() < KEYS_NOTED_MAX && !self.key_hashes.contains(&hash) {
            self.key_hashes.push(hash);
        }
    }

    /// The only key that its commands name: its hash and its name.
    pub fn only_key(&self) -> Option<(u64, &[u8])> {
        let [hash] = *self.key_hashes else { return None };
        let behind = self.commands.get(self.first_key.start as usize..)?;
        Some((hash, behind.get(..self.first_key.len as usize)?))
    }

    /// Where it goes: to its keys, or to where `PUBLISH` in it goes, or else to the cluster of commands without keys.
    pub fn route(&self, keyless: ClusterId) -> Route {
        self.slot.map_or(Route::Messages(self.keyless.unwrap_or(keyless)), Route::Slot)
    }

    /// Whether Redis runs all of it, as it was queued.
    pub fn may_fold(&self) -> bool {
        let is_behind = self.touched.all || !self.touched.keys.is_empty();
        self.count > 0 && !self.poisoned && !self.scripts && !self.has_part() && !is_behind
    }

    /// Queues a command.
    pub fn queue(&mut self, step: Step, request: &[u8]) {
        match &step {
            Step::Redis(_) => self.commands.extend_from_slice(request),
            Step::Select(database) => {
                self.commands.extend_from_slice(request);
                self.database = *database;
            }
            Step::Hello(version, kept) => {
                let number = if *version == RespVersion::Resp2 { b"2" } else { b"3" };
                encode::command(&mut self.commands, &[b"HELLO", number]);
                self.version = *version;
                self.here_bytes += kept.len();
            }
            Step::Here(kept) => self.here_bytes += kept.len(),
        }
        self.count += usize::from(!matches!(step, Step::Here(_)));
        self.note(step);
        self.queued += 1;
    }

    fn note(&mut self, step: Step) {
        let is_redis = matches!(step, Step::Redis(_));
        if self.steps.is_empty() {
            if is_redis {
                return;
            }
            if self.queued > 0 {
                self.steps.push(Step::Redis(self.queued));
            }
        }
        match (self.steps.last_mut(), step) {
            (Some(Step::Redis(count)), Step::Redis(more)) => *count += more,
            (_, step) => self.steps.push(step),
        }
    }

    /// Whether the gateway does a part of it.
    pub fn has_part(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether it changes the connection that it runs on.
    pub fn changes_connection(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Select(_) | Step::Hello(..)))
    }

    /// Pairs the steps with Redis's replies.
    pub fn due(self, elements: Vec<Bytes>) -> VecDeque<Due> {
        let mut elements = elements.into_iter();
        // Redis has one for each command; were one missing, the client would wait for it for ever.
        let mut next = || {
            let missing = || Bytes::from_static(b"-ERR hotgate: the server left out a reply of EXEC\r\n");
            elements.next().unwrap_or_else(missing)
        };
        let mut due = VecDeque::with_capacity(self.queued);
        for step in self.steps {
            match step {
                Step::Redis(count) => due.extend((0..count).map(|_| Due::Reply(next()))),
                Step::Select(database) => due.push_back(Due::Select(database, next())),
                Step::Hello(_, request) => {
                    next();
                    due.push_back(Due::Run(request));
                }
                Step::Here(request) => due.push_back(Due::Run(request)),
            }
        }
        due
    }
}

impl Watch {
    /// The connection that watches.
    pub fn connection(self) -> Option<UpstreamKey> {
        if let Self::Keys { connection, .. } = self { Some(connection) } else { None }
    }

    /// The slot in which the next transaction has to stay.
    pub fn slot(self) -> Option<SlotAt> {
        match self {
            Self::Nothing => None,
            Self::Keys { slot, .. } | Self::Lost { slot } => slot,
        }
    }

    /// The next `EXEC` depends on it.
    pub fn is_on(self) -> bool {
        self != Self::Nothing
    }

    /// A connection has ended, or has stopped to watch: what was watched there may have changed.
    pub fn on_lost(&mut self, ended: UpstreamKey) {
        if self.connection() == Some(ended) {
            *self = Self::Lost { slot: self.slot() };
        }
    }
}
